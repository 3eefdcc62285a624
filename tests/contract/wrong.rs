//! Wrong bodies, types, sizes, encodings and methods get the contract's answers, and change nothing.

use serde_json::{Value, json};

use crate::ROWS;
use crate::site::{JSON, Person, ask, two};
use crate::support::http::{Part, multipart};
use crate::support::{Server, rows};

/// Two who match and talk, on a server that takes little.
struct World {
    server: Server,
    ann: Person,
    bob: Person,
    cleo: Person,
    conversation: i64,
    said: i64,
}

async fn world() -> World {
    let server = Server::start(&[("body-max", "20000")]).await;
    let (ann, bob) = two(&server).await;
    let cleo = Person::new(&server, "cleo").await;
    let told =
        json!({ "bio": "me", "interests": ["go"], "date_of_birth": "1990-01-01", "latitude": 1, "longitude": 1 });
    assert_eq!(ann.put("/api/v1/auth/profile/", told).await.status, 200);
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        assert_eq!(one.to("like", other).await.status, 201);
    }
    let conversation = ann.talk_to(&bob, "hello").await;
    let said = ann.says(conversation, "mine").await;
    World { server, ann, bob, cleo, conversation, said }
}

impl World {
    /// The path of a row with numbers of this world in it.
    fn path(&self, row: &str) -> String {
        let number = match row {
            _ if row.contains("users") => self.bob.id,
            _ if row.contains("/matches/") => 1,
            _ => self.conversation,
        };
        row.replacen("<id>", &number.to_string(), 1).replace("<id>", &self.said.to_string())
    }
}

/// Compares all rows before and after.
async fn changed(server: &Server, before: &[String]) -> Vec<String> {
    let after = rows::lines(server).await;
    let gone = before.iter().filter(|row| !after.contains(row)).map(|row| format!("- {row}"));
    let come = after.iter().filter(|row| !before.contains(row)).map(|row| format!("+ {row}"));
    gone.chain(come).collect()
}

/// The rows that take a body.
fn writing() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROWS.iter().copied().filter(|(method, _)| ["POST", "PUT", "PATCH"].contains(method))
}

/// Whether an endpoint looks into its body.
fn reads_fields(row: &str) -> bool {
    !row.contains("update-status") && !row.contains("mark_read")
}

#[tokio::test]
async fn wrong_bodies_change_nothing() {
    let world = world().await;
    let before = rows::lines(&world.server).await;
    let long = format!(r#"{{"content":"{0}","bio":"{0}","message":"{0}"}}"#, "x".repeat(30_000));
    let deep = format!("{}{}", "[".repeat(3_000), "]".repeat(3_000));
    for (method, row) in writing().filter(|(_, row)| reads_fields(row)) {
        let path = world.path(row);
        for (media, body, status) in [
            ("application/json", "{", 400),
            ("application/json", "[]", 400),
            ("application/json", "\"text\"", 400),
            ("application/json", "7", 400),
            ("application/json", deep.as_str(), 400),
            ("application/json", "{\"a\":1e999}", 400),
            ("application/json", long.as_str(), 413),
            ("text/plain", "content=x", 415),
            ("application/xml", "<content>x</content>", 415),
            ("application/octet-stream", "x", 415),
        ] {
            let answer = world.ann.ask(method, &path, &[("Content-Type", media)], body).await;
            let told = body.get(..40).unwrap_or(body);
            assert_eq!(answer.status, status, "{method} {path} {media} {told}: {}", answer.body);
            assert!(answer.json.is_object(), "{method} {path} {media} {told}: {}", answer.body);
        }
    }
    assert_eq!(changed(&world.server, &before).await, Vec::<String>::new());
}

/// Every field with every kind of value that it does not take.
#[tokio::test]
async fn wrong_types_change_nothing() {
    let world = world().await;
    let before = rows::lines(&world.server).await;
    let no_text = [json!([]), json!(["x"]), json!({}), json!({ "a": 1 }), json!(true), json!("a\0b")];
    let no_number = [json!("x"), json!([]), json!({}), json!(null), json!(""), json!("1,5"), json!("NaN")];
    let texts = ["username", "email", "first_name", "last_name", "phone_number", "location", "bio"];
    let numbers = ["min_age", "max_age", "max_distance"];
    let mut cases: Vec<(&str, String, Value)> = Vec::new();
    for value in &no_text {
        let profile = "/api/v1/auth/profile/".to_owned();
        cases.extend(texts.iter().map(|field| ("PATCH", profile.clone(), json!({ *field: value }))));
        let messages = format!("/api/v1/conversations/{}/messages/", world.conversation);
        cases.push(("PATCH", format!("{messages}{}/", world.said), json!({ "content": value })));
        cases.push(("POST", messages, json!({ "content": value })));
        let open = json!({ "participant_id": world.bob.id, "message": value });
        cases.push(("POST", "/api/v1/conversations/".to_owned(), open));
        for secret in ["old_password", "new_password"] {
            let mut body = json!({ "old_password": "x", "new_password": "y", "new_password2": "y" });
            body[secret] = value.clone();
            cases.push(("PUT", "/api/v1/auth/change-password/".to_owned(), body));
        }
    }
    for value in &no_number {
        let preferences = "/api/v1/matching/preferences/".to_owned();
        cases.extend(numbers.iter().map(|field| ("PATCH", preferences.clone(), json!({ *field: value }))));
        for act in ["like", "unlike", "block", "unblock"] {
            cases.push(("POST", format!("/api/v1/matching/{act}/"), json!({ "user_id": value })));
        }
        let open = json!({ "participant_id": value, "message": "hello" });
        cases.push(("POST", "/api/v1/conversations/".to_owned(), open));
    }
    for (field, value) in [
        ("latitude", json!("x")),
        ("longitude", json!(181)),
        ("latitude", json!("NaN")),
        ("date_of_birth", json!("1990-02-31")),
        ("interests", json!("go")),
        ("interests", json!(["ok", ""])),
        ("profile_picture", json!("x.png")),
    ] {
        let mut body = json!({ "latitude": 1, "longitude": 1, "bio": "another" });
        body[field] = value;
        cases.push(("PUT", "/api/v1/auth/profile/".to_owned(), body));
    }
    for (method, path, body) in cases {
        let answer = world.ann.json(method, &path, &body).await;
        assert_eq!(answer.status, 400, "{method} {path} {body}: {}", answer.body);
    }
    assert_eq!(changed(&world.server, &before).await, Vec::<String>::new());
}

#[tokio::test]
async fn wrong_encodings_change_nothing() {
    let world = world().await;
    let before = rows::lines(&world.server).await;
    let path = world.path("/api/v1/conversations/<id>/messages/");
    let file = |name, media| Part { name, file: Some(("a.bin", media)), content: b"\x89PNG\r\n\x1a\n..." };
    let content = Part { name: "content", file: None, content: b"with it" };
    let (media, with_file) = multipart(&[content, file("attachment", "image/png")]);
    let (_, cut) = (&media, &with_file[..with_file.len() / 2]);
    for (media, body) in [
        (media.as_str(), with_file.as_slice()),
        (media.as_str(), cut),
        ("multipart/form-data", with_file.as_slice()),
        ("multipart/form-data; boundary=other", with_file.as_slice()),
        ("application/x-www-form-urlencoded", b"contents=x"),
        ("application/x-www-form-urlencoded", b"content=%00"),
        ("application/x-www-form-urlencoded", b"content=+%20%0A"),
        ("application/json; charset=utf-8", br#"{"content":"\ud800"}"#),
        ("application/json", b"content=x"),
        ("application/x-www-form-urlencoded", br#"{"content":"x"}"#),
    ] {
        let answer = world.ann.ask("POST", &path, &[("Content-Type", media)], body).await;
        assert_eq!(answer.status, 400, "{media} {}: {}", String::from_utf8_lossy(body), answer.body);
    }
    let gzip = [JSON, ("Content-Encoding", "gzip")];
    let answer = world.ann.ask("POST", &path, &gzip, "\u{1f}\u{8b}x").await;
    assert!((400..500).contains(&answer.status), "{}", answer.body);
    let answer = world.ann.multipart("PATCH", "/api/v1/auth/profile/", &[file("profile_picture", "text/plain")]).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(changed(&world.server, &before).await, Vec::<String>::new());
}

#[tokio::test]
async fn wrong_methods_change_nothing() {
    let world = world().await;
    let before = rows::lines(&world.server).await;
    for (_, row) in ROWS {
        let path = world.path(row);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
            if !ROWS.contains(&(method, *row)) {
                let answer = world.ann.ask(method, &path, &[JSON], r#"{"content":"x","user_id":1}"#).await;
                assert_eq!(answer.status, 405, "{method} {path}: {}", answer.body);
            }
        }
    }
    assert_eq!(changed(&world.server, &before).await, Vec::<String>::new());
}

/// Whoever has no business there: nobody, and a stranger.
#[tokio::test]
async fn wrong_people_change_nothing() {
    let world = world().await;
    let before = rows::lines(&world.server).await;
    let body =
        json!({ "content": "x", "is_active": false, "user_id": world.bob.id, "bio": "x", "min_age": 50 }).to_string();
    for (method, row) in ROWS.iter().filter(|(_, row)| !crate::OPEN.contains(row)) {
        let path = world.path(row);
        for headers in [&[JSON][..], &[JSON, ("Authorization", "Bearer e30.e30.e30")]] {
            let answer = ask(world.server.next_address(), method, &path, headers, &body).await;
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.body);
        }
        if row.contains("<id>") && !row.contains("users") {
            let answer = world.cleo.ask(method, &path, &[JSON], &body).await;
            let lists = (*method, *row) == ("GET", "/api/v1/conversations/<id>/messages/");
            assert_eq!(answer.status, if lists { 200 } else { 404 }, "{method} {path}: {}", answer.body);
        }
    }
    assert_eq!(changed(&world.server, &before).await, Vec::<String>::new());
}
