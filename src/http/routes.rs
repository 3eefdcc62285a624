//! What the port serves besides sockets: the health checks, and the REST API.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use warp::filters::BoxedFilter;
use warp::http::header::{ALLOW, HeaderValue};
use warp::http::{Method, StatusCode};
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::Client;
use super::django::{self, Parts, detail, no_such_path};
use super::files;
use crate::app::App;

/// Every route; what none of them takes is answered at the end, once.
pub(super) fn all(app: &Arc<App>, draining: &CancellationToken) -> BoxedFilter<(Response,)> {
    let health = warp::path!("healthz").and(get(app, draining, |_, _| async { true }));
    let ready = warp::path!("readyz").and(get(app, draining, is_ready));
    let all = health.or(ready).unify().or(media(app)).unify().or(api(app)).unify();
    all.recover(|_: Rejection| async { Ok::<_, Infallible>(no_such_path()) }).unify().boxed()
}

/// Uploads, and the files that came of them.
fn media(app: &Arc<App>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    let app = Arc::clone(app);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let line = warp::path("media").and(warp::method()).and(warp::path::full()).and(query);
    let parts = line.and(warp::ext::get::<Client>()).and(warp::header::headers_cloned()).and(warp::body::stream());
    parts.then(move |method, path: warp::path::FullPath, query, client, headers, body| {
        let path = path.as_str().to_owned();
        files::answer(Arc::clone(&app), Parts { client, method, path, query, headers, body })
    })
}

/// The REST API, which finds its own way by its table.
fn api(app: &Arc<App>) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
    let app = Arc::clone(app);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let line = warp::method().and(warp::path::full()).and(query);
    let parts = warp::ext::get::<Client>().and(line).and(warp::header::headers_cloned()).and(warp::body::stream());
    parts.then(move |client, method, path: warp::path::FullPath, query, headers, body| {
        let path = path.as_str().to_owned();
        django::answer(Arc::clone(&app), Parts { client, method, path, query, headers, body })
    })
}

/// An endpoint that tells only whether all is well.
fn get<F, R>(
    app: &Arc<App>,
    draining: &CancellationToken,
    judge: F,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + use<F, R>
where
    F: Fn(Arc<App>, CancellationToken) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = bool> + Send,
{
    let (app, draining) = (Arc::clone(app), draining.clone());
    warp::method().then(move |method: Method| {
        let judged = judge(Arc::clone(&app), draining.clone());
        async move {
            let mut response = match (method == Method::GET || method == Method::HEAD, judged.await) {
                (false, _) => detail(StatusCode::METHOD_NOT_ALLOWED, "only GET"),
                (true, true) => detail(StatusCode::OK, "ok"),
                (true, false) => detail(StatusCode::SERVICE_UNAVAILABLE, "not ready"),
            };
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            response
        }
    })
}

/// Whether new work should be sent here.
async fn is_ready(app: Arc<App>, draining: CancellationToken) -> bool {
    !draining.is_cancelled() && app.lacks().await.is_empty()
}
