//! Section 3.5: preferences, likes, matches, blocks.

use serde_json::{Value, json};

use crate::shape::{DEFAULTS, match_user, matched};
use crate::site::{ENGLISH, JSON, Person, id, ids, must, must_refuse, must_tell, two};
use crate::support::server::PASSWORD;
use crate::support::{Client, Server};

const PREFERENCES: &str = "/api/v1/matching/preferences/";
const POTENTIAL: &str = "/api/v1/matching/potential-matches/";
const MATCHES: &str = "/api/v1/matches/";
const LIKED: &str = r#"{"detail":"Like enregistré avec succès","is_match":false}"#;

/// Somebody who can be found: with a birth date and a place.
async fn ready(server: &Server, name: &str, born: &str, latitude: f64) -> Person {
    let person = Person::new(server, name).await;
    let told = json!({ "date_of_birth": born, "latitude": latitude, "longitude": 2.35 });
    let answer = person.put("/api/v1/auth/profile/", told).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    person
}

#[tokio::test]
async fn row_get_api_v1_matching_preferences() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    must(&ann.get(PREFERENCES).await, 200, DEFAULTS);
}

async fn changes_preferences(method: &str) {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    must(&ann.json(method, PREFERENCES, &json!({})).await, 200, DEFAULTS);
    let some = ann.json(method, PREFERENCES, &json!({ "min_age": "20", "max_age": 30.0, "user": 99 })).await;
    must(&some, 200, r#"{"min_age":20,"max_age":30,"max_distance":50,"gender_preference":"A"}"#);
    for gender in ["M", "F", "O", "A"] {
        let body = json!({ "gender_preference": gender, "max_distance": 10 });
        let expected = format!(r#"{{"min_age":20,"max_age":30,"max_distance":10,"gender_preference":"{gender}"}}"#);
        must(&ann.json(method, PREFERENCES, &body).await, 200, &expected);
        must(&ann.get(PREFERENCES).await, 200, &expected);
    }
    let kept = ann.get(PREFERENCES).await.body;
    let wrong = json!({ "gender_preference": "Z", "max_distance": 2.5, "max_age": null, "min_age": true });
    let integer = "Un nombre entier valide est requis.";
    let expected =
        format!(r#"{{"min_age":["{integer}"],"max_age":["Ce champ ne peut être nul."],"max_distance":["{integer}"],"#)
            + "\"gender_preference\":[\"«\u{a0}Z\u{a0}» n'est pas un choix valide.\"]}";
    must(&ann.json(method, PREFERENCES, &wrong).await, 400, &expected);
    let null = ann.json(method, PREFERENCES, &json!({ "gender_preference": null })).await;
    must_refuse(&null, "gender_preference", "Ce champ ne peut être nul.");
    let english = ann.ask(method, PREFERENCES, &[JSON, ENGLISH], r#"{"gender_preference":"Z"}"#).await;
    must_refuse(&english, "gender_preference", "\"Z\" is not a valid choice.");
    assert_eq!(ann.get(PREFERENCES).await.body, kept);
}

#[tokio::test]
async fn row_put_api_v1_matching_preferences() {
    changes_preferences("PUT").await;
}

#[tokio::test]
async fn row_patch_api_v1_matching_preferences() {
    changes_preferences("PATCH").await;
}

/// The contract has neither a range nor an order for the numbers.
#[tokio::test]
async fn row_put_api_v1_matching_preferences_without_a_range() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let body = json!({ "min_age": 60, "max_age": -1, "max_distance": 0 });
    let expected = r#"{"min_age":60,"max_age":-1,"max_distance":0,"gender_preference":"A"}"#;
    must(&ann.put(PREFERENCES, body).await, 200, expected);
}

/// Whatever numbers were kept, people are looked for.
#[tokio::test]
async fn row_put_api_v1_matching_preferences_of_no_sense() {
    let server = Server::start(&[]).await;
    let ann = ready(&server, "ann", "1990-01-01", 48.85).await;
    let bob = ready(&server, "bob", "1990-01-01", 48.85).await;
    let most = json!({ "min_age": 0, "max_age": 1_000, "max_distance": 1_000_000 });
    assert_eq!(ann.put(PREFERENCES, most.clone()).await.status, 200);
    assert_eq!(ids(&ann.get(POTENTIAL).await), [bob.id]);
    for field in ["min_age", "max_age", "max_distance"] {
        for number in [i64::MIN, -1, 0, 100_000, i64::from(i32::MAX), i64::MAX] {
            let kept = ann.put(PREFERENCES, json!({ field: number })).await;
            assert!(kept.status == 200 || kept.status == 400, "{field} {number}: {}", kept.body);
            for person in [&ann, &bob] {
                let found = person.get(POTENTIAL).await;
                assert_eq!(found.status, 200, "{field} {number} for {}: {}", person.name, found.body);
            }
            let profile = ann.get("/api/v1/auth/profile/").await;
            assert_eq!((profile.status, profile.json["preferences"].is_object()), (200, true), "{}", profile.body);
        }
        assert_eq!(ann.put(PREFERENCES, most.clone()).await.status, 200);
    }
    let beyond = ann.ask("PUT", PREFERENCES, &[JSON], r#"{"min_age":99999999999999999999}"#).await;
    assert_eq!(beyond.status, 400, "{}", beyond.body);
    assert_eq!(ids(&ann.get(POTENTIAL).await), [bob.id]);
}

#[tokio::test]
async fn row_get_api_v1_matching_potential_matches() {
    let server = Server::start(&[]).await;
    let ann = ready(&server, "ann", "1990-01-01", 48.85).await;
    let bob = ready(&server, "bob", "1991-01-01", 48.85).await;
    let cleo = ready(&server, "cleo", "1992-01-01", 48.90).await;
    let far = ready(&server, "far", "1990-01-01", 10.0).await;
    let child = ready(&server, "child", "2015-01-01", 48.85).await;
    let ageless = Person::new(&server, "ageless").await;
    let nowhere = Person::new(&server, "nowhere").await;
    assert_eq!(nowhere.put("/api/v1/auth/profile/", json!({ "date_of_birth": "1990-01-01" })).await.status, 200);
    for person in [&child, &ageless] {
        must(&person.get(POTENTIAL).await, 403, r#"{"detail":"<text>"}"#);
    }
    let mut met = ids(&ann.get(POTENTIAL).await);
    met.sort_unstable();
    let mut expected = [bob.id, cleo.id, nowhere.id];
    expected.sort_unstable();
    assert_eq!(met, expected, "both ways of an age, within the distance where there is one");
    let found = ids(&far.get(POTENTIAL).await);
    assert_eq!(found, [nowhere.id]);
    // Those one likes or blocks are not shown again.
    must(&ann.to("like", &bob).await, 201, LIKED);
    assert_eq!(ann.to("block", &nowhere).await.status, 200);
    let list = ann.get(&format!("{POTENTIAL}?min_age=1&ordering=id")).await;
    assert_eq!(list.headers["x-total-count"], "1");
    let age = cleo_age(&list.json);
    must(&list, 200, &format!("[{}]", match_user(&cleo, "<bool>", "null", &age, "10.0")));
    assert!(!ids(&nowhere.get(POTENTIAL).await).contains(&ann.id), "a block hides both from each other");
    assert!(ids(&bob.get(POTENTIAL).await).contains(&ann.id), "who was liked may like back");
}

/// Whole years of somebody who was born on the first day of 1992, as long as this year lasts.
fn cleo_age(list: &Value) -> String {
    let age = list[0]["age"].as_i64().expect("an age");
    assert!((33..80).contains(&age), "{list}");
    age.to_string()
}

/// Those who are there come first, as far as one may know; then those who were there last, by days.
#[tokio::test]
async fn row_get_api_v1_matching_potential_matches_order() {
    let server = Server::start(&[]).await;
    let ann = ready(&server, "ann", "1990-01-01", 48.85).await;
    let mut others = Vec::new();
    for name in ["bob", "cleo", "dora", "eve"] {
        others.push(ready(&server, name, "1990-01-01", 48.85).await);
    }
    let [bob, cleo, dora, eve] = <[Person; 4]>::try_from(others).expect("four");
    // Only the presence of people one knows is told.
    ann.talk_to(&eve, "hello").await;
    let mut database = server.database().writer().await;
    database
        .execute(
            "UPDATE users SET last_active_at = last_active_at - 86400000000 * CASE username WHEN 'bob' THEN 3 \
             WHEN 'cleo' THEN 5 WHEN 'dora' THEN 1 ELSE 9 END WHERE username <> 'ann'",
        )
        .await;
    drop(database);
    assert_eq!(ids(&ann.get(POTENTIAL).await), [eve.id, dora.id, bob.id, cleo.id], "eve is there");
    let away = json!({ "refresh": eve.account.refresh });
    assert_eq!(eve.post("/api/v1/auth/logout/", away).await.status, 200);
    let online: Vec<bool> = ann
        .get(POTENTIAL)
        .await
        .json
        .as_array()
        .expect("a list")
        .iter()
        .map(|user| user["is_online"] == true)
        .collect();
    assert_eq!(online, [false; 4], "who signed out is away");
}

#[tokio::test]
async fn row_get_api_v1_matches() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let cleo = Person::new(&server, "cleo").await;
    must(&ann.get(MATCHES).await, 200, "[]");
    for (one, other) in [(&ann, &bob), (&bob, &ann), (&cleo, &ann), (&ann, &cleo), (&bob, &cleo)] {
        assert_eq!(one.to("like", other).await.status, 201);
    }
    let list = ann.get(MATCHES).await;
    assert_eq!(list.headers["x-total-count"], "2");
    let seen = |person: &Person| matched(&match_user(person, "<bool>", "\"<time>\"", "null", "null"));
    must(&list, 200, &format!("[{},{}]", seen(&bob), seen(&cleo)));
    must(&bob.get(MATCHES).await, 200, &format!("[{}]", seen(&ann)));
    assert_eq!(ann.to("unlike", &bob).await.status, 200);
    must(&bob.get(MATCHES).await, 200, "[]");
    must(&ann.get(MATCHES).await, 200, &format!("[{}]", seen(&cleo)));
}

#[tokio::test]
async fn row_get_api_v1_matches_id() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let cleo = Person::new(&server, "cleo").await;
    ann.to("like", &bob).await;
    let made = bob.to("like", &ann).await;
    let made = made.json["match"]["id"].as_i64().expect("a match");
    let path = format!("{MATCHES}{made}/");
    let seen = |person: &Person| matched(&match_user(person, "<bool>", "\"<time>\"", "null", "null"));
    must(&ann.get(&path).await, 200, &seen(&bob));
    let his = bob.get(&path).await;
    must(&his, 200, &seen(&ann));
    assert_eq!(id(&his), made);
    let absent = "No Match matches the given query.";
    must_tell(&cleo.get(&path).await, 404, absent);
    must_tell(&ann.get(&format!("{MATCHES}999999/")).await, 404, absent);
    ann.to("unlike", &bob).await;
    must_tell(&bob.get(&path).await, 404, absent);
}

#[tokio::test]
async fn row_post_api_v1_matching_like() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    for _ in 0..2 {
        must(&ann.to("like", &bob).await, 201, LIKED);
    }
    let found = |person: &Person| {
        let shown = matched(&match_user(person, "<bool>", "\"<time>\"", "null", "null"));
        format!(r#"{{"detail":"Like enregistré avec succès","is_match":true,"match":{shown}}}"#)
    };
    let made = bob.post("/api/v1/matching/like/", json!({ "user_id": ann.id.to_string() })).await;
    must(&made, 201, &found(&ann));
    let again = ann.to("like", &bob).await;
    must(&again, 201, &found(&bob));
    assert_eq!(again.json["match"]["id"], made.json["match"]["id"]);
    names_a_user(&server, "like", &ann).await;
}

#[tokio::test]
async fn row_post_api_v1_matching_unlike() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    for _ in 0..2 {
        must_tell(&ann.to("unlike", &bob).await, 200, "Like annulé avec succès");
    }
    names_a_user(&server, "unlike", &ann).await;
}

#[tokio::test]
async fn row_post_api_v1_matching_block() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    for _ in 0..2 {
        must_tell(&ann.to("block", &bob).await, 200, "Utilisateur bloqué avec succès");
    }
    names_a_user(&server, "block", &ann).await;
}

#[tokio::test]
async fn row_post_api_v1_matching_unblock() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    ann.to("block", &bob).await;
    for _ in 0..2 {
        must_tell(&ann.to("unblock", &bob).await, 200, "Utilisateur débloqué avec succès");
    }
    assert_eq!(bob.get(&format!("/api/v1/auth/users/{}/", ann.id)).await.status, 200);
    names_a_user(&server, "unblock", &ann).await;
}

/// The one validation of the endpoints that name a user.
async fn names_a_user(server: &Server, act: &str, person: &Person) {
    let path = format!("/api/v1/matching/{act}/");
    let with = |value: Value| person.post(&path, json!({ "user_id": value }));
    let integer = "Un nombre entier valide est requis.";
    must_refuse(&person.post(&path, json!({})).await, "user_id", "Ce champ est obligatoire.");
    must_refuse(&with(Value::Null).await, "user_id", "Ce champ ne peut être nul.");
    for wrong in [json!("ann"), json!(true), json!(2.5), json!("2.5"), json!([1]), json!({}), json!("")] {
        must_refuse(&with(wrong).await, "user_id", integer);
    }
    let nobody = "L'utilisateur spécifié n'existe pas.";
    for unknown in [json!(999_999), json!("999999"), json!(0), json!(-5), json!("999999.0")] {
        must_refuse(&with(unknown).await, "user_id", nobody);
    }
    must_refuse(&with(json!(person.id)).await, "user_id", "Vous ne pouvez pas vous liker vous-même.");
    assert_eq!(with(json!(99_999_999_999_999_999_999_u128 as f64)).await.status, 400);
    // Who is gone, and who blocks, are answered alike: as nobody, or for a block as anybody.
    let mut gone = Client::connect(server, server.account(&format!("gone-{act}")).await).await;
    gone.say("account.delete", json!({ "password": PASSWORD })).await;
    gone.expect_close().await;
    let blocking = Person::new(server, &format!("blocking-{act}")).await;
    assert_eq!(blocking.to("block", person).await.status, 200);
    let (gone, blocked) = (with(json!(gone.user)).await, with(json!(blocking.id)).await);
    assert_eq!((gone.status, &gone.body), (blocked.status, &blocked.body), "{act}");
    if !act.ends_with("block") {
        must_refuse(&gone, "user_id", nobody);
    }
}
