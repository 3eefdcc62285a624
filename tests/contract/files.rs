//! Pictures and files: what forms in parts bring, under the names of the contract, and where it can be fetched.

use serde_json::{Value, json};

use crate::shape;
use crate::site::{ENGLISH, JSON, Person, id, must, must_refuse, two};
use crate::support::Server;
use crate::support::files::{Answer, get, jpeg, path_of};
use crate::support::http::{Part, Response, multipart};
use crate::support::rows;
use crate::support::server::PASSWORD;

const PROFILE: &str = "/api/v1/auth/profile/";
const NO_PICTURE: &str =
    "Transférez une image valide. Le fichier que vous avez transféré n'est pas une image, ou il est corrompu.";

fn picture(content: &[u8]) -> Part<'_> {
    Part { name: "profile_picture", file: Some(("me.png", "image/png")), content }
}

fn attached(content: &[u8]) -> Part<'_> {
    Part { name: "attachment", file: Some(("menu \u{e9}t\u{e9}.pdf", "application/pdf")), content }
}

fn said(content: &str) -> Part<'_> {
    Part { name: "content", file: None, content: content.as_bytes() }
}

/// Fetches what a URL of an answer names.
async fn fetched(server: &Server, url: &Value) -> Answer {
    get(server.next_address(), &path_of(url), &[]).await
}

/// How many files the server keeps.
async fn kept(server: &Server) -> i64 {
    server.database().reader().await.number("count(*)", "FROM files WHERE state = 'ready'").await
}

#[tokio::test]
async fn row_put_api_v1_auth_profile_picture() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let bio = Part { name: "bio", file: None, content: b"with a picture" };
    let mut before = Value::Null;
    for method in ["PUT", "PATCH"] {
        let answer = ann.multipart(method, PROFILE, &[bio, picture(&jpeg(300, 200))]).await;
        assert_eq!((answer.status, &answer.json["bio"]), (200, &json!("with a picture")), "{}", answer.body);
        let url = answer.json["profile_picture"].clone();
        assert!(url.as_str().is_some_and(|url| url.starts_with("http://")), "absolute: {url}");
        assert_ne!(url, before, "another picture is another URL");
        let got = fetched(&server, &url).await;
        assert_eq!((got.status, got.headers["content-type"].as_str()), (200, "image/jpeg"));
        before = url;
    }
    // One picture took the place of the other.
    let pictures = server.database().reader().await.number("count(*)", "FROM pictures").await;
    assert_eq!(pictures, 1);
    // Others have a URL of their own, wherever they are told of her.
    let conversation = bob.talk_to(&ann, "you look well").await;
    ann.says(conversation, "thanks").await;
    let profile = bob.get(&format!("/api/v1/auth/users/{}/", ann.id)).await.json["profile_picture"].clone();
    let listed = bob.get("/api/v1/conversations/").await.json;
    let participants = listed[0]["participants"].as_array().expect("participants");
    let participant = participants.iter().find(|one| one["id"] == ann.id).expect("ann");
    let sender = bob.get(&format!("/api/v1/conversations/{conversation}/messages/")).await.json[1]["sender"].clone();
    for url in [&profile, &participant["profile_picture"], &sender["profile_picture"]] {
        assert_ne!(url, &before);
        assert_eq!(fetched(&server, url).await.status, 200, "{url}");
    }
    assert_eq!(ann.to("block", &bob).await.status, 200);
    assert_eq!(fetched(&server, &profile).await.status, 404, "after a block");
    assert_eq!(ann.put(PROFILE, json!({ "profile_picture": null })).await.json["profile_picture"], Value::Null);
    assert_eq!(ann.get(PROFILE).await.json["profile_picture"], Value::Null);
    // Whoever renames themselves keeps their password.
    assert_eq!(ann.put(PROFILE, json!({ "username": "Anne" })).await.status, 200);
    let body = json!({ "username": "Anne", "password": PASSWORD });
    assert_eq!(crate::site::post(&server, "/api/token/", body).await.status, 200);
}

#[tokio::test]
async fn row_put_api_v1_auth_profile_picture_errors() {
    let server = Server::start(&[]).await;
    let ann = Person::new(&server, "ann").await;
    assert_eq!(ann.multipart("PATCH", PROFILE, &[picture(&jpeg(30, 20))]).await.status, 200);
    let before = rows::lines(&server).await;
    let whole = jpeg(300, 200);
    for wrong in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"\x89PNG\r\n\x1a\n...", &whole[..whole.len() / 2]]
    {
        let bio = Part { name: "bio", file: None, content: b"not to be kept" };
        let answer = ann.multipart("PUT", PROFILE, &[bio, picture(wrong)]).await;
        must_refuse(&answer, "profile_picture", NO_PICTURE);
    }
    must_refuse(
        &ann.multipart("PUT", PROFILE, &[picture(b"")]).await,
        "profile_picture",
        "Le fichier soumis est vide.",
    );
    // A picture that is good is not kept beside a field that is not.
    let wrong = Part { name: "date_of_birth", file: None, content: b"yesterday" };
    let answer = ann.multipart("PUT", PROFILE, &[wrong, picture(&whole)]).await;
    must(&answer, 400, r#"{"date_of_birth":["<text>"]}"#);
    rows::must_be_unchanged(&before, &rows::lines(&server).await);
    assert_eq!(kept(&server).await, 1);
}

#[tokio::test]
async fn row_post_api_v1_conversations_id_messages_attachment() {
    let server = Server::start(&[]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "hello").await;
    let path = format!("/api/v1/conversations/{conversation}/messages/");
    let menu = b"%PDF-1.7 what there is to eat";
    let answer = ann.multipart("POST", &path, &[said("see there"), attached(menu)]).await;
    let shape = shape::message(conversation, &ann, "see there", false, false);
    must(&answer, 201, &shape.replace(r#""attachment":null"#, r#""attachment":"<text>""#));
    let got = fetched(&server, &answer.json["attachment"]).await;
    assert_eq!((got.status, got.body.as_slice()), (200, &menu[..]));
    assert_eq!(got.headers["content-type"], "application/octet-stream");
    assert!(got.headers["content-disposition"].starts_with("attachment; filename="), "{:?}", got.headers);
    let theirs = bob.get(&path).await.json[1]["attachment"].clone();
    assert_eq!(fetched(&server, &theirs).await.body, menu);

    let message = format!("{path}{}/", id(&answer));
    let edited = ann.patch(&message, json!({ "content": "see here" })).await;
    assert_eq!((&edited.json["content"], edited.json["attachment"].is_string()), (&json!("see here"), true));
    // The file stays with its message.
    let stays = "Un fichier vient avec un nouveau message, et reste avec lui.";
    must_refuse(&ann.patch(&message, json!({ "attachment": null })).await, "attachment", stays);
    must_refuse(&ann.multipart("PATCH", &message, &[attached(b"another")]).await, "attachment", stays);
    assert_eq!(ann.delete(&message).await.status, 204);
    assert_eq!(fetched(&server, &theirs).await.status, 404, "gone with its message");
}

#[tokio::test]
async fn row_post_api_v1_conversations_id_messages_attachment_errors() {
    let server = Server::start(&[("upload-max", "100000")]).await;
    let (ann, bob) = two(&server).await;
    let cleo = Person::new(&server, "cleo").await;
    let conversation = ann.talk_to(&bob, "hello").await;
    let path = format!("/api/v1/conversations/{conversation}/messages/");
    let before = rows::lines(&server).await;
    let post = |parts: Vec<Part<'static>>| {
        let (ann, path) = (&ann, &path);
        async move { ann.multipart("POST", path, &parts).await }
    };
    must_refuse(&post(vec![said("x"), attached(b"")]).await, "attachment", "Le fichier soumis est vide.");
    must_refuse(&post(vec![attached(b"alone")]).await, "content", "Ce champ est obligatoire.");
    must_refuse(&post(vec![said(" "), attached(b"x")]).await, "content", "Ce champ ne peut être vide.");
    must_refuse(&post(vec![said("x"), attached(b"\xff\xd8\xff\xe0 broken")]).await, "attachment", NO_PICTURE);
    let body = json!({ "content": "x", "attachment": "menu.pdf" }).to_string();
    let text = "The submitted data was not a file. Check the encoding type on the form.";
    must_refuse(&ann.ask("POST", &path, &[JSON, ENGLISH], &body).await, "attachment", text);
    // Too large for a file, and too large for what is none.
    let large = vec![b'x'; 100_001];
    let answer = ann.multipart("POST", &path, &[said("x"), attached(&large)]).await;
    must(&answer, 400, r#"{"attachment":["<text>"]}"#);
    let long = Part { name: "other", file: None, content: &[b'x'; 3 << 20] };
    assert_eq!(ann.multipart("POST", &path, &[said("x"), long]).await.status, 413);
    // Two files of half that size and a bit, and one that nobody asked for, there and where no file is taken at all.
    let half = vec![b'x'; 50_001];
    let answer = ann.multipart("POST", &path, &[said("x"), attached(&half), attached(&half)]).await;
    must(&answer, 400, r#"{"attachment":["<text>"]}"#);
    let other = Part { file: Some(("a", "b/c")), ..long };
    assert_eq!(ann.multipart("POST", &path, &[said("x"), other]).await.status, 413);
    assert_eq!(ann.multipart("PATCH", "/api/v1/matching/preferences/", &[other]).await.status, 413);
    // The head of a part that does not end.
    let (media, _) = multipart(&[]);
    let endless = [b"--between-the-parts-of-a-story\r\nX: ".as_slice(), &vec![b'y'; 1 << 20]].concat();
    assert_eq!(ann.ask("POST", &path, &[("Content-Type", &media)], &endless).await.status, 400);
    // No file is kept for whoever may not say it.
    let answer: Response = cleo.multipart("POST", &path, &[said("x"), attached(b"x")]).await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    rows::must_be_unchanged(&before, &rows::lines(&server).await);
    assert_eq!(kept(&server).await, 0);
}
