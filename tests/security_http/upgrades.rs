//! Upgrades and calls by pages: what is judged before there is a socket, and what pages of other origins may read.

use serde_json::json;

use super::support::files::exchange;
use super::support::http::call_with;
use super::support::server::PASSWORD;
use super::support::{Client, Server};
use super::{UPGRADE, upgrade};

#[tokio::test(flavor = "multi_thread")]
async fn d05_a_bad_token_in_the_header_is_told_at_once() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let ended = server.login("ann").await;
    ann.command("session.revoke", json!({ "password": PASSWORD })).await;
    let refresh = format!("Bearer {}", ann.account.refresh);
    let ended = format!("Bearer {}", ended.access);
    for value in ["Bearer", "Bearer ", "bearer x", "Bearer a b", "Bearer eyJ0eXAi.no-such.token", &refresh, &ended] {
        let headers: String = UPGRADE.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request =
            format!("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{headers}Authorization: {value}\r\n\r\n");
        let answer = exchange(server.next_address(), request.as_bytes()).await;
        assert_eq!(answer.status, 401, "{value}: {}", String::from_utf8_lossy(&answer.body));
        let error = &answer.json()["error"];
        assert_eq!((&error["code"], &error["retryable"]), (&json!("invalid_credentials"), &json!(false)), "{value}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"api\"");
    }
    // What is no token of ours is as if it were not there: the socket may still say who it is.
    assert_eq!(upgrade(&server, "/ws", &[("Authorization", "Basic YTpi")]).await, 101);
    let good = format!("Bearer {}", ann.account.access);
    assert_eq!(upgrade(&server, "/ws", &[("Authorization", &good)]).await, 101);
    Client::connect(&server, ann.account.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_pages_of_other_origins_read_and_send_what_they_need() {
    let server = Server::start(&[("allowed-origins", "HTTPS://App.Example:443/")]).await;
    let origin = ("Origin", "https://app.example");
    let ann = server.account("ann").await;
    let bearer = format!("Bearer {}", ann.access);
    for path in ["/api/v1/conversations/", "/media/a/whole"] {
        let answer = call_with(server.next_address(), "GET", path, &[origin, ("Authorization", &bearer)], "").await;
        assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example", "{path}");
        let exposed = answer.headers["access-control-expose-headers"].to_lowercase();
        for name in ["x-total-count", "retry-after", "etag", "content-range", "content-disposition"] {
            assert!(exposed.split(", ").any(|exposed| exposed == name), "{name} of {path}: {exposed}");
        }
        let ask = ("Access-Control-Request-Method", "PUT");
        let answer = call_with(server.next_address(), "OPTIONS", path, &[origin, ask], "").await;
        let allowed = answer.headers["access-control-allow-headers"].to_lowercase();
        for name in ["authorization", "content-type", "range", "if-none-match", "content-disposition"] {
            assert!(allowed.split(", ").any(|allowed| allowed == name), "{name} of {path}: {allowed}");
        }
    }
    assert_eq!(upgrade(&server, "/ws", &[origin]).await, 101);
    let other = call_with(server.next_address(), "GET", "/healthz", &[("Origin", "https://evil.example")], "").await;
    assert_eq!(other.headers.get("access-control-expose-headers"), None);
}
