//! The frames: what a client may say, what it is answered, what it is told. Knows no socket and no database.
//!
//! A frame is read in two steps from the same text: the envelope first, then `data` by its `type`, so that an error
//! always answers its command. An event is encoded once, however many sockets get it.

pub mod commands;
pub mod events;
pub mod page;
pub mod replies;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub use commands::Command;
pub use events::Event;

use crate::catalogue::Language;
use crate::error::{Error, ErrorBody, ErrorCode, Result};
use crate::sentence;

/// Longest string that a client may use as the `id` of a command, in bytes.
pub const COMMAND_ID_MAX: usize = 64;

/// What a client calls its command, echoed in the reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`id` is an integer or a text")]
pub enum CommandId {
    /// A number.
    Number(i64),
    /// A short text.
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Envelope<'a> {
    #[serde(default)]
    id: Option<CommandId>,
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Where only the `id` of a broken envelope can be saved.
#[derive(Deserialize)]
struct OnlyId {
    #[serde(default)]
    id: Option<CommandId>,
}

/// A frame as read: its `id`, if it had one, and the command or what is wrong with it.
#[derive(Debug)]
pub struct Parsed {
    /// To be echoed in the reply.
    pub id: Option<CommandId>,
    /// The command, or why there is none.
    pub command: Result<Command>,
}

/// Reads one text frame.
pub fn parse(text: &str) -> Parsed {
    if !is_object(text) {
        return Parsed { id: None, command: Err(not_an_object(text)) };
    }
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(cause) => return Parsed { id: save_id(text), command: Err(envelope_error(text, &cause)) },
    };
    if let Some(CommandId::Text(id)) = &envelope.id
        && id.len() > COMMAND_ID_MAX
    {
        return Parsed { id: None, command: Err(Error::too_long("id", COMMAND_ID_MAX, "bytes")) };
    }
    let data = envelope.data.map_or("{}", RawValue::get);
    Parsed { command: Command::parse(&envelope.kind, data), id: envelope.id }
}

/// Whether JSON that begins so can only be an object. serde would take an array for a struct, field by field.
fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}

fn not_an_object(text: &str) -> Error {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Error::new(ErrorCode::InvalidFrame, sentence!("frame-shape")),
        Err(cause) => Error::new(ErrorCode::InvalidJson, sentence!("frame-no-json", why = reason(&cause))),
    }
}

fn save_id(text: &str) -> Option<CommandId> {
    let id = serde_json::from_str::<OnlyId>(text).ok()?.id;
    id.filter(|id| !matches!(id, CommandId::Text(text) if text.len() > COMMAND_ID_MAX))
}

fn envelope_error(text: &str, cause: &serde_json::Error) -> Error {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        let why = format!("{} at column {}", reason(cause), cause.column());
        return Error::new(ErrorCode::InvalidJson, sentence!("frame-no-json", why = why));
    }
    Error::new(ErrorCode::InvalidFrame, sentence!("frame-fault", why = reason(cause)))
}

/// The sentence of a JSON error without its place, which is told apart, and without names of Rust's types.
fn reason(cause: &serde_json::Error) -> String {
    let text =
        cause.to_string().replace("expected i64", "expected an integer").replace("expected f64", "expected a number");
    text.rsplit_once(" at line ").map_or(text.clone(), |(head, _)| head.to_owned())
}

/// Reads `data` into the input of a command; an error names the field and says why.
fn parse_data<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T> {
    if !is_object(data) {
        return Err(Error::field("data", sentence!("object-expected")));
    }
    let mut reader = serde_json::Deserializer::from_str(data);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let why = reason(error.inner());
        let quoted = why.split('`').nth(1).map(str::to_owned);
        let (code, field) = if why.starts_with("unknown field") {
            (ErrorCode::UnknownField, quoted.unwrap_or(path))
        } else if why.starts_with("missing field") {
            (ErrorCode::MissingField, quoted.unwrap_or(path))
        } else if why.starts_with("duplicate field") {
            (ErrorCode::InvalidField, quoted.unwrap_or(path))
        } else {
            (ErrorCode::InvalidField, if path == "." { "data".to_owned() } else { path })
        };
        Error { field: Some(field), ..Error::new(code, sentence!("data-fault", why = capitalised(&why))) }
    })
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

#[derive(Serialize, JsonSchema)]
struct Reply<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a CommandId>,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
}

/// The frame that answers a command: `{"id","ok":true,"data"}` or `{"id","ok":false,"error"}`, an
/// error in the language of the reader.
pub fn encode_reply<T: Serialize>(id: Option<&CommandId>, language: Language, result: &Result<T>) -> Utf8Bytes {
    let reply = match result {
        Ok(data) => Reply { id, ok: true, data: Some(data), error: None },
        Err(error) => Reply { id, ok: false, data: None, error: Some(ErrorBody::new(error, language)) },
    };
    encode(&reply)
}

fn encode<T: Serialize>(frame: &T) -> Utf8Bytes {
    // Our own shapes have string keys and no failing Serialize, so this cannot fail; an empty frame would be seen.
    serde_json::to_string(frame).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (Option<CommandId>, Error) {
        let parsed = parse(text);
        (parsed.id, parsed.command.expect_err(text))
    }

    #[test]
    fn an_error_keeps_the_id_of_its_command() {
        let (id, error) = refused(r#"{"id":7,"type":"message.send","data":{"conversation":"x","text":"hi"}}"#);
        assert_eq!(id, Some(CommandId::Number(7)));
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidField, Some("conversation")));
        let (id, error) = refused(r#"{"id":"a","data":{}}"#);
        assert_eq!((id, error.code), (Some(CommandId::Text("a".into())), ErrorCode::InvalidFrame));
    }

    #[test]
    fn each_kind_of_mistake_has_its_name() {
        assert_eq!(refused("{").1.code, ErrorCode::InvalidJson);
        for frame in ["[]", r#"["x","ping"]"#, "42", r#"{"type":"ping","extra":1}"#, r#"{"id":1.5,"type":"ping"}"#] {
            assert_eq!(refused(frame).1.code, ErrorCode::InvalidFrame, "{frame}");
        }
        let (_, error) = refused(r#"{"type":"message.send","data":[1,"hi"]}"#);
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidField, Some("data")));
        assert_eq!(refused(r#"{"type":"no.such"}"#).1.code, ErrorCode::UnknownCommand);
        let (_, error) = refused(r#"{"type":"ping","data":{"x":1}}"#);
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::UnknownField, Some("x")));
        let (_, error) = refused(r#"{"type":"message.send","data":{"conversation":1}}"#);
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::MissingField, Some("text")));
    }
}
