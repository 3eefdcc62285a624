//! How far members have received and read: told within bounds, and written together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::seed::{self, seed};
use crate::support::{Client, Server};

/// Longest frame in which a client of many groups is told of them, in bytes.
const FRAME: usize = 64 * 1024;

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// How many events of a type all sockets were told, as frames.
fn frames(server: &Server, kind: &str) -> usize {
    server.recorder.frames("received").iter().filter(|frame| frame["type"] == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn n02_a_resume_of_many_large_groups_tells_a_few_positions_in_short_frames() {
    let server = Server::start(&[]).await;
    let ann = server.account("ann").await;
    seed(&server, &[seed::USERS, seed::GROUPS]).await;
    let mut ann = Client::connect(&server, ann).await;
    assert_eq!(ann.user, 1, "as the seed has it");
    let cursors: BTreeMap<String, i64> = (5001..=5060).chain(6001..=6010).map(|id| (id.to_string(), 1)).collect();
    let resumed = ann.command("resume", json!({ "epoch": ann.hello["epoch"], "conversations": cursors })).await;
    assert_eq!((&resumed["moved"], &resumed["gone"]), (&json!({}), &json!([])));
    assert!(resumed.to_string().len() < FRAME, "a reply of {} bytes", resumed.to_string().len());
    // Of the large ones her own, of the small ones everybody's: each once.
    let mut told = BTreeSet::new();
    while told.len() < 60 + 10 * 41 {
        let watermark = ann.expect("watermark").await;
        let (conversation, user) = (number(&watermark["conversation"]), number(&watermark["user"]));
        assert_eq!((&watermark["delivered"], &watermark["read"]), (&json!(1), &json!(1)));
        assert!(conversation > 6000 || user == ann.user, "of a large group only one's own: {watermark}");
        assert!(told.insert((conversation, user)), "told twice: {watermark}");
    }
    ann.command("ping", json!({})).await;
    assert_eq!(ann.take_events("watermark"), Vec::<Value>::new());
    let longest = server.recorder.frames("received").iter().map(|frame| frame.to_string().len()).max();
    println!("the longest frame had {longest:?} bytes");
    assert!(longest.is_some_and(|longest| longest < FRAME), "a frame of {longest:?} bytes");
}

/// A group of many who are connected, with one message in it.
async fn group(server: &Server, members: usize) -> (Vec<Client>, i64, i64) {
    let mut clients = Vec::new();
    for member in 0..members {
        clients.push(server.user(&format!("member{member}")).await);
    }
    let users: Vec<i64> = clients.iter().skip(1).map(|client| client.user).collect();
    let (first, later) = users.split_at(users.len().min(90));
    let owner = &mut clients[0];
    let created = owner.command("conversation.create", json!({ "title": "all", "members": first })).await;
    let group = number(&created["id"]);
    for some in later.chunks(90) {
        owner.command("member.add", json!({ "conversation": group, "users": some })).await;
    }
    let sent = owner.command("message.send", json!({ "conversation": group, "text": "who reads this?" })).await;
    let seq = number(&sent["seq"]);
    for client in &mut clients {
        client.expect_message("who reads this?").await;
        client.forget_events();
    }
    (clients, group, seq)
}

/// Everybody says at once that they have received and read.
async fn mark_all(clients: &mut [Client], group: i64, seq: i64) {
    let mark = json!({ "conversation": group, "seq": seq });
    let mut asked = Vec::new();
    for client in &mut *clients {
        let delivered = client.say("message.delivered", mark.clone()).await;
        asked.push([delivered, client.say("message.read", mark.clone()).await]);
    }
    for (client, ids) in clients.iter_mut().zip(asked) {
        for id in ids {
            let reply = client.reply(id).await;
            assert_eq!(reply["ok"], true, "{reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n04_a_large_group_that_reads_at_once_tells_each_member_of_themselves() {
    const MEMBERS: usize = 120;
    let server = Server::start(&[]).await;
    let (mut clients, group, seq) = group(&server, MEMBERS).await;
    let (mut eve, fay) = (server.user("eve").await, server.user("fay").await);
    let direct = eve.command("conversation.open", json!({ "user": fay.user })).await["id"].clone();
    let bystander = async {
        for text in 0..20 {
            eve.command("message.send", json!({ "conversation": direct, "text": text.to_string() })).await;
        }
    };
    tokio::join!(mark_all(&mut clients, group, seq), bystander);
    for client in &mut clients {
        let mut own = client.expect("watermark").await;
        while own["read"] != seq {
            own = client.expect("watermark").await;
        }
        client.command("ping", json!({})).await;
        for watermark in client.take_events("watermark").into_iter().chain([own]) {
            assert_eq!(number(&watermark["user"]), client.user, "{watermark}");
        }
    }
    let told = frames(&server, "watermarks");
    println!("{told} frames told {MEMBERS} members");
    // One or two for each, as the two marks were written together or not.
    assert!(told <= 2 * MEMBERS, "{told} frames");
    let mut database = server.database().reader().await;
    let read = format!("FROM members WHERE conversation_id = {group} AND delivered = {seq} AND read = {seq}");
    assert_eq!(database.number("count(*)", &read).await, MEMBERS as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn n04_a_small_group_that_reads_at_once_is_told_in_a_few_frames() {
    const MEMBERS: usize = 40;
    let server = Server::start(&[]).await;
    let (mut clients, group, seq) = group(&server, MEMBERS).await;
    let (bob, cem) = (clients[1].user, clients[2].user);
    clients[1].command("block.add", json!({ "user": cem })).await;
    mark_all(&mut clients, group, seq).await;
    let everybody: BTreeSet<i64> = clients.iter().map(|client| client.user).collect();
    for client in &mut clients {
        let hidden = BTreeMap::from([(bob, cem), (cem, bob)]).get(&client.user).copied();
        let mut told = BTreeSet::new();
        while told.len() < MEMBERS - usize::from(hidden.is_some()) {
            let watermark = client.expect("watermark").await;
            let user = number(&watermark["user"]);
            assert!(everybody.contains(&user) && Some(user) != hidden, "{watermark}");
            if watermark["read"] == seq {
                told.insert(user);
            }
        }
    }
    let told = frames(&server, "watermarks");
    println!("{told} frames told {MEMBERS} members of {MEMBERS}, twice each");
    // Each move by itself would have been told to each: twice as many as there are pairs.
    assert!(0 < told && told <= MEMBERS * MEMBERS / 2, "{told} frames");
}

#[tokio::test(flavor = "multi_thread")]
async fn n04_a_bad_mark_fails_alone() {
    let server = Server::start(&[]).await;
    let (mut clients, group, seq) = group(&server, 3).await;
    let mut mallory = server.user("mallory").await;
    let (good, beyond) =
        (json!({ "conversation": group, "seq": seq }), json!({ "conversation": group, "seq": seq + 1 }));
    let elsewhere = json!({ "conversation": 4711, "seq": 1 });
    for _ in 0..3 {
        let mut asked = Vec::new();
        for client in &mut clients {
            let bad = client.say("message.read", beyond.clone()).await;
            asked.push((bad, client.say("message.read", good.clone()).await));
        }
        let stranger =
            [mallory.say("message.read", good.clone()).await, mallory.say("message.read", elsewhere.clone()).await];
        for (client, (bad, fine)) in clients.iter_mut().zip(asked) {
            let refused = client.reply(bad).await;
            assert_eq!(
                (&refused["error"]["code"], &refused["error"]["field"]),
                (&json!("invalid_field"), &json!("seq"))
            );
            assert_eq!(client.reply(fine).await["ok"], true);
        }
        for id in stranger {
            assert_eq!(mallory.reply(id).await["error"]["code"], "not_found");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n04_a_position_that_was_acknowledged_survives_the_death_of_the_server() {
    let mut server = Server::start(&[]).await;
    let (mut clients, group, seq) = group(&server, 5).await;
    mark_all(&mut clients, group, seq).await;
    server.kill();
    server.restart().await;
    let mut owner = clients.swap_remove(0).connect_again().await;
    let view = owner.command("conversation.get", json!({ "conversation": group })).await;
    for member in view["members"].as_array().expect("members") {
        assert_eq!((&member["delivered"], &member["read"]), (&json!(seq), &json!(seq)), "{member}");
    }
}
