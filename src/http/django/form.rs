//! What a request may say, declared field by field, and judged as Django's serializers do: all that is wrong is told at
//! once, in the order of the fields.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::answers::FieldErrors;
use super::body::{Body, python_type};
use crate::catalogue::Sentence;
use crate::error::Result as Judged;
use crate::model::{HoldsNul, Text};
use crate::sentence;
use crate::text;

/// A field of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    kind: Kind,
    required: bool,
    nullable: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text {
        max: usize,
        blank: bool,
        fits: Option<fn(&str) -> Judged<()>>,
    },
    /// A text that is taken with all of its spaces.
    Password,
    Integer,
    Number,
    Boolean,
    Date,
    Choice(&'static [&'static str]),
    Texts {
        max: usize,
    },
    /// A file, which the endpoint takes from the body.
    File,
}

/// What a field said.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Null,
    Text(Text),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Texts(Vec<Text>),
}

impl Field {
    const fn new(name: &'static str, kind: Kind) -> Field {
        Field { name, kind, required: false, nullable: false }
    }

    /// A text of so many characters at most, without the white space around it. It is not blank.
    pub(super) const fn text(name: &'static str, max: usize) -> Field {
        Field::new(name, Kind::Text { max, blank: false, fits: None })
    }

    /// A text that may be empty.
    pub(super) const fn blank(name: &'static str, max: usize) -> Field {
        Field::new(name, Kind::Text { max, blank: true, fits: None })
    }

    /// A password, or a new one. The operation judges it.
    pub(super) const fn password(name: &'static str) -> Field {
        Field::new(name, Kind::Password)
    }

    /// A whole number of 64 bits.
    pub(super) const fn integer(name: &'static str) -> Field {
        Field::new(name, Kind::Integer)
    }

    /// A number.
    pub(super) const fn number(name: &'static str) -> Field {
        Field::new(name, Kind::Number)
    }

    /// Yes or no.
    pub(super) const fn boolean(name: &'static str) -> Field {
        Field::new(name, Kind::Boolean)
    }

    /// `YYYY-MM-DD`.
    pub(super) const fn date(name: &'static str) -> Field {
        Field::new(name, Kind::Date)
    }

    /// One of a few words.
    pub(super) const fn choice(name: &'static str, words: &'static [&'static str]) -> Field {
        Field::new(name, Kind::Choice(words))
    }

    /// A list of texts that are not blank, each of so many characters at most.
    pub(super) const fn texts(name: &'static str, max: usize) -> Field {
        Field::new(name, Kind::Texts { max })
    }

    /// A file.
    pub(super) const fn file(name: &'static str) -> Field {
        Field::new(name, Kind::File).nullable()
    }

    /// It must be there.
    pub(super) const fn required(self) -> Field {
        Field { required: true, ..self }
    }

    /// It may be null.
    pub(super) const fn nullable(self) -> Field {
        Field { nullable: true, ..self }
    }

    /// A text must pass this as well.
    pub(super) const fn fitting(self, fits: fn(&str) -> Judged<()>) -> Field {
        match self.kind {
            Kind::Text { max, blank, .. } => Field { kind: Kind::Text { max, blank, fits: Some(fits) }, ..self },
            _ => self,
        }
    }
}

impl Field {
    /// Whether it must be there.
    pub(super) fn is_required(&self) -> bool {
        self.required
    }

    /// Whether it is a file.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// What it may be, for the document; none where it cannot be said.
    pub(super) fn schema(&self, media: Media) -> Option<Value> {
        let mut schema = match self.kind {
            Kind::Text { max, blank, .. } => {
                let mut text = json!({ "type": "string" });
                if max < usize::MAX {
                    text["maxLength"] = max.into();
                }
                if !blank {
                    text["minLength"] = 1.into();
                }
                text
            }
            Kind::Password => json!({ "type": "string", "minLength": 1 }),
            Kind::Integer => json!({ "type": "integer", "format": "int64" }),
            Kind::Number => json!({ "type": "number" }),
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Date => json!({ "type": "string", "format": "date" }),
            Kind::Choice(words) => json!({ "type": "string", "enum": words }),
            Kind::Texts { max } => {
                json!({ "type": "array", "items": { "type": "string", "minLength": 1, "maxLength": max } })
            }
            Kind::File => return self.file_schema(media),
        };
        if self.nullable && media == Media::Json {
            schema = json!({ "anyOf": [schema, { "type": "null" }] });
        }
        Some(schema)
    }

    fn file_schema(&self, media: Media) -> Option<Value> {
        match media {
            Media::Json => Some(json!({ "type": "null" })),
            Media::Form => None,
            Media::Parts => Some(json!({ "type": "string", "contentMediaType": "application/octet-stream" })),
        }
    }
}

/// How a body is written. A form has no null, and only one in parts has files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Form,
    Parts,
}

/// What a request said, judged. A field that was not named is not in it.
#[derive(Debug, Default)]
pub(super) struct Form {
    told: HashMap<&'static str, Told>,
    /// What is wrong; more can be added before it is checked.
    pub(super) errors: FieldErrors,
}

impl Form {
    /// Judges the fields of a body.
    pub(super) fn judge(fields: &'static [Field], body: &Body) -> Form {
        let mut form = Form::default();
        for field in fields {
            match field.judge(body) {
                Ok(None) => {}
                Ok(Some(told)) => {
                    form.told.insert(field.name, told);
                }
                Err(Fault::Whole(sentences)) => {
                    sentences.into_iter().for_each(|sentence| form.errors.add(field.name, sentence));
                }
                Err(Fault::Items(items)) => {
                    items.into_iter().for_each(|(at, sentence)| form.errors.add_item(field.name, at, sentence));
                }
            }
        }
        form
    }

    /// Refuses what is wrong.
    pub(super) fn check(&mut self) -> Result<(), FieldErrors> {
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(std::mem::take(&mut self.errors)),
        }
    }

    /// The text of a field.
    pub(super) fn text(&mut self, name: &str) -> Option<Text> {
        match self.told.remove(name) {
            Some(Told::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The text of a field, empty where it was not named or is wrong.
    pub(super) fn text_or_empty(&mut self, name: &str) -> Text {
        self.text(name).unwrap_or_default()
    }

    /// The whole number of a field.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        match self.told.get(name) {
            Some(Told::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// The number of a field.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        match self.told.get(name) {
            Some(Told::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The yes or no of a field.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        match self.told.get(name) {
            Some(Told::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    /// The list of a field.
    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<Text>> {
        match self.told.remove(name) {
            Some(Told::Texts(texts)) => Some(texts),
            _ => None,
        }
    }

    /// Whether a field was named as null.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.told.get(name) == Some(&Told::Null)
    }
}

enum Fault {
    Whole(Vec<Sentence>),
    Items(Vec<(usize, Sentence)>),
}

impl From<Sentence> for Fault {
    fn from(sentence: Sentence) -> Fault {
        Fault::Whole(vec![sentence])
    }
}

impl Field {
    fn judge(&self, body: &Body) -> Result<Option<Told>, Fault> {
        if matches!(self.kind, Kind::File) {
            return self.judge_file(body);
        }
        if let (Kind::Texts { max }, true) = (self.kind, body.is_form()) {
            let items: Vec<&Value> = body.all(self.name).collect();
            return if items.is_empty() { Ok(None) } else { judge_texts(&items, max).map(Some) };
        }
        let value = match body.last(self.name) {
            // In a form, nothing typed into a field that need not be filled says nothing.
            Some(Value::String(text)) if body.is_form() && text.is_empty() && !self.may_be_blank() => {
                match (self.nullable, self.required) {
                    (true, _) => Some(&Value::Null),
                    (false, false) => None,
                    (false, true) => body.last(self.name),
                }
            }
            value => value,
        };
        match value {
            None if self.required => Err(sentence!("required").into()),
            None => Ok(None),
            Some(Value::Null) if self.nullable => Ok(Some(Told::Null)),
            Some(Value::Null) => Err(sentence!("null").into()),
            Some(value) => self.judge_value(value).map(Some),
        }
    }

    fn may_be_blank(&self) -> bool {
        matches!(self.kind, Kind::Text { blank: true, .. })
    }

    fn judge_file(&self, body: &Body) -> Result<Option<Told>, Fault> {
        match body.last(self.name) {
            _ if body.file(self.name).is_some_and(|file| file.bytes == 0) => Err(sentence!("empty-file").into()),
            _ if body.file(self.name).is_some() => Ok(None),
            None => Ok(None),
            Some(Value::Null) => Ok(Some(Told::Null)),
            Some(Value::String(text)) if body.is_form() && text.is_empty() => Ok(Some(Told::Null)),
            Some(_) => Err(sentence!("no-file").into()),
        }
    }

    fn judge_value(&self, value: &Value) -> Result<Told, Fault> {
        match self.kind {
            Kind::Text { max, blank, fits } => {
                let text = text_of(value).ok_or_else(|| Fault::from(sentence!("no-text")))?;
                judge_text(text, max, blank, fits).map(Told::Text)
            }
            Kind::Password => match value {
                Value::String(text) if text::is_blank(text) && !text.contains('\0') => Err(sentence!("blank").into()),
                Value::String(text) => Text::new(text).map(Told::Text).map_err(|HoldsNul| sentence!("nul").into()),
                Value::Number(number) => Ok(Told::Text(Text::without_nul(number.to_string()))),
                _ => Err(sentence!("no-text").into()),
            },
            Kind::Integer => integer(value).map(Told::Integer).ok_or_else(|| sentence!("no-integer").into()),
            Kind::Number => number(value).map(Told::Number).ok_or_else(|| sentence!("no-number").into()),
            Kind::Boolean => boolean(value).map(Told::Boolean).ok_or_else(|| sentence!("no-boolean").into()),
            Kind::Date => date(value).map(Text::without_nul).map(Told::Text).ok_or_else(|| sentence!("no-date").into()),
            Kind::Choice(words) => {
                let told = text_of(value).unwrap_or_else(|| value.to_string());
                match words.contains(&told.as_str()) {
                    true => Ok(Told::Text(Text::without_nul(told))),
                    false => Err(sentence!("no-choice", told = told).into()),
                }
            }
            Kind::Texts { max } => match value {
                Value::Array(items) => judge_texts(&items.iter().collect::<Vec<_>>(), max),
                other => Err(sentence!("no-list", kind = python_type(other)).into()),
            },
            Kind::File => Ok(Told::Null),
        }
    }
}

/// A text, or a number as it was written.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn judge_text(text: String, max: usize, blank: bool, fits: Option<fn(&str) -> Judged<()>>) -> Result<Text, Fault> {
    if text::is_blank(&text) && !text.contains('\0') {
        return if blank { Ok(Text::default()) } else { Err(sentence!("blank").into()) };
    }
    let mut wrong = Vec::new();
    if text.chars().count() > max {
        wrong.push(sentence!("at-most", max = max, unit = "characters"));
    }
    match Text::new(text) {
        Err(HoldsNul) => wrong.push(sentence!("nul")),
        Ok(text) if wrong.is_empty() => match fits.map(|fits| fits(&text)) {
            Some(Err(error)) => wrong.push(error.message),
            _ => return Ok(text),
        },
        Ok(_) => {}
    }
    Err(Fault::Whole(wrong))
}

fn judge_texts(items: &[&Value], max: usize) -> Result<Told, Fault> {
    let mut texts = Vec::with_capacity(items.len());
    let mut wrong = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let judged = match (item, text_of(item)) {
            (Value::Null, _) => Err(sentence!("null").into()),
            (_, None) => Err(sentence!("no-text").into()),
            (_, Some(text)) => judge_text(text, max, false, None),
        };
        match judged {
            Ok(text) => texts.push(text),
            Err(Fault::Whole(sentences)) => wrong.extend(sentences.into_iter().map(|sentence| (at, sentence))),
            Err(Fault::Items(_)) => {}
        }
    }
    if wrong.is_empty() { Ok(Told::Texts(texts)) } else { Err(Fault::Items(wrong)) }
}

/// `5`, `5.0`, `"5"` and `"5.0"`, but neither `2.5` nor `true`.
fn integer(value: &Value) -> Option<i64> {
    let text = match value {
        Value::Number(number) => match number.as_i64() {
            Some(number) => return Some(number),
            None => number.to_string(),
        },
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return None,
        None => &text,
    };
    whole.parse().ok()
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn boolean(value: &Value) -> Option<bool> {
    const TRUE: &[&str] = &["t", "y", "yes", "true", "on", "1"];
    const FALSE: &[&str] = &["f", "n", "no", "false", "off", "0"];
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
        Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
        Value::String(text) => {
            let text = text.trim().to_lowercase();
            TRUE.contains(&text.as_str()).then_some(true).or_else(|| FALSE.contains(&text.as_str()).then_some(false))
        }
        _ => None,
    }
}

/// `YYYY-MM-DD`; month and day may lack their leading zero, as Django's parser allows.
fn date(value: &Value) -> Option<String> {
    let Value::String(text) = value else { return None };
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    let has_digits = |part: &str, count: RangeInclusive<usize>| {
        count.contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_digit())
    };
    if !has_digits(year, 4..=4) || !has_digits(month, 1..=2) || !has_digits(day, 1..=2) {
        return None;
    }
    let date = jiff::civil::Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    date.ok().map(|date| date.to_string())
}

#[cfg(test)]
mod tests;
