//! Registering, signing in and out, profiles and preferences, as clients see them.

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use serde_json::{Value, json};
use support::http::{call, call_with};
use support::server::PASSWORD;
use support::{Client, Server};

async fn post(server: &Server, path: &str, body: Value) -> support::http::Response {
    call(server.next_address(), "POST", path, None, Some(&body)).await
}

#[tokio::test]
async fn registering_answers_as_clients_of_the_django_api_know_it() {
    let server = Server::start(&[]).await;
    let path = "/api/v1/auth/register/";
    let answer = post(
        &server,
        path,
        json!({ "username": "  Zoe\u{308}.1 ", "password": PASSWORD, "password2": PASSWORD,
            "email": "Zoe@Example.ORG", "first_name": "Zoë", "role": "admin" }),
    )
    .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let expected = r#"{"username":"Zoë.1","email":"Zoe@example.org","first_name":"Zoë","last_name":""}"#;
    assert_eq!(answer.body, expected);
    for (header, value) in [
        ("content-type", "application/json"),
        ("allow", "POST, OPTIONS"),
        ("vary", "Accept, Accept-Language, origin"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(answer.headers.get(header).map(String::as_str), Some(value), "{header}");
    }
    let taken = post(&server, path, json!({ "username": "ZOË.1", "password": PASSWORD, "password2": PASSWORD })).await;
    assert_eq!(
        (taken.status, taken.body.as_str()),
        (400, r#"{"username":["Un utilisateur avec ce nom existe déjà."]}"#)
    );
    let wrong = post(&server, path, json!({ "username": "a b", "password": "", "email": "x", "first_name": [] })).await;
    let expected = concat!(
        r#"{"username":["Saisissez un nom d’utilisateur valide. Il ne peut contenir que des lettres, des nombres ou les "#,
        "caractères «\u{a0}@\u{a0}», «\u{a0}.\u{a0}», «\u{a0}+\u{a0}», «\u{a0}-\u{a0}» et «\u{a0}_\u{a0}».\"],",
        r#""password":["Ce champ ne peut être vide."],"password2":["Ce champ est obligatoire."],"#,
        r#""email":["Saisissez une adresse e-mail valide."],"first_name":["Chaîne de caractère invalide."]}"#,
    );
    let told: Value = serde_json::from_str(expected).expect("JSON");
    assert_eq!((wrong.status, wrong.json), (400, told));
    let unequal = post(&server, path, json!({ "username": "x", "password": PASSWORD, "password2": "other" })).await;
    assert_eq!(unequal.body, r#"{"password":["Les mots de passe ne correspondent pas."]}"#);
}

#[tokio::test]
async fn forms_slashes_and_methods() {
    let server = Server::start(&[]).await;
    server.account("ann").await;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = "username=ANN&password=correct+horse%20battery+staple";
    for path in ["/api/token/", "/api/token"] {
        let answer = call_with(server.next_address(), "POST", path, &form, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.body.starts_with(r#"{"refresh":""#), "{}", answer.body);
    }
    let answer = call_with(server.next_address(), "GET", "/api/token/", &[], "").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (405, "{\"detail\":\"Méthode «\u{a0}GET\u{a0}» non autorisée.\"}")
    );
    assert_eq!(answer.headers["allow"], "POST, OPTIONS");
    let answer = call_with(server.next_address(), "POST", "/api/token/", &[("Content-Type", "text/plain")], "x").await;
    let expected = "{\"detail\":\"Type de média «\u{a0}text/plain\u{a0}» non supporté.\"}";
    assert_eq!((answer.status, answer.body.as_str()), (415, expected));
    let answer = post(&server, "/api/token/", json!([])).await;
    let expected = r#"{"non_field_errors":["Donnée non valide. Attendait un dictionnaire, a reçu list."]}"#;
    assert_eq!((answer.status, answer.body.as_str()), (400, expected));
    let answer = call_with(server.next_address(), "GET", "/api/nothing/", &[], "").await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (404, "text/html; charset=utf-8"));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(call_with(server.next_address(), "GET", path, &[], "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn refreshing_and_logging_out() {
    let server = Server::start(&[]).await;
    let account = server.account("ann").await;
    let mut socket = Client::connect(&server, account.clone()).await;
    let answer = post(&server, "/api/token/refresh/", json!({ "refresh": account.refresh })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json.as_object().expect("an object").len(), 1, "no rotation unless asked for: {}", answer.body);
    let missing = post(&server, "/api/token/refresh/", json!({})).await;
    assert_eq!((missing.status, missing.body.as_str()), (400, r#"{"refresh":["Ce champ est obligatoire."]}"#));
    for (token, text) in [("x.y.z", "Token is invalid"), (account.access.as_str(), "Token has wrong type")] {
        let answer = post(&server, "/api/token/refresh/", json!({ "refresh": token })).await;
        assert_eq!((answer.status, answer.json), (401, json!({ "detail": text, "code": "token_not_valid" })));
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"api\"");
    }
    let path = "/api/v1/auth/logout/";
    let nobody = post(&server, path, json!({})).await;
    assert_eq!(
        (nobody.status, nobody.body.as_str()),
        (401, r#"{"detail":"Informations d'authentification non fournies."}"#)
    );
    let bad = socket.http("POST", path, Some(&json!({ "refresh": "x" }))).await;
    assert_eq!((bad.status, bad.body.as_str()), (400, r#"{"detail":"Token is invalid"}"#));
    let done = socket.http("POST", path, Some(&json!({ "refresh": account.refresh }))).await;
    assert_eq!((done.status, done.body.as_str()), (200, r#"{"detail":"Déconnexion réussie"}"#));
    assert_eq!(socket.expect_close().await.code, 4003, "logging out closes the session's sockets");
    let answer = post(&server, "/api/token/refresh/", json!({ "refresh": account.refresh })).await;
    assert_eq!(
        (answer.status, answer.json),
        (401, json!({ "detail": "Token is blacklisted", "code": "token_not_valid" }))
    );
    let again = socket.http("POST", path, None).await;
    assert_eq!((again.status, again.json["code"].as_str()), (401, Some("token_not_valid")), "{}", again.body);
    let header = [("Authorization", "Bearer a b")];
    let answer = call_with(server.next_address(), "POST", path, &header, "").await;
    assert_eq!((answer.status, answer.json["code"].as_str()), (401, Some("bad_authorization_header")));
}

#[tokio::test]
async fn a_profile_is_changed_and_seen_by_others_coarsely() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let mut phone = ann.second_socket().await;
    let changed = ann
        .command(
            "profile.update",
            json!({ "first_name": " Ann ", "bio": "two\nlines", "birth_date": "1990-02-28", "gender": "woman",
                "email": "ann@Example.org", "location": "Paris", "interests": ["Chess", " go ", "chess"],
                "place": { "latitude": 48.8566, "longitude": 2.3522 } }),
        )
        .await;
    assert_eq!((&changed["first_name"], &changed["interests"]), (&json!("Ann"), &json!(["chess", "go"])));
    assert_eq!((&changed["has_place"], changed.get("place")), (&json!(true), None));
    phone.expect_where("personal", |entry| entry["kind"] == "profile_changed").await;
    assert_eq!(phone.command("profile.me", json!({})).await, changed);
    bob.command("profile.update", json!({ "place": { "latitude": 48.85, "longitude": 2.30 } })).await;
    let seen = bob.command("profile.get", json!({ "user": ann.user })).await;
    assert_eq!((&seen["distance_km"], &seen["presence"]), (&json!(5), &json!("offline")));
    for secret in ["email", "birth_date", "place", "preferences", "cell_lat", "status", "latitude"] {
        assert_eq!(seen.get(secret), None, "{secret}");
    }
    for (change, field) in [
        (json!({ "birth_date": "2090-01-01" }), "birth_date"),
        (json!({ "birth_date": "1890-01-01" }), "birth_date"),
        (json!({ "place": { "latitude": 91, "longitude": 0 } }), "place"),
        (json!({ "first_name": "a\nb" }), "first_name"),
        (json!({ "first_name": "x".repeat(151) }), "first_name"),
        (json!({ "interests": ["ok", ""] }), "interests[1]"),
        (json!({ "email": "nobody" }), "email"),
    ] {
        assert_eq!(ann.refused("profile.update", change).await["field"], field);
    }
    assert_eq!(ann.command("profile.me", json!({})).await, changed, "a refused change changes nothing");
    let cleared = ann.command("profile.update", json!({ "birth_date": "", "email": "" })).await;
    assert_eq!((cleared.get("birth_date"), &cleared["email"]), (None, &json!("")));
    let unknown = bob.refused("profile.get", json!({ "user": 999_999 })).await;
    bob.command("block.add", json!({ "user": ann.user })).await;
    assert_eq!(bob.refused("profile.get", json!({ "user": ann.user })).await, unknown);
    assert_eq!(ann.refused("profile.get", json!({ "user": bob.user })).await, unknown);
}

#[tokio::test]
async fn a_change_that_changes_nothing_takes_no_number() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    ann.command("profile.update", json!({ "bio": "hello" })).await;
    ann.expect_where("personal", |entry| entry["kind"] == "profile_changed").await;
    ann.command("profile.update", json!({ "bio": "hello" })).await;
    ann.command("profile.update", json!({})).await;
    ann.command("preferences.update", json!({ "age_min": 18 })).await;
    ann.command("preferences.update", json!({ "age_min": 20, "genders": ["woman", "man", "woman"] })).await;
    let first = ann.expect_next("personal").await;
    assert_eq!(first["seq"], ann.hello["personal"].as_i64().expect("a head") + 2, "only two changes took a number");
    let wanted = ann.command("preferences.get", json!({})).await;
    assert_eq!(wanted, json!({ "age_min": 20, "age_max": 99, "distance_km": 50, "genders": ["man", "woman"] }));
    for (change, field) in [
        (json!({ "age_min": 17 }), "age_min"),
        (json!({ "age_max": 19 }), "age_max"),
        (json!({ "distance_km": 0 }), "distance_km"),
        (json!({ "genders": [] }), "genders"),
    ] {
        assert_eq!(ann.refused("preferences.update", change).await["field"], field);
    }
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let mut other = Client::connect(&server, server.login("ann").await).await;
    let wrong = ann.refused("password.change", json!({ "old": "wrong", "new": "a fresh long password" })).await;
    assert_eq!((&wrong["code"], &wrong["field"]), (&json!("wrong_password"), &json!("old")));
    let weak = ann.refused("password.change", json!({ "old": PASSWORD, "new": "password1" })).await;
    assert_eq!((&weak["code"], &weak["field"]), (&json!("invalid_field"), &json!("new")));
    ann.command("password.change", json!({ "old": PASSWORD, "new": "a fresh long password" })).await;
    assert_eq!(other.expect_close().await.code, 4003);
    ann.command("profile.me", json!({})).await;
    let login = |password: &str| post(&server, "/api/token/", json!({ "username": "ann", "password": password }));
    assert_eq!(login(PASSWORD).await.status, 401);
    assert_eq!(login("a fresh long password").await.status, 200);
}

#[tokio::test]
async fn s54_a_deleted_account_is_gone_and_leaves_its_places() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    ann.command("profile.update", json!({ "first_name": "Ann", "bio": "about me", "email": "ann@x.org" })).await;
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    for text in ["unforgettable one", "unforgettable two"] {
        ann.command("message.send", json!({ "conversation": conversation, "text": text })).await;
    }
    bob.command("message.send", json!({ "conversation": conversation, "text": "mine stays" })).await;
    let refused = ann.refused("account.delete", json!({ "password": "wrong" })).await;
    assert_eq!(refused["code"], "wrong_password");
    let id = ann.say("account.delete", json!({ "password": PASSWORD })).await;
    assert_eq!(ann.expect_close().await.code, 4003, "command {id} ends the account's own sockets");
    let gone = bob.expect_where("personal", |entry| entry["kind"] == "user_gone").await;
    assert_eq!(gone["subject"], ann.user);
    let unknown = bob.refused("profile.get", json!({ "user": 999_999 })).await;
    assert_eq!(bob.refused("profile.get", json!({ "user": ann.user })).await, unknown);
    let history = bob.command("message.history", json!({ "conversation": conversation })).await;
    let messages = history["messages"].as_array().expect("messages");
    let places: Vec<i64> = messages.iter().filter_map(|message| message["seq"].as_i64()).collect();
    assert_eq!(places, [1, 2, 3], "the places stay");
    assert!(!history.to_string().contains("unforgettable") && history.to_string().contains("mine stays"), "{history}");
    let found = bob.command("message.search", json!({ "query": "unforgettable" })).await;
    assert_eq!(found["messages"], json!([]));
    let token = ann.http("POST", "/api/v1/auth/logout/", None).await;
    assert_eq!((token.status, token.json["code"].as_str()), (401, Some("user_not_found")));
    let refresh = post(&server, "/api/token/refresh/", json!({ "refresh": ann.account.refresh })).await;
    assert_eq!(refresh.status, 401);
    let login = post(&server, "/api/token/", json!({ "username": "ann", "password": PASSWORD })).await;
    assert_eq!(login.status, 401);
    let again = server.user("ann").await;
    assert_ne!(again.user, ann.user, "the name is free, the id is not given away again");
}
