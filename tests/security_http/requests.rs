//! Requests of every form that a client may write: each is answered, none makes the server panic.

use std::net::SocketAddr;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::support::files::put;
use super::support::http::call_with;
use super::support::server::PASSWORD;
use super::support::{Server, http, in_time, seed};
use super::{Logged, TcpStream, exchange, upgrade};

const HOST: &str = "Host: duet\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn status(server: SocketAddr, request: &str) -> u16 {
    let (line, _) = exchange(server, request.as_bytes()).await;
    // No status is none that anything expects.
    line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn d14_a_target_is_a_path_however_it_is_written() {
    let server = Server::start(&[("header-ms", "1000"), ("auth-ms", "1000")]).await;
    let at = server.next_address();
    for (line, expected) in [
        ("GET /healthz HTTP/1.1", 200),
        ("GET http://evil.example/healthz HTTP/1.1", 200),
        ("GET HTTP://EVIL.EXAMPLE:1/healthz?x HTTP/1.1", 200),
        ("GET http://evil.example HTTP/1.1", 404),
        ("OPTIONS http://evil.example HTTP/1.1", 404),
        ("OPTIONS * HTTP/1.1", 200),
        ("GET * HTTP/1.1", 400),
        ("GET evil:1 HTTP/1.1", 400),
        ("GET evil HTTP/1.1", 400),
        ("POST evil:1 HTTP/1.1", 400),
        ("CONNECT evil:1 HTTP/1.1", 400),
        ("CONNECT /healthz HTTP/1.1", 400),
        ("CONNECT http://evil.example/ HTTP/1.1", 400),
        ("GET ftp://evil.example/healthz HTTP/1.1", 400),
        ("GET //evil.example/healthz HTTP/1.1", 404),
        ("BREW /healthz HTTP/1.1", 405),
    ] {
        let request = format!("{line}\r\n{HOST}Connection: close\r\n\r\n");
        assert_eq!(status(at, &request).await, expected, "{line}");
    }
    // The path of a socket is written in each of these ways too.
    for target in ["/ws", "http://evil.example/ws", "/ws/"] {
        assert_eq!(status(at, &format!("GET {target} HTTP/1.1\r\n{HOST}{UPGRADE}{KEY}\r\n")).await, 101, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d14_what_may_stand_once_stands_once() {
    let server = Server::start(&[("auth-ms", "1000")]).await;
    let at = server.next_address();
    let close = "Connection: close\r\n";
    let bearer = "Authorization: Bearer x\r\n";
    let media = "Content-Type: application/json\r\n";
    for (request, expected) in [
        (format!("GET /healthz HTTP/1.1\r\n{close}\r\n"), 400),
        (format!("GET /healthz HTTP/1.0\r\n{close}\r\n"), 200),
        (format!("GET /healthz HTTP/1.1\r\n{HOST}{HOST}{close}\r\n"), 400),
        (format!("GET /healthz HTTP/1.1\r\n{HOST}Host: other\r\n{close}\r\n"), 400),
        (format!("GET /healthz HTTP/1.0\r\n{HOST}{HOST}{close}\r\n"), 400),
        (format!("GET http://a/healthz HTTP/1.1\r\n{close}\r\n"), 400),
        (format!("GET /healthz HTTP/1.1\r\nHost: a b\r\n{close}\r\n"), 400),
        (format!("GET /healthz HTTP/1.1\r\nHost: a@b\r\n{close}\r\n"), 400),
        (format!("GET /healthz HTTP/1.1\r\nHost: a/b\r\n{close}\r\n"), 400),
        (format!("GET /healthz HTTP/1.1\r\nHost:\r\n{close}\r\n"), 200),
        (format!("GET /healthz HTTP/1.1\r\nHost: [::1]:8080\r\n{close}\r\n"), 200),
        (format!("GET /api/v1/ HTTP/1.1\r\n{HOST}{bearer}{bearer}{close}\r\n"), 400),
        (format!("POST /api/token/ HTTP/1.1\r\n{HOST}{media}{media}{close}Content-Length: 2\r\n\r\n{{}}"), 400),
        (format!("GET /ws HTTP/1.1\r\n{HOST}{UPGRADE}{KEY}\r\n"), 101),
        (format!("GET /ws HTTP/1.1\r\n{HOST}{UPGRADE}{KEY}{KEY}\r\n"), 400),
        (format!("GET /ws HTTP/1.1\r\n{HOST}{UPGRADE}{KEY}Sec-WebSocket-Version: 13\r\n\r\n"), 400),
        (format!("GET /ws HTTP/1.1\r\n{UPGRADE}{KEY}\r\n"), 400),
        (format!("GET /ws HTTP/1.1\r\n{HOST}{HOST}{UPGRADE}{KEY}\r\n"), 400),
    ] {
        assert_eq!(status(at, &request).await, expected, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d14_the_name_of_the_scheme_is_in_any_case() {
    let server = Server::start(&[]).await;
    let ann = server.account("ann").await;
    for (number, scheme) in ["Bearer", "bearer", "BEARER"].into_iter().enumerate() {
        let value = format!("{scheme} {}", ann.access);
        let headers = [("Authorization", value.as_str())];
        let profile = call_with(server.next_address(), "GET", "/api/v1/auth/profile/", &headers, "").await;
        assert_eq!((profile.status, profile.json["username"].as_str()), (200, Some("ann")), "{scheme}");
        let path = format!("/media/uploads/{number}");
        assert_eq!(call_with(server.next_address(), "PUT", &path, &headers, "x").await.status, 201, "{scheme}");
        assert_eq!(upgrade(&server, "/ws", &headers).await, 101, "{scheme}");
    }
    assert_eq!(put(server.next_address(), &ann.access, "again", &[], b"x").await.status, 201);
}

const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW", "get", "M-SEARCH", "!"];
const TARGETS: &[&str] = &[
    "/",
    "*",
    "//",
    "/?",
    "?",
    "/ws",
    "/ws/",
    "/ws?token=x",
    "/healthz",
    "/readyz/",
    "/api/token/",
    "/api/v1/conversations/1/",
    "/api/v1/",
    "/api/schema/?format=x",
    "/media/uploads/k",
    "/media/a/whole",
    "/media//",
    "/media",
    "/%00",
    "/%",
    "/%zz",
    "/..//../x",
    "evil",
    "evil:1",
    "evil:",
    ":1",
    "a@b:1",
    "[::1]:80",
    "http://a",
    "http://a/",
    "http://a:1/ws",
    "http:///x",
    "http://",
    "https://a/media/uploads/k?name=x",
    "ftp://a/x",
    "ws://a/ws",
    "mailto:a@b",
    "urn:x:y",
    "/#x",
    "/a?b#c",
    "/\u{e9}",
];
const VERSIONS: &[&str] = &["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"];
const HEADERS: &[&str] = &[
    HOST,
    HOST,
    HOST,
    "Host:\r\n",
    "Host: a b\r\n",
    UPGRADE,
    KEY,
    "Sec-WebSocket-Key: x\r\n",
    "Upgrade: h2c\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive, Upgrade\r\n",
    "Authorization: Bearer x\r\n",
    "Authorization: bearer\r\n",
    "Authorization: Basic eA==\r\n",
    "Authorization: \u{e9}\r\n",
    "Origin: null\r\n",
    "Origin: https://a\r\n",
    "Cookie: a=b\r\n",
    "Content-Type: \u{e9}/x\r\n",
    "Content-Type: multipart/form-data\r\n",
    "Content-Type: multipart/form-data; boundary=\r\n",
    "Content-Type: application/json\r\n",
    "Accept: ,;q=,*\r\n",
    "Accept-Language: *;q=x,,fr\r\n",
    "Access-Control-Request-Method: \u{e9}\r\n",
    "Expect: 100-continue\r\n",
    "Expect: x\r\n",
    "X-Forwarded-For: ,,:,[::1\r\n",
    "Range: bytes=-\r\n",
    "If-None-Match: \u{e9}\r\n",
    "Content-Disposition: ;filename*=''\r\n",
    "TE: trailers\r\n",
    "Transfer-Encoding: chunked\r\n",
    "User-Agent: \u{e9}\r\n",
    "X:\r\n",
];

/// A request line and headers put together at random from what clients send and what they should not.
fn any_request(random: &mut StdRng) -> String {
    let mut request = format!(
        "{} {} {}\r\n",
        METHODS.choose(random).expect("one"),
        TARGETS.choose(random).expect("one"),
        VERSIONS.choose(random).expect("one")
    );
    for _ in 0..random.random_range(0..7) {
        request.push_str(HEADERS.choose(random).expect("one"));
    }
    let body = ["", "", "{}", "\u{0}", "0\r\n\r\n"].choose(random).expect("one");
    if random.random_bool(0.5) {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    format!("{request}Connection: close\r\n\r\n{body}")
}

#[tokio::test(flavor = "multi_thread")]
async fn d14_no_request_goes_without_an_answer_or_makes_the_server_panic() {
    let server = Logged::start(&["--header-ms", "1000", "--auth-ms", "1000"]).await;
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..20 {
        let requests: Vec<String> = (0..50).map(|_| any_request(&mut random)).collect();
        let answers = join_all(requests.iter().map(|request| exchange(server.address, request.as_bytes()))).await;
        for (request, (line, ended)) in requests.iter().zip(answers) {
            let status = line.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
            let answered = status.is_some_and(|status| status < 500 || status == 503);
            assert!(answered && ended, "{line:?}, ended: {ended}, to {request}");
        }
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let body = json!({ "username": "ann", "password": PASSWORD, "password2": PASSWORD });
    assert_eq!(http::call(server.address, "POST", "/api/v1/auth/register/", None, Some(&body)).await.status, 201);
    in_time("a connection", TcpStream::connect(server.address)).await.expect("it listens");
}
