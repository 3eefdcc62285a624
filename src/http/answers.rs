//! The answers of the REST surface, in the shapes and the language that clients of the Django API know.

use std::time::Duration;

use serde::{Serialize, Serializer};
use warp::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::http::{Method, StatusCode};
use warp::reply::{Reply, Response};

use crate::error::{Error, ErrorCode};

/// An answer that refuses.
pub(super) type Refusal = Box<Response>;
/// What an endpoint answers.
pub(super) type Answer = Result<Response, Refusal>;

/// How long a client waits that was told nothing finer, after `busy`.
const BUSY_WAIT: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Detail<'a> {
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<[TokenMessage<'a>; 1]>,
}

#[derive(Serialize)]
struct TokenMessage<'a> {
    token_class: &'static str,
    token_type: &'static str,
    message: &'a str,
}

/// What is wrong with the fields of a request, in the order of the form.
#[derive(Debug, Default)]
pub(super) struct FieldErrors(Vec<(&'static str, Vec<String>)>);

impl FieldErrors {
    pub(super) fn add(&mut self, field: &'static str, text: impl Into<String>) {
        match self.0.iter_mut().find(|(name, _)| *name == field) {
            Some((_, texts)) => texts.push(text.into()),
            None => self.0.push((field, vec![text.into()])),
        }
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == field)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn refusal(&self) -> Refusal {
        Box::new(json(StatusCode::BAD_REQUEST, self))
    }
}

impl Serialize for FieldErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, texts)| (name, texts)))
    }
}

/// A JSON answer.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    // Our own shapes have no failing Serialize.
    let text = serde_json::to_string(body).unwrap_or_default();
    let mut response = warp::reply::with_status(text, status).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `{"detail": ...}`.
pub(super) fn detail(status: StatusCode, text: &str) -> Response {
    json(status, &Detail { detail: text, code: None, messages: None })
}

/// Somebody has to say who they are, or said it wrongly.
pub(super) fn unauthorized(text: &str, code: Option<&'static str>) -> Refusal {
    challenge(json(StatusCode::UNAUTHORIZED, &Detail { detail: text, code, messages: None }))
}

/// An access token that is not good.
pub(super) fn bad_access_token(why: &str) -> Refusal {
    let message = TokenMessage { token_class: "AccessToken", token_type: "access", message: why };
    let body = Detail {
        detail: "Given token not valid for any token type",
        code: Some("token_not_valid"),
        messages: Some([message]),
    };
    challenge(json(StatusCode::UNAUTHORIZED, &body))
}

fn challenge(mut response: Response) -> Refusal {
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api\""));
    Box::new(response)
}

/// The path has no such method.
pub(super) fn method_not_allowed(method: &Method) -> Refusal {
    let text = format!("Méthode «\u{a0}{method}\u{a0}» non autorisée.");
    Box::new(detail(StatusCode::METHOD_NOT_ALLOWED, &text))
}

/// The body is of a kind that is not read here.
pub(super) fn unsupported(media: &str) -> Refusal {
    let text = format!("Type de média «\u{a0}{media}\u{a0}» non supporté.");
    Box::new(detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text))
}

/// No route. A page, since that is what such paths always answered.
pub(super) fn no_such_path() -> Response {
    let page = "<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n  \
                <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n</html>\n";
    warp::reply::with_status(warp::reply::html(page), StatusCode::NOT_FOUND).into_response()
}

/// The refusal of an operation. Field errors that have a French text are told by their endpoint before this.
pub(super) fn refusal(error: &Error) -> Refusal {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match error.code {
        ErrorCode::InvalidCredentials => unauthorized(&error.message, Some("token_not_valid")),
        ErrorCode::RateLimited => {
            // Whole seconds, rounded up, so that who waits as told passes.
            let wait = error.retry_after.unwrap_or(BUSY_WAIT);
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let unit = if seconds == 1 { "seconde" } else { "secondes" };
            let text = format!("Requête ralentie. Disponible à nouveau dans {seconds} {unit}.");
            retry_after(detail(status, &text), seconds)
        }
        ErrorCode::Busy | ErrorCode::UnknownOutcome => {
            let text = "Service momentanément indisponible. Réessayez dans un instant.";
            retry_after(detail(status, text), BUSY_WAIT.as_secs())
        }
        ErrorCode::Forbidden => Box::new(detail(status, "Vous n'avez pas la permission d'effectuer cette action.")),
        _ => match error.field.as_deref() {
            Some(field) if status == StatusCode::BAD_REQUEST => {
                let field = field.to_owned();
                let body = std::collections::BTreeMap::from([(field, [error.message.as_ref()])]);
                Box::new(json(status, &body))
            }
            _ => Box::new(detail(status, &error.message)),
        },
    }
}

fn retry_after(mut response: Response, seconds: u64) -> Refusal {
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    Box::new(response)
}

/// Names the methods of the path, as every answer of the API does.
pub(super) fn allowing(mut response: Response, methods: &'static str) -> Response {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
