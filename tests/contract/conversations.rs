//! Section 3.3: conversations.

use serde_json::json;

use crate::shape::{conversation, message};
use crate::site::{Person, id, ids, must, must_one_of, must_refuse, must_tell, two};
use crate::support::Server;

const LIST: &str = "/api/v1/conversations/";
const ABSENT: &str = "No Conversation matches the given query.";
const NOBODY: &str = "L'utilisateur spécifié n'existe pas.";

fn path(conversation: i64) -> String {
    format!("{LIST}{conversation}/")
}

#[tokio::test]
async fn row_get_api_v1_conversations() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let cleo = Person::new(&server, "cleo").await;
    must(&ann.get(LIST).await, 200, "[]");
    let first = ann.talk_to(&bob, "hello bob").await;
    let second = cleo.talk_to(&ann, "hello ann").await;
    bob.talk_to(&cleo, "not ann's").await;
    let list = ann.get(LIST).await;
    assert_eq!(ids(&list), [second, first], "the one that moved last is first");
    assert_eq!(list.headers["x-total-count"], "2");
    ann.says(first, "again").await;
    let list = ann.get(LIST).await;
    assert_eq!(ids(&list), [first, second]);
    let said = message(first, &ann, "again", false, false);
    let mut expected = Vec::new();
    for one in conversation([&ann, &bob], true, &said, 0) {
        for other in conversation([&cleo, &ann], true, &message(second, &cleo, "hello ann", false, false), 1) {
            expected.push(format!("[{one},{other}]"));
        }
    }
    must_one_of(&list, 200, &expected);
    assert_eq!(ids(&bob.get(LIST).await).len(), 2);
}

#[tokio::test]
async fn row_post_api_v1_conversations() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let made = ann.post(LIST, json!({ "participant_id": bob.id, "message": "  hello \n" })).await;
    let said = |text| message(id(&made), &ann, text, false, false);
    must_one_of(&made, 201, &conversation([&ann, &bob], true, &said("hello"), 0));
    assert_eq!(made.headers.get("location"), None);
    // Numbers may come as texts; there is one conversation of two.
    let again = ann.post(LIST, json!({ "participant_id": bob.id.to_string(), "message": 7, "more": 1 })).await;
    must_one_of(&again, 201, &conversation([&ann, &bob], true, &said("7"), 0));
    assert_eq!(id(&again), id(&made));
    assert_eq!(bob.talk_to(&ann, "I know").await, id(&made));
    assert_eq!(ids(&bob.get(LIST).await), [id(&made)]);
}

#[tokio::test]
async fn row_post_api_v1_conversations_errors() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let missing = r#"{"participant_id":["Ce champ est obligatoire."],"message":["Ce champ est obligatoire."]}"#;
    must(&ann.post(LIST, json!({})).await, 400, missing);
    let wrong =
        r#"{"participant_id":["Un nombre entier valide est requis."],"message":["Ce champ ne peut être vide."]}"#;
    must(&ann.post(LIST, json!({ "participant_id": "bob", "message": " " })).await, 400, wrong);
    let to = |id: i64| json!({ "participant_id": id, "message": "hello" });
    must_refuse(&ann.post(LIST, to(999_999)).await, "participant_id", NOBODY);
    let oneself = "Vous ne pouvez pas créer une conversation avec vous-même.";
    must_refuse(&ann.post(LIST, to(ann.id)).await, "participant_id", oneself);
    let long = json!({ "participant_id": bob.id, "message": "é".repeat(4097) });
    let most = "Assurez-vous que ce champ comporte au plus 4096\u{a0}caractères.";
    must_refuse(&ann.post(LIST, long).await, "message", most);
    assert_eq!(ann.to("block", &bob).await.status, 200);
    must_refuse(&ann.post(LIST, to(bob.id)).await, "participant_id", NOBODY);
    must_refuse(&bob.post(LIST, to(ann.id)).await, "participant_id", NOBODY);
    must(&ann.get(LIST).await, 200, "[]");
}

#[tokio::test]
async fn row_get_api_v1_conversations_id() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let cleo = Person::new(&server, "cleo").await;
    let made = ann.talk_to(&bob, "hello").await;
    let said = message(made, &ann, "hello", false, false);
    must_one_of(&ann.get(&path(made)).await, 200, &conversation([&ann, &bob], true, &said, 0));
    must_one_of(&bob.get(&path(made)).await, 200, &conversation([&ann, &bob], true, &said, 1));
    must_tell(&cleo.get(&path(made)).await, 404, ABSENT);
    must_tell(&ann.get(&path(999_999)).await, 404, ABSENT);
    must_tell(&ann.get(&format!("{LIST}abc/")).await, 404, "Non trouvé.");
    assert_eq!(ann.get(&format!("{LIST}99999999999999999999/")).await.status, 404);
}

/// All that is unread is counted, and nothing else.
#[tokio::test]
async fn row_get_api_v1_conversations_id_unread() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let made = ann.talk_to(&bob, "1").await;
    for number in 2..=103 {
        ann.says(made, &number.to_string()).await;
    }
    bob.says(made, "so much").await;
    let unread = async |person: &Person| person.get(&path(made)).await.json["unread_count"].clone();
    assert_eq!((unread(&ann).await, unread(&bob).await), (json!(1), json!(103)));
}

async fn writes_to_a_conversation(method: &str) {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let cleo = Person::new(&server, "cleo").await;
    let made = ann.talk_to(&bob, "hello").await;
    let said = message(made, &ann, "hello", false, false);
    let active = conversation([&ann, &bob], true, &said, 0);
    for body in [json!({}), json!({ "is_active": true }), json!({ "is_active": "true", "participants": [], "id": 9 })] {
        must_one_of(&ann.json(method, &path(made), &body).await, 200, &active);
    }
    let wrong = ann.json(method, &path(made), &json!({ "is_active": "maybe" })).await;
    must_refuse(&wrong, "is_active", "Doit être un booléen valide.");
    must_tell(&cleo.json(method, &path(made), &json!({})).await, 404, ABSENT);
    must_tell(&ann.json(method, &path(999_999), &json!({})).await, 404, ABSENT);
    let hidden = ann.json(method, &path(made), &json!({ "is_active": false })).await;
    must_one_of(&hidden, 200, &conversation([&ann, &bob], false, &said, 0));
    must_tell(&ann.get(&path(made)).await, 404, ABSENT);
    assert_eq!(bob.get(&path(made)).await.status, 200, "only for the caller");
    bob.says(made, "still there?").await;
    assert_eq!(ann.get(&path(made)).await.json["is_active"], true, "until the next message");
}

#[tokio::test]
async fn row_put_api_v1_conversations_id() {
    writes_to_a_conversation("PUT").await;
}

#[tokio::test]
async fn row_patch_api_v1_conversations_id() {
    writes_to_a_conversation("PATCH").await;
}

/// What leaving and deleting have in common: gone for the caller alone, until the next message.
async fn hides(server: &Server, ending: &str, status: u16, body: &str) {
    let (ann, bob) = two(server).await;
    let cleo = Person::new(server, "cleo").await;
    let made = ann.talk_to(&bob, "hello").await;
    let gone = format!("{}{ending}", path(made));
    must_tell(&cleo.delete(&gone).await, 404, ABSENT);
    must_tell(&ann.delete(&format!("{}{ending}", path(999_999))).await, 404, ABSENT);
    let done = ann.delete(&gone).await;
    assert_eq!((done.status, done.body.as_str()), (status, body));
    must_tell(&ann.delete(&gone).await, 404, ABSENT);
    must_tell(&ann.get(&path(made)).await, 404, ABSENT);
    must(&ann.get(LIST).await, 200, "[]");
    // The other one lost nothing.
    assert_eq!(ids(&bob.get(LIST).await), [made]);
    assert_eq!(bob.get(&path(made)).await.status, 200);
    bob.says(made, "come back").await;
    assert_eq!(ids(&ann.get(LIST).await), [made]);
    assert_eq!(ann.delete(&gone).await.status, status);
    assert_eq!(ann.talk_to(&bob, "here I am").await, made, "it is found again");
    assert_eq!(ids(&ann.get(LIST).await), [made]);
}

#[tokio::test]
async fn row_delete_api_v1_conversations_id_leave() {
    let server = Server::start(&[]).await;
    hides(&server, "leave/", 200, r#"{"detail":"Conversation supprimée avec succès"}"#).await;
    let dora = Person::new(&server, "dora").await;
    let eve = Person::new(&server, "eve").await;
    let made = dora.talk_to(&eve, "hello").await;
    let get = dora.get(&format!("{}leave/", path(made))).await;
    must_tell(&get, 405, "Méthode «\u{a0}GET\u{a0}» non autorisée.");
    assert_eq!(get.headers["allow"], "DELETE, OPTIONS");
}

#[tokio::test]
async fn row_delete_api_v1_conversations_id() {
    let server = Server::start(&[]).await;
    hides(&server, "", 204, "").await;
}

#[tokio::test]
async fn row_get_api_v1() {
    let server = Server::start(&[("public-url", "https://chat.example.org")]).await;
    let ann = Person::new(&server, "ann").await;
    let url = "https://chat.example.org/api/v1";
    let expected = format!(r#"{{"conversations":"{url}/conversations/","matches":"{url}/matches/"}}"#);
    must(&ann.get("/api/v1/").await, 200, &expected);
}
