//! Many connections at once: those that say nothing give way, those that speak are served, and whoever is refused is told.

use std::net::SocketAddr;

use futures_util::future::join_all;
use serde_json::json;

use super::support::raw::RawSocket;
use super::support::setup::Because;
use super::support::{Client, Server, http, in_time};
use super::{AsyncReadExt, AsyncWriteExt, TcpStream};
use tokio::net::TcpSocket;

/// A connection that sent some bytes, and perhaps not all of a request; from an address of this machine.
async fn opened(server: SocketAddr, from: [u8; 4], bytes: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("an address of this machine");
    let mut stream = in_time("a connection", socket.connect(server)).await.expect("connect");
    // It may have had to give way already.
    let _ = stream.write_all(bytes.as_bytes()).await;
    stream
}

/// Reads to the end: what came, unless the connection was reset.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    in_time("the end of a connection", stream.read_to_end(&mut answer)).await.expect("no reset");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A socket that has not said who it is, and that the server has taken for one.
async fn unknown_socket(server: SocketAddr, headers: &str) -> RawSocket {
    let mut socket = RawSocket::open(server, headers, None).await.expect("an upgrade");
    is_unknown(&mut socket).await;
    socket
}

async fn is_unknown(socket: &mut RawSocket) {
    assert!(socket.say(r#"{"id":1,"type":"ping"}"#).await);
    assert_eq!(socket.json().await["error"]["code"], "not_authenticated");
}

fn is_refusal(answer: &str) -> bool {
    let lower = answer.to_lowercase();
    answer.starts_with("HTTP/1.1 503 ") && lower.contains("\r\nretry-after: ") && lower.contains("too many")
}

#[tokio::test(flavor = "multi_thread")]
async fn n07_silent_connections_of_an_address_harm_nobody_there() {
    for (what, bytes) in [
        ("silent", ""),
        ("half a head", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Half"),
        ("half a body", "POST /api/token/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"),
        ("idle", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    ] {
        let settings = [("unauthenticated-per-address", "100"), ("header-ms", "60000")];
        let server = Server::start_alone(Because::OfTheProcess, &settings).await;
        let mut ann = server.user("ann").await;
        let crowd = join_all((0..150).map(|_| opened(server.next_address(), [127, 0, 0, 1], bytes))).await;
        // While all of them are at work nobody can give way, and newcomers are asked to try again.
        in_time("a newcomer to be served", async {
            while http::call(server.next_address(), "GET", "/healthz", None, None).await.status != 200 {}
        })
        .await;
        // Who is there stays, and who comes is served.
        ann.command("ping", json!({})).await;
        let mut bob = server.user("bob").await;
        bob.command("ping", json!({})).await;
        bob.upload("1", b"a file").await;
        let mut again = Client::connect(&server, server.login("ann").await).await;
        again.command("ping", json!({})).await;
        let mut refused = 0;
        for mut stream in crowd {
            // Those that are still there end with it.
            let _ = stream.shutdown().await;
            let answer = rest(stream).await;
            refused += usize::from(answer.split_inclusive("\"ok\"}").any(is_refusal));
        }
        // Some of the idle ones give way while they still take their answer, which is then all that they get.
        let least = if what == "idle" { 1 } else { 50 };
        assert!(refused >= least, "{what}: {refused} gave way and were told");
        ann.command("ping", json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n07_sockets_that_say_nothing_give_way_and_are_told() {
    let server = Server::start_alone(Because::OfTheProcess, &[("unauthenticated-per-address", "20")]).await;
    let mut ann = server.user("ann").await;
    let mut crowd = Vec::new();
    for _ in 0..30 {
        crowd.push(unknown_socket(server.next_address(), "").await);
    }
    let mut bob = server.user("bob").await;
    bob.command("ping", json!({})).await;
    ann.command("ping", json!({})).await;
    // Of thirty where there is room for twenty, the first ten gave way.
    let ends = join_all(crowd.into_iter().take(10).map(async |mut socket| socket.end().await.0)).await;
    assert!(ends.iter().all(|code| *code == 4010), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn n07_what_a_proxy_tells_is_counted_by_network() {
    let settings = [("unauthenticated-per-address", "3"), ("trusted-proxies", "127.0.0.1"), ("auth-ms", "60000")];
    let server = Server::start_alone(Because::OfTheProcess, &settings).await;
    let open = async |from: &str| {
        let header = format!("X-Forwarded-For: {from}\r\n");
        unknown_socket(server.next_address(), &header).await
    };
    let mut other = open("198.51.100.7").await;
    let mut first = open("2001:db8::1").await;
    let mut rest = Vec::new();
    for last in 2..5 {
        rest.push(open(&format!("2001:db8::{last}:{last}")).await);
    }
    assert_eq!(first.end().await.0, 4010, "of a /64 the first gives way");
    for socket in rest.iter_mut().chain([&mut other]) {
        is_unknown(socket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n07_a_full_server_lets_in_whose_address_has_fewest_or_says_no() {
    let settings = [("connections", "20"), ("header-ms", "60000")];
    let server = Server::start_alone(Because::OfTheProcess, &settings).await;
    let at = server.next_address();
    let ann = server.account("ann").await;
    let crowd = join_all((0..30).map(|_| opened(at, [127, 0, 0, 2], ""))).await;
    for _ in 0..5 {
        assert_eq!(http::call(at, "GET", "/api/v1/auth/profile/", Some(&ann.access), None).await.status, 200);
    }
    drop(crowd);

    // Where all are somebody's sockets, nobody gives way.
    let server = Server::start_alone(Because::OfTheProcess, &[("connections", "4")]).await;
    let (at, account) = (server.next_address(), server.account("ann").await);
    let mut sockets = Vec::new();
    while sockets.len() < 4 {
        // The connections of registering and signing in may still be on their way out.
        sockets.extend(RawSocket::open(at, &format!("Authorization: Bearer {}\r\n", account.access), None).await.ok());
    }
    for socket in &mut sockets {
        assert_eq!(socket.json().await["ok"], true);
    }
    for bytes in ["", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let answer = rest(opened(at, [127, 0, 0, 1], bytes).await).await;
        assert!(is_refusal(&answer), "{answer:?}");
    }
    for socket in &mut sockets {
        assert!(socket.say(r#"{"id":1,"type":"ping"}"#).await);
        assert_eq!(socket.json().await["ok"], true);
    }
}

/// What a client sends in vain does not keep the answer from it.
#[tokio::test(flavor = "multi_thread")]
async fn n07_a_refusal_arrives_before_its_connection_ends() {
    let server = Server::start(&[("body-max", "1000")]).await;
    for _ in 0..20 {
        let head =
            "POST /api/token/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 300000\r\n\r\n";
        let mut stream = opened(server.next_address(), [127, 0, 0, 1], head).await;
        // The server has refused before it is all there.
        let _ = stream.write_all(&[b'x'; 300_000]).await;
        assert!(rest(stream).await.starts_with("HTTP/1.1 413 "));
    }
}
