//! Files over HTTP: `PUT /media/uploads/<client_key>` brings one, `GET /media/<name>/<size>` fetches one by a URL that
//! the server signed. Refusals are those of the WebSocket, as `{"error": …}`.

mod headers;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;
use serde_json::json;
use warp::Buf;
use warp::http::header::{
    ACCEPT_LANGUAGE, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPECT, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use warp::http::{Method, StatusCode};
use warp::reply::{Reply, Response};

use super::Client;
use super::credentials::{self, Shown as Told};
use super::disposition;
use super::django::{Parts, detail, no_such_path, preflight};
use crate::app::App;
use crate::auth::TokenFault;
use crate::catalogue::Language;
use crate::error::{Error, ErrorBody, ErrorCode, Result};
use crate::media::links::Link;
use crate::media::{Size, Wanted};
use crate::model::{Actor, Text, UserId};
use crate::ops::files::{self, Begun, Coming, Seat, Shown};
use crate::ops::sessions;
use crate::sentence;
use headers::{Asked, asked};

/// How long a browser may show a file without asking again, in seconds: so long after it may see it no more.
const FRESH_S: i64 = 60;

/// Answers a request below `/media/`.
pub(super) async fn answer<S, B>(app: Arc<App>, parts: Parts<S>) -> Response
where
    S: Stream<Item = std::result::Result<B, warp::Error>> + Send + 'static,
    B: Buf + Send + 'static,
{
    let wanted = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let language = wanted.and_then(Language::accepted).unwrap_or(Language::English);
    let path = parts.path.clone();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (allowed, answered) = match (segments.as_slice(), &parts.method) {
        (["media", "uploads", _], &Method::OPTIONS) | (["media", _, _] | ["media", _, _, _], &Method::OPTIONS) => {
            return preflight();
        }
        (["media", "uploads", key], &Method::PUT) => {
            ("PUT, OPTIONS", upload(&app, disposition::decoded(key), parts).await)
        }
        (["media", "uploads", _], _) => ("PUT, OPTIONS", Ok(not_allowed())),
        (["media", name, size] | ["media", name, size, _], &Method::GET | &Method::HEAD) => {
            ("GET, HEAD, OPTIONS", fetch(&app, name, size, &parts.method, &parts.query, &parts.headers).await)
        }
        (["media", _, _] | ["media", _, _, _], _) => ("GET, HEAD, OPTIONS", Ok(not_allowed())),
        _ => return no_such_path(),
    };
    let mut response = answered.unwrap_or_else(|error| refused(&error, language));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn not_allowed() -> Response {
    detail(StatusCode::METHOD_NOT_ALLOWED, "This is no way to deal with a file.")
}

/// A refusal, with the status that fits it here.
pub(super) fn refused(error: &Error, language: Language) -> Response {
    let status = match (error.code, error.message.name()) {
        (ErrorCode::TooLong, "file-heavy") => 413,
        (_, "body-late") => 408,
        (_, "picture-expected") => 415,
        (code, _) => code.status(),
    };
    let body = json!({ "error": ErrorBody::new(error, language) });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = warp::reply::with_status(warp::reply::json(&body), status).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api\""));
    }
    if error.code.retryable() {
        let wait = error.retry_after.map_or(1, |wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        response.headers_mut().insert(RETRY_AFTER, wait.into());
    }
    response
}

/// Who sends, by the `Authorization` header.
async fn sender(app: &App, client: &Client, headers: &HeaderMap) -> Result<Actor> {
    let token = match credentials::bearer(headers) {
        Told::Nothing => return Err(Error::new(ErrorCode::NotAuthenticated, sentence!("not-provided"))),
        Told::Malformed => return Err(TokenFault::Invalid.into()),
        Told::Token(token) => token,
    };
    let actor = sessions::authenticate(app, token).await?.actor;
    client.is_known();
    app.limits.command(actor.user, app.bus.nodes()).map_err(Error::rate_limited)?;
    Ok(actor)
}

/// Takes an upload. What can be refused, or is there already, is answered before the body is read.
async fn upload<S, B>(app: &Arc<App>, client_key: String, parts: Parts<S>) -> Result<Response>
where
    S: Stream<Item = std::result::Result<B, warp::Error>> + Send + 'static,
    B: Buf + Send + 'static,
{
    let Parts { client, headers, query, body, .. } = parts;
    let actor = sender(app, &client, &headers).await?;
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let name = headers::asked_in(&query, "name").or_else(|| disposition::of(&headers).file_name);
    let client_key = Text::new(client_key).map_err(|_| Error::field("client_key", sentence!("control-characters")))?;
    let coming = Coming { client_key: Some(client_key), name, bytes: length };
    let ticket = match files::begin(app, actor, Seat::At(client.address), &coming).await {
        Ok(Begun::Now(ticket)) => ticket,
        decided => {
            // Who did not ask whether to send it is sending it now, and may not listen before the end. Who did ask must
            // not be told to go on.
            if !headers.contains_key(EXPECT) {
                tokio::spawn(pour_away(Arc::clone(app), body));
            }
            return match decided? {
                Begun::There(there) => Ok(told(StatusCode::OK, &there)),
                Begun::Now(_) => Err(Error::internal("an upload began twice")),
            };
        }
    };
    let mut upload = files::spool(&app.media.spool).await?;
    upload.take(body, files::bounds(&app.config, length), ticket.place()).await?;
    if length.is_some_and(|length| length != upload.bytes()) {
        return Err(Error::field("file", sentence!("body-broken")));
    }
    let attachment = files::finish(ticket, upload, Wanted::Anything).await?;
    Ok(told(StatusCode::CREATED, &attachment))
}

fn told(status: StatusCode, attachment: &crate::model::Attachment) -> Response {
    warp::reply::with_status(warp::reply::json(attachment), status).into_response()
}

/// Reads what somebody sends in vain, within the bounds of an upload, and keeps nothing of it.
async fn pour_away<S, B>(app: Arc<App>, body: S)
where
    S: Stream<Item = std::result::Result<B, warp::Error>> + Send + 'static,
    B: Buf + Send + 'static,
{
    let bounds = files::bounds(&app.config, None);
    let mut body = std::pin::pin!(body);
    let mut poured = 0;
    let pouring = async {
        while let Ok(Some(Ok(part))) = tokio::time::timeout(bounds.idle, body.next()).await {
            poured += part.remaining() as u64;
            if poured > bounds.bytes {
                return;
            }
        }
    };
    // The connection is closed where it takes too long.
    let _ = tokio::time::timeout(bounds.whole, pouring).await;
}

/// Gives a file to whoever has a good URL and may see it at this moment.
async fn fetch(
    app: &App,
    name: &str,
    size: &str,
    method: &Method,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response> {
    let none = || Error::not_found("file");
    let number = |name: &str| headers::asked_in(query, name)?.parse::<i64>().ok();
    let said = Size::named(size).zip(number("for")).zip(number("until")).zip(headers::asked_in(query, "sig"));
    let (((size, reader), until), signature) = said.ok_or_else(none)?;
    let link = Link { name, size, reader: UserId(reader), until };
    let shown = files::shown(app, &link, &signature).await?;
    let tag = format!("\"{}\"", shown.tag);
    if headers::names_tag(headers, &tag) {
        return described(StatusCode::NOT_MODIFIED, empty(), &shown, &tag);
    }
    if *method == Method::HEAD {
        let length = files::length(app, &shown).await?;
        return measured(described(StatusCode::OK, empty(), &shown, &tag)?, length, None);
    }
    let Some(asked_for) = headers::range(headers, &tag) else {
        let kept = files::bytes(app, &shown, None).await?;
        let length = kept.length;
        return measured(described(StatusCode::OK, streamed(kept.bytes), &shown, &tag)?, length, None);
    };
    let length = files::length(app, &shown).await?;
    match asked(asked_for, length) {
        Asked::Part(range) => {
            let told = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            let part = range.end - range.start;
            let kept = files::bytes(app, &shown, Some(range)).await?;
            measured(described(StatusCode::PARTIAL_CONTENT, streamed(kept.bytes), &shown, &tag)?, part, Some(told))
        }
        Asked::Nothing => {
            let mut response = described(StatusCode::RANGE_NOT_SATISFIABLE, empty(), &shown, &tag)?;
            response.headers_mut().remove(CONTENT_DISPOSITION);
            measured(response, 0, Some(format!("bytes */{length}")))
        }
    }
}

fn empty() -> Response {
    warp::reply().into_response()
}

/// The headers of a file. Whatever it is, it runs nothing and is taken for nothing else.
fn described(status: StatusCode, mut response: Response, shown: &Shown, tag: &str) -> Result<Response> {
    let content_type = shown.size.content_type(&shown.attachment.content_type);
    let fresh = shown.left_s.clamp(0, FRESH_S);
    *response.status_mut() = status;
    let told = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type.to_owned()),
        (CONTENT_DISPOSITION, headers::disposition(&shown.attachment, content_type)),
        (CACHE_CONTROL, format!("private, max-age={fresh}")),
        (ETAG, tag.to_owned()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin".to_owned()),
    ] {
        told.insert(name, HeaderValue::from_str(&value).map_err(Error::internal)?);
    }
    Ok(response)
}

fn measured(mut response: Response, length: u64, range: Option<String>) -> Result<Response> {
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    if let Some(range) = range {
        response.headers_mut().insert(CONTENT_RANGE, HeaderValue::from_str(&range).map_err(Error::internal)?);
    }
    Ok(response)
}

/// The bytes of a file, as they are read.
fn streamed(bytes: BoxStream<'static, Result<Bytes>>) -> Response {
    warp::reply::stream(Shared(std::sync::Mutex::new(bytes))).into_response()
}

/// A stream that several threads could know of; only its one reader does.
struct Shared<S>(std::sync::Mutex<S>);

impl<S: Stream + Unpin> Stream for Shared<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let stream = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        stream.poll_next_unpin(context)
    }
}
