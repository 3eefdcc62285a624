//! The answers of the Django API: its statuses, headers and shapes. What is said in them stands in the catalogue.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::reply::{Reply, Response};

use crate::catalogue::{Language, Sentence};
use crate::error::{Error, ErrorCode};
use crate::sentence;

/// What an endpoint answers.
pub(super) type Answer = Result<Response, Refusal>;

/// How long a client waits that was told nothing finer, after `busy`.
const BUSY_WAIT: Duration = Duration::from_secs(1);
/// Tells how many items there are in all, beside a list that may be cut.
pub(super) const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// Why a request is refused, in no language yet.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Some fields are wrong.
    Fields(FieldErrors),
    /// The request is wrong: `{"detail": ...}`.
    Detail(StatusCode, Sentence),
    /// Somebody has to say who they are, or said it wrongly.
    Unauthorized { detail: Sentence, code: Option<&'static str>, token: Option<Sentence> },
    /// What the operation refused.
    Operation(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Operation(error)
    }
}

impl From<FieldErrors> for Refusal {
    fn from(errors: FieldErrors) -> Refusal {
        Refusal::Fields(errors)
    }
}

impl Refusal {
    /// Nobody said who they are.
    pub(super) fn not_provided() -> Refusal {
        Refusal::Unauthorized { detail: sentence!("not-provided"), code: None, token: None }
    }

    /// An access token that is not good.
    pub(super) fn bad_access_token(why: Sentence) -> Refusal {
        Refusal::Unauthorized { detail: sentence!("bad-token"), code: Some("token_not_valid"), token: Some(why) }
    }

    /// There is no such object for the reader.
    pub(super) fn not_found() -> Refusal {
        Refusal::Detail(StatusCode::NOT_FOUND, sentence!("not-found"))
    }

    /// Written out.
    pub(super) fn told_in(self, language: Language) -> Response {
        match self {
            Refusal::Fields(errors) => json(StatusCode::BAD_REQUEST, &errors.told_in(language)),
            Refusal::Detail(status, sentence) => detail(status, &sentence.told_in(language)),
            Refusal::Unauthorized { detail, code, token } => {
                let messages = token.map(|why| {
                    let message = why.told_in(language);
                    [TokenMessage { token_class: "AccessToken", token_type: "access", message }]
                });
                let detail = detail.told_in(language);
                let mut response = json(StatusCode::UNAUTHORIZED, &Detail { detail: &detail, code, messages });
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api\""));
                response
            }
            Refusal::Operation(error) => operation(error, language),
        }
    }
}

/// What an operation refused, in the shape of its kind.
fn operation(error: Error, language: Language) -> Response {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let plain = |sentence: Sentence| detail(status, &sentence.told_in(language));
    match (error.code, error.field) {
        (ErrorCode::InvalidCredentials, _) => {
            Refusal::Unauthorized { detail: error.message, code: Some("token_not_valid"), token: None }
                .told_in(language)
        }
        (ErrorCode::RateLimited, _) => {
            // Whole seconds, rounded up, so that who waits as told passes.
            let wait = error.retry_after.unwrap_or(BUSY_WAIT);
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let told = sentence!("throttled", seconds = i64::try_from(seconds).unwrap_or(i64::MAX));
            retry_after(plain(told), seconds)
        }
        (ErrorCode::Busy | ErrorCode::UnknownOutcome, _) => retry_after(plain(sentence!("busy")), BUSY_WAIT.as_secs()),
        (ErrorCode::Forbidden, _) => plain(sentence!("forbidden")),
        // Where somebody has blocked the other one, each looks to the other like a deleted account.
        (ErrorCode::Blocked, _) => Refusal::not_found().told_in(language),
        (ErrorCode::NotFound, _) => plain(no_match(&error.message)),
        (_, Some(field)) if status == StatusCode::BAD_REQUEST => {
            let mut errors = FieldErrors::default();
            errors.add(field, error.message);
            Refusal::Fields(errors).told_in(language)
        }
        _ => plain(error.message),
    }
}

/// `No User matches the given query.`, for the operation's "no such user".
fn no_match(message: &Sentence) -> Sentence {
    let model = match message.words("what") {
        Some("user") => "User",
        Some("conversation") => "Conversation",
        Some("message") => "Message",
        Some("match") => "Match",
        _ => return sentence!("not-found"),
    };
    sentence!("no-match", model = model)
}

fn retry_after(mut response: Response, seconds: u64) -> Response {
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

/// Something was done, or refused, in a sentence.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape for the document; what is written out borrows its text")]
pub(super) struct Said {
    /// The sentence.
    detail: String,
}

#[derive(Serialize)]
struct Detail<'a> {
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<[TokenMessage; 1]>,
}

#[derive(Serialize)]
struct TokenMessage {
    token_class: &'static str,
    token_type: &'static str,
    message: String,
}

/// What is wrong with the fields of a request, in the order of the form.
#[derive(Debug, Default)]
pub(super) struct FieldErrors(Vec<(String, Wrong)>);

#[derive(Debug)]
enum Wrong {
    /// The field as a whole.
    Whole(Vec<Sentence>),
    /// Some items of a list, by their index.
    Items(BTreeMap<usize, Vec<Sentence>>),
}

impl FieldErrors {
    /// One thing that is wrong with a field.
    pub(super) fn of(field: &str, sentence: Sentence) -> FieldErrors {
        let mut errors = FieldErrors::default();
        errors.add(field, sentence);
        errors
    }

    pub(super) fn add(&mut self, field: impl Into<String>, sentence: Sentence) {
        match self.wrong(field.into(), || Wrong::Whole(Vec::new())) {
            Wrong::Whole(sentences) => sentences.push(sentence),
            Wrong::Items(items) => items.entry(0).or_default().push(sentence),
        }
    }

    pub(super) fn add_item(&mut self, field: &str, at: usize, sentence: Sentence) {
        match self.wrong(field.to_owned(), || Wrong::Items(BTreeMap::new())) {
            Wrong::Whole(sentences) => sentences.push(sentence),
            Wrong::Items(items) => items.entry(at).or_default().push(sentence),
        }
    }

    fn wrong(&mut self, field: String, none: impl FnOnce() -> Wrong) -> &mut Wrong {
        let at = self.0.iter().position(|(name, _)| *name == field).unwrap_or_else(|| {
            self.0.push((field, none()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Written out.
    pub(super) fn told_in(&self, language: Language) -> impl Serialize {
        ToldErrors { errors: self, language }
    }
}

struct ToldErrors<'a> {
    errors: &'a FieldErrors,
    language: Language,
}

impl Serialize for ToldErrors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = |sentences: &[Sentence]| -> Vec<String> {
            sentences.iter().map(|sentence| sentence.told_in(self.language)).collect()
        };
        let mut map = serializer.serialize_map(Some(self.errors.0.len()))?;
        for (field, wrong) in &self.errors.0 {
            match wrong {
                Wrong::Whole(sentences) => map.serialize_entry(field, &told(sentences))?,
                Wrong::Items(items) => {
                    let items: BTreeMap<usize, Vec<String>> =
                        items.iter().map(|(at, sentences)| (*at, told(sentences))).collect();
                    map.serialize_entry(field, &items)?;
                }
            }
        }
        map.end()
    }
}

/// A JSON answer.
pub(in crate::http) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    // Our own shapes have no failing Serialize.
    let text = serde_json::to_string(body).unwrap_or_default();
    let mut response = warp::reply::with_status(text, status).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `{"detail": ...}`.
pub(in crate::http) fn detail(status: StatusCode, text: &str) -> Response {
    json(status, &Detail { detail: text, code: None, messages: None })
}

/// `{"detail": ...}` of something that was done. The sentence is told in the language of the caller.
pub(super) fn done(language: Language, sentence: &Sentence) -> Response {
    detail(StatusCode::OK, &sentence.told_in(language))
}

/// Nothing to say.
pub(super) fn no_content() -> Response {
    warp::reply::with_status(warp::reply(), StatusCode::NO_CONTENT).into_response()
}

/// No route. A page, since that is what such paths always answered.
pub(in crate::http) fn no_such_path() -> Response {
    let page = "<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n  \
                <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n</html>\n";
    warp::reply::with_status(warp::reply::html(page), StatusCode::NOT_FOUND).into_response()
}
