//! Likes, passes, matches and candidates, as clients see them.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use serde_json::{Value, json};
use support::{Client, Server};

/// The next entries of the personal stream, as kind and subject: exactly these, in this order.
async fn told(client: &mut Client, entries: &[(&str, i64)]) {
    for (kind, subject) in entries {
        let entry = client.expect_next("personal").await;
        assert_eq!((entry["kind"].as_str(), entry["subject"].as_i64()), (Some(*kind), Some(*subject)), "{entry}");
    }
}

/// The head of the personal stream, read on a socket of its own: shows that nothing more was told.
async fn personal_head(client: &Client) -> i64 {
    client.second_socket().await.hello["personal"].as_i64().expect("hello tells the head")
}

async fn like(client: &mut Client, user: i64) -> Value {
    client.command("like.add", json!({ "user": user })).await
}

async fn listed(client: &mut Client) -> Vec<i64> {
    let matches = client.command("match.list", json!({})).await;
    matches["matches"].as_array().expect("a list").iter().filter_map(|found| found["user"]["id"].as_i64()).collect()
}

async fn ann_and_bob(server: &Server) -> (Client, Client) {
    let mut clients = (server.user("ann").await, server.user("bob").await);
    // What the sign-in itself told is no part of the stories.
    clients.0.command("ping", json!({})).await;
    clients.1.command("ping", json!({})).await;
    clients.0.forget_events();
    clients.1.forget_events();
    clients
}

/// Ann changes her mind again and again: bob hears of it once. After a match that ended a like is news.
#[tokio::test(flavor = "multi_thread")]
async fn d18_a_like_that_is_taken_back_and_given_again_is_told_once() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = ann_and_bob(&server).await;
    for _ in 0..5 {
        like(&mut ann, bob.user).await;
        ann.command("like.remove", json!({ "user": bob.user })).await;
    }
    ann.command("pass.add", json!({ "user": bob.user })).await;
    like(&mut ann, bob.user).await;
    assert_eq!(bob.command("like.count", json!({})).await["count"], 1, "the like is there");
    assert_eq!(like(&mut bob, ann.user).await["matched"], true);
    told(&mut bob, &[("like_received", 0), ("like_sent", ann.user), ("matched", ann.user)]).await;
    ann.command("match.end", json!({ "user": bob.user })).await;
    like(&mut bob, ann.user).await;
    bob.command("like.remove", json!({ "user": ann.user })).await;
    like(&mut ann, bob.user).await;
    told(&mut bob, &[("unmatched", ann.user), ("like_sent", ann.user), ("like_withdrawn", ann.user)]).await;
    told(&mut bob, &[("like_received", 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_likes_are_a_match() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = ann_and_bob(&server).await;
    let first = like(&mut ann, bob.user).await;
    assert_eq!((&first["matched"], &first["match"]), (&json!(false), &Value::Null));
    told(&mut ann, &[("like_sent", bob.user)]).await;
    // Who it was is told by the match only.
    told(&mut bob, &[("like_received", 0)]).await;
    assert_eq!(bob.command("like.count", json!({})).await["count"], 1);
    assert_eq!(listed(&mut bob).await, Vec::<i64>::new());

    let second = like(&mut bob, ann.user).await;
    assert_eq!(second["matched"], true);
    assert_eq!(second["match"]["user"]["username"], "ann");
    told(&mut bob, &[("like_sent", ann.user), ("matched", ann.user)]).await;
    told(&mut ann, &[("matched", bob.user)]).await;
    assert_eq!(bob.command("like.count", json!({})).await["count"], 0);
    assert_eq!(listed(&mut ann).await, [bob.user]);
    assert_eq!(listed(&mut bob).await, [ann.user]);

    // Once more says the same and tells nobody anything.
    let heads = (personal_head(&ann).await, personal_head(&bob).await);
    assert_eq!(like(&mut bob, ann.user).await["match"]["id"], second["match"]["id"]);
    assert_eq!(like(&mut ann, bob.user).await["match"]["id"], second["match"]["id"]);
    assert_eq!((personal_head(&ann).await, personal_head(&bob).await), heads);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_like_taken_back_ends_the_match_and_a_new_one_renews_it() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = ann_and_bob(&server).await;
    like(&mut ann, bob.user).await;
    let made = like(&mut bob, ann.user).await;
    told(&mut ann, &[("like_sent", bob.user), ("matched", bob.user)]).await;
    told(&mut bob, &[("like_received", 0), ("like_sent", ann.user), ("matched", ann.user)]).await;

    bob.command("like.remove", json!({ "user": ann.user })).await;
    told(&mut bob, &[("like_withdrawn", ann.user), ("unmatched", ann.user)]).await;
    told(&mut ann, &[("unmatched", bob.user)]).await;
    assert_eq!((listed(&mut ann).await, listed(&mut bob).await), (vec![], vec![]));
    assert_eq!(bob.command("like.count", json!({})).await["count"], 1, "the like of ann stays");
    bob.command("like.remove", json!({ "user": ann.user })).await;

    let again = like(&mut bob, ann.user).await;
    assert_eq!(again["match"]["id"], made["match"]["id"]);
    told(&mut bob, &[("like_sent", ann.user), ("matched", ann.user)]).await;
    told(&mut ann, &[("matched", bob.user)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_that_was_ended_leaves_nothing_but_the_conversation() {
    let server = Server::start(&[("contact-policy", "match")]).await;
    let (mut ann, mut bob) = ann_and_bob(&server).await;
    let bobs = json!({ "user": bob.user });
    assert_eq!(ann.refused("conversation.open", bobs.clone()).await["code"], "match_required");
    assert_eq!(ann.refused("match.end", bobs.clone()).await["code"], "not_found");
    like(&mut ann, bob.user).await;
    like(&mut bob, ann.user).await;
    let conversation = ann.command("conversation.open", bobs.clone()).await["id"].clone();
    assert_eq!(ann.command("match.list", json!({})).await["matches"][0]["conversation"], conversation);
    bob.expect_where("personal", |entry| entry["kind"] == "conversation_gained").await;
    ann.expect_where("personal", |entry| entry["kind"] == "conversation_gained").await;
    ann.forget_events();
    bob.forget_events();

    ann.command("match.end", bobs.clone()).await;
    told(&mut ann, &[("unmatched", bob.user)]).await;
    told(&mut bob, &[("unmatched", ann.user)]).await;
    assert_eq!(ann.refused("match.end", bobs).await["code"], "not_found");
    assert_eq!((listed(&mut ann).await, listed(&mut bob).await), (vec![], vec![]));
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.command("like.count", json!({})).await["count"], 0);
        client.command("message.send", json!({ "conversation": conversation, "text": "still here" })).await;
    }
    // A new like of the one who was left is nothing to tell the other, who has passed.
    let head = personal_head(&ann).await;
    assert_eq!(like(&mut bob, ann.user).await["matched"], false);
    assert_eq!(personal_head(&ann).await, head);
    assert_eq!(like(&mut ann, bob.user).await["matched"], true, "unless both want it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_takes_a_like_back() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = ann_and_bob(&server).await;
    like(&mut ann, bob.user).await;
    like(&mut bob, ann.user).await;
    ann.forget_events();
    bob.command("pass.add", json!({ "user": ann.user })).await;
    let kinds = [("like_received", 0), ("like_sent", ann.user), ("matched", ann.user)];
    told(&mut bob, &kinds).await;
    told(&mut bob, &[("like_withdrawn", ann.user), ("unmatched", ann.user), ("pass_sent", ann.user)]).await;
    ann.expect_where("personal", |entry| entry["kind"] == "unmatched").await;
    assert_eq!(bob.command("like.count", json!({})).await["count"], 0, "a pass is an answer");
    bob.command("pass.add", json!({ "user": ann.user })).await;
    assert_eq!(like(&mut bob, ann.user).await["matched"], true, "a like takes a pass back");
    told(&mut bob, &[("like_sent", ann.user), ("matched", ann.user)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_liked() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = ann_and_bob(&server).await;
    for command in ["like.add", "like.remove", "pass.add", "match.end", "block.add", "block.remove"] {
        let error = ann.refused(command, json!({ "user": ann.user })).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("invalid_field"), &json!("user")), "{command}");
        assert_eq!(ann.refused(command, json!({ "user": 999_999 })).await["code"], "not_found", "{command}");
        assert_eq!(ann.refused(command, json!({ "user": -1 })).await["code"], "not_found", "{command}");
    }
    ann.command("block.add", json!({ "user": bob.user })).await;
    for command in ["like.add", "like.remove", "pass.add"] {
        assert_eq!(ann.refused(command, json!({ "user": bob.user })).await["code"], "blocked", "{command}");
        assert_eq!(bob.refused(command, json!({ "user": ann.user })).await["code"], "not_found", "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn matches_come_in_pages() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let mut others = Vec::new();
    for number in 0..7 {
        let mut other = server.user(&format!("other{number}")).await;
        like(&mut ann, other.user).await;
        like(&mut other, ann.user).await;
        others.push(other.user);
    }
    others.reverse();
    let (mut found, mut before) = (Vec::new(), Value::Null);
    loop {
        let page = ann.command("match.list", json!({ "before": before, "limit": 3 })).await;
        let page = page["matches"].as_array().expect("a list").clone();
        let Some(last) = page.last() else { break };
        before = last["id"].clone();
        found.extend(page.iter().filter_map(|found| found["user"]["id"].as_i64()));
        // The page goes on from a match that ended meanwhile, too.
        ann.command("match.end", json!({ "user": last["user"]["id"] })).await;
    }
    assert_eq!(found, others);
    let mut bob = server.user("bob").await;
    assert_eq!(bob.refused("match.list", json!({ "before": before })).await["field"], "before");
}

/// Somebody for the candidates' story.
async fn seeker(
    server: &Server,
    name: &str,
    born: i64,
    gender: &str,
    seeks: &[&str],
    place: Option<(f64, f64)>,
) -> Client {
    let mut client = server.user(name).await;
    let mut profile = json!({ "birth_date": format!("{born}-06-15"), "gender": gender });
    if let Some((latitude, longitude)) = place {
        profile["place"] = json!({ "latitude": latitude, "longitude": longitude });
    }
    client.command("profile.update", profile).await;
    client.command("preferences.update", json!({ "genders": seeks, "age_min": 18, "age_max": 60 })).await;
    client
}

async fn candidates(client: &mut Client) -> Vec<(String, Value)> {
    let answer = client.command("candidate.list", json!({})).await;
    let list = answer["candidates"].as_array().expect("a list").clone();
    list.iter()
        .map(|seen| (seen["username"].as_str().expect("a name").to_owned(), seen["distance_km"].clone()))
        .collect()
}

async fn names(client: &mut Client) -> Vec<String> {
    candidates(client).await.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_fit_both_ways_and_the_nearest_come_first() {
    const PARIS: (f64, f64) = (48.8566, 2.3522);
    const VERSAILLES: (f64, f64) = (48.8049, 2.1204);
    const LONDON: (f64, f64) = (51.5074, -0.1278);
    let server = Server::start(&[]).await;
    let year = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).year();
    let born = |age: i16| i64::from(year - age - 1);
    let mut ann = seeker(&server, "ann", born(30), "woman", &["man", "woman"], Some(PARIS)).await;
    let mut bob = seeker(&server, "bob", born(35), "man", &["woman"], Some(PARIS)).await;
    let mut far = seeker(&server, "far", born(35), "man", &["woman"], Some(LONDON)).await;
    let mut near = seeker(&server, "near", born(28), "woman", &["woman", "other"], Some(VERSAILLES)).await;
    let mut nowhere = seeker(&server, "nowhere", born(40), "man", &["woman"], None).await;
    let mut straight = seeker(&server, "straight", born(30), "woman", &["man"], Some(PARIS)).await;
    let mut young = seeker(&server, "young", born(17) + 1, "man", &["woman"], Some(PARIS)).await;
    let mut unborn = server.user("unborn").await;
    let mut silent = seeker(&server, "silent", born(30), "man", &["woman"], Some(PARIS)).await;
    silent.command("preferences.update", json!({ "age_max": 29 })).await;

    let seen = candidates(&mut ann).await;
    let bands: Vec<(&str, Option<i64>)> = seen.iter().map(|(name, band)| (name.as_str(), band.as_i64())).collect();
    assert_eq!(bands, [("bob", Some(1)), ("near", Some(25)), ("nowhere", None)]);
    assert_eq!(candidates(&mut ann).await, seen, "the same all day");
    let mut seen = names(&mut bob).await;
    seen.sort();
    assert_eq!(seen, ["ann", "straight"], "in the order of the day's lot");
    assert_eq!(names(&mut near).await, ["ann"]);
    assert_eq!(names(&mut far).await, Vec::<String>::new());
    assert_eq!(names(&mut young).await, Vec::<String>::new(), "nobody under age sees anybody");
    assert_eq!(names(&mut unborn).await, Vec::<String>::new(), "nor does who has not told an age");
    assert!(!names(&mut straight).await.contains(&"ann".to_owned()));
    assert!(names(&mut nowhere).await.contains(&"ann".to_owned()));

    ann.command("preferences.update", json!({ "distance_km": 500 })).await;
    assert!(!names(&mut ann).await.contains(&"far".to_owned()), "london seeks within 50 km");
    far.command("preferences.update", json!({ "distance_km": 500 })).await;
    assert_eq!(names(&mut ann).await, ["bob", "near", "far", "nowhere"]);

    // Who was answered is not shown again; who liked is, to the one who has not answered.
    like(&mut ann, bob.user).await;
    ann.command("pass.add", json!({ "user": near.user })).await;
    assert_eq!(names(&mut ann).await, ["far", "nowhere"]);
    assert!(names(&mut bob).await.contains(&"ann".to_owned()));
    far.command("block.add", json!({ "user": ann.user })).await;
    assert_eq!(names(&mut ann).await, ["nowhere"]);
    assert!(!names(&mut far).await.contains(&"ann".to_owned()));
    like(&mut ann, nowhere.user).await;
    like(&mut nowhere, ann.user).await;
    ann.command("match.end", json!({ "user": nowhere.user })).await;
    assert_eq!(names(&mut ann).await, Vec::<String>::new());
    assert!(!names(&mut nowhere).await.contains(&"ann".to_owned()), "neither sees the other again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_candidates_is_as_long_as_asked_for() {
    let server = Server::start(&[]).await;
    let all = ["man", "woman", "other"];
    let mut ann = seeker(&server, "ann", 1990, "woman", &all, None).await;
    for number in 0..5 {
        seeker(&server, &format!("other{number}"), 1990, "other", &all, None).await;
    }
    let page = ann.command("candidate.list", json!({ "limit": 3 })).await;
    assert_eq!(page["candidates"].as_array().map(Vec::len), Some(3));
    assert_eq!(ann.refused("candidate.list", json!({ "limit": 0 })).await["field"], "limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn likes_and_reports_have_a_rate_and_a_repeat_costs_nothing() {
    let server = Server::start(&[("likes-per-hour", "2"), ("reports-per-hour", "1")]).await;
    let (mut ann, bob) = ann_and_bob(&server).await;
    for _ in 0..5 {
        like(&mut ann, bob.user).await;
    }
    ann.command("like.remove", json!({ "user": bob.user })).await;
    like(&mut ann, bob.user).await;
    ann.command("like.remove", json!({ "user": bob.user })).await;
    let error = ann.refused("like.add", json!({ "user": bob.user })).await;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("rate_limited"), &json!(true)));
    assert!(error["retry_after_ms"].as_i64() > Some(1000), "{error}");
    assert_eq!(ann.refused("like.add", json!({ "user": 999 })).await["code"], "not_found", "judged before the rate");
    assert_eq!(ann.refused("report.send", json!({ "user": 999, "reason": "spam" })).await["code"], "not_found");
    let report = json!({ "user": bob.user, "reason": "spam" });
    assert!(ann.command("report.send", report.clone()).await["report"].is_i64());
    assert_eq!(ann.refused("report.send", report).await["code"], "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_cannot_be_taken() {
    let server = Server::start(&[("items-max", "2")]).await;
    let (mut ann, bob) = ann_and_bob(&server).await;
    let place = json!({ "conversation": 1, "seq": 1 });
    for (field, data) in [
        ("user", json!({ "user": ann.user, "reason": "spam" })),
        ("reason", json!({ "user": bob.user, "reason": "  " })),
        ("reason", json!({ "user": bob.user, "reason": "x".repeat(151) })),
        ("text", json!({ "user": bob.user, "reason": "spam", "text": "x".repeat(2001) })),
        ("messages[0]", json!({ "user": bob.user, "reason": "spam", "messages": [place] })),
        ("messages", json!({ "user": bob.user, "reason": "spam", "messages": [place, place, place] })),
    ] {
        assert_eq!(ann.refused("report.send", data.clone()).await["field"], field, "{data}");
    }
    assert_eq!(ann.refused("report.send", json!({ "user": 999, "reason": "spam" })).await["code"], "not_found");
}
