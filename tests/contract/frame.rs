//! Section 6.1: what all answers have in common. Their headers are looked at with every answer of every test
//! (`site.rs`).

use serde_json::{Value, json};

use crate::site::{ENGLISH, JSON, Person, ask, ids, must, must_refuse, must_tell, registering, two};
use crate::support::Server;
use crate::support::http::{call, call_with};
use crate::support::server::PASSWORD;
use crate::{OPEN, ROWS};

const PROFILE: &str = "/api/v1/auth/profile/";
const LIST: &str = "/api/v1/conversations/";

/// A path of a row, with numbers of nothing in it.
fn some(row: &str) -> String {
    row.replace("<id>", "999999")
}

#[tokio::test]
async fn form_headers_of_every_answer() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    // Each answer is looked at as it comes: allowed or not, found or not.
    for (method, row) in ROWS {
        if !row.contains("logout") {
            ann.ask(method, &some(row), &[JSON], "{}").await;
        }
        ann.ask("TRACE", &some(row), &[], "").await;
        ask(server.next_address(), method, &some(row), &[JSON], "{}").await;
        let bare = ann.ask("OPTIONS", &some(row), &[], "").await;
        assert_eq!(bare.status, 200, "{row}: {}", bare.body);
    }
}

#[tokio::test]
async fn form_unescaped_and_compact() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let answer = ann.patch(PROFILE, json!({ "bio": "Ünïcödé 💬 \u{2028}\"</script>\\" })).await;
    assert_eq!(answer.headers["content-type"], "application/json", "no charset is told");
    assert!(answer.body.contains("\"bio\":\"Ünïcödé 💬 \u{2028}\\\"</script>\\\\\""), "{}", answer.body);
    assert!(!answer.body.contains(": ") && !answer.body.contains(", "), "{}", answer.body);
}

#[tokio::test]
async fn form_head_mirrors_get() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let made = ann.talk_to(&bob, "hello").await;
    for (method, row) in ROWS {
        if *method != "GET" {
            continue;
        }
        let path = row.replace("<id>/messages", &format!("{made}/messages"));
        let path = path.replace("<id>", if row.contains("users") { "1" } else { "999999" });
        let (get, head) = (ann.get(&path).await, ann.ask("HEAD", &path, &[], "").await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.headers.get("content-type"), get.headers.get("content-type"), "{path}");
    }
    assert_eq!(ask(server.next_address(), "HEAD", PROFILE, &[], "").await.status, 401);
    let nowhere = ann.ask("HEAD", "/api/v1/matching/like/", &[], "").await;
    assert_eq!(nowhere.status, 405);
}

#[tokio::test]
async fn form_options() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let shape = |answer: &crate::support::http::Response, row: &str| {
        assert_eq!(answer.status, 200, "{row}: {}", answer.body);
        assert!(answer.body.starts_with(r#"{"name":""#), "{row}: {}", answer.body);
        let places: Vec<_> = ["name", "description", "renders", "parses"]
            .iter()
            .map(|key| answer.body.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{row} lacks {key}")))
            .collect();
        assert!(places.is_sorted(), "{row}: {}", answer.body);
        let has = |key: &str, media: &str| answer.json[key].as_array().is_some_and(|all| all.contains(&json!(media)));
        assert!(has("renders", "application/json"), "{row}: {}", answer.body);
        for media in ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"] {
            assert!(has("parses", media), "{row} parses {media}: {}", answer.body);
        }
    };
    for (_, row) in ROWS {
        shape(&ann.ask("OPTIONS", &some(row), &[], "").await, row);
        let anybody = ask(server.next_address(), "OPTIONS", &some(row), &[], "").await;
        match OPEN.contains(row) {
            true => shape(&anybody, row),
            false => must_tell(&anybody, 401, "Informations d'authentification non fournies."),
        }
    }
}

#[tokio::test]
async fn form_preflight() {
    let origin = "https://app.example.org";
    let server = Server::start(&[("allowed-origins", origin)]).await;
    for (_, row) in ROWS {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "PUT")];
        let answer = call_with(server.next_address(), "OPTIONS", &some(row), &headers, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{row}");
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "DELETE, GET, OPTIONS, PATCH, POST, PUT"),
            (
                "access-control-allow-headers",
                "accept, authorization, content-disposition, content-type, if-none-match, if-range, range, user-agent, \
                 x-csrftoken, x-requested-with",
            ),
            ("access-control-max-age", "86400"),
        ] {
            assert_eq!(answer.headers.get(name).map(String::as_str), Some(value), "{name} of {row}");
        }
    }
}

#[tokio::test]
async fn form_no_token_against_forgery_is_asked() {
    let server = Server::start(&[]).await;
    let body = json!({ "username": "nobody-here", "password": PASSWORD }).to_string();
    let headers = [JSON, ("Cookie", "csrftoken=x; sessionid=y"), ("Referer", "https://elsewhere.test/")];
    let answer = ask(server.next_address(), "POST", "/api/token/", &headers, &body).await;
    must_tell(&answer, 401, "No active account found with the given credentials");
    assert_eq!(answer.headers.get("set-cookie"), None);
}

#[tokio::test]
async fn form_trailing_slash() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    for (method, row) in ROWS {
        if row.contains("logout") || *method == "DELETE" {
            continue;
        }
        let path = some(row);
        let with = ann.ask(method, &path, &[JSON], "{}").await;
        let without = ann.ask(method, path.trim_end_matches('/'), &[JSON], "{}").await;
        assert_eq!(without.status, with.status, "{method} {path}: {}", without.body);
    }
    let body = json!({ "participant_id": bob.id, "message": "hello" });
    assert_eq!(ann.post("/api/v1/conversations", body).await.status, 201, "and not as GET somewhere else");
}

#[tokio::test]
async fn form_suffix_and_format() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let made = ann.talk_to(&bob, "hello").await;
    assert_eq!(ids(&ann.get("/api/v1/conversations.json").await), [made]);
    must(&ann.get("/api/v1/matches.json").await, 200, "[]");
    assert_eq!(ann.get(&format!("{LIST}{made}.json")).await.status, 200);
    assert_eq!(ids(&ann.get(&format!("{LIST}?format=json")).await), [made]);
    assert_eq!(ann.get(&format!("{PROFILE}?format=json")).await.status, 200);
    let browser = [("Accept", "text/html, */*;q=0.8")];
    let page = ann.ask("GET", LIST, &browser, "").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let asked = ann.ask("GET", &format!("{LIST}?format=json"), &browser, "").await;
    assert_eq!(asked.headers["content-type"], "application/json", "what the query says goes first");
}

#[tokio::test]
async fn form_accept() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    for accept in
        ["application/json", "*/*", "application/*", "text/html;q=0.5, application/json", "image/png, */*;q=0.1"]
    {
        let answer = ann.ask("GET", PROFILE, &[("Accept", accept)], "").await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"), "{accept}");
    }
    let page = ann.ask("GET", PROFILE, &[("Accept", "text/html")], "").await;
    assert_eq!(
        (page.status, page.headers["content-type"].as_str()),
        (200, "text/html; charset=utf-8"),
        "{}",
        page.body
    );
    // So are refusals, under their status.
    let refused = [
        (ask(server.next_address(), "GET", PROFILE, &[("Accept", "text/html")], "").await, 401),
        (ann.ask("GET", "/api/v1/conversations/999999/", &[("Accept", "text/html")], "").await, 404),
        (ann.ask("DELETE", PROFILE, &[("Accept", "text/html")], "").await, 405),
        (ann.ask("PATCH", PROFILE, &[JSON, ("Accept", "text/html")], "{").await, 400),
    ];
    for (answer, status) in refused {
        let media = answer.headers["content-type"].as_str();
        assert_eq!((answer.status, media), (status, "text/html; charset=utf-8"), "{}", answer.body);
    }
    // What a user wrote is text on a page, too.
    assert_eq!(ann.patch(PROFILE, json!({ "bio": "<script>alert(1)</script>" })).await.status, 200);
    let page = ann.ask("GET", PROFILE, &[("Accept", "text/html")], "").await;
    assert!(!page.body.contains("<script>alert") && page.body.contains("alert(1)"), "{}", page.body);
}

#[tokio::test]
async fn form_406() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    // The one text of the framework with plain spaces inside of its quotes.
    let french = "L'en-tête « Accept » n'a pas pu être satisfaite.";
    for accept in ["image/png", "application/xml", "text/plain, image/*"] {
        must_tell(&ann.ask("GET", PROFILE, &[("Accept", accept)], "").await, 406, french);
        // Before anything else is asked: who it is, whether there is such a method, what is in the body.
        must_tell(&ask(server.next_address(), "GET", PROFILE, &[("Accept", accept)], "").await, 406, french);
        must_tell(&ann.ask("POST", PROFILE, &[JSON, ("Accept", accept)], "{").await, 406, french);
    }
    let english = ann.ask("GET", PROFILE, &[("Accept", "image/png"), ENGLISH], "").await;
    must_tell(&english, 406, "Could not satisfy the request Accept header.");
}

#[tokio::test]
async fn form_413() {
    let server = Server::start(&[("body-max", "5000")]).await;
    let ann = Person::new(&server, "ann").await;
    for body in [json!({ "bio": "x".repeat(6000) }), json!({ "other": "x".repeat(60_000) })] {
        must(&ann.patch(PROFILE, body).await, 413, r#"{"detail":"<text>"}"#);
    }
    let long = "x".repeat(6000);
    must(&ann.form("PATCH", PROFILE, &[("bio", &long)]).await, 413, r#"{"detail":"<text>"}"#);
    assert_eq!(ann.get(PROFILE).await.json["bio"], "");
}

#[tokio::test]
async fn form_unrouted() {
    let server = Server::start(&[]).await;
    let ann = server.account("ann").await;
    for path in [
        "/",
        "/api/",
        "/api/v2/",
        "/api/v1/nothing/",
        "/api/v1/auth/users/ann/",
        "/api/v1/auth/profile/x/",
        "/media/a.png",
    ] {
        for token in [None, Some(ann.access.as_str())] {
            let answer = call(server.next_address(), "POST", path, token, Some(&json!({}))).await;
            let media = answer.headers["content-type"].as_str();
            assert_eq!((answer.status, media), (404, "text/html; charset=utf-8"), "{path}: {}", answer.body);
            assert!(answer.body.contains("<h1>"), "{path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn form_numbers_as_strings() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let path = "/api/v1/matching/preferences/";
    for taken in [json!("25"), json!(25), json!(25.0), json!("25.0"), json!(" 25 ")] {
        ann.patch(path, json!({ "min_age": 18 })).await;
        let answer = ann.patch(path, json!({ "min_age": taken })).await;
        assert_eq!((answer.status, &answer.json["min_age"]), (200, &json!(25)), "{taken}: {}", answer.body);
    }
    for refused in [json!(true), json!(2.5), json!("2.5"), json!("twenty"), json!("25x"), json!([25]), json!("0x19")] {
        must_refuse(
            &ann.patch(path, json!({ "min_age": refused })).await,
            "min_age",
            "Un nombre entier valide est requis.",
        );
    }
    for (taken, kept) in [(json!(7), "7"), (json!(-7), "-7"), (json!(1.5), "1.5"), (json!("  a b\t"), "a b")] {
        let answer = ann.patch(PROFILE, json!({ "first_name": taken })).await;
        assert_eq!((answer.status, &answer.json["first_name"]), (200, &json!(kept)), "{}", answer.body);
    }
    for refused in [json!(true), json!(false), json!([]), json!(["x"]), json!({})] {
        let answer = ann.patch(PROFILE, json!({ "first_name": refused })).await;
        must_refuse(&answer, "first_name", "Chaîne de caractère invalide.");
    }
}

#[tokio::test]
async fn form_dates_and_times() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let answer = ann.patch(PROFILE, json!({ "date_of_birth": "1990-02-28" })).await;
    assert_eq!(answer.json["date_of_birth"], "1990-02-28");
    let time = answer.json["last_activity"].as_str().expect("a time");
    assert!(time.ends_with('Z') && (time.len() == 27 || time.len() == 20), "{time}");
    assert!(matches!(answer.json["id"], Value::Number(_)));
}

#[tokio::test]
async fn form_unknown_fields_are_ignored() {
    let server = Server::start(&[]).await;
    let mut body = registering("ann");
    (body["id"], body["is_active"], body["date_joined"], body["wrong"]) =
        (5.into(), false.into(), json!([]), json!({}));
    let answer = ask(server.next_address(), "POST", "/api/v1/auth/register/", &[JSON], &body.to_string()).await;
    must(&answer, 201, r#"{"username":"ann","email":"","first_name":"","last_name":""}"#);
    server.login("ann").await;
}
