//! Bodies of requests: read within a size and a time, taken apart into fields, and judged as Django's forms do.

use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value};
use warp::Buf;
use warp::http::header::CONTENT_TYPE;
use warp::http::{HeaderMap, StatusCode};

use super::answers::{FieldErrors, Refusal, detail, json, unsupported};

/// The fields of a request, and what is wrong with them.
#[derive(Debug)]
pub(super) struct Fields {
    values: Map<String, Value>,
    pub(super) errors: FieldErrors,
}

/// How a text field is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// It must be there.
    pub(super) required: bool,
    /// It may be empty.
    pub(super) blank: bool,
    /// Longest text, in characters.
    pub(super) max: usize,
}

/// Reads a body, counting its bytes as they come: the client's own word on its length is not asked.
pub(super) async fn read<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    most: usize,
    time: Duration,
) -> Result<Vec<u8>, Refusal> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    let reading = async {
        while let Some(part) = body.next().await {
            let mut part = part.map_err(|_| Box::new(detail(StatusCode::BAD_REQUEST, "Le corps est incomplet.")))?;
            if bytes.len() + part.remaining() > most {
                let text = format!("Le corps dépasse {most}\u{a0}octets.");
                return Err(Box::new(detail(StatusCode::PAYLOAD_TOO_LARGE, &text)));
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
    let in_time = tokio::time::timeout(time, reading).await;
    in_time.map_err(|_| Box::new(detail(StatusCode::REQUEST_TIMEOUT, "Le corps n'est pas arrivé à temps.")))??;
    Ok(bytes)
}

impl Fields {
    /// Takes a body apart by its media type.
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Fields, Refusal> {
        let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let values = match kind.as_str() {
            _ if body.is_empty() => Map::new(),
            "application/json" => from_json(body)?,
            "application/x-www-form-urlencoded" => from_form(body),
            _ => return Err(unsupported(media)),
        };
        Ok(Fields { values, errors: FieldErrors::default() })
    }

    /// A text field without the white space around it; empty when it is not there or wrong.
    pub(super) fn text(&mut self, name: &'static str, rule: Rule) -> String {
        match self.judge(name, rule) {
            Ok(text) => text,
            Err(why) => {
                self.errors.add(name, why);
                String::new()
            }
        }
    }

    fn judge(&self, name: &str, rule: Rule) -> Result<String, String> {
        let text = match self.values.get(name) {
            None if rule.required => return Err("Ce champ est obligatoire.".to_owned()),
            None => return Ok(String::new()),
            Some(Value::Null) => return Err("Ce champ ne peut être nul.".to_owned()),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err("Chaîne de caractère invalide.".to_owned()),
        };
        if text.is_empty() && !rule.blank {
            return Err("Ce champ ne peut être vide.".to_owned());
        }
        if text.contains('\0') {
            return Err("Le caractère nul n’est pas autorisé.".to_owned());
        }
        if text.chars().count() > rule.max {
            return Err(format!("Assurez-vous que ce champ comporte au plus {}\u{a0}caractères.", rule.max));
        }
        Ok(text)
    }

    /// A field that is true or, as when it is not there, false.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self.values.get(name) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(Value::String(text)) if text == "true" => true,
            Some(Value::String(text)) if text == "false" => false,
            Some(_) => {
                self.errors.add(name, "Doit être un booléen valide.");
                false
            }
        }
    }

    /// Refuses if anything is wrong so far.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors.refusal()) }
    }
}

fn from_json(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let kind = match serde_json::from_slice(body) {
        Ok(Value::Object(values)) => return Ok(values),
        Ok(Value::Array(_)) => "list",
        Ok(Value::String(_)) => "str",
        Ok(Value::Number(number)) if number.is_f64() => "float",
        Ok(Value::Number(_)) => "int",
        Ok(Value::Bool(_)) => "bool",
        Ok(Value::Null) => "NoneType",
        Err(cause) => {
            let text = format!("JSON parse error - {cause}");
            return Err(Box::new(detail(StatusCode::BAD_REQUEST, &text)));
        }
    };
    let text = format!("Donnée non valide. Attendait un dictionnaire, a reçu {kind}.");
    Err(Box::new(json(StatusCode::BAD_REQUEST, &serde_json::json!({ "non_field_errors": [text] }))))
}

/// `a=b&c=d`; of a repeated name the last one counts.
fn from_form(body: &[u8]) -> Map<String, Value> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    let decoded = pairs.map(|pair| {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &pair[..0]),
        };
        (percent_decoded(name), Value::String(percent_decoded(value)))
    });
    decoded.collect()
}

fn percent_decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (first, escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(media: &'static str, body: &[u8]) -> Result<Fields, StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, media.parse().expect("a header"));
        Fields::parse(&headers, body).map_err(|refusal| refusal.status())
    }

    const RULE: Rule = Rule { required: true, blank: false, max: 5 };

    #[test]
    fn json_and_forms_say_the_same() {
        let form = "application/x-www-form-urlencoded";
        let mut told = fields(form, "a=+x%20y+&b=%C3%A9&c&=&a%3D=%zz&n=1&n=2".as_bytes()).expect("a form");
        assert_eq!((told.text("a", RULE), told.text("b", RULE)), ("x y".to_owned(), "é".to_owned()));
        assert_eq!((told.text("n", RULE), told.text("a=", RULE)), ("2".to_owned(), "%zz".to_owned()));
        let json = r#"{"a":" x y ","b":"\u00e9","n":2,"yes":true,"other":[1]}"#;
        let mut told = fields("application/json; charset=utf-8", json.as_bytes()).expect("JSON");
        assert_eq!((told.text("a", RULE), told.text("b", RULE)), ("x y".to_owned(), "é".to_owned()));
        assert!(told.text("n", RULE) == "2" && told.flag("yes") && !told.flag("no"));
        assert!(told.check().is_ok());
    }

    #[test]
    fn each_mistake_has_its_text() {
        let body = r#"{"null":null,"list":[],"blank":"  ","nul":"a\u0000b","long":"sixsix","yes":2}"#;
        let mut told = fields("application/json", body.as_bytes()).expect("JSON");
        for name in ["none", "null", "list", "blank", "nul", "long"] {
            told.text(name, RULE);
        }
        told.flag("yes");
        let expected = [
            r#"{"none":["Ce champ est obligatoire."],"null":["Ce champ ne peut être nul."],"#,
            r#""list":["Chaîne de caractère invalide."],"blank":["Ce champ ne peut être vide."],"#,
            r#""nul":["Le caractère nul n’est pas autorisé."],"#,
            "\"long\":[\"Assurez-vous que ce champ comporte au plus 5\u{a0}caractères.\"],",
            r#""yes":["Doit être un booléen valide."]}"#,
        ];
        assert_eq!(serde_json::to_string(&told.errors).expect("plain"), expected.concat());
    }

    #[test]
    fn what_is_no_object_or_of_another_kind_is_refused() {
        for body in ["[]", "1", "\"a\"", "null", "{", "{\"a\":1e999}", "\u{feff}{}"] {
            assert_eq!(fields("application/json", body.as_bytes()).err(), Some(StatusCode::BAD_REQUEST), "{body}");
        }
        let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
        assert_eq!(fields("application/json", deep.as_bytes()).err(), Some(StatusCode::BAD_REQUEST));
        assert_eq!(fields("text/plain", b"a=b").err(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        assert!(fields("text/plain", b"").is_ok());
    }

    proptest! {
        #[test]
        fn no_body_breaks_it(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields("application/json", &body);
            let _ = fields("application/x-www-form-urlencoded", &body);
        }
    }
}
