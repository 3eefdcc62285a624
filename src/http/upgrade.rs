//! From HTTP to WebSocket: judges the request, answers 101, and hands the plain stream over.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use warp::http::header::{ACCEPT_LANGUAGE, COOKIE, HeaderValue, ORIGIN, SEC_WEBSOCKET_VERSION, UPGRADE};
use warp::http::{HeaderMap, Request, StatusCode};
use warp::reply::{Reply, Response};

use super::credentials::{self, Shown};
use super::django::detail;
use super::files;
use super::stream::Stream;
use super::{Client, Server};
use crate::auth::TokenFault;
use crate::catalogue::Language;
use crate::config::Origin;
use crate::error::Result;
use crate::limits::Phase;
use crate::metrics;
use crate::ops::sessions::{self, Authenticated};
use crate::socket::line::Line;
use crate::socket::{self, SocketStart};

/// Most bytes read at once from a socket; idle sockets keep no more than this. A typical command has a few hundred, and
/// a longer one is read in several steps.
const READ_BUFFER: usize = 1024;
/// The line gathers what is to be written; here nothing is.
const WRITE_BUFFER: usize = 0;
/// More than one piece of a message and the answers to pings of a client that takes nothing of them.
const WRITE_BUFFER_MAX: usize = 64 << 10;

/// How much more than its content a message may take on the line, for the headers of its frames.
const MESSAGE_BYTES: usize = 2;

/// Names under which tokens are put into query strings, where every proxy and log keeps them.
const TOKEN_NAMES: &[&str] =
    &["token", "access", "access_token", "refresh", "refresh_token", "jwt", "auth", "authorization"];

/// Answers `GET /ws`. The socket runs on in a task of its own.
pub(super) async fn answer(server: &Arc<Server>, client: Client, mut request: Request<Incoming>) -> Response {
    if let Some(refusal) = refuse(&server.app.config.allowed_origins.0, &request) {
        metrics::refused("upgrade");
        return refusal;
    }
    let accepted = match create_response_with_body(&request, || ()) {
        Ok(accepted) => accepted,
        Err(error) => return not_an_upgrade(&error),
    };
    let wanted = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let language = wanted.and_then(Language::accepted).unwrap_or(Language::English);
    let authenticated = match who(server, &client, request.headers()).await {
        Ok(authenticated) => authenticated,
        Err(error) => {
            metrics::refused("upgrade");
            return files::refused(&error, language);
        }
    };
    let (permit, draining) = (Arc::clone(&client.connection.permit), server.draining.clone());
    let start = SocketStart { authenticated, language, permit, draining };
    let upgrade = hyper::upgrade::on(&mut request);
    let (app, tasks) = (Arc::clone(&server.app), server.tasks.clone());
    server.tasks.spawn(async move {
        // Fails when the client went before it read the answer.
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else { return };
        let Some(stream) = parts.io.into_inner().take() else { return };
        start.permit.is(Phase::Upgraded);
        let settings = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(Some(app.config.frame_max))
            .max_frame_size(Some(app.config.frame_max));
        let frame_max = app.config.frame_max;
        let mut line = Line::new(stream, MESSAGE_BYTES * frame_max + READ_BUFFER, frame_max);
        line.read_before(&parts.read_buf);
        let stream = WebSocketStream::from_raw_socket(line, Role::Server, Some(settings)).await;
        // A task of its own, because this one would keep its room for the upgrade as long as the socket lives.
        tasks.spawn(socket::run(app, stream, start));
    });
    let (head, ()) = accepted.into_parts();
    let mut response = warp::reply().into_response();
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// Who opens a socket, where the request tells it: a token that is not good is told at once, before there is a socket.
async fn who(server: &Server, client: &Client, headers: &HeaderMap) -> Result<Option<Authenticated>> {
    let authenticated = match credentials::bearer(headers) {
        Shown::Nothing => None,
        Shown::Malformed => return Err(TokenFault::Invalid.into()),
        Shown::Token(token) => Some(sessions::authenticate(&server.app, token).await?),
    };
    // Behind a proxy it is not counted for its address yet.
    client.connection.permit.claim(client.address);
    Ok(authenticated)
}

/// Why a request may not become a socket, whatever its headers for that say.
fn refuse<B>(allowed: &[Origin], request: &Request<B>) -> Option<Response> {
    if request.uri().query().is_some_and(names_a_token) {
        let text = "No token in the URL, where logs keep it: send it in the auth command, or as Authorization: Bearer.";
        return Some(detail(StatusCode::BAD_REQUEST, text));
    }
    if !may_come_from(allowed, request.headers()) {
        return Some(detail(StatusCode::FORBIDDEN, "Pages of this origin may not open sockets here."));
    }
    None
}

fn names_a_token(query: &str) -> bool {
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default().to_ascii_lowercase());
    names.into_iter().any(|name| TOKEN_NAMES.contains(&name.as_str()))
}

/// Whether the page that asks is one of ours. Without an Origin it is no page; but then it has no cookies either.
fn may_come_from(allowed: &[Origin], headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => !headers.contains_key(COOKIE),
        (Some(origin), None) => allowed.iter().any(|allowed| allowed.is(origin.as_bytes())),
        _ => false,
    }
}

fn not_an_upgrade(error: &WsError) -> Response {
    let WsError::Protocol(fault) = error else {
        return detail(StatusCode::BAD_REQUEST, "Not a WebSocket upgrade.");
    };
    let mut response = match fault {
        ProtocolError::WrongHttpMethod => detail(StatusCode::METHOD_NOT_ALLOWED, "Sockets are opened with GET."),
        ProtocolError::MissingConnectionUpgradeHeader
        | ProtocolError::MissingUpgradeWebSocketHeader
        | ProtocolError::MissingSecWebSocketVersionHeader => {
            detail(StatusCode::UPGRADE_REQUIRED, "Here is a WebSocket, version 13.")
        }
        other => detail(StatusCode::BAD_REQUEST, &format!("Not a WebSocket upgrade: {other}.")),
    };
    response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(uri: &str, headers: &[(&str, &str)]) -> Option<StatusCode> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let allowed =
            ["https://good.example", "http://localhost:5173"].map(|origin| origin.parse().expect("an origin"));
        refuse(&allowed, &request.body(()).expect("a request")).map(|response| response.status())
    }

    #[test]
    fn s1_only_our_own_pages_may_open_sockets() {
        let taken = [&[][..], &[("origin", "https://good.example")], &[("origin", "http://localhost:5173")]];
        for headers in taken {
            assert_eq!(judged("/ws", headers), None, "{headers:?}");
        }
        let refused = [
            &[("origin", "https://good.example.evil.test")][..],
            &[("origin", "https://evil.test/https://good.example")],
            &[("origin", "http://good.example")],
            &[("origin", "https://good.example:8443")],
            &[("origin", "https://GOOD.example")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "https://good.example"), ("origin", "https://evil.test")],
            &[("cookie", "session=1")],
        ];
        for headers in refused {
            assert_eq!(judged("/ws", headers), Some(StatusCode::FORBIDDEN), "{headers:?}");
        }
    }

    #[test]
    fn s3_a_token_in_the_url_is_refused() {
        for uri in ["/ws?token=x", "/ws?a=b&access_token=x", "/ws?Token", "/ws?jwt="] {
            assert_eq!(judged(uri, &[]), Some(StatusCode::BAD_REQUEST), "{uri}");
        }
        assert_eq!(judged("/ws?version=3", &[]), None);
    }
}
