//! Text that came from outside, proven fit for the database.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

/// A text without U+0000. Rust's strings hold no lone surrogates, and what reads a frame, a body or a header limits its
/// length; U+0000 is what is left that a database refuses. One such value in a statement over the rows of many users
/// fails the statement for all of them, so the store takes no other text than this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Text(String);

/// What a text may not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldsNul;

impl fmt::Display for HoldsNul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the character U+0000 is not allowed")
    }
}

impl Text {
    /// Judges a text.
    ///
    /// # Errors
    /// Where it holds U+0000.
    pub fn new(text: impl Into<String>) -> Result<Text, HoldsNul> {
        let text = text.into();
        if text.as_bytes().contains(&0) { Err(HoldsNul) } else { Ok(Text(text)) }
    }

    /// A text that the server makes itself, or that nobody can be asked to change: U+0000 is left out.
    pub fn without_nul(text: impl Into<String>) -> Text {
        let text = text.into();
        if text.as_bytes().contains(&0) { Text(text.replace('\0', "")) } else { Text(text) }
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without white space at its ends.
    #[must_use]
    pub fn trimmed(&self) -> Text {
        Text(self.0.trim().to_owned())
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

impl PartialEq<Text> for String {
    fn eq(&self, other: &Text) -> bool {
        *self == other.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(data: D) -> Result<Text, D::Error> {
        Text::new(String::deserialize(data)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        String::json_schema(schemas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n01_no_text_holds_what_a_database_refuses() {
        assert!(Text::new("a\0b").is_err());
        assert_eq!(Text::without_nul("a\0b\0"), "ab");
        assert_eq!(Text::new("a\u{1}é").expect("fits"), "a\u{1}é");
        assert!(serde_json::from_str::<Text>(r#""\u0000""#).is_err());
        assert!(serde_json::from_str::<Text>(r#""\ud800""#).is_err());
        assert_eq!(serde_json::from_str::<Text>(r#""a\\u0000""#).expect("a backslash"), "a\\u0000");
    }
}
