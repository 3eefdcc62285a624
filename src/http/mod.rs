//! One port: our own accept loop over hyper's HTTP/1, because it must bound what others leave open. `GET /ws` becomes a
//! socket; all else goes to the routes.

pub mod address;
pub mod django;
mod files;
mod hasty;
pub mod listener;
pub mod operator;
mod routes;
mod upgrade;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY, USER_AGENT, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use warp::http::{HeaderMap, Request};
use warp::reply::Response;

use crate::app::App;
use crate::auth::digest;
use crate::config::ms;
use crate::limits::{Permit, Prefix};
use crate::metrics;
use hasty::Hasty;

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Most headers of a request.
const HEADERS: usize = 100;
/// Most bytes that are buffered of a request, head and body.
const BUFFER: usize = 32 << 10;
/// How long the accept loop rests when the system has no descriptor left; ends of other connections make room.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// What every connection needs.
struct Server {
    app: Arc<App>,
    routes: BoxedFilter<(Response,)>,
    draining: CancellationToken,
    /// Connections, and the sockets they became.
    tasks: TaskTracker,
}

/// Who asks, as far as the connection tells.
#[derive(Debug, Clone)]
struct Client {
    address: IpAddr,
    /// What it calls itself.
    label: String,
    /// Tells one client of a user from another.
    fingerprint: String,
}

/// The permit of a connection, until a socket takes it along.
type PermitSlot = Arc<Mutex<Option<Permit>>>;

/// Serves until `draining` is cancelled; then accepts no more, and waits for what is open as long as the settings say.
pub async fn serve(app: Arc<App>, listener: TcpListener, draining: CancellationToken) {
    let routes = routes::all(&app, &draining);
    let server = Arc::new(Server { app, routes, draining: draining.clone(), tasks: TaskTracker::new() });
    loop {
        let (stream, peer) = tokio::select! {
            () = draining.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let Some(permit) = admit(&server, peer.ip()) else {
            metrics::refused("connections");
            tracing::debug!("a connection was refused: too many");
            continue;
        };
        server.tasks.spawn(connection(Arc::clone(&server), stream, peer.ip(), permit));
    }
    drop(listener);
    server.tasks.close();
    let drained = tokio::time::timeout(ms(server.app.config.drain_ms), server.tasks.wait()).await;
    if drained.is_err() {
        tracing::warn!(open = server.tasks.len(), "some connections were still open at the end of draining");
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client went before it was its turn.
            Err(error)
                if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Counts a connection in all, and for its address unless that is a proxy's, which stands for many.
fn admit(server: &Server, peer: IpAddr) -> Option<Permit> {
    let mut permit = server.app.limits.connection()?;
    let proxy = address::is_trusted(peer, &server.app.config.trusted_proxies.0);
    (proxy || permit.claim(peer)).then_some(permit)
}

async fn connection(server: Arc<Server>, stream: TcpStream, peer: IpAddr, permit: Permit) {
    // Fails on a connection that is already gone.
    let _ = stream.set_nodelay(true);
    let slot: PermitSlot = Arc::new(Mutex::new(Some(permit)));
    let service = service_fn(|request| {
        let (server, slot) = (Arc::clone(&server), Arc::clone(&slot));
        async move { Ok::<_, Infallible>(answer(&server, peer, &slot, request).await) }
    });
    let mut settings = http1::Builder::new();
    settings
        .timer(TokioTimer::new())
        .header_read_timeout(ms(server.app.config.header_ms))
        .max_header_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER);
    let stream = TokioIo::new(Hasty::new(stream, ms(server.app.config.write_ms)));
    let mut serving = std::pin::pin!(settings.serve_connection(stream, service).with_upgrades());
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = server.draining.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

async fn answer(server: &Arc<Server>, peer: IpAddr, slot: &PermitSlot, mut request: Request<Incoming>) -> Response {
    let client = client(server, peer, request.headers());
    if matches!(request.uri().path(), "/ws" | "/ws/") {
        return protected(upgrade::answer(server, client, slot, request));
    }
    let allowed = allowed_origin(server, request.headers());
    request.extensions_mut().insert(client);
    let Ok(mut response) = TowerToHyperService::new(warp::service(server.routes.clone())).call(request).await;
    if let Some(origin) = allowed {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    protected(response)
}

fn client(server: &Server, peer: IpAddr, headers: &HeaderMap) -> Client {
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let address = address::client_address(peer, forwarded, &server.app.config.trusted_proxies.0);
    let label = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let label = label.unwrap_or_default();
    let fingerprint = digest(&format!("{}\n{label}", Prefix::of(address))).into();
    Client { address, label, fingerprint }
}

fn allowed_origin(server: &Server, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let allowed = &server.app.config.allowed_origins.0;
    allowed.iter().any(|allowed| allowed.is(origin.as_bytes())).then(|| origin.clone())
}

/// The headers of every answer.
fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(VARY).or_insert(HeaderValue::from_static("Accept, origin"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    response
}
