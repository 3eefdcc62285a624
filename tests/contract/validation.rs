//! Section 6.3: what is wrong with a body, in both languages.

use serde_json::{Value, json};

use crate::site::{ENGLISH, JSON, Person, ask, must, must_refuse};
use crate::support::Server;

const PROFILE: &str = "/api/v1/auth/profile/";
const REGISTER: &str = "/api/v1/auth/register/";
const LIKE: &str = "/api/v1/matching/like/";
const PREFERENCES: &str = "/api/v1/matching/preferences/";

/// The endpoint, what is sent, the field, and how it is refused in French and in English.
struct Case(&'static str, &'static str, Value, &'static str, &'static str, &'static str);

/// Tries each on a server of its own.
async fn refused(cases: Vec<Case>) {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    for Case(method, path, body, field, french, english) in cases {
        must_refuse(&ann.json(method, path, &body).await, field, french);
        must_refuse(&ann.ask(method, path, &[JSON, ENGLISH], &body.to_string()).await, field, english);
    }
}

#[tokio::test]
async fn form_required_null_blank() {
    refused(vec![
        Case("POST", LIKE, json!({}), "user_id", "Ce champ est obligatoire.", "This field is required."),
        Case(
            "POST",
            LIKE,
            json!({ "user_id": null }),
            "user_id",
            "Ce champ ne peut être nul.",
            "This field may not be null.",
        ),
        Case(
            "PATCH",
            PREFERENCES,
            json!({ "min_age": null }),
            "min_age",
            "Ce champ ne peut être nul.",
            "This field may not be null.",
        ),
        Case(
            "PATCH",
            PROFILE,
            json!({ "username": "  " }),
            "username",
            "Ce champ ne peut être vide.",
            "This field may not be blank.",
        ),
    ])
    .await;
}

#[tokio::test]
async fn form_max_length() {
    refused(
        [
            ("username", 150),
            ("first_name", 150),
            ("last_name", 150),
            ("phone_number", 15),
            ("location", 100),
            ("bio", 2_000),
        ]
        .into_iter()
        .map(|(field, most)| {
            let french = format!("Assurez-vous que ce champ comporte au plus {most}\u{a0}caractères.");
            let english = format!("Ensure this field has no more than {most} characters.");
            let body = json!({ field: "1".repeat(most + 1) });
            Case("PATCH", PROFILE, body, field, french.leak(), english.leak())
        })
        .collect(),
    )
    .await;
    // The longest that fit; characters are counted, not bytes.
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let fits = json!({
        "first_name": "é".repeat(150), "phone_number": "1".repeat(15), "location": "💬".repeat(100), "username": "x".repeat(150),
    });
    let answer = ann.patch(PROFILE, fits.clone()).await;
    for field in ["first_name", "phone_number", "location", "username"] {
        assert_eq!(answer.json[field], fits[field], "{}", answer.body);
    }
}

#[tokio::test]
async fn form_types() {
    let (text, integer) = ("Chaîne de caractère invalide.", "Un nombre entier valide est requis.");
    let (number, boolean) = ("Un nombre valide est requis.", "Doit être un booléen valide.");
    refused(vec![
        Case("PATCH", PROFILE, json!({ "bio": [] }), "bio", text, "Not a valid string."),
        Case("PATCH", PROFILE, json!({ "bio": true }), "bio", text, "Not a valid string."),
        Case("POST", LIKE, json!({ "user_id": "x" }), "user_id", integer, "A valid integer is required."),
        Case("PATCH", PREFERENCES, json!({ "max_age": [] }), "max_age", integer, "A valid integer is required."),
        Case(
            "PATCH",
            PROFILE,
            json!({ "latitude": "x", "longitude": 1 }),
            "latitude",
            number,
            "A valid number is required.",
        ),
    ])
    .await;
    let server = Server::start(&[]).await;
    let (ann, bob) = crate::site::two(&server).await;
    let path = format!("/api/v1/conversations/{}/", ann.talk_to(&bob, "hello").await);
    for wrong in [json!("maybe"), json!(7), json!([]), json!({})] {
        let body = json!({ "is_active": wrong });
        must_refuse(&ann.patch(&path, body.clone()).await, "is_active", boolean);
        let english = ann.ask("PUT", &path, &[JSON, ENGLISH], &body.to_string()).await;
        must_refuse(&english, "is_active", "Must be a valid boolean.");
    }
    for (fine, active) in [(json!(true), true), (json!("True"), true), (json!(1), true), (json!("1"), true)] {
        let answer = ann.patch(&path, json!({ "is_active": fine })).await;
        assert_eq!(answer.json["is_active"], active, "{fine}: {}", answer.body);
    }
}

#[tokio::test]
async fn form_email_date_choice() {
    let email = ("Saisissez une adresse e-mail valide.", "Enter a valid email address.");
    let date = (
        "La date n'a pas le bon format. Utilisez un des formats suivants\u{a0}: YYYY-MM-DD.",
        "Date has wrong format. Use one of these formats instead: YYYY-MM-DD.",
    );
    let choice = ("«\u{a0}Z\u{a0}» n'est pas un choix valide.", "\"Z\" is not a valid choice.");
    let mut cases: Vec<Case> = ["ann", "ann@", "@example.org", "a b@example.org", "ann@example"]
        .into_iter()
        .map(|wrong| Case("PATCH", PROFILE, json!({ "email": wrong }), "email", email.0, email.1))
        .collect();
    for wrong in
        [json!("1.2.1990"), json!("1990-13-01"), json!("1990-02-30"), json!(""), json!("yesterday"), json!(19900101)]
    {
        cases.push(Case("PATCH", PROFILE, json!({ "date_of_birth": wrong }), "date_of_birth", date.0, date.1));
    }
    cases.push(Case("PUT", PREFERENCES, json!({ "gender_preference": "Z" }), "gender_preference", choice.0, choice.1));
    refused(cases).await;
}

#[tokio::test]
async fn form_username_characters() {
    let french = concat!(
        "Saisissez un nom d’utilisateur valide. Il ne peut contenir que des lettres, des nombres ou les caractères ",
        "«\u{a0}@\u{a0}», «\u{a0}.\u{a0}», «\u{a0}+\u{a0}», «\u{a0}-\u{a0}» et «\u{a0}_\u{a0}»."
    );
    let english = "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.";
    let mut cases = Vec::new();
    for wrong in ["a b", "ann!", "ann/bob", "💬", "<ann>"] {
        let body =
            json!({ "username": wrong, "password": "plum harbour lattice", "password2": "plum harbour lattice" });
        cases.push(Case("POST", REGISTER, body, "username", french, english));
        cases.push(Case("PATCH", PROFILE, json!({ "username": wrong }), "username", french, english));
    }
    let taken = ("Un utilisateur avec ce nom existe déjà.", "A user with that username already exists.");
    let body = json!({ "username": "ann", "password": "plum harbour lattice", "password2": "plum harbour lattice" });
    cases.push(Case("POST", REGISTER, body, "username", taken.0, taken.1));
    refused(cases).await;
}

#[tokio::test]
async fn form_nul_character() {
    let (french, english) = ("Le caractère nul n’est pas autorisé.", "Null characters are not allowed.");
    let fields = ["first_name", "last_name", "bio", "phone_number", "location"];
    refused(
        fields
            .into_iter()
            .map(|field| Case("PATCH", PROFILE, json!({ field: "a\0b" }), field, french, english))
            .collect(),
    )
    .await;
}

#[tokio::test]
async fn form_body_is_no_object() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    for (body, kind) in [("[]", "list"), ("\"x\"", "str"), ("7", "int"), ("1.5", "float"), ("true", "bool")] {
        for (method, path) in
            [("PUT", PROFILE), ("POST", LIKE), ("PATCH", PREFERENCES), ("POST", "/api/v1/conversations/")]
        {
            let text = format!("Donnée non valide. Attendait un dictionnaire, a reçu {kind}.");
            must_refuse(&ann.ask(method, path, &[JSON], body).await, "non_field_errors", &text);
            let text = format!("Invalid data. Expected a dictionary, but got {kind}.");
            must_refuse(&ann.ask(method, path, &[JSON, ENGLISH], body).await, "non_field_errors", &text);
        }
    }
    // Nor where no token is needed.
    let text = "Donnée non valide. Attendait un dictionnaire, a reçu list.";
    for path in ["/api/token/", "/api/token/refresh/", REGISTER] {
        must_refuse(&ask(server.next_address(), "POST", path, &[JSON], "[1]").await, "non_field_errors", text);
    }
}

#[tokio::test]
async fn form_broken_json() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    for body in ["{", "{\"bio\":}", "{'bio':'x'}", "bio=x", "{\"bio\":\"\u{1}\"}", "{}{}"] {
        for (method, path) in [("PATCH", PROFILE), ("POST", LIKE), ("POST", "/api/v1/conversations/")] {
            let answer = ann.ask(method, path, &[JSON], body).await;
            assert_eq!(answer.status, 400, "{body}: {}", answer.body);
            let detail = answer.json["detail"].as_str().unwrap_or_default();
            assert!(detail.starts_with("JSON parse error - ") && detail.len() > 19, "{body}: {}", answer.body);
            assert_eq!(answer.json.as_object().map(serde_json::Map::len), Some(1), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn form_all_fields_at_once_in_order() {
    let server = Server::start(&[]).await;
    let french = ask(server.next_address(), "POST", REGISTER, &[JSON], "{}").await;
    let (one, other) = ("[\"Ce champ est obligatoire.\"]", "[\"This field is required.\"]");
    must(&french, 400, &format!("{{\"username\":{one},\"password\":{one},\"password2\":{one}}}"));
    let english = ask(server.next_address(), "POST", REGISTER, &[JSON, ENGLISH], "{}").await;
    must(&english, 400, &format!("{{\"username\":{other},\"password\":{other},\"password2\":{other}}}"));
}

#[tokio::test]
async fn form_lists_of_items() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let body = json!({ "interests": ["x", "", "y", false] });
    let french = r#"{"interests":{"1":["Ce champ ne peut être vide."],"3":["Chaîne de caractère invalide."]}}"#;
    let english = r#"{"interests":{"1":["This field may not be blank."],"3":["Not a valid string."]}}"#;
    must(&ann.patch(PROFILE, body.clone()).await, 400, french);
    must(&ann.ask("PUT", PROFILE, &[JSON, ENGLISH], &body.to_string()).await, 400, english);
    let body = json!({ "interests": 7 });
    let text = "Expected a list of items but got type \"int\".";
    must_refuse(&ann.ask("PUT", PROFILE, &[JSON, ENGLISH], &body.to_string()).await, "interests", text);
}

#[tokio::test]
async fn form_files() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let body = json!({ "profile_picture": "me.png" });
    let text = "La donnée soumise n'est pas un fichier. Vérifiez le type d'encodage du formulaire.";
    must_refuse(&ann.patch(PROFILE, body.clone()).await, "profile_picture", text);
    let text = "The submitted data was not a file. Check the encoding type on the form.";
    must_refuse(&ann.ask("PATCH", PROFILE, &[JSON, ENGLISH], &body.to_string()).await, "profile_picture", text);
}
