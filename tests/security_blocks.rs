//! Attacks on blocks (S26 to S28): from the blocked side, and by whoever compares.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use support::{Client, Server};
use tokio::task::JoinSet;

async fn open(client: &mut Client, user: i64) -> i64 {
    let opened = client.command("conversation.open", json!({ "user": user })).await;
    opened["id"].as_i64().expect("a conversation has an id")
}

async fn send(client: &mut Client, conversation: i64, text: &str) -> i64 {
    let client_key = format!("first in {conversation}");
    let data = json!({ "conversation": conversation, "text": text, "client_key": client_key });
    client.command("message.send", data).await["seq"].as_i64().expect("a message has a place")
}

async fn make_match(one: &mut Client, other: &mut Client) {
    one.command("like.add", json!({ "user": other.user })).await;
    let liked = other.command("like.add", json!({ "user": one.user })).await;
    assert_eq!(liked["matched"], true);
}

async fn head(client: &mut Client, conversation: i64) -> i64 {
    let seen = client.command("conversation.get", json!({ "conversation": conversation })).await;
    seen["head"].as_i64().expect("a conversation has a head")
}

/// One pair, again and again: 4 x 260 races. The blocked one writes in every way there is, on three sockets.
#[tokio::test(flavor = "multi_thread")]
async fn s26_block_and_send_race() {
    const PAIRS: u64 = 4;
    let server = Server::start(&[]).await;
    let seed = support::seed();
    let mut races = JoinSet::new();
    for pair in 0..PAIRS {
        let blocker = server.user(&format!("blocker{pair}")).await;
        let first = server.user(&format!("sender{pair}")).await;
        let (second, third) = (first.second_socket().await, first.second_socket().await);
        let random = SmallRng::seed_from_u64(seed + pair);
        races.spawn(block_again_and_again(blocker, [first, second, third], random));
    }
    let (mut written, mut refused) = (0, 0);
    while let Some(race) = races.join_next().await {
        let counts = race.expect("a race runs to its end");
        written += counts.0;
        refused += counts.1;
    }
    assert!(written > 100 && refused > 100, "no race was near: {written} written, {refused} refused");
    let verdict = server.verdict().await;
    server.must_be_clean(&verdict);
}

async fn block_again_and_again(mut blocker: Client, mut sockets: [Client; 3], mut random: SmallRng) -> (u64, u64) {
    const ROUNDS: usize = 260;
    let conversation = open(&mut blocker, sockets[0].user).await;
    let own = send(&mut sockets[0], conversation, "mine").await;
    let (mut written, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let write = |number: usize| {
            let place = json!({ "conversation": conversation, "seq": own });
            let with = |name: &str, value: Value| {
                let mut data = place.clone();
                data[name] = value;
                data
            };
            match number % 5 {
                0 => ("message.edit", with("text", json!(format!("mine {round} {number}")))),
                1 if round % 2 == 0 => ("message.react", with("emoji", json!("👍"))),
                1 => ("message.unreact", with("emoji", json!("👍"))),
                _ => {
                    let key = format!("{round} {number}");
                    ("message.send", json!({ "conversation": conversation, "text": key.clone(), "client_key": key }))
                }
            }
        };
        let (before, writes) = (random.random_range(0..8), 12);
        let mut waiting = Vec::new();
        let mut block = 0;
        for number in 0..writes {
            if number == before {
                block = blocker.say("block.add", json!({ "user": sockets[0].user })).await;
            }
            let (kind, data) = write(number);
            let at = number % sockets.len();
            waiting.push((at, sockets[at].say(kind, data).await));
        }
        assert_eq!(blocker.reply(block).await["ok"], true);
        let standing = head(&mut blocker, conversation).await;
        for socket in &mut sockets {
            let late = json!({ "conversation": conversation, "text": "late" });
            assert_eq!(socket.refused("message.send", late).await["code"], "not_found");
            let late = json!({ "conversation": conversation, "seq": own, "text": "late" });
            assert_eq!(socket.refused("message.edit", late).await["code"], "not_found");
        }
        for (at, id) in waiting {
            let reply = sockets[at].reply(id).await;
            if reply["ok"] == true {
                written += 1;
                assert!(reply["data"]["seq"].as_i64() <= Some(standing), "{reply} crossed the block at {standing}");
            } else {
                refused += 1;
                assert_eq!(reply["error"]["code"], "not_found", "{reply}");
            }
        }
        assert_eq!(head(&mut blocker, conversation).await, standing, "something crossed the block");
        blocker.command("block.remove", json!({ "user": sockets[0].user })).await;
        for socket in sockets.iter_mut().chain([&mut blocker]) {
            socket.forget_events();
        }
    }
    (written, refused)
}

/// After the block, the blocked one looks everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn s27_nothing_is_left_to_the_blocked_side() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    make_match(&mut ann, &mut bob).await;
    let direct = open(&mut ann, bob.user).await;
    let bobs = send(&mut bob, direct, "hello ann").await;
    let anns = send(&mut ann, direct, "marmalade is my secret").await;
    ann.command("message.react", json!({ "conversation": direct, "seq": bobs, "emoji": "👍" })).await;
    ann.command("message.read", json!({ "conversation": direct, "seq": bobs })).await;
    ann.command("block.add", json!({ "user": bob.user })).await;
    bob.expect_where("personal", |entry| entry["kind"] == "user_gone" && entry["subject"] == ann.user).await;
    bob.command("ping", json!({})).await;
    bob.forget_events();

    let user = json!({ "user": ann.user });
    for command in ["profile.get", "like.add", "like.remove", "pass.add", "match.end"] {
        assert_eq!(bob.refused(command, user.clone()).await["code"], "not_found", "{command}");
    }
    for (command, mut data) in [
        ("message.send", json!({ "text": "hello?" })),
        ("message.edit", json!({ "seq": bobs, "text": "hello!" })),
        ("message.react", json!({ "seq": anns, "emoji": "👎" })),
        ("message.delete", json!({ "seq": bobs, "for_all": true })),
        ("typing.set", json!({ "typing": true })),
    ] {
        data["conversation"] = json!(direct);
        assert_eq!(bob.refused(command, data).await["code"], "not_found", "{command}");
    }
    assert_eq!(bob.command("match.list", json!({})).await["matches"], json!([]));
    let presence = bob.command("presence.get", json!({ "users": [ann.user] })).await;
    assert_eq!(presence["users"][0]["presence"], "offline");
    let found = bob.command("message.search", json!({ "query": "marmalade" })).await;
    assert_eq!(found["messages"], json!([]));
    let group_with_ann = json!({ "title": "again", "members": [ann.user] });
    assert_eq!(bob.refused("conversation.create", group_with_ann).await["code"], "not_found");

    // What was said stays as places, without words; nothing tells how far the blocker has read.
    let history = bob.command("message.history", json!({ "conversation": direct })).await;
    let seen = history["messages"].as_array().expect("messages").iter().find(|message| message["seq"] == anns);
    assert!(seen.is_some_and(|message| message["deleted"] == true && message["text"].is_null()), "{history}");
    let view = bob.command("conversation.get", json!({ "conversation": direct })).await;
    let member = view["members"].as_array().expect("members").iter().find(|member| member["user"] == ann.user);
    let member = member.expect("the place of the other stays");
    assert_eq!((&member["username"], &member["gone"]), (&json!(""), &json!(true)), "{view}");
    let resume = json!({ "epoch": bob.hello["epoch"], "conversations": { direct.to_string(): 0 } });
    bob.command("resume", resume).await;
    let page = bob.expect_where("conversation.page", |page| page["conversation"] == direct).await;
    assert!(!page.to_string().contains("marmalade"), "{page}");
    let watermarks = bob.take_events("watermark");
    assert!(watermarks.iter().all(|watermark| watermark["user"] != ann.user), "{watermarks:?}");

    // And the operator hears of it all the same, with the words.
    let evidence = json!([{ "conversation": direct, "seq": anns }]);
    bob.command("report.send", json!({ "user": ann.user, "reason": "spam", "messages": evidence })).await;
    let evidence = json!([{ "conversation": direct, "seq": bobs }, { "conversation": direct, "seq": anns }]);
    let others = json!({ "user": bob.user, "reason": "spam", "messages": evidence });
    assert_eq!(ann.refused("report.send", others).await["field"], "messages[1]");
}

/// Both stay in a group with eve, and hear of her only.
#[tokio::test(flavor = "multi_thread")]
async fn s27_a_shared_group_tells_nothing_of_the_blocker() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob, mut eve) = (server.user("ann").await, server.user("bob").await, server.user("eve").await);
    let group = json!({ "title": "all", "members": [bob.user, eve.user] });
    let group = ann.command("conversation.create", group).await["id"].as_i64().expect("a group has an id");
    ann.command("block.add", json!({ "user": bob.user })).await;
    bob.command("ping", json!({})).await;
    bob.forget_events();
    // Whatever the blocker does from now on, the next thing bob is told comes from eve.
    for (client, typing) in [(&mut ann, true), (&mut eve, true)] {
        client.command("typing.set", json!({ "conversation": group, "typing": typing })).await;
        client.command("status.set", json!({ "status": "away" })).await;
        let at = head(client, group).await;
        client.command("message.read", json!({ "conversation": group, "seq": at })).await;
    }
    assert_eq!(bob.expect_next("typing").await["user"], eve.user);
    assert_eq!(bob.expect_next("presence").await["user"], eve.user);
    assert_eq!(bob.expect_next("watermark").await["user"], eve.user);

    // The block works both ways: ann has peace from bob in the group, too.
    ann.forget_events();
    for (client, text) in [(&mut bob, "to everybody"), (&mut eve, "from eve")] {
        client.command("typing.set", json!({ "conversation": group, "typing": true })).await;
        send(client, group, text).await;
    }
    assert_eq!(ann.expect_next("typing").await["user"], eve.user);
    ann.expect_next("message.hidden").await;
    assert_eq!(ann.expect_where("message.created", |_| true).await["message"]["text"], "from eve");
}

/// Bob knew two people alike. One blocks him, the other one's account is deleted. Whatever he asks about either is
/// answered alike; refusals byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn s28_a_block_looks_like_a_deleted_account() {
    let server = Server::start(&[("presence-linger-ms", "1")]).await;
    let mut bob = server.user("bob").await;
    let group = bob.command("conversation.create", json!({ "title": "bob's" })).await["id"].clone();
    let mut known = Vec::new();
    let mut clients = Vec::new();
    for name in ["blocker", "leaver"] {
        let mut other = server.user(name).await;
        make_match(&mut other, &mut bob).await;
        let direct = open(&mut other, bob.user).await;
        let bobs = send(&mut bob, direct, "hello").await;
        let theirs = send(&mut other, direct, "pomegranate").await;
        other.command("message.react", json!({ "conversation": direct, "seq": bobs, "emoji": "👍" })).await;
        other.command("message.read", json!({ "conversation": direct, "seq": bobs })).await;
        let found = bob.command("match.list", json!({})).await["matches"][0]["id"].clone();
        known.push(Known { user: other.user, direct, bobs, theirs, found });
        clients.push(other);
    }
    bob.command("ping", json!({})).await;
    bob.forget_events();
    clients[0].command("block.add", json!({ "user": bob.user })).await;
    clients[1].say("account.delete", json!({ "password": support::server::PASSWORD })).await;
    assert_eq!(clients[1].expect_close().await.code, 4003);
    for other in &known {
        let told = bob.expect_next("personal").await;
        assert_eq!((&told["kind"], &told["subject"]), (&json!("user_gone"), &json!(other.user)));
    }
    // Both go; the next one whom bob is told to have come or gone is eve.
    clients.into_iter().for_each(drop);
    let mut eve = server.user("eve").await;
    make_match(&mut eve, &mut bob).await;
    eve.command("status.set", json!({ "status": "away" })).await;
    assert_eq!(bob.expect_next("presence").await["user"], eve.user);
    eve.cut(support::socket::Cut::Close).await;
    assert_eq!(bob.expect_next("presence").await["presence"], "offline");
    let asked = asked(&group);
    let (count, mut told_apart) = (asked.len(), Vec::new());
    for ask in asked {
        let mut answers = Vec::new();
        for other in &known {
            let (kind, data) = ask(other);
            let id = bob.say(kind, data).await;
            let mut reply = bob.reply(id).await;
            reply["id"] = Value::Null;
            let alike = if reply["ok"] == true { alike(&reply, other, "") } else { reply };
            answers.push((kind, alike.to_string()));
        }
        if answers[0] != answers[1] {
            told_apart.push(answers);
        }
    }
    assert!(
        told_apart.is_empty(),
        "{} of {count} answers tell a block from a deletion: {told_apart:#?}",
        told_apart.len()
    );
    // Nothing but what was asked for came: the streams of both conversations stand where they stood.
    let told = bob.command("notification.list", json!({})).await;
    let kinds: Vec<&Value> =
        told["notifications"].as_array().expect("a list").iter().map(|entry| &entry["kind"]).collect();
    assert!(!kinds.contains(&&json!("unmatched")), "{told}");
}

struct Known {
    user: i64,
    direct: i64,
    bobs: i64,
    theirs: i64,
    found: Value,
}

type Ask = Box<dyn Fn(&Known) -> (&'static str, Value)>;

/// Everything there is to ask about somebody, in an order in which the answers still depend on the state.
fn asked(group: &Value) -> Vec<Ask> {
    let mut asked: Vec<Ask> = Vec::new();
    for kind in ["profile.get", "like.add", "like.remove", "pass.add", "match.end", "conversation.open"] {
        asked.push(Box::new(move |other| (kind, json!({ "user": other.user }))));
    }
    asked.push(Box::new(|other| ("match.list", json!({ "before": other.found }))));
    for kind in ["like.count", "match.list", "block.list", "candidate.list"] {
        asked.push(Box::new(move |_| (kind, json!({}))));
    }
    asked.push(Box::new(|other| ("presence.get", json!({ "users": [other.user] }))));
    asked.push(Box::new(|other| ("conversation.create", json!({ "title": "x", "members": [other.user] }))));
    let group = group.clone();
    asked.push(Box::new(move |other| ("member.add", json!({ "conversation": group, "users": [other.user] }))));
    for (kind, extra) in [
        ("conversation.get", json!({})),
        ("message.history", json!({})),
        ("message.send", json!({ "text": "hello?" })),
        ("message.send", json!({ "text": "hello?", "reply_to": 1, "client_key": "again" })),
        ("message.read", json!({ "seq": 2 })),
        ("message.delivered", json!({ "seq": 3 })),
        ("message.read", json!({ "seq": 300 })),
        ("typing.set", json!({ "typing": true })),
        ("conversation.rename", json!({ "title": "ours" })),
        ("member.role", json!({ "user": 1, "role": "owner" })),
        ("conversation.mute", json!({ "until": 5 })),
        ("conversation.archive", json!({ "archived": true })),
        ("message.search", json!({ "query": "pomegranate" })),
        ("message.search", json!({ "query": "hello" })),
        ("conversation.leave", json!({})),
    ] {
        asked.push(Box::new(move |other| {
            let mut data = extra.clone();
            data["conversation"] = json!(other.direct);
            (kind, data)
        }));
    }
    for (kind, extra, mine) in [
        ("message.edit", json!({ "text": "hello!" }), true),
        ("message.edit", json!({ "text": "hello!" }), false),
        ("message.react", json!({ "emoji": "👍" }), true),
        ("message.react", json!({ "emoji": "👍" }), false),
        ("message.unreact", json!({ "emoji": "👍" }), false),
        ("message.delete", json!({ "for_all": true }), true),
        ("message.delete", json!({ "for_all": true }), false),
        ("message.delete", json!({}), true),
        ("message.delete", json!({}), false),
    ] {
        asked.push(Box::new(move |other| {
            let mut data = extra.clone();
            data["conversation"] = json!(other.direct);
            data["seq"] = json!(if mine { other.bobs } else { other.theirs });
            (kind, data)
        }));
    }
    asked.push(Box::new(|other| {
        let messages = json!([{ "conversation": other.direct, "seq": other.bobs }]);
        ("report.send", json!({ "user": other.user, "reason": "spam", "messages": messages }))
    }));
    for kind in ["block.add", "block.add", "block.list", "like.add", "block.remove", "like.add", "profile.get"] {
        let listing = kind == "block.list";
        asked.push(Box::new(move |other| (kind, if listing { json!({}) } else { json!({ "user": other.user }) })));
    }
    asked
}

/// An answer without what differs between any two people: their ids, and times.
fn alike(value: &Value, other: &Known, key: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(key, _)| !key.ends_with("_at") && !["at", "report", "client_key"].contains(&key.as_str()));
            kept.map(|(key, value)| (key.clone(), alike(value, other, key))).collect()
        }
        // The list of blocks has both of them.
        Value::Array(items) if key == "users" => {
            items.iter().filter(|item| item["user"] == other.user).map(|item| alike(item, other, key)).collect()
        }
        Value::Array(items) => items.iter().map(|item| alike(item, other, key)).collect(),
        Value::Number(_) if matches!(key, "user" | "users" | "sender") && *value == other.user => json!("them"),
        Value::Number(_) if matches!(key, "id" | "conversation") => json!("an id"),
        other => other.clone(),
    }
}
