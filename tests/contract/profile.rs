//! Section 3.2: one's own profile.

use duet::matching::place::Cell;
use serde_json::{Value, json};

use crate::shape::{DEFAULTS, own};
use crate::site::{Person, must, must_refuse, two};
use crate::support::Server;
use crate::support::http::Response;

const PROFILE: &str = "/api/v1/auth/profile/";

/// Everything that a profile can be told, but files.
fn told() -> Value {
    json!({
        "username": "ann", "email": "Ann@Example.ORG", "first_name": " Ann ", "last_name": "Lee", "profile_picture": null,
        "bio": "two\nlines", "date_of_birth": "1990-02-28", "phone_number": "+33 1 23 45 67", "location": "Paris",
        "latitude": 48.8566, "longitude": "2.3522", "interests": ["Chess", " go "], "is_superuser": true, "id": 99,
    })
}

/// The same as it is answered; the place is that of the cell around it.
fn answered(person: &Person) -> String {
    let (latitude, longitude) = Cell::of(48.8566, 2.3522).expect("on Earth").centre();
    assert!((latitude - 48.8566).abs() < 0.02 && (longitude - 2.3522).abs() < 0.04);
    format!(r#"{{"id":{},"username":"ann","email":"Ann@example.org","first_name":"Ann","last_name":"Lee","#, person.id)
        + r#""profile_picture":null,"bio":"two\nlines","date_of_birth":"1990-02-28","phone_number":"+33 1 23 45 67","#
        + r#""location":"Paris","is_online":<bool>,"last_activity":"<time>","#
        + r#""interests":[{"id":<int>,"name":"chess"},{"id":<int>,"name":"go"}],"#
        + &format!(r#""preferences":{DEFAULTS},"latitude":<number>,"longitude":<number>}}"#)
}

fn must_be_near(answer: &Response) {
    let (latitude, longitude) = Cell::of(48.8566, 2.3522).expect("on Earth").centre();
    for (name, degrees) in [("latitude", latitude), ("longitude", longitude)] {
        let told = answer.json[name].as_f64().expect("a number");
        assert!((told - degrees).abs() < 1e-6, "{name} must be {degrees}, the centre of the cell, and is {told}");
    }
}

#[tokio::test]
async fn row_get_api_v1_auth_profile() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let first = ann.get(PROFILE).await;
    must(&first, 200, &own(&ann));
    // Looking is a sign of life.
    let second = ann.get(PROFILE).await;
    let at = |answer: &Response| answer.json["last_activity"].as_str().expect("a time").to_owned();
    assert!(at(&second) > at(&first), "{} and then {}", at(&first), at(&second));
}

#[tokio::test]
async fn row_put_api_v1_auth_profile() {
    let server = Server::start(&[]).await;
    let (ann, _bob) = two(&server).await;
    let changed = ann.put(PROFILE, told()).await;
    must(&changed, 200, &answered(&ann));
    must_be_near(&changed);
    // What is left out stays, a set of interests is replaced, null clears where it may.
    let again = json!({ "date_of_birth": null, "latitude": null, "longitude": null, "interests": ["Ski"], "bio": "" });
    let cleared = ann.put(PROFILE, again).await;
    assert_eq!(cleared.status, 200, "{}", cleared.body);
    for (name, value) in [
        ("date_of_birth", Value::Null),
        ("latitude", Value::Null),
        ("longitude", Value::Null),
        ("bio", json!("")),
        ("first_name", json!("Ann")),
        ("phone_number", json!("+33 1 23 45 67")),
    ] {
        assert_eq!(cleared.json[name], value, "{name}");
    }
    assert_eq!(cleared.json["interests"][0]["name"], "ski");
    assert_eq!(cleared.json["interests"].as_array().map(Vec::len), Some(1));
    assert_eq!(ann.get(PROFILE).await.json["interests"], cleared.json["interests"]);
    let taken = ann.put(PROFILE, json!({ "username": "bob" })).await;
    must_refuse(&taken, "username", "Un utilisateur avec ce nom existe déjà.");
    let renamed = ann.put(PROFILE, json!({ "username": "anna" })).await;
    assert_eq!((renamed.status, &renamed.json["username"]), (200, &json!("anna")), "{}", renamed.body);
    server.login("anna").await;
}

#[tokio::test]
async fn row_patch_api_v1_auth_profile() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    must(&ann.patch(PROFILE, told()).await, 200, &answered(&ann));
    let changed = ann.patch(PROFILE, json!({ "first_name": "Anna" })).await;
    must(&changed, 200, &answered(&ann).replace(r#""first_name":"Ann""#, r#""first_name":"Anna""#));
    must_be_near(&changed);
    let unchanged = ann.patch(PROFILE, json!({})).await;
    assert_eq!(unchanged.json["first_name"], "Anna", "{}", unchanged.body);
    let empty = ann.ask("PATCH", PROFILE, &[], "").await;
    assert_eq!((empty.status, &empty.json["first_name"]), (200, &json!("Anna")), "{}", empty.body);
}

/// Interests are known by number, and keep it.
#[tokio::test]
async fn row_put_api_v1_auth_profile_interests() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let interests = |answer: Response| answer.json["interests"].as_array().expect("a list").clone();
    let hers = interests(ann.put(PROFILE, json!({ "interests": ["chess"] })).await);
    let his = interests(bob.put(PROFILE, json!({ "interests": ["CHESS", "go"] })).await);
    assert!(his.contains(&hers[0]), "one dictionary for all: {hers:?} {his:?}");
    assert_eq!(ann.put(PROFILE, json!({ "interests": [] })).await.json["interests"], json!([]));
    assert_eq!(interests(ann.put(PROFILE, json!({ "interests": ["chess"] })).await), hers);
    let text = "Attendait une liste d'éléments mais a reçu «\u{a0}str\u{a0}».";
    must_refuse(&ann.put(PROFILE, json!({ "interests": "chess" })).await, "interests", text);
    let text = "Ce champ ne peut être nul.";
    must_refuse(&ann.put(PROFILE, json!({ "interests": null })).await, "interests", text);
    let items = ann.put(PROFILE, json!({ "interests": ["ok", "", null, ["x"], "fine"] })).await;
    must(
        &items,
        400,
        concat!(
            r#"{"interests":{"1":["Ce champ ne peut être vide."],"2":["Ce champ ne peut être nul."],"#,
            r#""3":["Chaîne de caractère invalide."]}}"#
        ),
    );
    let equal = ann.put(PROFILE, json!({ "interests": ["Ski", "ski"] })).await;
    assert_eq!((equal.status, equal.json["interests"].as_array().map(Vec::len)), (200, Some(1)), "{}", equal.body);
}

/// What is wrong with each field, all at once.
#[tokio::test]
async fn row_put_api_v1_auth_profile_errors() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let before = ann.get(PROFILE).await.json;
    let wrong = json!({
        "username": "a b", "email": "x", "first_name": "x".repeat(151), "last_name": [], "profile_picture": "me.png",
        "bio": null, "date_of_birth": "28/02/1990", "phone_number": "1".repeat(16), "location": "x".repeat(101),
        "latitude": "north", "longitude": {}, "interests": {},
    });
    let most = |most: usize| format!("Assurez-vous que ce champ comporte au plus {most}\u{a0}caractères.");
    let date = "La date n'a pas le bon format. Utilisez un des formats suivants\u{a0}: YYYY-MM-DD.";
    let file = "La donnée soumise n'est pas un fichier. Vérifiez le type d'encodage du formulaire.";
    let names = concat!(
        "Saisissez un nom d’utilisateur valide. Il ne peut contenir que des lettres, des nombres ou les caractères ",
        "«\u{a0}@\u{a0}», «\u{a0}.\u{a0}», «\u{a0}+\u{a0}», «\u{a0}-\u{a0}» et «\u{a0}_\u{a0}»."
    );
    let number = "Un nombre valide est requis.";
    let interests = "Attendait une liste d'éléments mais a reçu «\u{a0}dict\u{a0}».";
    let told = [
        ("username", names),
        ("email", "Saisissez une adresse e-mail valide."),
        ("first_name", &most(150)),
        ("last_name", "Chaîne de caractère invalide."),
        ("profile_picture", file),
        ("bio", "Ce champ ne peut être nul."),
        ("date_of_birth", date),
        ("phone_number", &most(15)),
        ("location", &most(100)),
        ("latitude", number),
        ("longitude", number),
        ("interests", interests),
    ];
    let told: Vec<String> = told.iter().map(|(field, text)| format!(r#""{field}":["{text}"]"#)).collect();
    for method in ["PUT", "PATCH"] {
        must(&ann.json(method, PROFILE, &wrong).await, 400, &format!("{{{}}}", told.join(",")));
    }
    for (field, value) in [("latitude", 90.5), ("latitude", -91.0), ("longitude", 180.5), ("longitude", -181.0)] {
        let mut place = json!({ "latitude": 1, "longitude": 1 });
        place[field] = value.into();
        must(&ann.put(PROFILE, place).await, 400, &format!(r#"{{"{field}":["<text>"]}}"#));
    }
    let mut after = ann.get(PROFILE).await.json;
    after["last_activity"] = before["last_activity"].clone();
    assert_eq!(after, before, "nothing of it was kept");
}
