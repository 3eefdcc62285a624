//! One port: our own accept loop over hyper's HTTP/1, because it must bound what others leave open. `GET /ws` becomes a
//! socket; all else goes to the routes.

pub mod address;
mod credentials;
mod disposition;
pub mod django;
mod files;
pub mod listener;
pub mod operator;
mod part;
mod request;
mod routes;
mod stream;
mod upgrade;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue,
    ORIGIN, REFERRER_POLICY, RETRY_AFTER, USER_AGENT, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use warp::http::{HeaderMap, Request, StatusCode};
use warp::reply::{Reply, Response};

use crate::app::App;
use crate::config::ms;
use crate::error::Error;
use crate::limits::Permit;
use crate::metrics;
use part::Part;
use stream::{CROWDED, Progress, Stream};

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Most headers of a request.
const HEADERS: usize = 100;
/// Most bytes that are buffered of a request, head and body.
const BUFFER: usize = 32 << 10;
/// Connections that are told at once why they are not let in; more are closed without a word.
const REFUSALS: usize = 1024;
/// What pages of other origins may read of an answer, besides the few headers that they always may.
const EXPOSED: &str = "accept-ranges, allow, content-disposition, content-length, content-range, etag, retry-after, \
                       www-authenticate, x-total-count";
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
    connection: Arc<Progress>,
}

impl Client {
    /// It has shown a valid token.
    fn is_known(&self) {
        self.connection.permit.known();
    }
}

/// Serves until `draining` is cancelled; then accepts no more, and waits for what is open as long as the settings say.
pub async fn serve(app: Arc<App>, listener: TcpListener, draining: CancellationToken) {
    let routes = routes::all(&app, &draining);
    let server = Arc::new(Server { app, routes, draining: draining.clone(), tasks: TaskTracker::new() });
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let (stream, peer) = tokio::select! {
            () = draining.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        match admit(&server, peer.ip()) {
            Some(permit) => {
                server.tasks.spawn(connection(Arc::clone(&server), stream, peer.ip(), permit));
                // Of many that come at once, each is looked at before it counts as one that says nothing.
                tokio::task::yield_now().await;
            }
            None => {
                metrics::refused("connections");
                tracing::debug!("a connection was refused: too many");
                if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _place = place;
                        stream::refuse(stream).await;
                    });
                }
            }
        }
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
    let proxy = address::is_trusted(peer, &server.app.config.trusted_proxies.0);
    server.app.limits.connection((!proxy).then_some(peer))
}

async fn connection(server: Arc<Server>, stream: TcpStream, peer: IpAddr, permit: Permit) {
    // Fails on a connection that is already gone.
    let _ = stream.set_nodelay(true);
    let progress = Progress::new(permit);
    let (stream, returned) = Stream::new(stream, Arc::clone(&progress), &server.app.config);
    serve_connection(&server, stream, peer, &progress).await;
    returned.end().await;
}

async fn serve_connection(server: &Arc<Server>, stream: Stream, peer: IpAddr, progress: &Arc<Progress>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (server, progress) = (Arc::clone(server), Arc::clone(progress));
        async move {
            let underway = progress.begin();
            let answered = AssertUnwindSafe(answer(&server, peer, &progress, request)).catch_unwind().await;
            // Whatever a request may be, it is answered.
            let response = answered.unwrap_or_else(|_| broken());
            Ok::<_, Infallible>(response.map(|body| Part::going(body, underway)))
        }
    });
    let mut settings = http1::Builder::new();
    settings
        .timer(TokioTimer::new())
        // The stream bounds how long a head may take, and apart from that a pause.
        .header_read_timeout(None)
        .max_header_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER);
    let mut serving = std::pin::pin!(settings.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let (mut draining, mut over) = (false, false);
    let ended = loop {
        tokio::select! {
            ended = serving.as_mut() => break ended,
            () = server.draining.cancelled(), if !draining => {
                draining = true;
                serving.as_mut().graceful_shutdown();
            }
            // Polled again, it finds out and ends; unless the client does not take its answer.
            () = progress.permit.must_end(), if !over => match progress.is_answering() {
                true => return,
                false => over = true,
            },
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

async fn answer(server: &Arc<Server>, peer: IpAddr, progress: &Arc<Progress>, request: Request<Incoming>) -> Response {
    let request = match request::judged(request) {
        Ok(request) => request,
        Err(instead) => return protected(instead.answer()),
    };
    let client = client(server, peer, progress, request.headers());
    if matches!(request.uri().path(), "/ws" | "/ws/") {
        return protected(upgrade::answer(server, client, request).await);
    }
    let allowed = allowed_origin(server, request.headers());
    let mut request = request.map(|body| Part::coming(body, progress.begin()));
    request.extensions_mut().insert(client);
    let routes = TowerToHyperService::new(warp::service(server.routes.clone()));
    let mut response = tokio::select! {
        Ok(response) = routes.call(request) => response,
        () = progress.permit.must_end() => crowded(progress),
    };
    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    protected(response)
}

/// What a request is told whose connection has to give way while its body is awaited.
fn crowded(progress: &Progress) -> Response {
    progress.is_told();
    let mut response = CROWDED.into_response();
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    for (name, value) in [(CONTENT_TYPE, "application/json"), (RETRY_AFTER, "1"), (CONNECTION, "close")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What a request is told that made its handler panic.
fn broken() -> Response {
    let error = Error::internal("a request made its handler panic");
    protected(files::refused(&error, crate::catalogue::Language::English))
}

fn client(server: &Server, peer: IpAddr, progress: &Arc<Progress>, headers: &HeaderMap) -> Client {
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let address = address::client_address(peer, forwarded, &server.app.config.trusted_proxies.0);
    let label = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Client { address, label: label.unwrap_or_default(), connection: Arc::clone(progress) }
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
