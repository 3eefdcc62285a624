//! What an example may leave open: times, tokens and the like. Everything else must agree to the letter.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the placeholders of a document stand for: the text that is written, and the one that came.
#[derive(Debug, Default)]
pub struct Bound(BTreeMap<String, String>);

impl Bound {
    /// A text to be sent, with what was written replaced by what came.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (written, came) in &self.0 {
            filled = filled.replace(written, came);
        }
        filled
    }

    /// Whether a value is what was written; if so, its placeholders are bound.
    pub fn agree(&mut self, written: &Value, came: &Value) -> bool {
        let mut found = Vec::new();
        let agreed = self.compare("", written, came, is_internal(came), &mut found);
        if agreed {
            self.0.extend(found);
        }
        agreed
    }

    fn compare(
        &self,
        key: &str,
        written: &Value,
        came: &Value,
        internal: bool,
        found: &mut Vec<(String, String)>,
    ) -> bool {
        match (written, came) {
            (Value::Object(written), Value::Object(came)) => {
                written.len() == came.len()
                    && written.iter().all(|(key, value)| {
                        came.get(key).is_some_and(|came| self.compare(key, value, came, internal, found))
                    })
            }
            (Value::Array(written), Value::Array(came)) => {
                written.len() == came.len()
                    && written.iter().zip(came).all(|(written, came)| self.compare(key, written, came, internal, found))
            }
            (Value::String(written), Value::String(came)) if is_free(key) => {
                // The same placeholder always stands for the same text.
                let agreed = self.0.get(written).is_none_or(|bound| bound == came);
                found.push((written.clone(), came.clone()));
                agreed
            }
            (Value::String(written), Value::String(came)) if is_file(written) && is_file(came) => {
                found.push((written.clone(), came.clone()));
                self.0.get(written).is_none_or(|bound| bound == came)
            }
            (Value::String(written), Value::String(came)) if key == "url" => {
                let paths = written.split_once("/media/").zip(came.split_once("/media/"));
                let whole = |path: &str| format!("/media/{path}");
                found.extend(paths.map(|((_, written), (_, came))| (whole(written), whole(came))));
                paths.is_some_and(|((written, _), (came, _))| written == came)
            }
            (Value::String(_), Value::String(_)) if internal && key == "message" => true,
            (Value::Number(_), Value::Number(_)) if is_free(key) => true,
            _ => written == came,
        }
    }
}

/// A fault of the server is told with a number to look for in its log.
fn is_internal(frame: &Value) -> bool {
    frame["error"]["code"] == "internal"
}

/// Whether a field differs from run to run.
fn is_free(key: &str) -> bool {
    const FREE: &[&str] = &[
        "time",
        "at",
        "access",
        "refresh",
        "token",
        "epoch",
        "next",
        "delay_ms",
        "retry_after_ms",
        "age",
        "last_seen",
    ];
    FREE.contains(&key) || key.ends_with("_at")
}

/// Whether a text can be the id of a file.
fn is_file(text: &str) -> bool {
    text.len() == 22 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Whether all that is written is also in what came, which may have more: how the beginnings of an example are found.
pub fn is_part(written: &Value, came: &Value) -> bool {
    match (written, came) {
        (Value::Object(written), Value::Object(came)) => {
            written.iter().all(|(key, value)| came.get(key).is_some_and(|came| is_part(value, came)))
        }
        _ => written == came,
    }
}

/// A frame as a document shows it: tokens shortened.
pub fn shortened(raw: &str) -> String {
    let token =
        regex::Regex::new(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*([A-Za-z0-9_-]{6})").expect("a pattern");
    token.replace_all(raw, "eyJ0eXAi.$1").into_owned()
}

/// Long frames go on in further lines, which begin with spaces; broken only after a comma outside of strings.
pub fn wrapped(prefix: &str, text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = prefix.to_owned();
    for piece in pieces(text) {
        if line.chars().count() + piece.chars().count() > width && line.trim_start().len() > 8 {
            lines.push(std::mem::replace(&mut line, "      ".to_owned()));
        }
        line.push_str(piece);
    }
    lines.push(line);
    lines
}

fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                pieces.push(&text[begin..=place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[begin..]);
    pieces
}
