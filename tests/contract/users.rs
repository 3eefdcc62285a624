//! Section 3.2: other users, the password, signs of life.

use serde_json::{Value, json};

use crate::shape::{DEFAULTS, own, strange};
use crate::site::{ENGLISH, JSON, Person, must, must_refuse, must_tell, post, two};
use crate::support::server::PASSWORD;
use crate::support::{Client, Server};

const CHANGE: &str = "/api/v1/auth/change-password/";
/// A password that passes.
const NEXT: &str = "plum harbour lattice nine";

fn path(user: i64) -> String {
    format!("/api/v1/auth/users/{user}/")
}

#[tokio::test]
async fn row_get_api_v1_auth_users_id() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    must(&bob.get(&path(ann.id)).await, 200, &strange(&ann));
    must(&ann.get(&path(ann.id)).await, 200, &own(&ann));
    // What others tell of themselves is seen, what is private is not.
    let told = json!({
        "email": "ann@example.org", "first_name": "Ann", "last_name": "Lee", "bio": "about me", "location": "Paris",
        "date_of_birth": "1990-02-28", "phone_number": "+33 1", "latitude": 48.8566, "longitude": 2.3522,
        "interests": ["go"],
    });
    assert_eq!(ann.put("/api/v1/auth/profile/", told).await.status, 200);
    let seen = strange(&ann)
        .replace(r#""first_name":"","last_name":"""#, r#""first_name":"Ann","last_name":"Lee""#)
        .replace(r#""bio":"""#, r#""bio":"about me""#)
        .replace(r#""location":"""#, r#""location":"Paris""#)
        .replace(r#""interests":[]"#, r#""interests":[{"id":<int>,"name":"go"}]"#);
    must(&bob.get(&path(ann.id)).await, 200, &seen);
    // Those who talk with each other may know when the other one was here last.
    ann.talk_to(&bob, "hello").await;
    let acquainted = seen.replace(r#""last_activity":null"#, r#""last_activity":"<time>""#);
    must(&bob.get(&path(ann.id)).await, 200, &acquainted);
    let mine = ann.get(&path(ann.id)).await;
    assert_eq!((&mine.json["email"], mine.json.get("latitude")), (&json!("ann@example.org"), None));
    assert_eq!(mine.json["preferences"], serde_json::from_str::<Value>(DEFAULTS).expect("JSON"));
}

#[tokio::test]
async fn row_get_api_v1_auth_users_id_errors() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let nobody = "No User matches the given query.";
    for id in [0, 999_999, i64::MAX] {
        must_tell(&ann.get(&path(id)).await, 404, nobody);
    }
    for id in ["abc", "1.5", "-1", "", "99999999999999999999999x"] {
        let answer = ann.get(&format!("/api/v1/auth/users/{id}/")).await;
        assert_eq!(answer.status, 404, "{id}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8", "{id}");
    }
    let beyond = ann.get("/api/v1/auth/users/99999999999999999999/").await;
    assert_eq!(beyond.status, 404, "more than 64 bits: {}", beyond.body);
    // Who blocks, is blocked, or is gone, is nobody.
    let mut gone = Client::connect(&server, server.account("gone").await).await;
    let user = gone.user;
    gone.say("account.delete", json!({ "password": PASSWORD })).await;
    gone.expect_close().await;
    must_tell(&ann.get(&path(user)).await, 404, nobody);
    assert_eq!(ann.to("block", &bob).await.status, 200);
    must_tell(&ann.get(&path(bob.id)).await, 404, nobody);
    must_tell(&bob.get(&path(ann.id)).await, 404, nobody);
}

async fn changes_the_password(method: &str) {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let body =
        |old: &str, new: &str, again: &str| json!({ "old_password": old, "new_password": new, "new_password2": again });
    let required = "Ce champ est obligatoire.";
    let missing =
        format!(r#"{{"old_password":["{required}"],"new_password":["{required}"],"new_password2":["{required}"]}}"#);
    must(&ann.json(method, CHANGE, &json!({})).await, 400, &missing);
    // First the fields, then whether the two are equal, then the old one.
    let weak = ann.json(method, CHANGE, &body("wrong", "password1", "other")).await;
    must_refuse(&weak, "new_password", "Ce mot de passe est trop courant.");
    let unequal = ann.json(method, CHANGE, &body("wrong", NEXT, "plum harbour lattice ten")).await;
    must_refuse(&unequal, "new_password", "Les nouveaux mots de passe ne correspondent pas.");
    let wrong = ann.json(method, CHANGE, &body("wrong", NEXT, NEXT)).await;
    must_refuse(&wrong, "old_password", "Le mot de passe actuel est incorrect.");
    server.login("ann").await;
    let done = ann.json(method, CHANGE, &body(PASSWORD, NEXT, NEXT)).await;
    must_tell(&done, 200, "Mot de passe changé avec succès");
    assert_eq!(ann.get("/api/v1/auth/profile/").await.status, 200, "the token goes on");
    let login = |password: &str| post(&server, "/api/token/", json!({ "username": "ann", "password": password }));
    assert_eq!((login(PASSWORD).await.status, login(NEXT).await.status), (401, 200));
}

#[tokio::test]
async fn row_put_api_v1_auth_change_password() {
    changes_the_password("PUT").await;
}

#[tokio::test]
async fn row_patch_api_v1_auth_change_password() {
    changes_the_password("PATCH").await;
}

#[tokio::test]
async fn form_password_rules() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let short = (
        "Ce mot de passe est trop court. Il doit contenir au minimum 8 caractères.",
        "This password is too short. It must contain at least 8 characters.",
    );
    let common = ("Ce mot de passe est trop courant.", "This password is too common.");
    for (password, (french, english)) in [("xK9#q", short), ("password1", common), ("qwertyuiop", common)] {
        let new = json!({ "username": "eve", "password": password, "password2": password });
        must_refuse(&post(&server, "/api/v1/auth/register/", new.clone()).await, "password", french);
        let answer = ann.ask("POST", "/api/v1/auth/register/", &[JSON, ENGLISH], &new.to_string()).await;
        must_refuse(&answer, "password", english);
        let change = json!({ "old_password": PASSWORD, "new_password": password, "new_password2": password });
        must_refuse(&ann.put(CHANGE, change).await, "new_password", french);
    }
}

#[tokio::test]
async fn row_post_api_v1_auth_update_status() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let path = "/api/v1/auth/update-status/";
    must_tell(&ann.ask("POST", path, &[], "").await, 200, "Statut en ligne mis à jour");
    let ignored = ann.post(path, json!({ "is_online": false, "status": [1] })).await;
    must_tell(&ignored, 200, "Statut en ligne mis à jour");
    for (media, body) in [(JSON.1, "null"), (JSON.1, "[]"), (JSON.1, "{"), ("text/plain", "online")] {
        let ignored = ann.ask("POST", path, &[("Content-Type", media)], body).await;
        must_tell(&ignored, 200, "Statut en ligne mis à jour");
    }
    let before = ann.get("/api/v1/auth/profile/").await.json;
    assert_eq!(before["is_online"], true);
    ann.post(path, Value::Object(serde_json::Map::new())).await;
    let after = ann.get(&format!("/api/v1/auth/users/{}/", ann.id)).await.json;
    let at = |profile: &Value| profile["last_activity"].as_str().expect("a time").to_owned();
    assert!(at(&after) > at(&before), "{} and then {}", at(&before), at(&after));
}
