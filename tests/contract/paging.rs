//! Section 6.6: lists are bare, and in pages only for those who ask for pages.

use serde_json::json;

use crate::site::{ENGLISH, Person, ids, must, must_tell, two};
use crate::support::Server;
use crate::support::http::Response;

/// How clients reach this server.
const PUBLIC: &str = "https://chat.example.org";
const LAST: &str = "Page non valide.";

/// A conversation with five messages, on a server with a name.
struct Talk {
    server: Server,
    ann: Person,
    path: String,
    said: Vec<i64>,
}

async fn talk() -> Talk {
    let server = Server::start(&[("public-url", PUBLIC), ("older-api-pages", "true")]).await;
    let (ann, bob) = two(&server).await;
    let conversation = ann.talk_to(&bob, "1").await;
    let path = format!("/api/v1/conversations/{conversation}/messages/");
    let mut said = ids(&ann.get(&path).await);
    for text in ["2", "3", "4", "5"] {
        said.push(ann.says(conversation, text).await);
    }
    Talk { server, ann, path, said }
}

/// The envelope, with links to these queries of the same list.
#[track_caller]
fn must_page(answer: &Response, path: &str, count: usize, next: Option<&str>, previous: Option<&str>, of: &[i64]) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let link = |query: Option<&str>| match query {
        None => "null".to_owned(),
        Some(query) => format!("\"{PUBLIC}{path}{query}\""),
    };
    let head = format!(r#"{{"count":{count},"next":{},"previous":{},"results":["#, link(next), link(previous));
    assert!(answer.body.starts_with(&head), "must begin {head}\n  but is {}", answer.body);
    let keys: Vec<_> = answer.json.as_object().expect("an envelope").keys().collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    let results = answer.json["results"].as_array().expect("a list");
    let found: Vec<i64> = results.iter().filter_map(|item| item["id"].as_i64()).collect();
    assert_eq!(found, of, "{}", answer.body);
}

#[tokio::test]
async fn form_bare_lists() {
    let Talk { server: _server, ann, path, said, .. } = talk().await;
    let born = json!({ "date_of_birth": "1990-01-01" });
    assert_eq!(ann.patch("/api/v1/auth/profile/", born).await.status, 200);
    let all = ann.get(&path).await;
    assert_eq!(ids(&all), said);
    assert_eq!(all.headers["x-total-count"], "5");
    for query in ["?ordering=-id", "?search=2", "?cursor=x"] {
        assert_eq!(ids(&ann.get(&format!("{path}{query}")).await), said, "{query}");
    }
    for list in ["/api/v1/conversations/", "/api/v1/matches/", "/api/v1/matching/potential-matches/"] {
        let answer = ann.get(list).await;
        assert!(answer.body.starts_with('[') && answer.body.ends_with(']'), "{list}: {}", answer.body);
        let count = answer.json.as_array().map(Vec::len).expect("a list").to_string();
        assert_eq!(answer.headers["x-total-count"], count, "{list}");
    }
}

#[tokio::test]
async fn form_pages() {
    let Talk { server: _server, ann, path, said, .. } = talk().await;
    let page = |query: &str| {
        let (path, ann) = (format!("{path}{query}"), &ann);
        async move { ann.get(&path).await }
    };
    let first = page("?page=1&page_size=2").await;
    must_page(&first, &path, 5, Some("?page=2&page_size=2"), None, &said[..2]);
    let bare = page("?page_size=2").await;
    must_page(&bare, &path, 5, Some("?page=2&page_size=2"), None, &said[..2]);
    let second = page("?page=2&page_size=2").await;
    // The link to the first page does not name it.
    must_page(&second, &path, 5, Some("?page=3&page_size=2"), Some("?page_size=2"), &said[2..4]);
    let third = page("?page_size=2&page=3").await;
    must_page(&third, &path, 5, None, Some("?page=2&page_size=2"), &said[4..]);
    let last = page("?page=last&page_size=2").await;
    must_page(&last, &path, 5, None, Some("?page=2&page_size=2"), &said[4..]);
    let all = page("?page=1").await;
    must_page(&all, &path, 5, None, None, &said);
}

#[tokio::test]
async fn form_page_out_of_range() {
    let Talk { server: _server, ann, path, .. } = talk().await;
    for query in ["?page=4&page_size=2", "?page=0&page_size=2", "?page=-1", "?page=x", "?page=99999999999999999999"] {
        let answer = ann.get(&format!("{path}{query}")).await;
        must_tell(&answer, 404, LAST);
        let english = ann.ask("GET", &format!("{path}{query}"), &[ENGLISH], "").await;
        must_tell(&english, 404, "Invalid page.");
    }
    // The first page of nothing is a page.
    let nothing = ann.get("/api/v1/matches/?page=1").await;
    must(&nothing, 200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#);
}

#[tokio::test]
async fn form_limit_and_offset() {
    let Talk { server: _server, ann, path, said, .. } = talk().await;
    let first = ann.get(&format!("{path}?limit=2")).await;
    must_page(&first, &path, 5, Some("?limit=2&offset=2"), None, &said[..2]);
    let second = ann.get(&format!("{path}?limit=2&offset=2")).await;
    must_page(&second, &path, 5, Some("?limit=2&offset=4"), Some("?limit=2"), &said[2..4]);
    let uneven = ann.get(&format!("{path}?limit=2&offset=3")).await;
    must_page(&uneven, &path, 5, None, Some("?limit=2&offset=1"), &said[3..]);
    let beyond = ann.get(&format!("{path}?limit=2&offset=9")).await;
    must_page(&beyond, &path, 5, None, Some("?limit=2&offset=7"), &[]);
}

/// What is too much for one answer begins later, and is counted all the same.
#[tokio::test]
async fn form_lists_are_capped() {
    const MOST: usize = 1_000;
    let server = Server::start(&[("older-api-pages", "true")]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    let mut said = Vec::new();
    for number in 0..MOST + 3 {
        let message = json!({ "conversation": conversation, "text": number.to_string() });
        said.push(ann.say("message.send", message).await);
    }
    for id in said {
        assert_eq!(ann.reply(id).await["ok"], true);
    }
    let path = format!("/api/v1/conversations/{conversation}/messages/");
    let list = ann.http("GET", &path, None).await;
    assert_eq!((list.status, list.headers["x-total-count"].as_str()), (200, "1003"));
    let texts: Vec<&str> =
        list.json.as_array().expect("a list").iter().filter_map(|item| item["content"].as_str()).collect();
    let newest: Vec<String> = (3..MOST + 3).map(|number| number.to_string()).collect();
    assert_eq!(texts, newest, "the newest, the oldest of them first");
    let page = ann.http("GET", &format!("{path}?page=1&page_size=2"), None).await;
    let first = &page.json["results"][0];
    assert_eq!((&page.json["count"], &first["content"]), (&json!(1_003), &json!("0")), "pages go all the way back");
}

/// The lists of people, too.
#[tokio::test]
async fn form_pages_of_every_list() {
    let server = Server::start(&[("public-url", PUBLIC), ("older-api-pages", "true")]).await;
    let ann = Person::new(&server, "ann").await;
    let born = json!({ "date_of_birth": "1990-01-01" });
    assert_eq!(ann.put("/api/v1/auth/profile/", born.clone()).await.status, 200);
    for name in ["bob", "cleo", "dora", "fay", "gus", "hal"] {
        let other = Person::new(&server, name).await;
        assert_eq!(other.put("/api/v1/auth/profile/", born.clone()).await.status, 200);
        // Three match and talk, three are met for the first time.
        if ["bob", "cleo", "dora"].contains(&name) {
            for (one, other) in [(&ann, &other), (&other, &ann)] {
                assert_eq!(one.to("like", other).await.status, 201);
            }
            ann.talk_to(&other, "hello").await;
        }
    }
    for list in ["/api/v1/conversations/", "/api/v1/matches/", "/api/v1/matching/potential-matches/"] {
        let all = ids(&ann.get(list).await);
        assert_eq!(all.len(), 3, "{list}");
        let first = ann.get(&format!("{list}?page=1&page_size=2")).await;
        must_page(&first, list, 3, Some("?page=2&page_size=2"), None, &all[..2]);
        let second = ann.get(&format!("{list}?page=2&page_size=2")).await;
        must_page(&second, list, 3, None, Some("?page_size=2"), &all[2..]);
        let offset = ann.get(&format!("{list}?limit=2&offset=1")).await;
        // With one before, the link back leads to the beginning.
        must_page(&offset, list, 3, None, Some("?limit=2"), &all[1..]);
    }
}
