//! Section 3.4: messages.

use serde_json::json;

use crate::shape::message;
use crate::site::{ENGLISH, JSON, Person, id, ids, must, must_refuse, must_tell, two};
use crate::support::Server;

const ABSENT: &str = "No Message matches the given query.";
const FORBIDDEN: &str = "Vous n'avez pas la permission d'effectuer cette action.";

fn list(conversation: i64) -> String {
    format!("/api/v1/conversations/{conversation}/messages/")
}

fn one(conversation: i64, message: i64) -> String {
    format!("{}{message}/", list(conversation))
}

/// Two who talk, and somebody else.
struct Talk {
    server: Server,
    ann: Person,
    bob: Person,
    cleo: Person,
    conversation: i64,
    /// What ann said first.
    first: i64,
}

async fn talk() -> Talk {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let cleo = Person::new(&server, "cleo").await;
    let conversation = ann.talk_to(&bob, "hello").await;
    let first = ids(&ann.get(&list(conversation)).await)[0];
    Talk { server, ann, bob, cleo, conversation, first }
}

#[tokio::test]
async fn row_get_api_v1_conversations_id_messages() {
    let Talk { server: _server, ann, bob, cleo, conversation, .. } = talk().await;
    bob.says(conversation, "hi ann").await;
    let from_ann = |read| message(conversation, &ann, "hello", read, read);
    let from_bob = |read| message(conversation, &bob, "hi ann", read, read);
    // What is read by this look is shown as read by the next one.
    let first = ann.get(&list(conversation)).await;
    assert_eq!(first.headers["x-total-count"], "2");
    must(&first, 200, &format!("[{},{}]", from_ann(false), from_bob(false)));
    must(&ann.get(&list(conversation)).await, 200, &format!("[{},{}]", from_ann(false), from_bob(true)));
    must(&bob.get(&list(conversation)).await, 200, &format!("[{},{}]", from_ann(false), from_bob(true)));
    must(&ann.get(&list(conversation)).await, 200, &format!("[{},{}]", from_ann(true), from_bob(true)));
    let unread = ann.get(&format!("/api/v1/conversations/{conversation}/")).await.json["unread_count"].clone();
    assert_eq!(unread, 0);
    // Others see nothing of it, and mark nothing.
    must(&cleo.get(&list(conversation)).await, 200, "[]");
    must(&ann.get(&list(999_999)).await, 200, "[]");
    // Who left can still read.
    assert_eq!(ann.delete(&format!("/api/v1/conversations/{conversation}/leave/")).await.status, 200);
    assert_eq!(ids(&ann.get(&list(conversation)).await).len(), 2);
}

#[tokio::test]
async fn row_post_api_v1_conversations_id_messages() {
    let Talk { server, ann, bob, cleo, conversation, .. } = talk().await;
    let before = ann.get(&format!("/api/v1/conversations/{conversation}/")).await;
    let said = bob.post(&list(conversation), json!({ "content": " hi\nann ", "sender": 1, "is_read": true })).await;
    must(&said, 201, &message(conversation, &bob, r"hi\nann", false, false));
    let after = ann.get(&format!("/api/v1/conversations/{conversation}/")).await;
    let moved =
        |answer: &crate::support::http::Response| answer.json["updated_at"].as_str().expect("a time").to_owned();
    assert!(moved(&after) > moved(&before));
    for named in [json!(conversation), json!(conversation.to_string())] {
        let said = ann.post(&list(conversation), json!({ "content": 7, "conversation": named })).await;
        must(&said, 201, &message(conversation, &ann, "7", false, false));
    }
    let longest = "é".repeat(4096);
    let said = ann.post(&list(conversation), json!({ "content": longest })).await;
    must(&said, 201, &message(conversation, &ann, &longest, false, false));
    assert_eq!(ids(&bob.get(&list(conversation)).await).len(), 5);
    // Strangers neither say anything there, nor learn that there is a there.
    let absent = "No Conversation matches the given query.";
    must_tell(&cleo.post(&list(conversation), json!({ "content": "me too" })).await, 404, absent);
    must_tell(&cleo.post(&list(999_999), json!({ "content": "me too" })).await, 404, absent);
    drop(server);
}

#[tokio::test]
async fn row_post_api_v1_conversations_id_messages_errors() {
    let Talk { server, ann, bob, conversation, .. } = talk().await;
    let path = list(conversation);
    let wrong = |content| json!({ "content": content });
    must_refuse(&ann.post(&path, json!({})).await, "content", "Ce champ est obligatoire.");
    must_refuse(&ann.post(&path, wrong(json!(" \n"))).await, "content", "Ce champ ne peut être vide.");
    must_refuse(&ann.post(&path, wrong(json!(null))).await, "content", "Ce champ ne peut être nul.");
    must_refuse(&ann.post(&path, wrong(json!(["x"]))).await, "content", "Chaîne de caractère invalide.");
    let nul = "Le caractère nul n’est pas autorisé.";
    must_refuse(&ann.post(&path, wrong(json!("a\0b"))).await, "content", nul);
    let long = "Assurez-vous que ce champ comporte au plus 4096\u{a0}caractères.";
    must_refuse(&ann.post(&path, wrong(json!("é".repeat(4097)))).await, "content", long);
    let other = ann.talk_to(&Person::new(&server, "dora").await, "elsewhere").await;
    for named in [other, 999_999] {
        let body = json!({ "conversation": named, "content": "hello" });
        let text = format!("Clé primaire «\u{a0}{named}\u{a0}» non valide - l'objet n'existe pas.");
        must_refuse(&ann.post(&path, body.clone()).await, "conversation", &text);
        let english = ann.ask("POST", &path, &[JSON, ENGLISH], &body.to_string()).await;
        must_refuse(&english, "conversation", &format!("Invalid pk \"{named}\" - object does not exist."));
    }
    assert_eq!(ids(&ann.get(&path).await).len(), 1, "nothing of it was said");
    // After a block the conversation is nobody's to write to, as if it were not there.
    assert_eq!(ann.to("block", &bob).await.status, 200);
    for person in [&ann, &bob] {
        let answer = person.post(&path, json!({ "content": "hello?" })).await;
        must(&answer, 404, r#"{"detail":"<text>"}"#);
    }
}

#[tokio::test]
async fn row_post_api_v1_conversations_id_messages_id_mark_read() {
    let Talk { server: _server, ann, bob, cleo, conversation, first, .. } = talk().await;
    let second = ann.says(conversation, "are you there?").await;
    let third = ann.says(conversation, "well").await;
    let mark = |message: i64| format!("{}mark_read/", one(conversation, message));
    let unread = async || bob.get(&format!("/api/v1/conversations/{conversation}/")).await.json["unread_count"].clone();
    assert_eq!(unread().await, 3);
    let done = "Message marqué comme lu";
    for _ in 0..2 {
        must_tell(&bob.ask("POST", &mark(second), &[], "").await, 200, done);
        assert_eq!(unread().await, 1, "all up to the one that was read");
    }
    must_tell(&bob.post(&mark(first), json!({ "read": false })).await, 200, done);
    must_tell(&bob.ask("POST", &mark(first), &[JSON], "null").await, 200, done);
    assert_eq!(unread().await, 1, "nothing becomes unread again");
    must_tell(&ann.ask("POST", &mark(third), &[], "").await, 200, done);
    let list: Vec<bool> = ann
        .get(&list(conversation))
        .await
        .json
        .as_array()
        .expect("a list")
        .iter()
        .map(|message| message["is_read"] == true && message["is_read_by_recipient"] == true)
        .collect();
    assert_eq!(list, [true, true, false]);
    must_tell(&cleo.ask("POST", &mark(second), &[], "").await, 404, ABSENT);
    must_tell(&bob.ask("POST", &mark(999_999), &[], "").await, 404, ABSENT);
    let elsewhere = cleo.talk_to(&bob, "other").await;
    let other = format!("{}mark_read/", one(elsewhere, second));
    must_tell(&bob.ask("POST", &other, &[], "").await, 404, ABSENT);
    let get = bob.get(&mark(second)).await;
    must_tell(&get, 405, "Méthode «\u{a0}GET\u{a0}» non autorisée.");
    assert_eq!(get.headers["allow"], "POST, OPTIONS");
}

#[tokio::test]
async fn row_get_api_v1_conversations_id_messages_id() {
    let Talk { server: _server, ann, bob, cleo, conversation, first, .. } = talk().await;
    let shape = message(conversation, &ann, "hello", false, false);
    for person in [&ann, &bob] {
        let answer = person.get(&one(conversation, first)).await;
        must(&answer, 200, &shape);
        assert_eq!(id(&answer), first);
    }
    must(&bob.get(&one(conversation, first)).await, 200, &shape);
    must_tell(&cleo.get(&one(conversation, first)).await, 404, ABSENT);
    must_tell(&ann.get(&one(conversation, 999_999)).await, 404, ABSENT);
    let elsewhere = cleo.talk_to(&ann, "other").await;
    must_tell(&ann.get(&one(elsewhere, first)).await, 404, ABSENT);
}

async fn edits(method: &str) {
    let Talk { server: _server, ann, bob, cleo, conversation, first, .. } = talk().await;
    let path = one(conversation, first);
    let edited = ann.json(method, &path, &json!({ "content": " hello, bob ", "conversation": conversation })).await;
    must(&edited, 200, &message(conversation, &ann, "hello, bob", false, false));
    assert_eq!(id(&edited), first);
    must(&bob.get(&path).await, 200, &message(conversation, &ann, "hello, bob", false, false));
    must_tell(
        &bob.json(method, &path, &json!({ "content": "mine", "conversation": conversation })).await,
        403,
        FORBIDDEN,
    );
    let english = bob.ask(method, &path, &[JSON, ENGLISH], r#"{"content":"mine"}"#).await;
    must_tell(&english, 403, "You do not have permission to perform this action.");
    must_tell(&cleo.json(method, &path, &json!({ "content": "mine" })).await, 404, ABSENT);
    must_tell(&ann.json(method, &one(conversation, 999_999), &json!({ "content": "x" })).await, 404, ABSENT);
    must_refuse(&ann.json(method, &path, &json!({ "content": "" })).await, "content", "Ce champ ne peut être vide.");
    let other = ann.json(method, &path, &json!({ "content": "x", "conversation": 999_999 })).await;
    let unknown = "Clé primaire «\u{a0}999999\u{a0}» non valide - l'objet n'existe pas.";
    must_refuse(&other, "conversation", unknown);
    must(&bob.get(&path).await, 200, &message(conversation, &ann, "hello, bob", false, false));
}

#[tokio::test]
async fn row_put_api_v1_conversations_id_messages_id() {
    edits("PUT").await;
    let Talk { server: _server, ann, conversation, first, .. } = talk().await;
    must_refuse(&ann.put(&one(conversation, first), json!({})).await, "content", "Ce champ est obligatoire.");
}

#[tokio::test]
async fn row_patch_api_v1_conversations_id_messages_id() {
    edits("PATCH").await;
    let Talk { server: _server, ann, conversation, first, .. } = talk().await;
    let unchanged = ann.patch(&one(conversation, first), json!({})).await;
    must(&unchanged, 200, &message(conversation, &ann, "hello", false, false));
}

#[tokio::test]
async fn row_delete_api_v1_conversations_id_messages_id() {
    let Talk { server: _server, ann, bob, cleo, conversation, first, .. } = talk().await;
    let second = ann.says(conversation, "stays").await;
    let path = one(conversation, first);
    must_tell(&bob.delete(&path).await, 403, FORBIDDEN);
    must_tell(&cleo.delete(&path).await, 404, ABSENT);
    must_tell(&ann.delete(&one(conversation, 999_999)).await, 404, ABSENT);
    let done = ann.delete(&path).await;
    assert_eq!((done.status, done.body.as_str()), (204, ""));
    must_tell(&ann.delete(&path).await, 404, ABSENT);
    for person in [&ann, &bob] {
        must_tell(&person.get(&path).await, 404, ABSENT);
        assert_eq!(ids(&person.get(&list(conversation)).await), [second]);
    }
    let third = ann.says(conversation, "goes").await;
    let seen = async |person: &Person| {
        let seen = person.get(&format!("/api/v1/conversations/{conversation}/")).await;
        (seen.json["last_message"]["id"].clone(), seen.json["unread_count"].clone())
    };
    assert_eq!(ann.delete(&one(conversation, third)).await.status, 204);
    assert_eq!((seen(&ann).await, seen(&bob).await), ((json!(second), json!(0)), (json!(second), json!(0))));
    let fourth = ann.says(conversation, "unread").await;
    assert_eq!(seen(&bob).await, (json!(fourth), json!(1)));
    for gone in [fourth, second] {
        assert_eq!(ann.delete(&one(conversation, gone)).await.status, 204);
    }
    for person in [&ann, &bob] {
        let answer = person.get(&format!("/api/v1/conversations/{conversation}/")).await;
        assert_eq!((&answer.json["last_message"], &answer.json["unread_count"]), (&json!(null), &json!(0)));
    }
}
