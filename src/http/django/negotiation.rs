//! What a client accepts, and what browsers ask before they call.

use http_body_util::BodyExt;
use warp::http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, HeaderValue,
};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::{Reply, Response};

use super::answers::Refusal;
use crate::sentence;

/// How an answer is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rendering {
    /// As it is.
    Json,
    /// In a page, for somebody who looks with a browser.
    Page,
}

/// How the client wants to have it: `?format=`, else `Accept`.
pub(super) fn rendering(headers: &HeaderMap, query: &[(String, String)]) -> Result<Rendering, Refusal> {
    match query.iter().rev().find(|(name, _)| name == "format").map(|(_, value)| value.as_str()) {
        Some("json") => return Ok(Rendering::Json),
        Some("api") => return Ok(Rendering::Page),
        Some(_) => return Err(Refusal::not_found()),
        None => {}
    }
    let told: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<String> = told
        .iter()
        .flat_map(|header| header.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .filter(|range| !range.is_empty())
        .collect();
    if ranges.is_empty() {
        return Ok(Rendering::Json);
    }
    // What is said more precisely goes first, as Django REST framework has it; weights are not looked at.
    const ORDER: [(&str, Rendering); 5] = [
        ("application/json", Rendering::Json),
        ("text/html", Rendering::Page),
        ("application/*", Rendering::Json),
        ("text/*", Rendering::Page),
        ("*/*", Rendering::Json),
    ];
    let first = ORDER.iter().find(|(media, _)| ranges.iter().any(|range| range == media));
    let not_acceptable = || Refusal::Detail(StatusCode::NOT_ACCEPTABLE, sentence!("not-acceptable"));
    first.map(|(_, rendering)| *rendering).ok_or_else(not_acceptable)
}

/// The version of the API that a client asks for, as Django REST framework's `AcceptHeaderVersioning` has it:
/// `Accept: application/json; version=2`. 1 where it names none.
pub(super) fn version(headers: &HeaderMap) -> u32 {
    let told = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let parameters = told.flat_map(|header| header.split([',', ';'])).filter_map(|parameter| parameter.split_once('='));
    let mut versions = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("version"));
    versions.find_map(|(_, value)| value.trim().trim_matches('"').parse().ok()).unwrap_or(1)
}

impl Rendering {
    /// Writes an answer out.
    pub(super) async fn apply(self, name: &str, response: Response) -> Response {
        if self == Rendering::Json {
            return response;
        }
        let (mut head, body) = response.into_parts();
        // Our own bodies are in memory and have no failing frames.
        let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>{name}</title>\n</head>\n<body>\n  <h1>{name}</h1>\n  \
             <p>{}</p>\n  <pre>{text}</pre>\n</body>\n</html>\n",
            head.status
        );
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        head.headers.remove("content-length");
        let mut shown = page.into_response();
        *shown.status_mut() = head.status;
        *shown.headers_mut() = head.headers;
        shown
    }
}

/// Whether a browser asks before a page of another origin calls.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a browser is told then; for origins that are not allowed the answer lacks their name.
pub(in crate::http) fn preflight() -> Response {
    const HEADERS: &str = "accept, authorization, content-disposition, content-type, if-none-match, if-range, range, \
                           user-agent, x-csrftoken, x-requested-with";
    let mut response = warp::reply().into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("DELETE, GET, OPTIONS, PATCH, POST, PUT");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}
