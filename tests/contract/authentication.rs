//! Section 3.1: registering, signing in and out.

use serde_json::json;

use crate::site::{JSON, Person, ask, must, must_refuse, must_tell, post, registering};
use crate::support::Server;
use crate::support::server::PASSWORD;

const TOKEN: &str = "/api/token/";
const REFRESH: &str = "/api/token/refresh/";
const REGISTER: &str = "/api/v1/auth/register/";
const LOGOUT: &str = "/api/v1/auth/logout/";

#[tokio::test]
async fn row_post_api_token() {
    let server = Server::start(&[]).await;
    server.account("ann").await;
    let login = |username: &str, password: &str| {
        let body = json!({ "username": username, "password": password, "more": [] });
        let server = &server;
        async move { post(server, TOKEN, body).await }
    };
    let pair = r#"{"refresh":"<jwt>","access":"<jwt>"}"#;
    must(&login("ann", PASSWORD).await, 200, pair);
    must(&login("  ann ", &format!("\t{PASSWORD} ")).await, 200, pair);
    for (username, password) in [("ann", "wrong"), ("nobody-here", PASSWORD), ("ann@example.org", PASSWORD)] {
        must_tell(&login(username, password).await, 401, "No active account found with the given credentials");
    }
    server.operate(&["user", "disable", "ann"]);
    must_tell(&login("ann", PASSWORD).await, 401, "No active account found with the given credentials");
    let nothing = r#"{"username":["Ce champ est obligatoire."],"password":["Ce champ est obligatoire."]}"#;
    must(&post(&server, TOKEN, json!({})).await, 400, nothing);
    let blank = r#"{"username":["Ce champ ne peut être vide."],"password":["Ce champ ne peut être vide."]}"#;
    must(&login(" ", "  ").await, 400, blank);
    // Tokens are not looked at where they are given out.
    let headers = [JSON, ("Authorization", "Bearer e30.e30.e30")];
    let body = json!({ "username": "bob", "password": "x" }).to_string();
    let answer = ask(server.next_address(), "POST", TOKEN, &headers, &body).await;
    must_tell(&answer, 401, "No active account found with the given credentials");
}

#[tokio::test]
async fn row_post_api_token_refresh() {
    let server = Server::start(&[]).await;
    let ann = server.account("ann").await;
    let refresh = |token: &str| {
        let (body, server) = (json!({ "refresh": token }), &server);
        async move { post(server, REFRESH, body).await }
    };
    // The same one for ever: nothing is rotated that did not ask for it.
    for _ in 0..3 {
        must(&refresh(&ann.refresh).await, 200, r#"{"access":"<jwt>"}"#);
    }
    must_refuse(&post(&server, REFRESH, json!({})).await, "refresh", "Ce champ est obligatoire.");
    let (body, signature) = ann.refresh.rsplit_once('.').expect("three parts");
    let forged = format!("{body}.{}", signature.chars().rev().collect::<String>());
    let refused = |why: &str| format!(r#"{{"detail":"{why}","code":"token_not_valid"}}"#);
    for token in ["x", "e30.e30.e30", &forged] {
        must(&refresh(token).await, 401, &refused("Token is invalid"));
    }
    must(&refresh(&ann.access).await, 401, &refused("Token has wrong type"));
    let headers = [JSON, ("Authorization", "Bearer e30.e30.e30")];
    let body = json!({ "refresh": ann.refresh }).to_string();
    let answer = ask(server.next_address(), "POST", REFRESH, &headers, &body).await;
    must(&answer, 200, r#"{"access":"<jwt>"}"#);
    server.operate(&["user", "disable", "ann"]);
    must_tell(&refresh(&ann.refresh).await, 401, "No active account found for the given token.");
}

#[tokio::test]
async fn row_post_api_v1_auth_register() {
    let server = Server::start(&[]).await;
    let full = json!({
        "username": " Zoe\u{308}.1 ", "password": PASSWORD, "password2": PASSWORD, "email": "Zoe@Example.ORG",
        "first_name": "Zoë", "last_name": "", "is_staff": true,
    });
    let made = post(&server, REGISTER, full).await;
    must(&made, 201, r#"{"username":"Zoë.1","email":"Zoe@example.org","first_name":"Zoë","last_name":""}"#);
    let made = post(&server, REGISTER, registering("@b+c-d_")).await;
    must(&made, 201, r#"{"username":"@b+c-d_","email":"","first_name":"","last_name":""}"#);
    let again = post(&server, REGISTER, registering("Zoë.1")).await;
    must_refuse(&again, "username", "Un utilisateur avec ce nom existe déjà.");
    let unequal = json!({ "username": "eve", "password": PASSWORD, "password2": "another" });
    must_refuse(&post(&server, REGISTER, unequal).await, "password", "Les mots de passe ne correspondent pas.");
    // An address may be had by many.
    let mut second = registering("zoe2");
    second["email"] = "Zoe@example.org".into();
    must(
        &post(&server, REGISTER, second).await,
        201,
        r#"{"username":"zoe2","email":"Zoe@example.org","first_name":"","last_name":""}"#,
    );
    // All that is wrong at once, in the order of the form.
    let wrong = json!({ "last_name": "x".repeat(151), "email": "nobody", "password": "", "username": null });
    must(
        &post(&server, REGISTER, wrong).await,
        400,
        &[
            r#"{"username":["Ce champ ne peut être nul."],"password":["Ce champ ne peut être vide."],"#,
            r#""password2":["Ce champ est obligatoire."],"email":["Saisissez une adresse e-mail valide."],"#,
            "\"last_name\":[\"Assurez-vous que ce champ comporte au plus 150\u{a0}caractères.\"]}",
        ]
        .concat(),
    );
    let padded = format!(" {PASSWORD} ");
    let body = |again: &str| json!({ "username": "fay", "password": padded, "password2": again });
    assert_eq!(post(&server, REGISTER, body(PASSWORD)).await.status, 400, "spaces belong to a password");
    assert_eq!(post(&server, REGISTER, body(&padded)).await.status, 201);
    let login =
        async |password: &str| post(&server, TOKEN, json!({ "username": "fay", "password": password })).await.status;
    assert_eq!((login(PASSWORD).await, login(&padded).await), (401, 200));
}

#[tokio::test]
async fn row_post_api_v1_auth_logout() {
    let server = Server::start(&[]).await;
    let (account, other) = (server.account("ann").await, server.account("bob").await);
    let token = format!("Bearer {}", account.access);
    let headers = [JSON, ("Authorization", token.as_str())];
    let logout = |body: serde_json::Value| {
        let (address, body) = (server.next_address(), body.to_string());
        async move { ask(address, "POST", LOGOUT, &headers, &body).await }
    };
    must_tell(&post(&server, LOGOUT, json!({})).await, 401, "Informations d'authentification non fournies.");
    must_tell(&logout(json!({ "refresh": "x" })).await, 400, "Token is invalid");
    must_tell(&logout(json!({ "refresh": account.access })).await, 400, "Token has wrong type");
    assert_eq!(logout(json!({ "refresh": other.refresh })).await.status, 400, "another's");
    must_tell(&logout(json!({ "refresh": account.refresh })).await, 200, "Déconnexion réussie");
    let refused = r#"{"detail":"Token is blacklisted","code":"token_not_valid"}"#;
    must(&post(&server, REFRESH, json!({ "refresh": account.refresh })).await, 401, refused);
    // Nor does it need a body.
    let account = server.login("ann").await;
    let token = format!("Bearer {}", account.access);
    let answer = ask(server.next_address(), "POST", LOGOUT, &[("Authorization", &token)], "").await;
    must_tell(&answer, 200, "Déconnexion réussie");
}

/// A refresh token that was ended on another device is told as such.
#[tokio::test]
async fn row_post_api_v1_auth_logout_with_a_token_that_ended() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let mut phone = Person::new(&server, "bob").await;
    phone.account = server.login("ann").await;
    let refresh = json!({ "refresh": phone.account.refresh });
    must_tell(&phone.post(LOGOUT, refresh.clone()).await, 200, "Déconnexion réussie");
    must_tell(&ann.post(LOGOUT, refresh).await, 400, "Token is blacklisted");
}
