//! Pictures, voice notes and other files, as clients see them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum FileKind {
    /// A picture, written anew by the server.
    Image,
    /// A voice note.
    Voice,
    /// Anything else: bytes to be saved.
    File,
}

/// A file, without where it can be fetched: that is asked for with `media.links`, and differs from reader to reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Attachment {
    /// Its id, 22 random letters, digits, `-` and `_`.
    pub id: String,
    /// What it is.
    pub kind: FileKind,
    /// Its media type.
    #[serde(rename = "type")]
    pub content_type: String,
    /// As its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many bytes it has.
    pub size: i64,
    /// Of a picture, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<i64>,
    /// Of a picture, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<i64>,
    /// Of a voice note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// A blurred picture in a few characters (BlurHash), to be shown until the picture is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
}
