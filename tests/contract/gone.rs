//! Who blocks looks like who is gone: a caller who asks everything learns nothing of the difference.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Value, json};

use crate::site::{Person, ids};
use crate::support::http::Response;
use crate::support::server::PASSWORD;
use crate::support::{Client, Server};

/// Somebody bob talked with, before she went one way or the other.
struct Her {
    id: i64,
    conversation: i64,
    /// What she said, and what he did.
    said: Vec<i64>,
}

async fn acquainted(bob: &Person, her: &Person) -> Her {
    assert_eq!(bob.to("like", her).await.status, 201);
    assert_eq!(her.to("like", bob).await.status, 201);
    let conversation = her.talk_to(bob, "hello").await;
    bob.says(conversation, "hi").await;
    her.says(conversation, "how are you?").await;
    let said = ids(&bob.get(&format!("/api/v1/conversations/{conversation}/messages/")).await);
    Her { id: her.id, conversation, said }
}

/// Everything that bob can ask about her, in this order.
async fn ask_all(bob: &Person, her: &Her) -> BTreeMap<String, (u16, String)> {
    let conversation = format!("/api/v1/conversations/{}/", her.conversation);
    let message = |number: usize| format!("{conversation}messages/{}/", her.said[number]);
    let user = json!({ "user_id": her.id });
    let open = json!({ "participant_id": her.id, "message": "hello?" });
    let text = json!({ "content": "hello?" });
    let mut asked = BTreeMap::new();
    for (number, (method, path, body)) in [
        ("GET", format!("/api/v1/auth/users/{}/", her.id), nothing()),
        ("GET", conversation.clone(), nothing()),
        ("GET", format!("{conversation}messages/"), nothing()),
        ("GET", message(0), nothing()),
        ("GET", message(1), nothing()),
        ("POST", format!("{}mark_read/", message(0)), nothing()),
        ("POST", format!("{}mark_read/", message(1)), nothing()),
        ("PATCH", message(0), text.clone()),
        ("PATCH", message(1), text.clone()),
        ("PUT", conversation.clone(), json!({ "is_active": true })),
        ("POST", format!("{conversation}messages/"), text),
        ("POST", "/api/v1/conversations/".to_owned(), open),
        ("POST", "/api/v1/matching/like/".to_owned(), user.clone()),
        ("POST", "/api/v1/matching/unlike/".to_owned(), user.clone()),
        ("POST", "/api/v1/matching/block/".to_owned(), user.clone()),
        ("POST", "/api/v1/matching/unblock/".to_owned(), user),
        ("DELETE", message(0), nothing()),
        ("DELETE", message(1), nothing()),
        ("GET", conversation.clone(), nothing()),
        ("DELETE", format!("{conversation}leave/"), nothing()),
        ("GET", conversation.clone(), nothing()),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = bob.json(method, &path, &body).await;
        asked.insert(format!("{number:02} {method} {}", plain(&path, her)), (answer.status, told(&answer, her)));
    }
    asked
}

fn nothing() -> Value {
    json!({})
}

/// A text in which her ids are names.
fn plain(text: &str, her: &Her) -> String {
    let mut text = text.replace(&format!("/users/{}/", her.id), "/users/her/");
    text = text.replace(&format!("/conversations/{}/", her.conversation), "/conversations/ours/");
    for (number, id) in her.said.iter().enumerate() {
        text = text.replace(&format!("/messages/{id}/"), &format!("/messages/{number}/"));
    }
    text
}

/// What was answered, without its times and with her ids as names.
fn told(answer: &Response, her: &Her) -> String {
    let time = Regex::new(r#""\d{4}-\d\d-\d\dT[^"]+Z""#).expect("a pattern");
    let mut body = time.replace_all(&answer.body, "\"then\"").into_owned();
    for (number, id) in her.said.iter().enumerate() {
        body = body
            .replace(&format!("{{\"id\":{id},\"conversation\""), &format!("{{\"id\":\"{number}\",\"conversation\""));
    }
    body = body.replace(&format!("\"conversation\":{}", her.conversation), "\"conversation\":\"ours\"");
    body =
        body.replace(&format!("{{\"id\":{},\"participants\"", her.conversation), "{\"id\":\"ours\",\"participants\"");
    body.replace(&format!("{{\"id\":{},\"username\"", her.id), "{\"id\":\"her\",\"username\"")
}

#[tokio::test]
async fn rule_a_block_looks_like_a_deletion() {
    let server = Server::start(&[]).await;
    let bob = Person::new(&server, "bob").await;
    let (ann, dora) = (Person::new(&server, "ann").await, Person::new(&server, "dora").await);
    let (blocking, deleted) = (acquainted(&bob, &ann).await, acquainted(&bob, &dora).await);
    assert_eq!(ann.to("block", &bob).await.status, 200);
    let mut socket = Client::connect(&server, dora.account.clone()).await;
    socket.say("account.delete", json!({ "password": PASSWORD })).await;
    socket.expect_close().await;
    let born = json!({ "date_of_birth": "1990-01-01" });
    assert_eq!(bob.patch("/api/v1/auth/profile/", born).await.status, 200);
    for list in ["/api/v1/matches/", "/api/v1/matching/potential-matches/"] {
        assert_eq!(bob.get(list).await.json, json!([]), "{list}");
    }
    let list = bob.get("/api/v1/conversations/").await;
    let listed: Vec<String> = list.json.as_array().expect("a list").iter().map(Value::to_string).collect();
    assert!(listed.len() != 1, "one of the two is listed, the other is not: {}", list.body);
    let (of_blocking, of_deleted) = (ask_all(&bob, &blocking).await, ask_all(&bob, &deleted).await);
    assert_eq!(of_blocking.len(), 21);
    for (asked, answer) in &of_blocking {
        assert_ne!(answer.0, 403, "{asked}: {}", answer.1);
        assert_eq!(Some(answer), of_deleted.get(asked), "{asked}: of who blocks, and of who is gone");
    }
}
