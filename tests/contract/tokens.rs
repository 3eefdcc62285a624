//! Section 6.2: who calls, and how that is refused; section 6.4: in which language.

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use crate::site::{ENGLISH, JSON, Person, ask, must, must_tell, post, registering};
use crate::support::http::Response;
use crate::support::server::PASSWORD;
use crate::support::tokens;
use crate::support::{Client, Server};

const SECRET: &str = "the-key-of-this-story-and-of-no-other";
/// An endpoint that needs a token.
const GUARDED: &str = "/api/v1/auth/logout/";
const REGISTER: &str = "/api/v1/auth/register/";

async fn start() -> Server {
    Server::start_with(&[], &[("DUET_SECRET", SECRET)]).await
}

fn claims(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode_claims(token).expect("claims")
}

fn signed(claims: &Value) -> String {
    tokens::signed(&Header::new(Algorithm::HS256), claims, SECRET)
}

async fn with(server: &Server, path: &str, authorization: &str) -> Response {
    let body = registering("new-one").to_string();
    ask(server.next_address(), "POST", path, &[JSON, ("Authorization", authorization)], &body).await
}

fn refused(why: &str) -> String {
    let message = format!(r#"{{"token_class":"AccessToken","token_type":"access","message":"{why}"}}"#);
    let head = r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":["#;
    format!("{head}{message}]}}")
}

#[tokio::test]
async fn form_401_no_credentials() {
    let server = start().await;
    let ann = server.account("ann").await;
    let text = "Informations d'authentification non fournies.";
    must_tell(&ask(server.next_address(), "POST", GUARDED, &[], "").await, 401, text);
    for header in ["Basic YW5uOnB3", &format!("Token {}", ann.access)] {
        must_tell(&with(&server, GUARDED, header).await, 401, text);
    }
    let english = ask(server.next_address(), "POST", GUARDED, &[ENGLISH], "").await;
    must_tell(&english, 401, "Authentication credentials were not provided.");
}

#[tokio::test]
async fn form_401_bad_header() {
    let server = start().await;
    let body = r#"{"detail":"Authorization header must contain two space-delimited values","code":"bad_authorization_header"}"#;
    for header in ["Bearer", "Bearer a b"] {
        must(&with(&server, GUARDED, header).await, 401, body);
    }
}

#[tokio::test]
async fn form_401_bad_token() {
    let server = start().await;
    let ann = server.account("ann").await;
    let mut old = claims(&ann.access);
    let issued = old["iat"].as_i64().expect("a time");
    (old["iat"], old["exp"]) = ((issued - 100).into(), (issued - 10).into());
    let cases =
        [("x", "Token is invalid"), ("e30.e30.e30", "Token is invalid"), (&ann.refresh, "Token has wrong type")];
    for (token, why) in cases.into_iter().chain([(signed(&old).as_str(), "Token is expired")]) {
        must(&with(&server, GUARDED, &format!("Bearer {token}")).await, 401, &refused(why));
        // Also where none is needed; and whatever the method.
        must(&with(&server, REGISTER, &format!("Bearer {token}")).await, 401, &refused(why));
        let header = format!("Bearer {token}");
        let answer = ask(server.next_address(), "PUT", GUARDED, &[("Authorization", &header)], "").await;
        must(&answer, 401, &refused(why));
    }
    // These texts know one language.
    let answer = ask(server.next_address(), "POST", GUARDED, &[ENGLISH, ("Authorization", "Bearer x")], "").await;
    must(&answer, 401, &refused("Token is invalid"));
}

#[tokio::test]
async fn form_401_expired_refresh_token() {
    let server = start().await;
    let mut old = claims(&server.account("ann").await.refresh);
    let issued = old["iat"].as_i64().expect("a time");
    (old["iat"], old["exp"]) = ((issued - 100).into(), (issued - 10).into());
    let answer = post(&server, "/api/token/refresh/", json!({ "refresh": signed(&old) })).await;
    must(&answer, 401, r#"{"detail":"Token is expired","code":"token_not_valid"}"#);
}

#[tokio::test]
async fn form_401_user_deleted() {
    let server = start().await;
    let mut ann = Client::connect(&server, server.account("ann").await).await;
    ann.say("account.delete", json!({ "password": PASSWORD })).await;
    ann.expect_close().await;
    let answer = with(&server, GUARDED, &format!("Bearer {}", ann.account.access)).await;
    must(&answer, 401, r#"{"detail":"User not found","code":"user_not_found"}"#);
    let answer = post(&server, "/api/token/refresh/", json!({ "refresh": ann.account.refresh })).await;
    assert_eq!(answer.status, 401, "{}", answer.body);
}

#[tokio::test]
async fn form_401_user_inactive() {
    let server = start().await;
    let ann = server.account("ann").await;
    server.operate(&["user", "disable", "ann"]);
    let answer = with(&server, GUARDED, &format!("Bearer {}", ann.access)).await;
    must(&answer, 401, r#"{"detail":"User is inactive","code":"user_inactive"}"#);
}

#[tokio::test]
async fn form_401_no_user_claim() {
    let server = start().await;
    let mut nobody = claims(&server.account("ann").await.access);
    nobody.as_object_mut().expect("an object").remove("user_id");
    let answer = with(&server, GUARDED, &format!("Bearer {}", signed(&nobody))).await;
    let body = r#"{"detail":"Token contained no recognizable user identification","code":"token_not_valid"}"#;
    must(&answer, 401, body);
}

#[tokio::test]
async fn form_claims() {
    let server = start().await;
    let ann = server.account("ann").await;
    assert_eq!(jsonwebtoken::decode_header(&ann.access).expect("a header"), Header::new(Algorithm::HS256));
    let times = [("access", &ann.access, 86_400), ("refresh", &ann.refresh, 604_800)];
    for (kind, token, seconds) in times {
        let told = claims(token);
        let names: Vec<&String> = told.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["exp", "iat", "jti", "sid", "token_type", "user_id"]);
        assert_eq!(told["token_type"], kind);
        let number = |name: &str| told[name].as_i64().expect("a number");
        assert_eq!(number("exp") - number("iat"), seconds, "{kind}");
        let jti = told["jti"].as_str().expect("a text");
        assert!(jti.len() == 32 && jti.bytes().all(|byte| byte.is_ascii_hexdigit()), "{jti}");
        assert!(told["user_id"].as_str().is_some_and(|id| id.parse::<i64>().is_ok()), "{told}");
    }
    // As the libraries wrote it before: a number.
    let mut as_number = claims(&ann.access);
    as_number["user_id"] = as_number["user_id"].as_str().and_then(|id| id.parse::<i64>().ok()).into();
    let answer = with(&server, GUARDED, &format!("Bearer {}", signed(&as_number))).await;
    must_tell(&answer, 200, "Déconnexion réussie");
}

#[tokio::test]
async fn form_no_rotation_unless_asked() {
    let server = start().await;
    let ann = server.account("ann").await;
    let refresh = |body: Value| post(&server, "/api/token/refresh/", body);
    must(&refresh(json!({ "refresh": ann.refresh })).await, 200, r#"{"access":"<jwt>"}"#);
    let rotated = refresh(json!({ "refresh": ann.refresh, "rotate": true })).await;
    must(&rotated, 200, r#"{"access":"<jwt>","refresh":"<jwt>"}"#);
}

#[tokio::test]
async fn form_language() {
    let server = start().await;
    let ann = Person::new(&server, "ann").await;
    let french = r#"{"username":["Ce champ est obligatoire."],"password":["Ce champ est obligatoire."]}"#;
    let english = r#"{"username":["This field is required."],"password":["This field is required."]}"#;
    for (wanted, body) in [
        ("", french),
        ("*", french),
        ("de", french),
        ("fr-CA", french),
        ("fr;q=0.9, en;q=0.5", french),
        ("en", english),
        ("en-US,en;q=0.9,fr;q=0.8", english),
        ("fr;q=0.5, en;q=0.9", english),
        ("de, en;q=0.7, fr;q=0.3", english),
    ] {
        let headers = [JSON, ("Accept-Language", wanted)];
        must(&ask(server.next_address(), "POST", "/api/token/", &headers, "{}").await, 400, body);
    }
    let english = ann.ask("POST", "/api/v1/auth/profile/", &[ENGLISH], "").await;
    must_tell(&english, 405, "Method \"POST\" not allowed.");
}
