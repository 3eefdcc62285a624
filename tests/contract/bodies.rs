//! Section 3, the beginning: JSON, forms and forms in parts say the same, for every kind of field.

use serde_json::{Value, json};

use crate::site::{Person, id, must, must_refuse, two};
use crate::support::Server;
use crate::support::http::{Part, Response, form, multipart};
use crate::support::server::PASSWORD;

const PROFILE: &str = "/api/v1/auth/profile/";

/// The three kinds of body.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Json,
    Form,
    Parts,
}

const KINDS: [Kind; 3] = [Kind::Json, Kind::Form, Kind::Parts];

/// Sends fields as texts, or as this JSON.
async fn send(person: &Person, kind: Kind, method: &str, path: &str, fields: &[(&str, &str)], json: Value) -> Response {
    let parts: Vec<Part<'_>> =
        fields.iter().map(|(name, content)| Part { name, file: None, content: content.as_bytes() }).collect();
    match kind {
        Kind::Json => person.json(method, path, &json).await,
        Kind::Form => person.form(method, path, fields).await,
        Kind::Parts => person.multipart(method, path, &parts).await,
    }
}

#[tokio::test]
async fn form_body_texts_dates_and_numbers() {
    let server = Server::start(&[]).await;
    for kind in KINDS {
        let person = Person::new(&server, &format!("{kind:?}")).await;
        let fields = [
            ("first_name", " Zoë & 1=1+1 % "),
            ("bio", "two\r\nlines"),
            ("email", "Zoe@Example.org"),
            ("date_of_birth", "1990-02-28"),
            ("latitude", "48.8566"),
            ("longitude", "2.3522"),
            ("phone_number", "+33 1"),
        ];
        let same: serde_json::Map<String, Value> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let answer = send(&person, kind, "PATCH", PROFILE, &fields, Value::Object(same)).await;
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.body);
        for (name, value) in [
            ("first_name", "Zoë & 1=1+1 %"),
            ("email", "Zoe@example.org"),
            ("date_of_birth", "1990-02-28"),
            ("phone_number", "+33 1"),
        ] {
            assert_eq!(answer.json[name], value, "{kind:?}");
        }
        assert!(answer.json["bio"].as_str().is_some_and(|bio| bio.replace("\r\n", "\n") == "two\nlines"));
        assert!(answer.json["latitude"].as_f64().is_some_and(|latitude| (latitude - 48.86).abs() < 0.02));
        let wrong = [("date_of_birth", "28/02/1990"), ("latitude", "x"), ("longitude", "2"), ("email", "x")];
        let same = json!({ "date_of_birth": "28/02/1990", "latitude": "x", "longitude": "2", "email": "x" });
        let refused = send(&person, kind, "PATCH", PROFILE, &wrong, same).await;
        must(
            &refused,
            400,
            concat!(
                r#"{"email":["Saisissez une adresse e-mail valide."],"#,
                "\"date_of_birth\":[\"La date n'a pas le bon format. Utilisez un des formats suivants\u{a0}: YYYY-MM-DD.\"],",
                r#""latitude":["Un nombre valide est requis."]}"#
            ),
        );
    }
}

/// In forms a list is a field that comes more than once.
#[tokio::test]
async fn form_body_lists() {
    let server = Server::start(&[]).await;
    for kind in KINDS {
        let person = Person::new(&server, &format!("{kind:?}")).await;
        let names = |answer: &Response| -> Vec<String> {
            let list = answer.json["interests"].as_array().unwrap_or_else(|| panic!("{kind:?}: {}", answer.body));
            list.iter().filter_map(|interest| interest["name"].as_str()).map(str::to_owned).collect()
        };
        let (fields, same) = ([("interests", "Go"), ("interests", "Chess")], json!({ "interests": ["Go", "Chess"] }));
        let answer = send(&person, kind, "PUT", PROFILE, &fields, same).await;
        let mut told = names(&answer);
        told.sort();
        assert_eq!(told, ["chess", "go"], "{kind:?}");
        let answer =
            send(&person, kind, "PUT", PROFILE, &[("interests", "ski")], json!({ "interests": ["ski"] })).await;
        assert_eq!(names(&answer), ["ski"], "{kind:?}");
        let (fields, same) = ([("interests", "ski"), ("interests", " ")], json!({ "interests": ["ski", " "] }));
        let answer = send(&person, kind, "PATCH", PROFILE, &fields, same).await;
        must(&answer, 400, r#"{"interests":{"1":["Ce champ ne peut être vide."]}}"#);
        let untouched = send(&person, kind, "PATCH", PROFILE, &[("bio", "x")], json!({ "bio": "x" })).await;
        assert_eq!(names(&untouched), ["ski"], "{kind:?}");
    }
}

#[tokio::test]
async fn form_body_integers_choices_and_booleans() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let path = "/api/v1/matching/preferences/";
    for (kind, age) in KINDS.into_iter().zip(["21", "22", "23"]) {
        let fields = [("min_age", age), ("gender_preference", "F")];
        let same = json!({ "min_age": age.parse::<i64>().expect("a number"), "gender_preference": "F" });
        let answer = send(&ann, kind, "PATCH", path, &fields, same).await;
        let expected = format!(r#"{{"min_age":{age},"max_age":99,"max_distance":50,"gender_preference":"F"}}"#);
        must(&answer, 200, &expected);
        let (fields, same) =
            ([("max_age", "x"), ("gender_preference", "Z")], json!({ "max_age": "x", "gender_preference": "Z" }));
        let expected = "{\"max_age\":[\"Un nombre entier valide est requis.\"],\
                        \"gender_preference\":[\"«\u{a0}Z\u{a0}» n'est pas un choix valide.\"]}";
        must(&send(&ann, kind, "PUT", path, &fields, same).await, 400, expected);
    }
    let path = format!("/api/v1/conversations/{}/", ann.talk_to(&bob, "hello").await);
    for kind in KINDS {
        let answer = send(&ann, kind, "PATCH", &path, &[("is_active", "true")], json!({ "is_active": true })).await;
        assert_eq!((answer.status, &answer.json["is_active"]), (200, &json!(true)), "{kind:?}: {}", answer.body);
        let answer = send(&ann, kind, "PATCH", &path, &[("is_active", "?")], json!({ "is_active": "?" })).await;
        must_refuse(&answer, "is_active", "Doit être un booléen valide.");
    }
}

#[tokio::test]
async fn form_body_of_each_act() {
    let server = Server::start(&[]).await;
    for kind in KINDS {
        let ann = Person::new(&server, &format!("ann-{kind:?}")).await;
        let bob = Person::new(&server, &format!("bob-{kind:?}")).await;
        let user = bob.id.to_string();
        for (act, status) in [("like", 201), ("unlike", 200), ("block", 200), ("unblock", 200)] {
            let path = format!("/api/v1/matching/{act}/");
            let answer = send(&ann, kind, "POST", &path, &[("user_id", &user)], json!({ "user_id": bob.id })).await;
            assert_eq!(answer.status, status, "{kind:?} {act}: {}", answer.body);
        }
        let (fields, same) = (
            [("participant_id", user.as_str()), ("message", "a b & c")],
            json!({ "participant_id": bob.id, "message": "a b & c" }),
        );
        let made = send(&ann, kind, "POST", "/api/v1/conversations/", &fields, same).await;
        assert_eq!((made.status, &made.json["last_message"]["content"]), (201, &json!("a b & c")), "{}", made.body);
        let path = format!("/api/v1/conversations/{}/messages/", id(&made));
        let said = send(&ann, kind, "POST", &path, &[("content", "é💬\n.")], json!({ "content": "é💬\n." })).await;
        assert_eq!((said.status, &said.json["content"]), (201, &json!("é💬\n.")), "{kind:?}: {}", said.body);
        let path = format!("{path}{}/", id(&said));
        let edited = send(&ann, kind, "PATCH", &path, &[("content", "é")], json!({ "content": "é" })).await;
        assert_eq!((edited.status, &edited.json["content"]), (200, &json!("é")), "{kind:?}: {}", edited.body);
        let read = send(&bob, kind, "POST", &format!("{path}mark_read/"), &[], json!({})).await;
        assert_eq!(read.status, 200, "{kind:?}: {}", read.body);
        let next = "plum harbour lattice nine";
        let fields = [("old_password", PASSWORD), ("new_password", next), ("new_password2", next)];
        let same = json!({ "old_password": PASSWORD, "new_password": next, "new_password2": next });
        let answer = send(&ann, kind, "PUT", "/api/v1/auth/change-password/", &fields, same).await;
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.body);
    }
}

/// Those that need no token.
#[tokio::test]
async fn form_body_of_signing_in() {
    let server = Server::start(&[]).await;
    let parts = |fields: &[(&str, &str)]| {
        let parts = fields.iter().map(|(name, content)| Part { name, file: None, content: content.as_bytes() });
        let (media, body) = multipart(&parts.collect::<Vec<_>>());
        (media, String::from_utf8(body).expect("a text"))
    };
    for (name, encode) in [("form", &form as &dyn Fn(&[(&str, &str)]) -> (String, String)), ("parts", &parts)] {
        let call = |path: &'static str, (media, body): (String, String)| {
            let server = &server;
            async move { crate::site::ask(server.next_address(), "POST", path, &[("Content-Type", &media)], &body).await }
        };
        let new = [("username", name), ("password", PASSWORD), ("password2", PASSWORD), ("first_name", "")];
        let answer = call("/api/v1/auth/register/", encode(&new)).await;
        assert_eq!((answer.status, &answer.json["username"]), (201, &json!(name)), "{}", answer.body);
        let tokens = call("/api/token/", encode(&[("username", name), ("password", PASSWORD)])).await;
        must(&tokens, 200, r#"{"refresh":"<jwt>","access":"<jwt>"}"#);
        let refresh = tokens.json["refresh"].as_str().expect("a token").to_owned();
        must(&call("/api/token/refresh/", encode(&[("refresh", &refresh)])).await, 200, r#"{"access":"<jwt>"}"#);
        must_refuse(&call("/api/token/refresh/", encode(&[])).await, "refresh", "Ce champ est obligatoire.");
    }
}

/// A form in parts that is broken is an error of the request.
#[tokio::test]
async fn form_body_broken_parts() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let (media, body) = multipart(&[Part { name: "bio", file: None, content: b"x" }]);
    let body = String::from_utf8(body).expect("a text");
    for (media, body) in
        [("multipart/form-data", body.as_str()), (media.as_str(), "--nothing"), (media.as_str(), &body[..20])]
    {
        let answer = ann.ask("PATCH", PROFILE, &[("Content-Type", media)], body).await;
        assert!(answer.status == 400 || answer.status == 200, "{media} {body}: {} {}", answer.status, answer.body);
        assert_eq!(ann.get(PROFILE).await.json["bio"], "", "{media} {body}");
    }
}
