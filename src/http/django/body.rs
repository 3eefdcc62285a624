//! Bodies of requests: read within a size and a time, and taken apart by their media type into named values.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use hyper::body::Bytes;
use serde_json::{Map, Value};
use warp::Buf;
use warp::http::header::CONTENT_TYPE;
use warp::http::{HeaderMap, StatusCode};

use super::answers::Refusal;
use super::form::Field;
use super::parts::{self, Sender};
use crate::config::ms;
use crate::sentence;

/// What a request brought, by name, not judged yet.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) values: Vec<(String, Value)>,
    /// Files that lie on the disk, by the names under which they came.
    pub(super) files: Vec<(String, Arc<parts::Brought>)>,
    /// From an HTML form, in which every value is a text and an empty one may mean nothing.
    pub(super) is_form: bool,
}

/// Reads a body, counting its bytes as they come: the client's own word on its length is not asked.
async fn read<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    most: usize,
    time: Duration,
) -> Result<Vec<u8>, Refusal> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    let reading = async {
        while let Some(part) = body.next().await {
            let mut part = part.map_err(|_| broken())?;
            if bytes.len() + part.remaining() > most {
                return Err(too_large(most));
            }
            while part.has_remaining() {
                let chunk = part.chunk();
                bytes.extend_from_slice(chunk);
                let read = chunk.len();
                part.advance(read);
            }
        }
        Ok(())
    };
    tokio::time::timeout(time, reading).await.map_err(|_| late())??;
    Ok(bytes)
}

fn broken() -> Refusal {
    Refusal::Detail(StatusCode::BAD_REQUEST, sentence!("body-broken"))
}

/// What is no file takes no more than this.
pub(super) fn too_large(most: usize) -> Refusal {
    Refusal::Detail(StatusCode::PAYLOAD_TOO_LARGE, sentence!("body-too-large", max = most))
}

/// The body did not come in time.
pub(super) fn late() -> Refusal {
    Refusal::Detail(StatusCode::REQUEST_TIMEOUT, sentence!("body-late"))
}

impl Body {
    /// Reads a body and takes it apart by its media type. Files for the fields that may be one go to the disk as they
    /// come; all else is held in memory, and may be no longer than the settings say.
    pub(super) async fn take<S, B>(
        sender: Sender<'_>,
        headers: &HeaderMap,
        takes: &[Field],
        body: S,
    ) -> Result<Body, Refusal>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "multipart/form-data" && takes.iter().any(Field::is_file) {
            return parts::take(sender, media, takes, body).await;
        }
        // A body gets as long as a head.
        let config = sender.config;
        let body = read(body, config.body_max, ms(config.header_ms)).await?;
        match kind.as_str() {
            _ if body.is_empty() => Ok(Body::default()),
            "multipart/form-data" => {
                let whole = stream::iter([Ok::<_, warp::Error>(Bytes::from(body))]);
                parts::take(sender, media, takes, whole).await
            }
            "application/json" => Ok(Body { values: from_json(&body)?.into_iter().collect(), ..Body::default() }),
            "application/x-www-form-urlencoded" => {
                let values = pairs(&body).into_iter().map(|(name, value)| (name, Value::String(value))).collect();
                Ok(Body { values, is_form: true, ..Body::default() })
            }
            _ => {
                Err(Refusal::Detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence!("unsupported-media", media = media)))
            }
        }
    }

    /// The last value of a name, as Django takes it.
    pub(super) fn last(&self, name: &str) -> Option<&Value> {
        self.values.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value)
    }

    /// All values of a name: what a list is in a form.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.values.iter().filter(move |(given, _)| given == name).map(|(_, value)| value)
    }

    /// The file that came under a name; the last one, as Django takes it.
    pub(super) fn file(&self, name: &str) -> Option<&Arc<parts::Brought>> {
        self.files.iter().rev().find(|(given, _)| given == name).map(|(_, file)| file)
    }

    /// Whether it came as an HTML form.
    pub(super) fn is_form(&self) -> bool {
        self.is_form
    }
}

fn from_json(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let kind = match serde_json::from_slice(body) {
        Ok(Value::Object(values)) => return Ok(values),
        Ok(other) => python_type(&other),
        Err(cause) => {
            let why = cause.to_string();
            return Err(Refusal::Detail(StatusCode::BAD_REQUEST, sentence!("json-fault", why = why)));
        }
    };
    let mut errors = super::answers::FieldErrors::default();
    errors.add("non_field_errors", sentence!("no-object", kind = kind));
    Err(errors.into())
}

/// What Python calls the type of a value, as clients of the Django API were told it.
pub(super) fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "dict",
        Value::Array(_) => "list",
        Value::String(_) => "str",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::Bool(_) => "bool",
        Value::Null => "NoneType",
    }
}

/// `a=b&c=d`, as in a form or a query.
pub(super) fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}
