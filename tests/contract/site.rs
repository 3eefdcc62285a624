//! The verbs of the contract: people who call, and what each answer must have whatever it says.

use std::net::SocketAddr;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use crate::allow;
use crate::support::Server;
use crate::support::http::{Part, Response, call_with, form, multipart};
use crate::support::node::Addresses;
use crate::support::server::{Account, PASSWORD};

/// A registered user who calls the API, and nothing else.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) account: Account,
    addresses: Arc<Addresses>,
}

impl Person {
    /// Registers somebody.
    pub(crate) async fn new(server: &Server, name: &str) -> Person {
        let (account, addresses) = (server.account(name).await, Arc::clone(&server.addresses));
        let mut person = Person { id: 0, name: name.to_owned(), account, addresses };
        let profile = person.get("/api/v1/auth/profile/").await;
        assert_eq!(profile.status, 200, "the profile of {name}: {}", profile.body);
        person.id = profile.json["id"].as_i64().expect("a profile has an id");
        person
    }

    /// Calls with these headers beside the token's.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        let bearer = format!("Bearer {}", self.account.access);
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        ask(self.addresses.next(), method, path, &headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[], "").await
    }

    /// Calls with a JSON body.
    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> Response {
        self.ask(method, path, &[JSON], &body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Response {
        self.json("POST", path, &body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Response {
        self.json("PUT", path, &body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Response {
        self.json("PATCH", path, &body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.ask("DELETE", path, &[], "").await
    }

    pub(crate) async fn form(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let (media, body) = form(fields);
        self.ask(method, path, &[("Content-Type", &media)], &body).await
    }

    pub(crate) async fn multipart(&self, method: &str, path: &str, parts: &[Part<'_>]) -> Response {
        let (media, body) = multipart(parts);
        self.ask(method, path, &[("Content-Type", &media)], &body).await
    }

    /// Likes, blocks and so on: one of the endpoints that name a user and nothing else.
    pub(crate) async fn to(&self, act: &str, other: &Person) -> Response {
        self.post(&format!("/api/v1/matching/{act}/"), serde_json::json!({ "user_id": other.id })).await
    }

    /// Opens a conversation with these words; answers its id.
    pub(crate) async fn talk_to(&self, other: &Person, text: &str) -> i64 {
        let body = serde_json::json!({ "participant_id": other.id, "message": text });
        let answer = self.post("/api/v1/conversations/", body).await;
        assert_eq!(answer.status, 201, "{} talks to {}: {}", self.name, other.name, answer.body);
        id(&answer)
    }

    /// Says something in a conversation; answers the id of the message.
    pub(crate) async fn says(&self, conversation: i64, text: &str) -> i64 {
        let path = format!("/api/v1/conversations/{conversation}/messages/");
        let answer = self.post(&path, serde_json::json!({ "content": text })).await;
        assert_eq!(answer.status, 201, "{} says {text}: {}", self.name, answer.body);
        id(&answer)
    }
}

/// The header of a JSON body.
pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");
/// Asks for English.
pub(crate) const ENGLISH: (&str, &str) = ("Accept-Language", "en-GB,en;q=0.8");

/// Two people on a server of their own.
pub(crate) async fn two(server: &Server) -> (Person, Person) {
    (Person::new(server, "ann").await, Person::new(server, "bob").await)
}

/// Calls as somebody of whom nothing is known but these headers, and looks whether the answer has what all have.
pub(crate) async fn ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Response {
    let answer = call_with(server, method, path, headers, body).await;
    framed(method, path, &answer);
    answer
}

/// Posts JSON without a token.
pub(crate) async fn post(server: &Server, path: &str, body: Value) -> Response {
    ask(server.next_address(), "POST", path, &[JSON], &body.to_string()).await
}

/// What every answer of the API has.
fn framed(method: &str, path: &str, answer: &Response) {
    let header = |name: &str| answer.headers.get(name).map(String::as_str);
    let told = || format!("{method} {path}: {} {:?} {}", answer.status, answer.headers, answer.body);
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(header(name), Some(value), "{name} of {}", told());
    }
    let vary: Vec<&str> = header("vary").unwrap_or_default().split(',').map(str::trim).collect();
    assert!(vary.contains(&"Accept") && vary.contains(&"origin"), "vary of {}", told());
    let page = header("content-type").is_some_and(|media| media.starts_with("text/html"));
    let preflight = method == "OPTIONS" && header("access-control-allow-methods").is_some();
    if let Some(allow) = allow(path).filter(|_| !page && !preflight) {
        assert_eq!(header("allow"), Some(allow.as_str()), "allow of {}", told());
        let media = (!answer.body.is_empty()).then_some("application/json");
        assert!(media.is_none() || header("content-type") == media, "content-type of {}", told());
    }
    let challenge = (answer.status == 401).then_some("Bearer realm=\"api\"");
    assert_eq!(header("www-authenticate"), challenge, "www-authenticate of {}", told());
}

/// The answer must have this status and this body, in which `<int>`, `<time>`, `<km>`, `<number>`, `<jwt>`, `<text>` and `<bool>`
/// stand for anything of that kind.
#[track_caller]
pub(crate) fn must(answer: &Response, status: u16, body: &str) {
    assert_eq!(answer.status, status, "instead of {body}: {}", answer.body);
    assert!(fits(&answer.body, body), "must be {body}\n  but is {}", answer.body);
}

/// The same, where the contract leaves a choice.
#[track_caller]
pub(crate) fn must_one_of(answer: &Response, status: u16, bodies: &[String]) {
    assert_eq!(answer.status, status, "instead of {bodies:?}: {}", answer.body);
    assert!(bodies.iter().any(|body| fits(&answer.body, body)), "must be one of {bodies:#?}\n  but is {}", answer.body);
}

fn fits(text: &str, shape: &str) -> bool {
    let mut pattern = regex::escape(shape);
    for (name, kind) in [
        ("<int>", r"\d+"),
        ("<time>", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z"),
        ("<km>", r"\d+\.\d"),
        ("<number>", r"-?\d+(?:\.\d+)?"),
        ("<jwt>", r"[\w-]+\.[\w-]+\.[\w-]+"),
        ("<text>", r#"[^"]+"#),
        ("<bool>", "(?:true|false)"),
    ] {
        pattern = pattern.replace(name, kind);
    }
    Regex::new(&format!("^{pattern}$")).expect("a pattern").is_match(text)
}

/// `{"detail": ...}`.
#[track_caller]
pub(crate) fn must_tell(answer: &Response, status: u16, detail: &str) {
    must(answer, status, &format!(r#"{{"detail":{}}}"#, Value::from(detail)));
}

/// The one thing that is wrong with one field.
#[track_caller]
pub(crate) fn must_refuse(answer: &Response, field: &str, text: &str) {
    must(answer, 400, &format!(r#"{{"{field}":[{}]}}"#, Value::from(text)));
}

/// The id of what was made or found.
#[track_caller]
pub(crate) fn id(answer: &Response) -> i64 {
    answer.json["id"].as_i64().unwrap_or_else(|| panic!("no id in {}", answer.body))
}

/// The ids of a bare list.
#[track_caller]
pub(crate) fn ids(answer: &Response) -> Vec<i64> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let list = answer.json.as_array().unwrap_or_else(|| panic!("no bare list: {}", answer.body));
    list.iter().map(|item| item["id"].as_i64().unwrap_or_else(|| panic!("no id in {item}"))).collect()
}

/// Registers with nothing but a name.
pub(crate) fn registering(username: &str) -> Value {
    serde_json::json!({ "username": username, "password": PASSWORD, "password2": PASSWORD })
}
