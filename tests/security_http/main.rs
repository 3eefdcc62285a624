//! Attacks on the handshake, the transport and the process around it, each named after its row in the security
//! checklist.
#![expect(clippy::expect_used, reason = "a story that cannot go on says why")]

#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

mod crowds;
mod requests;
mod upgrades;
mod waiting;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::http::{call, call_with};
use support::node::Addresses;
use support::recorder::Recorder;
use support::server::{Account, PASSWORD};
use support::setup::Because;
use support::{Client, DEADLINE, Server, in_time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// What makes a GET a WebSocket upgrade.
const UPGRADE: [(&str, &str); 3] =
    [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")];

/// The first line of the answer to raw bytes, and whether the server then ended the connection.
async fn exchange(server: SocketAddr, request: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(server).await.expect("connect");
    // The server may refuse before it read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.lines().next().unwrap_or_default().to_owned(), ended)
}

/// The status that an upgrade with these headers gets.
async fn upgrade(server: &Server, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut stream = TcpStream::connect(server.next_address()).await.expect("connect");
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n", server.next_address());
    for (name, value) in UPGRADE.iter().chain(headers) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).await.expect("write");
    let mut status = [0; 12];
    in_time("a status line", stream.read_exact(&mut status)).await.expect("read");
    String::from_utf8_lossy(&status[9..]).parse().expect("a status")
}

async fn is_well(server: &Server) {
    assert_eq!(call_with(server.next_address(), "GET", "/healthz", &[], "").await.status, 200);
}

#[tokio::test]
async fn s1_pages_of_other_origins_open_no_socket() {
    let server = Server::start(&[("allowed-origins", "https://good.example,http://localhost:5173")]).await;
    for origin in ["https://good.example", "http://localhost:5173"] {
        assert_eq!(upgrade(&server, "/ws", &[("Origin", origin)]).await, 101, "{origin}");
    }
    assert_eq!(upgrade(&server, "/ws", &[]).await, 101, "no page at all");
    let refused = [
        ("Origin", "https://good.example.evil.test"),
        ("Origin", "https://evil.test"),
        ("Origin", "http://good.example"),
        ("Origin", "null"),
        ("Cookie", "session=1"),
    ];
    for header in refused {
        assert_eq!(upgrade(&server, "/ws", &[header]).await, 403, "{header:?}");
    }
    let nobody = Server::start(&[]).await;
    assert_eq!(upgrade(&nobody, "/ws", &[("Origin", "https://good.example")]).await, 403);
    let allowed = call_with(server.next_address(), "GET", "/healthz", &[("Origin", "https://good.example")], "").await;
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://good.example");
    let other = call_with(server.next_address(), "GET", "/healthz", &[("Origin", "https://evil.test")], "").await;
    assert_eq!(other.headers.get("access-control-allow-origin"), None);
}

#[tokio::test]
async fn s3_a_token_goes_into_a_header_or_a_frame_never_into_the_url() {
    let server = Server::start(&[]).await;
    let account = server.account("ann").await;
    for path in [format!("/ws?token={}", account.access), "/ws?access_token=x".to_owned(), "/ws/?jwt=x".to_owned()] {
        let mut headers = UPGRADE.to_vec();
        headers.push(("Connection", "Upgrade"));
        let answer = call_with(server.next_address(), "GET", &path, &headers, "").await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.body.contains("No token in the URL"), "{}", answer.body);
    }
    let url = format!("ws://{}/ws", server.next_address());
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(url).expect("a URL");
    let bearer = format!("Bearer {}", account.access).parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    let stream = TcpStream::connect(server.next_address()).await.expect("connect");
    let (mut socket, response) = tokio_tungstenite::client_async(request, stream).await.expect("upgraded");
    assert_eq!(response.headers().get("sec-websocket-protocol"), None);
    let hello = in_time("hello", socket.next()).await.expect("a frame").expect("a frame");
    let hello: Value = serde_json::from_str(hello.to_text().expect("text")).expect("JSON");
    assert_eq!((&hello["ok"], &hello["data"]["username"]), (&json!(true), &json!("ann")));
}

#[tokio::test]
async fn s5_whoever_says_nothing_is_sent_away() {
    let server = Server::start(&[("header-ms", "2000"), ("auth-ms", "2000")]).await;
    let silent = exchange(server.next_address(), b"");
    let half = exchange(server.next_address(), b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Half");
    let body =
        exchange(server.next_address(), b"POST /api/token/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
    let mut dripping = TcpStream::connect(server.next_address()).await.expect("connect");
    let drip = async {
        // A byte now and then does not buy more time. The write fails once the server has gone.
        while dripping.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut mute =
        support::socket::Socket::open(server.next_address(), &server.recorder, "mute", "mute/1").await.expect("open");
    let begun = Instant::now();
    let (silent, half, body, (), end) = tokio::join!(
        silent,
        half,
        body,
        in_time("the drip to be cut", drip),
        in_time("the mute to be cut", mute.next())
    );
    assert!(silent.1 && half.1 && body.1, "{silent:?} {half:?} {body:?}");
    assert_eq!(body.0, "HTTP/1.1 408 Request Timeout");
    assert_eq!(end.expect_err("closed").code, 4001);
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    is_well(&server).await;
}

#[tokio::test]
async fn s5_an_address_holds_only_so_many_connections_that_say_nothing() {
    let server = Server::start_alone(Because::OfTheProcess, &[("unauthenticated-per-address", "3")]).await;
    let account = server.account("ann").await;
    let open = async || {
        let opened = support::socket::Socket::open(server.next_address(), &server.recorder, "x", "x/1").await;
        let mut socket = opened.expect("a newcomer is let in");
        socket.send("ping", &json!({})).await.expect("sent");
        let answer = in_time("a refusal", socket.next()).await.expect("a refusal");
        assert_eq!(answer["error"]["code"], "not_authenticated");
        socket
    };
    let code = async |socket: &mut support::socket::Socket| {
        in_time("the end of a socket", socket.next()).await.expect_err("closed").code
    };
    let (mut first, mut second, mut third) = (open().await, open().await, open().await);
    let mut fourth = open().await;
    assert_eq!(code(&mut first).await, 4010, "the one that has said nothing for longest gives way");
    second.send("auth", &json!({ "token": account.access })).await.expect("sent");
    assert_eq!(in_time("hello", second.next()).await.expect("hello")["ok"], true);
    let fifth = open().await;
    let sixth = open().await;
    assert_eq!(code(&mut third).await, 4010, "the second has said who it is, and counts no more");
    let seventh = open().await;
    assert_eq!(code(&mut fourth).await, 4010);
    second.send("ping", &json!({})).await.expect("sent");
    assert_eq!(in_time("a pong", second.next()).await.expect("a pong")["ok"], true);
    drop((fifth, sixth, seventh));
}

#[tokio::test]
async fn s6_monstrous_requests_are_refused_and_harm_nobody() {
    let server = Server::start(&[]).await;
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let long = "x".repeat(64 << 10);
    let requests = [
        (format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"), vec!["431"]),
        (format!("GET /healthz?{long} HTTP/1.1\r\nHost: x\r\n\r\n"), vec!["414", "431"]),
        (format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n"), vec!["431"]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), vec!["", "400", "505"]),
        (
            "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
            vec!["400"],
        ),
        ("GARBAGE\r\n\r\n".to_owned(), vec!["400"]),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n".to_owned(), vec!["400"]),
    ];
    for (request, expected) in requests {
        let (line, ended) = exchange(server.next_address(), request.as_bytes()).await;
        let status = line.split(' ').nth(1).unwrap_or_default();
        assert!(expected.contains(&status) && ended, "{line:?} to {}", &request[..request.len().min(60)]);
    }
    // Both at once: the body is chunked or the request refused; what follows must never count as a request of its own.
    let smuggled = "POST /api/token/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 48\r\n\
                    Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = TcpStream::connect(server.next_address()).await.expect("connect");
    stream.write_all(smuggled.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    in_time("the answer to both lengths", stream.read_to_end(&mut answer)).await.expect("read");
    let answers = String::from_utf8_lossy(&answer).matches("HTTP/1.1 ").count();
    assert!(answers <= 1, "{answers} answers to one request");
    is_well(&server).await;
}

#[tokio::test]
async fn s31_nothing_of_the_operators_is_served_to_users() {
    let server = Server::start(&[]).await;
    let ann = server.account("ann").await;
    for path in ["/metrics", "/admin", "/admin/", "/debug", "/api/v1/admin/users/", "/config", "/.env", "/duet.db"] {
        for token in [None, Some(ann.access.as_str())] {
            let answer = call(server.next_address(), "GET", path, token, None).await;
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    let health = call_with(server.next_address(), "GET", "/readyz", &[], "").await;
    assert_eq!(health.body, r#"{"detail":"ok"}"#, "no versions, no addresses");
}

/// Runs the server until it ends by itself, which it must.
fn refuses_to_start(data: &Path, secret: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).stdin(Stdio::null());
    if let Some(secret) = secret {
        command.env("DUET_SECRET", secret);
    }
    let output = command.output().expect("run the server");
    assert!(!output.status.success(), "it started");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn s56_a_key_that_others_may_know_is_refused_and_a_former_one_goes_on() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    for (secret, word) in [
        ("tiny", "too short"),
        ("changeme-changeme-changeme-changeme", "guess"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "guess"),
        ("django-insecure-k3j4h5g6f7d8s9a0q1w2e3r4t5", "guess"),
    ] {
        let said = refuses_to_start(&data, Some(secret));
        assert!(said.contains(word) && !said.contains(secret), "{said}");
    }
    fs::create_dir_all(&data).expect("made");
    fs::write(data.join("secret"), "0f1e2d3c4b5a69788796a5b4c3d2e1f0").expect("written");
    fs::set_permissions(data.join("secret"), fs::Permissions::from_mode(0o644)).expect("changed");
    let said = refuses_to_start(&data, None);
    assert!(said.contains("chmod 600"), "{said}");

    let old = "k3Jw9-0f1e2d3c4b5a69788796a5b4c3d2e1f0";
    let mut server = Server::start_with(&[], &[("DUET_SECRET", old)]).await;
    let account = server.account("ann").await;
    server.stop().await;
    server.environment(&[("DUET_SECRET", "m7Tq2-ffeeddccbbaa99887766554433221100"), ("DUET_PREVIOUS_SECRET", old)]);
    server.restart().await;
    let mut ann = Client::connect(&server, account).await;
    let refresh = ann.account.refresh.clone();
    ann.command("auth.refresh", json!({ "refresh": refresh })).await;
}

#[tokio::test]
async fn s58_errors_tell_nothing_of_the_inside() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let quote = "x' OR 1=1; DROP TABLE users; --";
    let requests = [
        ("GET", "/%00", String::new()),
        ("GET", "/../../etc/passwd", String::new()),
        ("POST", "/api/token/", "{\"username\":".to_owned()),
        ("POST", "/api/token/", "\u{0}\u{1}".to_owned()),
        ("POST", "/api/token/", json!({ "username": quote, "password": quote }).to_string()),
        ("POST", "/api/token/", json!({ "username": "a\u{0}b", "password": "x" }).to_string()),
        ("POST", "/api/v1/auth/register/", json!({ "username": quote, "password": 1, "password2": {} }).to_string()),
        ("POST", "/api/token/refresh/", json!({ "refresh": "a.b.c" }).to_string()),
        ("BREW", "/api/token/", String::new()),
    ];
    for (method, path, body) in requests {
        let headers = [("Content-Type", "application/json")];
        let answer = call_with(server.next_address(), method, path, &headers, &body).await;
        assert!((400..500).contains(&answer.status), "{method} {path} {body}: {}", answer.status);
        tells_nothing(&answer.body);
    }
    for (kind, data) in [
        ("profile.get", json!({ "user": i64::MAX })),
        ("profile.update", json!({ "bio": "a\u{0}b" })),
        ("message.search", json!({ "query": "\" OR NEAR( *" })),
        ("conversation.get", json!({ "conversation": -1 })),
    ] {
        let id = ann.say(kind, data).await;
        let reply = ann.reply(id).await;
        assert_ne!(reply["error"]["code"], "internal", "{reply}");
        tells_nothing(&reply.to_string());
    }
}

fn tells_nothing(text: &str) {
    for word in ["sqlx", "SQLITE", "SELECT", "panicked", ".rs:", "stack", "tokio", "hyper", "warp", "duet.db", "0.1.0"]
    {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

/// A server whose log is kept.
struct Logged {
    process: std::process::Child,
    address: SocketAddr,
    home: tempfile::TempDir,
}

impl Logged {
    async fn start(args: &[&str]) -> Logged {
        let home = tempfile::tempdir().expect("a directory");
        let file = || fs::File::options().create(true).append(true).open(home.path().join("log")).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "info,duet=trace", "--argon2-memory-kib", "8"]);
        command.args(args);
        command.arg("--data-dir").arg(home.path().join("data"));
        let process = command.stdin(Stdio::null()).stdout(file()).stderr(file()).spawn().expect("start the server");
        let mut server = Logged { process, address: ([127, 0, 0, 1], 0).into(), home };
        server.address = in_time("the server to listen", async {
            loop {
                let told =
                    server.log().split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
                if let Some(address) = told {
                    return address;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        server
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).expect("the log")
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn s55_the_log_has_events_and_ids_and_no_secrets() {
    let server = Logged::start(&[]).await;
    let address = server.address;
    let post = async |path: &str, body: Value| call(address, "POST", path, None, Some(&body)).await;
    let wrong = "a wrong password nobody has";
    for username in ["ann", "bob"] {
        let body = json!({ "username": username, "password": PASSWORD, "password2": PASSWORD });
        assert_eq!(post("/api/v1/auth/register/", body).await.status, 201);
    }
    assert_eq!(post("/api/token/", json!({ "username": "ann", "password": wrong })).await.status, 401);
    let recorder = Arc::new(Recorder::create(server.home.path().join("record.jsonl")));
    let mut clients = Vec::new();
    for username in ["ann", "bob"] {
        let tokens = post("/api/token/", json!({ "username": username, "password": PASSWORD })).await.json;
        let token = |name: &str| tokens[name].as_str().expect("a token").to_owned();
        let account = Account { username: username.to_owned(), access: token("access"), refresh: token("refresh") };
        clients.push(Client::connect_recorded(&Addresses::one(address), &recorder, account).await);
    }
    let [mut ann, bob] = <[Client; 2]>::try_from(clients).expect("two");
    let place = json!({ "latitude": 48.85661, "longitude": 2.35222 });
    ann.command("profile.update", json!({ "bio": "a bio with a secret", "place": place })).await;
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    ann.command("message.send", json!({ "conversation": conversation, "text": "a confidential message" })).await;
    ann.refused("session.revoke", json!({ "password": wrong })).await;
    let mut raw = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.expect("open").0;
    let frame = json!({ "type": "auth", "data": { "token": format!("{}x", ann.account.access) } });
    raw.send(Message::text(frame.to_string())).await.expect("sent");
    in_time("a refusal", raw.next()).await.expect("a frame").expect("a frame");
    let rotated = post("/api/token/refresh/", json!({ "refresh": bob.account.refresh, "rotate": true })).await;
    assert_eq!(rotated.status, 200);
    assert_eq!(post("/api/token/refresh/", json!({ "refresh": rotated.json["refresh"] })).await.status, 200);
    let header = [("Content-Type", "application/json"), ("User-Agent", "thief")];
    let body = json!({ "refresh": bob.account.refresh }).to_string();
    assert_eq!(call_with(address, "POST", "/api/token/refresh/", &header, &body).await.status, 401);
    let log = server.log();
    let secrets = [
        PASSWORD,
        wrong,
        &ann.account.access,
        &ann.account.refresh,
        &bob.account.refresh,
        "a confidential message",
        "a bio with a secret",
        "48.85",
        "2.352",
        "argon2id",
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "the log has {secret}:\n{log}");
    }
    for event in ["signed in", "login refused", "a replaced refresh token was used"] {
        assert!(log.contains(event), "the log lacks {event}:\n{log}");
    }
}
