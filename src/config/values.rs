//! What a setting can be: read from text, and shown as text without what must stay secret.

use std::path::PathBuf;
use std::str::FromStr;

use super::addresses::{Listen, PublicUrl, ServiceUrl};
use crate::catalogue::Language;

/// Who may open a direct conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContactPolicy {
    /// Anyone not blocked either way.
    #[default]
    Open,
    /// A match is needed, or the conversation existed before.
    Match,
}

/// A text that may be empty.
pub type Text = String;

/// Comma-separated values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        List(Vec::new())
    }
}

/// A text that never shows in logs or output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(hidden)" })
    }
}

/// How a setting is read from text and shown as text.
pub(super) trait Value: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn show(&self) -> String;
}

macro_rules! plain_values {
    ($($type:ty)*) => { $(impl Value for $type {
        fn read(text: &str) -> Result<Self, String> {
            text.parse().map_err(|cause: <$type as FromStr>::Err| cause.to_string())
        }
        fn show(&self) -> String { self.to_string() }
    })* };
}

plain_values! { bool i64 u32 u64 usize String Listen PublicUrl }

/// What may be left out, as an empty text.
impl<T: Value> Value for Option<T> {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::read(text).map(Some) }
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(String::new, T::show)
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        Ok(PathBuf::from(text))
    }
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for ServiceUrl {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned().into())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Secret {
    fn read(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.len() < SECRET_MIN {
            return Err(format!("too short: a key has at least {SECRET_MIN} bytes"));
        }
        Ok(Secret(text.to_owned()))
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for ContactPolicy {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(ContactPolicy::Open),
            "match" => Ok(ContactPolicy::Match),
            _ => Err("neither open nor match".to_owned()),
        }
    }
    fn show(&self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

impl Value for Language {
    fn read(text: &str) -> Result<Self, String> {
        Language::of_tag(text).ok_or_else(|| "neither fr nor en".to_owned())
    }
    fn show(&self) -> String {
        match self {
            Language::English => "en".to_owned(),
            Language::French => "fr".to_owned(),
        }
    }
}

impl<T: FromStr<Err: std::fmt::Display> + std::fmt::Display> Value for List<T> {
    fn read(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| item.parse().map_err(|cause| format!("{item}: {cause}"))).collect::<Result<_, _>>().map(List)
    }
    fn show(&self) -> String {
        self.0.iter().map(T::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Shortest key that may sign tokens, in bytes (256 bits).
pub const SECRET_MIN: usize = 32;
