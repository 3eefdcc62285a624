//! Section 4: what happens behind the endpoints, where duet did not decide otherwise.

use serde_json::{Value, json};

use crate::site::{Person, id, ids, must, must_tell, two};
use crate::support::{Client, Server};

const MATCHES: &str = "/api/v1/matches/";
const POTENTIAL: &str = "/api/v1/matching/potential-matches/";

/// Somebody who can be found.
async fn grown(server: &Server, name: &str) -> Person {
    let person = Person::new(server, name).await;
    let answer = person.put("/api/v1/auth/profile/", json!({ "date_of_birth": "1990-01-01" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    person
}

fn made(answer: &crate::support::http::Response) -> (i64, Value) {
    assert_eq!((answer.status, &answer.json["is_match"]), (201, &json!(true)), "{}", answer.body);
    (answer.json["match"]["id"].as_i64().expect("an id"), answer.json["match"]["created_at"].clone())
}

#[tokio::test]
async fn rule_when_a_match_exists() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    assert_eq!(ann.to("like", &bob).await.json["is_match"], false);
    must(&bob.get(MATCHES).await, 200, "[]");
    let first = made(&bob.to("like", &ann).await);
    for person in [&ann, &bob] {
        assert_eq!(ids(&person.get(MATCHES).await), [first.0]);
    }
}

/// The other's like stays, so that a new one matches at once; and it is the same match again.
#[tokio::test]
async fn rule_unlike() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    ann.to("like", &bob).await;
    let first = made(&bob.to("like", &ann).await);
    assert_eq!(ann.to("unlike", &bob).await.status, 200);
    for person in [&ann, &bob] {
        must(&person.get(MATCHES).await, 200, "[]");
    }
    let again = made(&ann.to("like", &bob).await);
    assert_eq!(again, first, "with its old id and time");
}

#[tokio::test]
async fn rule_conversation_on_match() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    ann.to("like", &bob).await;
    made(&bob.to("like", &ann).await);
    must(&ann.get("/api/v1/conversations/").await, 200, "[]");
}

#[tokio::test]
async fn rule_who_may_message_whom() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "we never met").await;
    bob.says(conversation, "now we do").await;
    // Where the operator wants a match first, it is refused as what one may not do.
    let strict = Server::start(&[("contact-policy", "match")]).await;
    let (ann, bob) = two(&strict).await;
    let body = json!({ "participant_id": bob.id, "message": "hello" });
    let refused = ann.post("/api/v1/conversations/", body).await;
    must(&refused, 403, r#"{"detail":"<text>"}"#);
}

#[tokio::test]
async fn rule_block() {
    let server = Server::start(&[]).await;
    let (ann, bob) = (grown(&server, "ann").await, grown(&server, "bob").await);
    ann.to("like", &bob).await;
    made(&bob.to("like", &ann).await);
    ann.talk_to(&bob, "hello").await;
    assert_eq!(ann.to("block", &bob).await.status, 200);
    for (one, other) in [(&ann, &bob), (&bob, &ann)] {
        must(&one.get(MATCHES).await, 200, "[]");
        must(&one.get(POTENTIAL).await, 200, "[]");
        must_tell(
            &one.get(&format!("/api/v1/auth/users/{}/", other.id)).await,
            404,
            "No User matches the given query.",
        );
        for act in ["like", "unlike"] {
            let nobody = r#"{"user_id":["L'utilisateur spécifié n'existe pas."]}"#;
            must(&one.to(act, other).await, 400, nobody);
        }
    }
}

/// Likes and match do not come back by themselves.
#[tokio::test]
async fn rule_unblock() {
    let server = Server::start(&[]).await;
    let (ann, bob) = (grown(&server, "ann").await, grown(&server, "bob").await);
    ann.to("like", &bob).await;
    let first = made(&bob.to("like", &ann).await);
    ann.to("block", &bob).await;
    assert_eq!(ann.to("unblock", &bob).await.status, 200);
    must(&ann.get(MATCHES).await, 200, "[]");
    // Who once matched is not proposed again; who never did is.
    let cleo = grown(&server, "cleo").await;
    ann.to("block", &cleo).await;
    must(&ann.get(POTENTIAL).await, 200, "[]");
    ann.to("unblock", &cleo).await;
    assert_eq!(ids(&ann.get(POTENTIAL).await), [cleo.id]);
    assert_eq!(bob.to("like", &ann).await.json["is_match"], false, "both likes went with the block");
    assert_eq!(made(&ann.to("like", &bob).await), first);
}

#[tokio::test]
async fn rule_potential_matches() {
    let server = Server::start(&[]).await;
    let (ann, bob) = (grown(&server, "ann").await, grown(&server, "bob").await);
    let cleo = grown(&server, "cleo").await;
    let met = async |person: &Person| {
        let mut met = ids(&person.get(POTENTIAL).await);
        met.sort_unstable();
        met
    };
    assert_eq!(met(&ann).await, [bob.id, cleo.id], "not oneself");
    // Both must look for an age like the other's.
    let young = json!({ "min_age": 18, "max_age": 20 });
    assert_eq!(bob.put("/api/v1/matching/preferences/", young).await.status, 200);
    assert_eq!((met(&ann).await, met(&bob).await), (vec![cleo.id], vec![]));
    // A gender that is not told excludes nobody, whatever they seek.
    assert_eq!(cleo.put("/api/v1/matching/preferences/", json!({ "gender_preference": "F" })).await.status, 200);
    assert_eq!((met(&ann).await, met(&cleo).await), (vec![cleo.id], vec![ann.id]));
}

#[tokio::test]
async fn rule_leave() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "hello").await;
    let path = format!("/api/v1/conversations/{conversation}/");
    assert_eq!(ann.delete(&format!("{path}leave/")).await.status, 200);
    // Readable and writable by its number.
    assert_eq!(ids(&ann.get(&format!("{path}messages/")).await).len(), 1);
    assert_eq!(ann.get(&path).await.status, 404);
    ann.says(conversation, "one more thing").await;
    assert_eq!(ids(&bob.get(&format!("{path}messages/")).await).len(), 2);
    assert_eq!(id(&ann.get(&path).await), conversation, "until the next message");
}

#[tokio::test]
async fn rule_presence() {
    let server = Server::start(&[("presence-linger-ms", "10")]).await;
    let (ann, bob) = two(&server).await;
    ann.talk_to(&bob, "hello").await;
    let path = format!("/api/v1/auth/users/{}/", ann.id);
    assert_eq!(ann.get("/api/v1/auth/profile/").await.json["is_online"], true);
    assert_eq!(bob.get(&path).await.json["is_online"], true, "who looked at their profile is there");
    assert_eq!(ann.post("/api/v1/auth/logout/", json!({ "refresh": "x" })).await.status, 400);
    assert_eq!(bob.get(&path).await.json["is_online"], false, "also when it then fails");
    assert_eq!(ann.post("/api/v1/auth/update-status/", json!({})).await.status, 200);
    assert_eq!(bob.get(&path).await.json["is_online"], true);
    assert_eq!(ann.post("/api/v1/auth/logout/", json!({})).await.status, 200);
    assert_eq!(bob.get(&path).await.json["is_online"], false);
    let socket = Client::connect(&server, server.login("ann").await).await;
    assert_eq!(bob.get(&path).await.json["is_online"], true, "who has a socket is there");
    drop(socket);
    crate::support::in_time("ann to be away", async {
        while bob.get(&path).await.json["is_online"] == true {
            // Before the next look.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}
