//! What clients of the older API sent and the server that duet replaces took: each row was reported by such a client.

use serde_json::{Value, json};

use crate::site::{ENGLISH, JSON, Person, ids, must_refuse, post, registering, two};
use crate::support::Server;
use crate::support::files::{self, get, jpeg, path_of};
use crate::support::http::Part;

const PROFILE: &str = "/api/v1/auth/profile/";
const LIST: &str = "/api/v1/conversations/";
const MATCHES: &str = "/api/v1/matches/";
const POTENTIAL: &str = "/api/v1/matching/potential-matches/";
const PREFERENCES: &str = "/api/v1/matching/preferences/";

#[tokio::test]
async fn e_a_date_of_birth_needs_no_leading_zeros() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    for (sent, kept) in [("1990-1-5", "1990-01-05"), ("1990-11-5", "1990-11-05"), ("1990-1-15", "1990-01-15")] {
        let answer = ann.patch(PROFILE, json!({ "date_of_birth": sent })).await;
        assert_eq!((answer.status, &answer.json["date_of_birth"]), (200, &json!(kept)), "{sent}: {}", answer.body);
        let form = ann.form("PATCH", PROFILE, &[("date_of_birth", sent)]).await;
        assert_eq!((form.status, &form.json["date_of_birth"]), (200, &json!(kept)), "{sent}: {}", form.body);
    }
    let wrong = "La date n'a pas le bon format. Utilisez un des formats suivants\u{a0}: YYYY-MM-DD.";
    for sent in ["1990-13-5", "1990-2-30", "90-1-5", "1990-001-5", "1990-1-", "1990--5", "1990-1-5-2", "1990-+1-5"] {
        must_refuse(&ann.patch(PROFILE, json!({ "date_of_birth": sent })).await, "date_of_birth", wrong);
    }
}

#[tokio::test]
async fn e_a_logout_may_name_no_refresh_token_as_null() {
    let server = Server::start(&[]).await;
    for body in [json!({ "refresh": null }), json!({ "refresh": "" }), json!({})] {
        let name = format!("ann{}", body.to_string().len());
        let ann = Person::new(&server, &name).await;
        let answer = ann.post("/api/v1/auth/logout/", body.clone()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(ann.get(PROFILE).await.status, 401, "the session of {body} is over");
    }
}

/// Forms that save each field as it is left sent one coordinate, then the other.
#[tokio::test]
async fn e_latitude_and_longitude_may_come_one_after_the_other() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let both = ann.patch(PROFILE, json!({ "latitude": 48.8566, "longitude": 2.3522 })).await;
    let place = (both.json["latitude"].clone(), both.json["longitude"].clone());
    assert!(place.0.is_number() && place.1.is_number(), "{}", both.body);
    for order in [["latitude", "longitude"], ["longitude", "latitude"]] {
        let person = Person::new(&server, &format!("{}-first", order[0])).await;
        let value = |name: &str| if name == "latitude" { 48.8566 } else { 2.3522 };
        let first = person.patch(PROFILE, json!({ order[0]: value(order[0]) })).await;
        assert_eq!(first.status, 200, "{}", first.body);
        assert!(first.json[order[0]].is_number() && first.json[order[1]].is_null(), "{}", first.body);
        // What comes in between takes nothing away.
        assert_eq!(person.patch(PROFILE, json!({ "bio": "between" })).await.status, 200);
        let then = person.patch(PROFILE, json!({ order[1]: value(order[1]) })).await;
        assert_eq!((then.json["latitude"].clone(), then.json["longitude"].clone()), place, "{order:?}: {}", then.body);
    }
    // A coordinate that is taken back takes the place away, and the other one waits for its return.
    let gone = ann.patch(PROFILE, json!({ "latitude": null })).await;
    assert!(gone.json["latitude"].is_null() && gone.json["longitude"].is_number(), "{}", gone.body);
    let back = ann.patch(PROFILE, json!({ "latitude": 48.8566 })).await;
    assert_eq!((back.json["latitude"].clone(), back.json["longitude"].clone()), place, "{}", back.body);
    let none = ann.patch(PROFILE, json!({ "latitude": null, "longitude": null })).await;
    assert!(none.json["latitude"].is_null() && none.json["longitude"].is_null(), "{}", none.body);
    let alone = ann.patch(PROFILE, json!({ "longitude": 2.3522 })).await;
    assert!(alone.json["latitude"].is_null(), "nothing of a place that was taken back: {}", alone.body);
}

#[tokio::test]
async fn e_more_than_30_interests() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let interests: Vec<String> = (0..100).map(|number| format!("interest {number}")).collect();
    let answer = ann.patch(PROFILE, json!({ "interests": interests })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json["interests"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn e_addresses_that_django_took() {
    let server = Server::start(&[]).await;
    for (number, (sent, kept)) in [
        ("a@localhost", Some("a@localhost")),
        ("a@LOCALHOST", Some("a@localhost")),
        ("a@[127.0.0.1]", Some("a@[127.0.0.1]")),
        ("a@[IPv6:::1]", Some("a@[ipv6:::1]")),
        ("a@elsewhere", None),
        ("a@[127.0.0]", None),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = registering(&format!("ann{number}"));
        body["email"] = json!(sent);
        let answer = post(&server, "/api/v1/auth/register/", body).await;
        match kept {
            Some(kept) => assert_eq!((answer.status, &answer.json["email"]), (201, &json!(kept)), "{}", answer.body),
            None => must_refuse(&answer, "email", "Saisissez une adresse e-mail valide."),
        }
    }
}

/// Clients show the greatest id as the newest match.
#[tokio::test]
async fn e_ids_of_matches_rise_as_they_are_made() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    let mut others = Vec::new();
    // Ann's likes come in one order, the matches in the opposite one.
    for name in ["bob", "cleo", "dora", "emil"] {
        let other = Person::new(&server, name).await;
        assert_eq!(ann.to("like", &other).await.status, 201);
        others.push(other);
    }
    let mut made = Vec::new();
    for other in others.iter().rev() {
        made.push(other.to("like", &ann).await.json["match"]["id"].as_i64().expect("a match"));
    }
    assert!(made.is_sorted(), "{made:?}");
    assert_eq!(ids(&ann.get(MATCHES).await), made);
    for (id, other) in made.iter().zip(others.iter().rev()) {
        let one = ann.get(&format!("{MATCHES}{id}/")).await;
        assert_eq!(one.json["matched_user"]["id"], json!(other.id), "{}", one.body);
    }
    // It stays the same match when it is made again.
    assert_eq!(ann.to("unlike", &others[0]).await.status, 200);
    assert_eq!(ann.to("like", &others[0]).await.json["match"]["id"], json!(made[3]));
    // New pairs after a match take ids that nobody has.
    let fred = Person::new(&server, "fred").await;
    assert_eq!(fred.to("like", &ann).await.status, 201);
    let next = ann.to("like", &fred).await.json["match"]["id"].as_i64().expect("a match");
    assert!(next > made[3], "{next} after {made:?}");
}

fn attached<'a>(name: &'a str, content: &'a [u8]) -> Part<'a> {
    Part { name: "attachment", file: Some((name, "application/x-whatever")), content }
}

/// The URL was all that told such a client what a file is called.
#[tokio::test]
async fn e_urls_of_files_end_with_their_names() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "hello").await;
    let path = format!("{LIST}{conversation}/messages/");
    let text = Part { name: "content", file: None, content: b"see there" };
    for (name, content, ending) in [
        ("menu \u{e9}t\u{e9}.pdf", &b"%PDF-1.7 what there is to eat"[..], "/menu%20%C3%A9t%C3%A9.pdf"),
        ("photo.png", &jpeg(30, 20)[..], "/photo.jpg"),
        ("a#b?c&d.txt", b"plain", "/a%23b%3Fc%26d.txt"),
    ] {
        let answer = ann.multipart("POST", &path, &[text, attached(name, content)]).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let url = answer.json["attachment"].as_str().expect("a URL");
        let before_query = url.split('?').next().unwrap_or_default();
        assert!(before_query.ends_with(ending), "{url} ends with {ending}");
        let got = get(server.next_address(), &path_of(&answer.json["attachment"]), &[]).await;
        assert_eq!(got.status, 200, "{url}");
        // Without the name it is the same file, and another name changes nothing.
        let at = before_query.rfind('/').expect("a path");
        for other in ["", "/other.html"] {
            let url = format!("{}{other}{}", &url[..at], &url[before_query.len()..]);
            let same = get(server.next_address(), &path_of(&Value::from(url.clone())), &[]).await;
            assert_eq!((same.status, &same.headers["content-type"]), (200, &got.headers["content-type"]), "{url}");
        }
    }
    let picture = Part { name: "profile_picture", file: Some(("me.png", "image/png")), content: &jpeg(30, 20) };
    let answer = ann.multipart("PATCH", PROFILE, &[picture]).await;
    let url = answer.json["profile_picture"].as_str().expect("a URL");
    assert!(url.split('?').next().is_some_and(|url| url.ends_with("/me.jpg")), "{url}");
}

#[tokio::test]
async fn e_sound_and_film_are_served_as_what_they_are() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "hello").await;
    let path = format!("{LIST}{conversation}/messages/");
    let text = Part { name: "content", file: None, content: b"listen" };
    for (name, content, media) in files::films_and_sounds() {
        let answer = ann.multipart("POST", &path, &[text, attached(name, &content)]).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.body);
        let got = get(server.next_address(), &path_of(&answer.json["attachment"]), &[]).await;
        let told = &got.headers["content-disposition"];
        assert_eq!((got.status, got.headers["content-type"].as_str()), (200, media), "{name}");
        assert!(told.starts_with("inline;"), "{name}: {told}");
        assert_eq!(got.body, content, "{name}");
        assert_eq!(got.headers["content-security-policy"], "default-src 'none'; sandbox");
    }
    // What a browser could run is bytes, whatever it is called.
    for (name, content) in [("a.mp4", &b"<html><script>alert(1)</script>"[..]), ("a.svg", b"<svg xmlns='x'/>")] {
        let answer = ann.multipart("POST", &path, &[text, attached(name, content)]).await;
        let got = get(server.next_address(), &path_of(&answer.json["attachment"]), &[]).await;
        assert_eq!(got.headers["content-type"], "application/octet-stream", "{name}");
        assert!(got.headers["content-disposition"].starts_with("attachment;"), "{name}");
    }
}

#[tokio::test]
async fn e_a_conversation_with_somebody_who_blocks_is_not_found() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "hello").await;
    let said = bob.says(conversation, "hi").await;
    assert_eq!(ann.to("block", &bob).await.status, 200);
    let place = format!("{LIST}{conversation}/");
    for (method, path) in [
        ("GET", place.clone()),
        ("PUT", place.clone()),
        ("GET", format!("{place}messages/{said}/")),
        ("POST", format!("{place}messages/{said}/mark_read/")),
        ("DELETE", format!("{place}leave/")),
        ("DELETE", place.clone()),
    ] {
        assert_eq!(bob.ask(method, &path, &[JSON], "{}").await.status, 404, "{method} {path}");
    }
    assert_eq!(ids(&bob.get(LIST).await), Vec::<i64>::new());
    assert_eq!(ids(&bob.get(&format!("{place}messages/")).await), Vec::<i64>::new());
    // It is there again with the end of the block.
    assert_eq!(ann.to("unblock", &bob).await.status, 200);
    assert_eq!(ids(&bob.get(LIST).await), [conversation]);
    assert_eq!(bob.get(&place).await.status, 200);
}

/// Such clients cannot tell a gender: their users must be met by everybody.
#[tokio::test]
async fn e_an_untold_gender_meets_everybody() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    for (person, wanted) in [(&ann, "F"), (&bob, "M")] {
        assert_eq!(person.put(PROFILE, json!({ "date_of_birth": "1990-01-01" })).await.status, 200);
        assert_eq!(person.put(PREFERENCES, json!({ "gender_preference": wanted })).await.status, 200);
    }
    assert_eq!(ids(&ann.get(POTENTIAL).await), [bob.id]);
    assert_eq!(ids(&bob.get(POTENTIAL).await), [ann.id]);
}

#[tokio::test]
async fn e_whoever_told_no_birth_date_is_told_why_nobody_is_found() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    assert_eq!(bob.put(PROFILE, json!({ "date_of_birth": "1990-01-01" })).await.status, 200);
    let why = ann.ask("GET", POTENTIAL, &[ENGLISH], "").await;
    assert_eq!(why.status, 403, "{}", why.body);
    assert!(why.json["detail"].as_str().is_some_and(|text| text.contains("date of birth")), "{}", why.body);
    assert_eq!(ids(&bob.get(POTENTIAL).await), Vec::<i64>::new());
    // Somebody too young is told as well.
    let young = json!({ "date_of_birth": "2020-01-01" });
    assert_eq!(ann.put(PROFILE, young).await.status, 200);
    let why = ann.ask("GET", POTENTIAL, &[ENGLISH], "").await;
    assert!(why.status == 403 && why.body.contains("18"), "{} {}", why.status, why.body);
}

#[tokio::test]
async fn e_where_ages_are_checked_elsewhere_no_birth_date_is_needed() {
    let server = Server::start(&[("birth-date-required", "false")]).await;
    let (ann, bob) = two(&server).await;
    assert_eq!(bob.put(PROFILE, json!({ "date_of_birth": "1990-01-01" })).await.status, 200);
    assert_eq!(ids(&ann.get(POTENTIAL).await), [bob.id]);
    assert_eq!(ids(&bob.get(POTENTIAL).await), [ann.id]);
    // An age that is known still counts.
    assert_eq!(ann.put(PREFERENCES, json!({ "min_age": 50 })).await.status, 200);
    assert_eq!(ids(&ann.get(POTENTIAL).await), Vec::<i64>::new());
    assert_eq!(bob.put(PROFILE, json!({ "date_of_birth": "2020-01-01" })).await.status, 200);
    assert_eq!(bob.get(POTENTIAL).await.status, 403, "too young, as far as is known");
}

/// The service that duet replaces took no notice of these names, and its clients may send them.
#[tokio::test]
async fn e_pages_are_for_those_who_ask_by_version() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "1").await;
    ann.says(conversation, "2").await;
    let path = format!("{LIST}{conversation}/messages/");
    let all = ids(&ann.get(&path).await);
    assert_eq!(all.len(), 2);
    for query in ["?page=1", "?page=7", "?page=x", "?limit=1", "?limit=1&offset=1", "?page_size=1"] {
        for path in [path.as_str(), LIST, MATCHES] {
            let (plain, asked) = (ann.get(path).await, ann.get(&format!("{path}{query}")).await);
            assert_eq!((asked.status, &asked.body), (200, &plain.body), "{path}{query}");
        }
    }
    let version = ("Accept", "application/json; version=2");
    let page = ann.ask("GET", &format!("{path}?page=1&page_size=1"), &[version], "").await;
    assert_eq!((page.status, &page.json["count"]), (200, &json!(2)), "{}", page.body);
    for other in ["application/json; version=1", "application/json; version=x", "application/json"] {
        let plain = ann.ask("GET", &format!("{path}?page=1&page_size=1"), &[("Accept", other)], "").await;
        assert_eq!(ids(&plain), all, "{other}");
    }
    let server = Server::start(&[("older-api-pages", "true")]).await;
    let ann = Person::new(&server, "ann").await;
    let page = ann.get(&format!("{LIST}?page=1")).await;
    assert_eq!((page.status, &page.json["count"]), (200, &json!(0)), "{}", page.body);
}
