//! Users of the Django service go on where they were: with their passwords, and with the tokens that their clients have.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::django::{Service, Target};
use support::server::Account;
use support::{Client, Server, http};

fn number(value: &Value) -> i64 {
    value.as_i64().expect("a number")
}

/// A server that goes on from an import, and the service that it came from.
async fn moved() -> (Service, Server) {
    let service = Service::make(60, 300).await;
    let target = Target::new().await;
    target.import(&service, &[]);
    (service, target.serve().await)
}

async fn token(server: &Server, username: &str, password: &str) -> http::Response {
    let body = json!({ "username": username, "password": password });
    http::call(server.next_address(), "POST", "/api/token/", None, Some(&body)).await
}

async fn log_in(server: &Server, username: &str, password: &str) -> Client {
    let answer = token(server, username, password).await;
    assert_eq!(answer.status, 200, "{username}: {}", answer.body);
    let token = |name: &str| answer.json[name].as_str().expect("a token").to_owned();
    let account = Account { username: username.to_owned(), access: token("access"), refresh: token("refresh") };
    Client::connect(server, account).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_password_logs_in_and_is_kept_as_ours_from_then_on() {
    let (service, server) = moved().await;
    let password = service.facts["password"].as_str().expect("a password").to_owned();
    let mut reader = server.database().reader().await;
    let mut stored = async |id: i64| {
        let rows = reader.rows("password_hash", &format!("FROM users WHERE id = {id}")).await;
        rows[0][0].as_str().expect("a text").to_owned()
    };
    let forms = ["pbkdf2_sha256", "pbkdf2_sha1", "argon2", "argon2_cheap", "bcrypt_sha256", "scrypt"];
    let nobody = token(&server, "nobody", &password).await;
    assert_eq!(nobody.status, 401);
    for form in forms {
        let id = service.id(&["users", form]);
        let before = stored(id).await;
        assert!(before.starts_with(form.trim_end_matches("_cheap")), "{before}");
        // Once with the dear ones is enough of the wait.
        if ["pbkdf2_sha1", "argon2_cheap", "bcrypt_sha256"].contains(&form) {
            let wrong = token(&server, form, "correct horse battery stapl").await;
            assert_eq!((wrong.status, &wrong.body), (401, &nobody.body), "{form}: as somebody who is not there");
            assert_eq!(stored(id).await, before, "a wrong password replaces nothing");
        }
        assert_eq!(log_in(&server, form, &format!("  {password} ")).await.user, id);
        let after = stored(id).await;
        assert!(after.starts_with("$argon2id$"), "{form}: {after}");
        assert_eq!(log_in(&server, form, &password).await.user, id);
        assert_eq!(stored(id).await, after, "ours stays");
    }
    for name in ["unusable", "empty", "strange", "off"] {
        for tried in [password.as_str(), "!", "md5$salt$0cc175b9c0f1b6a831c399e269772661"] {
            let refused = token(&server, name, tried).await;
            assert_eq!((refused.status, &refused.body), (401, &nobody.body), "{name} with {tried}");
        }
    }
    // Of those whose names differ only by case each is found by their own, and the first by all others.
    for (typed, meant) in [("Zoe", "Zoe"), ("zoe", "zoe"), ("ZOE", "ZOE"), ("zOE", "zOE"), ("zoE", "Zoe")] {
        assert_eq!(log_in(&server, typed, &password).await.user, service.id(&["users", meant]), "{typed}");
    }
    let taken = json!({ "username": "ZoE", "password": "a long enough one", "password2": "a long enough one" });
    let taken = http::call(server.next_address(), "POST", "/api/v1/auth/register/", None, Some(&taken)).await;
    assert_eq!(taken.status, 400, "{}", taken.body);
    // The operator's commands find them in the same way, and confirmations on the socket know the old forms, too.
    assert!(server.operate(&["user", "show", "ZOE"]).starts_with(&format!("#{} ZOE", service.id(&["users", "ZOE"]))));
    assert!(server.operate(&["user", "show", "ZoE"]).starts_with(&format!("#{} Zoe", service.id(&["users", "Zoe"]))));
    let old = Account { username: "bob".to_owned(), access: service.token("bob", "access"), refresh: String::new() };
    let mut bob = Client::connect(&server, old).await;
    let change = json!({ "old": "wrong", "new": "a long enough one" });
    assert_eq!(bob.refused("password.change", change).await["code"], "wrong_password");
    let change = json!({ "old": format!(" {password}"), "new": "a long enough one" });
    bob.command("password.change", change).await;
    assert_eq!(log_in(&server, "bob", "a long enough one").await.user, bob.user);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_on_with_the_tokens_they_have() {
    let (service, server) = moved().await;
    let account = |name: &str| Account {
        username: name.to_owned(),
        access: service.token(name, "access"),
        refresh: service.token(name, "refresh"),
    };
    let mut ann = Client::connect(&server, account("ann")).await;
    let (direct, left) = (service.id(&["conversations", "1"]), service.id(&["conversations", "2"]));
    assert_eq!(ann.user, service.id(&["users", "ann"]));
    let opened = ann.command("conversation.open", json!({ "user": service.id(&["users", "bob"]) })).await;
    assert_eq!(
        (opened["id"].as_i64(), opened["read"].as_i64(), opened["unread"].as_i64()),
        (Some(direct), Some(3), Some(3))
    );
    let found = ann.command("message.search", json!({ "query": "creme BRULEE", "conversation": direct })).await;
    assert_eq!(found["messages"][0]["text"], "Crème brûlée");
    let matches = ann.command("match.list", json!({})).await;
    let matched = matches["matches"].as_array().expect("matches");
    let bob_first = matched.iter().find(|one| one["user"]["id"] == service.id(&["users", "bob"])).expect("bob");
    assert_eq!(bob_first["id"], service.id(&["match"]));
    let sessions = ann.command("session.list", json!({})).await;
    assert_eq!(sessions["sessions"][0]["label"], "before the move");
    // Left by both, and back with the next message; its number goes on, and its id is behind all that were ever given.
    let listed = |list: &Value| list["conversations"].as_array().expect("a list").iter().any(|one| one["id"] == left);
    assert!(!listed(&ann.command("conversation.list", json!({})).await));
    let mut eve = Client::connect(&server, account("eve")).await;
    let sent = eve.command("message.send", json!({ "conversation": left, "text": "again" })).await;
    assert_eq!(sent["seq"], 3);
    assert!(number(&sent["id"]) > service.id(&["last", "message"]));
    ann.expect_message("again").await;
    assert!(listed(&ann.command("conversation.list", json!({})).await));
    let fay = server.user("fay").await;
    assert!(fay.user > service.id(&["last", "user"]));
    let opened = ann.command("conversation.open", json!({ "user": fay.user })).await;
    assert!(number(&opened["id"]) > service.id(&["last", "conversation"]));

    // The old refresh token gives access tokens of ours; a logout that names it closes both for good.
    let refresh = |token: String| {
        let body = json!({ "refresh": token });
        let address = server.next_address();
        async move { http::call(address, "POST", "/api/token/refresh/", None, Some(&body)).await }
    };
    let renewed = refresh(service.token("ann", "refresh")).await;
    assert_eq!((renewed.status, renewed.json["refresh"].is_null()), (200, true), "{}", renewed.body);
    let access = renewed.json["access"].as_str().expect("a token").to_owned();
    let second = Client::connect(&server, Account { access, ..account("ann") }).await;
    assert_eq!((second.user, second.session == ann.session), (ann.user, false));
    let body = json!({ "refresh": service.token("ann", "refresh") });
    let out = ann.http("POST", "/api/v1/auth/logout/", Some(&body)).await;
    assert_eq!(out.status, 200, "{}", out.body);
    for mut closed in [ann, second] {
        closed.expect_close().await;
        let again = closed.http("POST", "/api/v1/auth/logout/", None).await;
        assert_eq!((again.status, &again.json["messages"][0]["message"]), (401, &json!("Token is blacklisted")));
    }
    let again = refresh(service.token("ann", "refresh")).await;
    assert_eq!((again.status, &again.json["detail"]), (401, &json!("Token is blacklisted")));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_tokens_are_judged_like_ours_and_end_with_all_sessions() {
    let (service, mut server) = moved().await;
    let call = |token: String| {
        let address = server.next_address();
        async move {
            http::call(address, "POST", "/api/v1/auth/logout/", Some(&token), Some(&json!({ "refresh": "x" }))).await
        }
    };
    let why = |answer: &http::Response| answer.json["messages"][0]["message"].as_str().unwrap_or_default().to_owned();
    let expired = call(service.facts["expired"].as_str().expect("a token").to_owned()).await;
    assert_eq!((expired.status, why(&expired).as_str()), (401, "Token is expired"));
    assert_eq!(why(&call(service.token("ann", "refresh")).await), "Token has wrong type");
    let mut forged = service.token("ann", "access");
    let last = forged.pop().expect("a sign");
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    assert_eq!(why(&call(forged).await), "Token is invalid");
    let off = call(service.token("off", "access")).await;
    assert_eq!((off.status, &off.json["code"]), (401, &json!("user_inactive")));

    // Several first uses at once are one session.
    let eve = || Account { username: "eve".to_owned(), access: service.token("eve", "access"), refresh: String::new() };
    let sockets = join_all((0..8).map(|_| Client::connect(&server, eve()))).await;
    assert!(sockets.iter().all(|socket| socket.session == sockets[0].session));

    // Whoever ends all sessions ends those that were not yet made: Zoe's refresh token was never used.
    let zoe = Account { username: "Zoe".to_owned(), access: service.token("Zoe", "access"), refresh: String::new() };
    let mut zoe = Client::connect(&server, zoe).await;
    let change = json!({ "old": service.facts["password"], "new": "another long one" });
    zoe.command("password.change", change).await;
    zoe.command("ping", json!({})).await;
    let body = json!({ "refresh": service.token("Zoe", "refresh") });
    let refused = http::call(server.next_address(), "POST", "/api/token/refresh/", None, Some(&body)).await;
    assert_eq!((refused.status, &refused.json["detail"]), (401, &json!("Token is blacklisted")));
    server.operate(&["user", "revoke", "scrypt"]);
    assert_eq!(why(&call(service.token("scrypt", "access")).await), "Token is blacklisted");

    // After its time the key is of no use, and is not kept.
    let over = "UPDATE meta SET value = '1' WHERE key = 'old_key_until'";
    server.stop().await;
    server.database().writer().await.execute(over).await;
    server.restart().await;
    let token = service.token("bob", "access");
    let late = http::call(server.next_address(), "POST", "/api/v1/auth/logout/", Some(&token), None).await;
    assert_eq!((late.status, why(&late).as_str()), (401, "Token is invalid"));
    let kept = server.database().reader().await.number("count(*)", "FROM meta WHERE key LIKE 'old_key%'").await;
    assert_eq!(kept, 0);
}
