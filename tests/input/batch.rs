//! Sends of many users share one transaction. None of them fails, delays or closes another (rows 1 and 8).

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::checker::Source;
use crate::support::checker::rows::Connection;
use crate::support::node::Addresses;
use crate::support::{Client, Server, files};

/// Someone who shares a lane with an attacker: everybody writes into the attacker's own group.
async fn group(server: &Server, names: &[&str]) -> (Vec<Client>, i64) {
    let mut people = Vec::new();
    for name in names {
        people.push(server.user(name).await);
    }
    let others: Vec<i64> = people[1..].iter().map(|one| one.user).collect();
    let made = people[0].command("conversation.create", json!({ "title": "all", "members": others })).await;
    (people, made["id"].as_i64().expect("an id"))
}

#[tokio::test(flavor = "multi_thread")]
async fn n01_a_value_that_the_database_cannot_keep_is_refused_to_its_sender_alone() {
    const ROUNDS: usize = 20;
    let server = Server::start(&[]).await;
    let (mut people, group) = group(&server, &["mallory", "ann", "bob", "cid"]).await;
    let mut mallory = people.remove(0);
    mallory.upload("a-file", &files::jpeg(64, 64)).await;
    let chatting = people.into_iter().map(|mut one| {
        tokio::spawn(async move {
            for round in 0..ROUNDS * 5 {
                let key = format!("{}-{round}", one.user);
                let said = json!({ "conversation": group, "text": format!("round {round}"), "client_key": key });
                one.command("message.send", said).await;
            }
            one
        })
    });
    let chatting: Vec<_> = chatting.collect();
    let send = |name: &str, value: Value| {
        let mut data = json!({ "conversation": group, "text": "x" });
        data[name] = value;
        ("message.send", data)
    };
    for _ in 0..ROUNDS {
        for (name, data) in [
            send("attachment", json!("\0")),
            send("attachment", json!("a\0b")),
            send("client_key", json!("a\0b")),
            send("text", json!("a\0b")),
            ("profile.update", json!({ "pictures": ["\0"] })),
            ("profile.update", json!({ "interests": ["a\0"] })),
            ("conversation.create", json!({ "title": "t", "client_key": "a\0" })),
            ("conversation.rename", json!({ "conversation": group, "title": "a\0" })),
            ("message.react", json!({ "conversation": group, "seq": 1, "emoji": "\0" })),
            ("message.search", json!({ "query": "a\0b" })),
            ("media.links", json!({ "files": ["\0"] })),
        ] {
            let error = mallory.refused(name, data.clone()).await;
            assert_eq!(error["code"], "invalid_field", "{name} {data}: {error}");
            // Too many such frames in a row would end the socket.
            mallory.command("ping", json!({})).await;
        }
    }
    for one in chatting {
        one.await.expect("nobody else is refused or closed").command("ping", json!({})).await;
    }
}

/// A sender's keys are unique over all conversations, so that two lanes meet at them. They take them in one order.
#[tokio::test(flavor = "multi_thread")]
async fn n08_keys_that_two_lanes_take_in_turn_stop_neither() {
    const SENDERS: usize = 5;
    const ROUNDS: usize = 6;
    const KEYS: usize = 40;
    let mut server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    // Two lanes: conversations with ids of both parities.
    let mut members = Vec::new();
    // All on one node, so that all of a lane is in one batch.
    let node = Addresses::new(vec![server.nodes[0].address]);
    for number in 0..SENDERS {
        let account = server.account(&format!("m{number}")).await;
        members.push(Client::connect_recorded(&node, &server.recorder, account).await);
    }
    let ids: Vec<i64> = members.iter().map(|one| one.user).collect();
    let mut lanes: [Option<i64>; 2] = [None, None];
    while lanes.contains(&None) {
        let made = ann.command("conversation.create", json!({ "title": "lane", "members": ids })).await;
        let id = made["id"].as_i64().expect("an id");
        lanes[usize::from(id % 2 == 1)] = Some(id);
    }
    let lanes = lanes.map(|lane| lane.expect("one of each"));
    let (mut taken, mut sockets) = (0, Vec::new());
    for one in members {
        let other = one.second_socket().await;
        sockets.push([one, other]);
    }
    for round in 0..ROUNDS {
        // On Postgres both lanes are held up while all keys gather, so that their transactions run at the same time.
        let held = hold(server.database(), lanes).await;
        let mut waiting = Vec::new();
        for lane in [0, 1] {
            for at in 0..SENDERS {
                // The one lane gets everything in the reverse order of the other.
                let sender = if lane == 0 { at } else { SENDERS - 1 - at };
                let socket = &mut sockets[sender][lane];
                for key in 0..KEYS {
                    let key = format!("{round}-{}", if lane == 0 { key } else { KEYS - 1 - key });
                    let said = json!({ "conversation": lanes[lane], "text": "x", "client_key": key });
                    waiting.push((sender, lane, socket.say("message.send", said).await));
                }
                // Its sends have begun when this is answered.
                socket.command("ping", json!({})).await;
            }
        }
        if let Some(mut held) = held {
            held.execute("COMMIT").await;
        }
        // Bystanders in both lanes.
        for lane in lanes {
            ann.command("message.send", json!({ "conversation": lane, "text": format!("{round}") })).await;
        }
        for (sender, lane, id) in waiting {
            let reply = sockets[sender][lane].reply(id).await;
            assert!(reply["ok"] == true || reply["error"]["code"] == "key_reused", "{reply}");
            taken += usize::from(reply["ok"] == true);
        }
    }
    assert_eq!(taken, SENDERS * ROUNDS * KEYS, "of two messages under one key one is taken");
    if server.nodes.len() > 1 {
        // The database counts what its connections met when these end.
        server.stop().await;
        assert_eq!(deadlocks(server.database()).await, 0);
    }
}

/// Holds up all sends into some conversations until a COMMIT; where several nodes write.
async fn hold(database: &Source, conversations: [i64; 2]) -> Option<Connection> {
    let Source::Url(_) = database else { return None };
    let mut holder = database.writer().await;
    holder.execute("BEGIN").await;
    let [one, other] = conversations;
    let locked = holder.rows("id", &format!("FROM conversations WHERE id IN ({one}, {other}) FOR UPDATE")).await;
    assert_eq!(locked.len(), 2);
    Some(holder)
}

/// How many deadlocks the database has ended, once the server's connections to it are gone.
async fn deadlocks(database: &Source) -> i64 {
    loop {
        let mut reader = database.snapshot().await;
        let ours = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'duet'";
        let open = reader.rows("count(*)", ours).await[0][0].clone();
        let counted = reader.rows("deadlocks", "FROM pg_stat_database WHERE datname = current_database()").await;
        if open == 0 {
            return counted[0][0].as_i64().expect("a number");
        }
        // Before the next look.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
