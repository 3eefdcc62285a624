//! What a request must be before anything else looks at it: of the form that the routes know, and without headers that
//! two readers could understand differently.

use warp::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
};
use warp::http::uri::{Authority, PathAndQuery};
use warp::http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use warp::reply::{Reply, Response};

use super::django::detail;

/// What a request says once, or not at all.
const ONCE: [HeaderName; 5] = [HOST, AUTHORIZATION, CONTENT_TYPE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION];

/// What a request is answered that the routes do not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instead {
    /// About the server as a whole there is nothing to tell.
    Nothing,
    /// It is malformed.
    Refused(&'static str),
}

impl Instead {
    /// The answer.
    pub(super) fn answer(self) -> Response {
        match self {
            Instead::Nothing => warp::reply().into_response(),
            Instead::Refused(why) => {
                let mut response = detail(StatusCode::BAD_REQUEST, why);
                // Where it ends, opinions may differ too.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                response
            }
        }
    }
}

/// A request whose target is a path and a query and nothing else.
pub(super) fn judged<B>(mut request: Request<B>) -> Result<Request<B>, Instead> {
    judge(request.version(), request.headers()).map_err(Instead::Refused)?;
    if *request.method() == Method::OPTIONS && request.uri().path() == "*" {
        return Err(Instead::Nothing);
    }
    let target = origin_form(request.method(), request.uri());
    *request.uri_mut() = target.ok_or(Instead::Refused("No such form of a target."))?;
    Ok(request)
}

fn judge(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    if ONCE.iter().any(|name| headers.get_all(name).iter().count() > 1) {
        return Err("A header came twice that may come once.");
    }
    match headers.get(HOST) {
        None if version == Version::HTTP_11 => Err("The header Host is missing."),
        Some(host) if !is_host(host) => Err("The header Host names no host."),
        _ => Ok(()),
    }
}

/// A host and perhaps a port, or nothing.
fn is_host(value: &HeaderValue) -> bool {
    let authority = value.is_empty() || Authority::try_from(value.as_bytes()).is_ok();
    authority && !value.as_bytes().contains(&b'@')
}

/// The path and the query of a target, however it is written (RFC 9112, 3.2).
fn origin_form(method: &Method, target: &Uri) -> Option<Uri> {
    let known = target.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"));
    // A host alone is where a tunnel would go.
    let whole = target.authority().is_none() || target.scheme().is_some();
    let path: &PathAndQuery = target.path_and_query().filter(|path| path.as_str().starts_with('/'))?;
    (known && whole && *method != Method::CONNECT).then(|| Uri::from(path.clone()))
}
