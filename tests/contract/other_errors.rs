//! Section 6.5: the other errors. 403 and 404 of objects are in the rows that have them, too.

use regex::Regex;
use serde_json::json;

use crate::ROWS;
use crate::site::{ENGLISH, JSON, Person, ask, must, must_tell, post, two};
use crate::support::Server;
use crate::support::http::Response;

const PROFILE: &str = "/api/v1/auth/profile/";

#[tokio::test]
async fn form_403() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "hello").await;
    let said = ann.says(conversation, "mine").await;
    let path = format!("/api/v1/conversations/{conversation}/messages/{said}/");
    must_tell(&bob.delete(&path).await, 403, "Vous n'avez pas la permission d'effectuer cette action.");
    let english = bob.ask("DELETE", &path, &[ENGLISH], "").await;
    must_tell(&english, 403, "You do not have permission to perform this action.");
    assert_eq!(ann.get(&path).await.status, 200);
}

/// A block is never told as such.
#[tokio::test]
async fn form_no_403_for_a_block() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "hello").await;
    let list = format!("/api/v1/conversations/{conversation}/messages/");
    let his = bob.says(conversation, "hi").await;
    assert_eq!(ann.to("block", &bob).await.status, 200);
    for person in [&ann, &bob] {
        assert_eq!(person.post(&list, json!({ "content": "you" })).await.status, 404);
    }
    let edit = bob.patch(&format!("{list}{his}/"), json!({ "content": "you" })).await;
    assert_eq!(edit.status, 404, "{}", edit.body);
    let delete = bob.delete(&format!("{list}{his}/")).await;
    assert_ne!(delete.status, 403, "{}", delete.body);
}

#[tokio::test]
async fn form_404_object() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    for (path, model) in [
        ("/api/v1/auth/users/999999/", "User"),
        ("/api/v1/conversations/999999/", "Conversation"),
        ("/api/v1/conversations/999999/messages/1/", "Message"),
        ("/api/v1/matches/999999/", "Match"),
    ] {
        let text = format!("No {model} matches the given query.");
        must_tell(&ann.get(path).await, 404, &text);
        must_tell(&ann.ask("GET", path, &[ENGLISH], "").await, 404, &text);
        assert_eq!(ann.ask("HEAD", path, &[], "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn form_404_generic() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let path = "/api/v1/conversations/abc/";
    must_tell(&ann.get(path).await, 404, "Non trouvé.");
    must_tell(&ann.ask("GET", path, &[ENGLISH], "").await, 404, "Not found.");
}

#[tokio::test]
async fn form_405() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    for (_, row) in ROWS {
        let path = row.replace("<id>", "999999");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if ROWS.contains(&(method, *row)) {
                continue;
            }
            // Also with a body that nobody would take: the method is judged before.
            let answer = ann.ask(method, &path, &[JSON], "{").await;
            must_tell(&answer, 405, &format!("Méthode «\u{a0}{method}\u{a0}» non autorisée."));
            let answer = ann.ask(method, &path, &[ENGLISH], "").await;
            must_tell(&answer, 405, &format!("Method \"{method}\" not allowed."));
        }
    }
}

#[tokio::test]
async fn form_401_before_405() {
    let server = Server::start(&[]).await;
    let answer = ask(server.next_address(), "DELETE", PROFILE, &[], "").await;
    must_tell(&answer, 401, "Informations d'authentification non fournies.");
    let open = ask(server.next_address(), "DELETE", "/api/v1/auth/register/", &[], "").await;
    must_tell(&open, 405, "Méthode «\u{a0}DELETE\u{a0}» non autorisée.");
}

#[tokio::test]
async fn form_415() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    for (method, path) in [("PATCH", PROFILE), ("POST", "/api/v1/matching/like/"), ("POST", "/api/v1/conversations/")] {
        for media in ["text/plain", "application/xml"] {
            let answer = ann.ask(method, path, &[("Content-Type", media)], "x").await;
            must_tell(&answer, 415, &format!("Type de média «\u{a0}{media}\u{a0}» non supporté."));
            let answer = ann.ask(method, path, &[("Content-Type", media), ENGLISH], "x").await;
            must_tell(&answer, 415, &format!("Unsupported media type \"{media}\" in request."));
        }
    }
    let answer = ask(server.next_address(), "POST", "/api/token/", &[("Content-Type", "text/plain")], "x").await;
    must_tell(&answer, 415, "Type de média «\u{a0}text/plain\u{a0}» non supporté.");
}

/// The seconds to wait must be the same in the header and in the text.
#[track_caller]
fn must_slow_down(answer: &Response, text: &str) -> u64 {
    assert_eq!(answer.status, 429, "{}", answer.body);
    let told = Regex::new(text).expect("a pattern").captures(&answer.body);
    let told = told.unwrap_or_else(|| panic!("{text}: {}", answer.body));
    assert_eq!(answer.headers.get("retry-after").map(String::as_str), Some(&told[1]), "{}", answer.body);
    told[1].parse().expect("a number")
}

const SLOW: &str = r#"^\{"detail":"Requête ralentie\. Disponible à nouveau dans (\d+) secondes?\."\}$"#;

#[tokio::test]
async fn form_429() {
    let server = Server::start(&[("likes-per-hour", "1"), ("direct-per-hour", "1")]).await;
    let ann = Person::new(&server, "ann").await;
    for name in ["bob", "cleo", "dora"] {
        let other = Person::new(&server, name).await;
        let talk = json!({ "participant_id": other.id, "message": "hello" });
        let answers = [ann.to("like", &other).await, ann.post("/api/v1/conversations/", talk).await];
        for answer in answers {
            // What was used up at first comes back within the hour.
            match name {
                "bob" => assert_eq!(answer.status, 201, "{}", answer.body),
                _ => assert!((1..=3_600).contains(&must_slow_down(&answer, SLOW))),
            }
        }
    }
    let body = json!({ "user_id": Person::new(&server, "eve").await.id }).to_string();
    let english = ann.ask("POST", "/api/v1/matching/like/", &[JSON, ENGLISH], &body).await;
    let text = r#"^\{"detail":"Request was throttled\. Expected available in (\d+) seconds?\."\}$"#;
    must_slow_down(&english, text);
    must(&ann.get("/api/v1/matches/").await, 200, "[]");
}

/// So are all who call too fast, whatever they call.
#[tokio::test]
async fn form_429_of_any_call() {
    let server = Server::start(&[("commands-per-s", "1"), ("commands-burst", "2")]).await;
    let ann = Person::new(&server, "ann").await;
    // Time may pass between two calls, but not that much.
    for _ in 0..100 {
        let answer = ann.get(PROFILE).await;
        if answer.status == 429 {
            // A node allows its share only.
            assert!((1..=2).contains(&must_slow_down(&answer, SLOW)));
            return;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    panic!("nobody was slowed down");
}

#[tokio::test]
async fn form_429_of_one_second() {
    let server = Server::start(&[("login-account-burst", "1"), ("login-prefix-burst", "0")]).await;
    server.account("ann").await;
    let body = json!({ "username": "eve", "password": "wrong" });
    // Each node counts what it hears, so that a few tries may pass.
    for _ in 0..8 {
        let answer = post(&server, "/api/token/", body.clone()).await;
        if answer.status == 429 {
            let told = r#"^\{"detail":"Requête ralentie\. Disponible à nouveau dans (1) seconde\."\}$"#;
            must_slow_down(&answer, told);
            return;
        }
        assert_eq!(answer.status, 401, "{}", answer.body);
    }
    panic!("nobody was slowed down");
}
