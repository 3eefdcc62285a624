//! Attacks on matches and places (S30, S50): by two who change their minds at once, and by whoever looks for a place.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use support::{Client, Server};

async fn open(client: &mut Client, user: i64) -> i64 {
    let opened = client.command("conversation.open", json!({ "user": user })).await;
    opened["id"].as_i64().expect("a conversation has an id")
}

async fn make_match(one: &mut Client, other: &mut Client) {
    one.command("like.add", json!({ "user": other.user })).await;
    let liked = other.command("like.add", json!({ "user": one.user })).await;
    assert_eq!(liked["matched"], true);
}

/// Both change their minds at the same instant, again and again, while they talk.
#[tokio::test(flavor = "multi_thread")]
async fn s30_likes_and_unmatches_from_both_sides() {
    const ROUNDS: usize = 1000;
    let server = Server::start(&[]).await;
    let seed = support::seed();
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let conversation = open(&mut ann, bob.user).await;
    let mut matched = [false; 2];
    for round in 0..ROUNDS {
        let mut ids = Vec::new();
        let others = [bob.user, ann.user];
        for (client, other) in [&mut ann, &mut bob].into_iter().zip(others) {
            let kind = ["like.add", "like.add", "like.remove", "match.end", "pass.add"][random.random_range(0..5)];
            let text = json!({ "conversation": conversation, "text": format!("{round}") });
            ids.push((client.say(kind, json!({ "user": other })).await, client.say("message.send", text).await));
        }
        for (client, (changed, sent)) in [&mut ann, &mut bob].into_iter().zip(ids) {
            let reply = client.reply(changed).await;
            assert!(reply["ok"] == true || reply["error"]["code"] == "not_found", "{reply}");
            assert_eq!(client.reply(sent).await["ok"], true, "the end of a match ends no conversation");
        }
        let mut listed = Vec::new();
        for (client, (matched, other)) in [&mut ann, &mut bob].into_iter().zip(matched.iter_mut().zip(others)) {
            // Matches and ends come in turns, to both alike, whichever way the likes went.
            client.command("ping", json!({})).await;
            let matches = client.command("match.list", json!({})).await["matches"].as_array().map(Vec::len);
            listed.push(matches);
            let is_turn = |entry: &Value| entry["kind"] == "matched" || entry["kind"] == "unmatched";
            let mut told: Vec<Value> = client.take_events("personal").into_iter().filter(is_turn).collect();
            loop {
                for entry in told.drain(..) {
                    let now = entry["kind"] == "matched";
                    assert_ne!(std::mem::replace(matched, now), now, "twice the same: {entry}");
                    assert_eq!(entry["subject"], other);
                }
                // What the other one did may still be on its way.
                if matches == Some(usize::from(*matched)) {
                    break;
                }
                told.push(client.expect_where("personal", is_turn).await);
            }
        }
        assert_eq!(listed[0], listed[1]);
    }
}

/// Where only matches may talk, no conversation begins after the end of a match was answered.
#[tokio::test(flavor = "multi_thread")]
async fn s30_no_conversation_begins_after_the_end_of_a_match() {
    const SIDE: usize = 12;
    let server = Server::start(&[("contact-policy", "match")]).await;
    let (mut ending, mut opening) = (Vec::new(), Vec::new());
    for number in 0..SIDE {
        ending.push(server.user(&format!("ending{number}")).await);
        opening.push(server.user(&format!("opening{number}")).await);
    }
    for one in &mut ending {
        for other in &mut opening {
            make_match(one, other).await;
            let open = other.say("conversation.open", json!({ "user": one.user })).await;
            one.command("match.end", json!({ "user": other.user })).await;
            let late = other.say("conversation.open", json!({ "user": one.user })).await;
            let (open, late) = (other.reply(open).await, other.reply(late).await);
            // One that had begun is found again; one that had not cannot begin any more.
            assert_eq!(open["ok"], late["ok"], "{open} and then {late}");
            if open["ok"] == false {
                assert_eq!([&open["error"]["code"], &late["error"]["code"]], ["match_required", "match_required"]);
            }
            one.forget_events();
            other.forget_events();
        }
    }
}

/// Nobody is told where anybody is, in any frame of any command.
#[tokio::test(flavor = "multi_thread")]
async fn s50_no_coordinates_leave_the_server() {
    const PLACES: [(f64, f64); 2] = [(48.858_37, 2.294_48), (48.886_71, 2.343_02)];
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    for (client, (latitude, longitude)) in [&mut ann, &mut bob].into_iter().zip(PLACES) {
        let place = json!({ "latitude": latitude, "longitude": longitude });
        client
            .command("profile.update", json!({ "birth_date": "1990-06-15", "gender": "other", "place": place }))
            .await;
        client.command("profile.me", json!({})).await;
        client.command("preferences.get", json!({})).await;
    }
    let seen = ann.command("candidate.list", json!({})).await;
    assert_eq!(seen["candidates"][0]["distance_km"], 10, "the distance is told as a band");
    ann.command("profile.get", json!({ "user": bob.user })).await;
    make_match(&mut ann, &mut bob).await;
    ann.command("match.list", json!({})).await;
    let conversation = open(&mut ann, bob.user).await;
    ann.command("message.send", json!({ "conversation": conversation, "text": "where are you?" })).await;
    bob.expect("message.created").await;
    ann.command("conversation.list", json!({})).await;
    let resume =
        json!({ "epoch": ann.hello["epoch"], "personal": 0, "conversations": { conversation.to_string(): 0 } });
    ann.command("resume", resume).await;
    ann.expect("personal.page").await;
    for bad in [json!({ "latitude": 91, "longitude": 0 }), json!({ "latitude": 48.85, "longitude": 1e9 })] {
        ann.refused("profile.update", json!({ "place": bad })).await;
    }
    let frames = server.recorder.frames("received");
    assert!(frames.len() > 20, "the record has {} frames", frames.len());
    let cells =
        PLACES.map(|(latitude, longitude)| duet::matching::place::Cell::of(latitude, longitude).expect("on Earth"));
    for frame in &frames {
        let mut numbers = Vec::new();
        let mut names = Vec::new();
        walk(frame, &mut names, &mut numbers);
        let telling = |name: &String| ["lat", "lon", "cell", "coord"].iter().any(|part| name.contains(part));
        assert!(!names.iter().any(telling), "{frame}");
        for number in numbers {
            let is_near = |place: f64| (number - place).abs() < 0.02;
            let near = PLACES
                .iter()
                .any(|(latitude, longitude)| is_near(*latitude) || (is_near(*longitude) && number.fract() != 0.0));
            let cell = cells.iter().any(|cell| number == cell.lat as f64 || number == cell.lon as f64);
            assert!(!near && !cell, "{number} in {frame}");
        }
    }
}

/// All names and numbers of a frame.
fn walk(value: &Value, names: &mut Vec<String>, numbers: &mut Vec<f64>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.push(name.clone());
                walk(value, names, numbers);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, names, numbers)),
        Value::Number(number) => numbers.extend(number.as_f64()),
        _ => {}
    }
}
