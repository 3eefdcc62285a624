//! Two who do opposite or equal things at the same instant, thousands of times: never twice, never across.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use serde_json::{Value, json};
use support::checker::rows::Connection;
use support::{Client, Server};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Those who wait for their turn are not read from, and must not be taken for gone on a machine with much to do.
const PATIENT: &[(&str, &str)] = &[("ping-ms", "200000"), ("silent-ms", "600000")];
/// Users of a tournament, in which everybody meets everybody once: n(n-1)/2 races.
const USERS: usize = 46;

/// One user on two sockets.
struct Side {
    name: String,
    user: i64,
    sockets: [Client; 2],
}

impl Side {
    async fn new(server: &Server, name: &str) -> Side {
        let first = server.user(name).await;
        let second = first.second_socket().await;
        Side { name: name.to_owned(), user: first.user, sockets: [first, second] }
    }

    /// Says the same on both sockets at once and returns both replies.
    async fn both(&mut self, kind: &str, data: Value) -> [Value; 2] {
        let mut ids = [0; 2];
        for (socket, id) in self.sockets.iter_mut().zip(&mut ids) {
            *id = socket.say(kind, data.clone()).await;
        }
        let [first, second] = &mut self.sockets;
        [first.reply(ids[0]).await, second.reply(ids[1]).await]
    }
}

async fn sides(server: &Server, users: usize) -> Vec<Side> {
    let mut sides = Vec::new();
    for number in 0..users {
        sides.push(Side::new(server, &format!("user{number}")).await);
    }
    sides
}

/// Everybody meets everybody once; the meetings of a round happen at the same time.
async fn tournament<F>(mut sides: Vec<Side>, race: impl Fn(Side, Side) -> F) -> Vec<Side>
where
    F: Future<Output = (Side, Side)> + Send + 'static,
{
    for _ in 1..sides.len() {
        let mut meetings = JoinSet::new();
        let mut order = BTreeMap::new();
        let half = sides.len() / 2;
        let second: Vec<Side> = sides.split_off(half);
        let seats: Vec<[String; 2]> =
            sides.iter().zip(second.iter().rev()).map(|(a, b)| [a.name.clone(), b.name.clone()]).collect();
        for (one, other) in sides.drain(..).zip(second.into_iter().rev()) {
            meetings.spawn(race(one, other));
        }
        while let Some(met) = meetings.join_next().await {
            let (one, other) = met.expect("a race runs to its end");
            order.insert(one.name.clone(), one);
            order.insert(other.name.clone(), other);
        }
        // The circle method: the first one stays, the others move on by one seat.
        let names: Vec<String> =
            seats.iter().map(|seat| seat[0].clone()).chain(seats.iter().rev().map(|seat| seat[1].clone())).collect();
        sides = names.iter().map(|name| order.remove(name).expect("everybody came back")).collect();
        sides[1..].rotate_right(1);
    }
    sides
}

fn ok(reply: &Value) -> &Value {
    assert_eq!(reply["ok"], true, "{reply}");
    &reply["data"]
}

#[tokio::test(flavor = "multi_thread")]
async fn likes_at_the_same_instant_make_one_match() {
    let server = Server::start(PATIENT).await;
    let sides = sides(&server, USERS).await;
    let sides = tournament(sides, |mut one, mut other| async move {
        let (a, b) = (one.user, other.user);
        let likes =
            tokio::join!(one.both("like.add", json!({ "user": b })), other.both("like.add", json!({ "user": a })));
        let replies: Vec<&Value> = likes.0.iter().chain(&likes.1).map(ok).collect();
        let matched: Vec<&&Value> = replies.iter().filter(|reply| reply["matched"] == true).collect();
        assert!(!matched.is_empty(), "{a} and {b} like each other, and nobody was told: {replies:?}");
        let ids: BTreeSet<String> = matched.iter().map(|reply| reply["match"]["id"].to_string()).collect();
        assert_eq!(ids.len(), 1, "one match has one id: {replies:?}");
        for (side, with) in [(&mut one, b), (&mut other, a)] {
            for socket in &mut side.sockets {
                let is_it = |entry: &Value| entry["kind"] == "matched" && entry["subject"] == with;
                socket.expect_where("personal", is_it).await;
            }
        }
        (one, other)
    })
    .await;
    let mut database = server.database().reader().await;
    let entries =
        |user, with| format!("FROM personal WHERE kind = 'matched' AND user_id = {user} AND subject = {with}");
    for (index, one) in sides.iter().enumerate() {
        for other in &sides[index + 1..] {
            let count = (
                database.number("count(*)", &entries(one.user, other.user)).await,
                database.number("count(*)", &entries(other.user, one.user)).await,
            );
            assert_eq!(count, (1, 1), "{} and {} matched once", one.name, other.name);
        }
    }
    clean(&server, sockets(sides)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_word_from_both_sides_makes_one_conversation() {
    let server = Server::start(PATIENT).await;
    let sides = sides(&server, USERS).await;
    let sides = tournament(sides, |mut one, mut other| async move {
        let (a, b) = (one.user, other.user);
        let (mine, yours) = tokio::join!(first_word(&mut one, b), first_word(&mut other, a));
        assert_eq!(mine, yours, "{a} and {b} have one conversation");
        // Each of the four sockets hears all four messages, in one order.
        let mut heard = Vec::new();
        for socket in one.sockets.iter_mut().chain(&mut other.sockets) {
            let mut order = Vec::new();
            for _ in 0..4 {
                let event = socket.expect_where("message.created", |event| event["conversation"] == mine).await;
                order.push((event["seq"].as_i64(), event["message"]["client_key"].to_string()));
            }
            heard.push(order);
        }
        assert!(heard.iter().all(|order| *order == heard[0]), "{heard:?}");
        assert!(heard[0].is_sorted(), "{heard:?}");
        (one, other)
    })
    .await;
    clean(&server, sockets(sides)).await;
}

/// Opens the conversation on both sockets and speaks on each as soon as that one knows where.
async fn first_word(side: &mut Side, with: i64) -> i64 {
    let [first, second] = &mut side.sockets;
    let (name, user) = (&side.name, json!({ "user": with }));
    let speak = async |socket: &mut Client, number: usize| {
        let opened = socket.command("conversation.open", user.clone()).await;
        let key = format!("{name}-{with}-{number}");
        let id = opened["id"].as_i64().expect("a conversation has an id");
        socket.command("message.send", json!({ "conversation": id, "text": key.clone(), "client_key": key })).await;
        id
    };
    let (one, other) = tokio::join!(speak(first, 1), speak(second, 2));
    assert_eq!(one, other, "both sockets of {name} found the same conversation");
    one
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_crosses_an_acknowledged_block() {
    let server = Server::start(PATIENT).await;
    let database = Arc::new(Mutex::new(server.database().reader().await));
    let sides = sides(&server, USERS).await;
    let sides = tournament(sides, move |mut one, mut other| {
        let database = Arc::clone(&database);
        async move {
            block_while_the_other_sends(&mut one, &mut other, &database).await;
            (one, other)
        }
    })
    .await;
    clean(&server, sockets(sides)).await;
}

async fn block_while_the_other_sends(one: &mut Side, other: &mut Side, database: &Mutex<Connection>) {
    let opened = one.sockets[0].command("conversation.open", json!({ "user": other.user })).await;
    let id = opened["id"].as_i64().expect("a conversation has an id");
    let (name, to) = (other.name.clone(), one.user);
    let send = |number: usize| {
        let key = format!("{name}-{to}-{number}");
        json!({ "conversation": id, "text": key.clone(), "client_key": key })
    };
    let [left, right] = &mut other.sockets;
    let in_flight = async {
        let mut ids = Vec::new();
        for number in 0..6 {
            let socket = if number % 2 == 0 { &mut *left } else { &mut *right };
            ids.push((number, socket.say("message.send", send(number)).await));
        }
        ids
    };
    let in_it = format!("FROM conversations WHERE id = {id}");
    let blocking = async {
        one.sockets[0].command("block.add", json!({ "user": other.user })).await;
        // Read at once after the acknowledgement: nothing of the blocked one may ever stand above.
        database.lock().await.number("seq", &in_it).await
    };
    let (ids, head) = tokio::join!(in_flight, blocking);
    left.refused("message.send", send(6)).await;
    for (number, id) in ids {
        let socket = if number % 2 == 0 { &mut *left } else { &mut *right };
        let reply = socket.reply(id).await;
        let sent = reply["data"]["seq"].as_i64();
        assert!(sent.is_none_or(|seq| seq <= head), "{reply} crossed the block at {head}");
    }
    let above = format!("FROM messages WHERE conversation_id = {id} AND seq > {head}");
    assert_eq!(
        database.lock().await.number("count(*)", &above).await,
        0,
        "a message of {name} crossed the block at {head}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_leaver_stands_after_the_leaving() {
    const GROUPS: usize = 500;
    let server = Server::start(PATIENT).await;
    let mut database = server.database().reader().await;
    let mut owner = server.user("owner").await;
    let mut leaver = Side::new(&server, "leaver").await;
    for group in 0..GROUPS {
        let data = json!({ "title": format!("group {group}"), "members": [leaver.user] });
        let id = owner.command("conversation.create", data).await["id"].as_i64().expect("a group has an id");
        let send = |number: usize| {
            let key = format!("{group}-{number}");
            json!({ "conversation": id, "text": key.clone(), "client_key": key })
        };
        let [left, right] = &mut leaver.sockets;
        let sending = async {
            let mut ids = Vec::new();
            for number in 0..5 {
                ids.push(left.say("message.send", send(number)).await);
            }
            ids
        };
        let leave = right.command("conversation.leave", json!({ "conversation": id }));
        let (ids, _) = tokio::join!(sending, leave);
        for id in ids {
            left.reply(id).await;
        }
        right.refused("message.send", send(5)).await;
        let (in_it, user) = (format!("FROM messages WHERE conversation_id = {id}"), leaver.user);
        let leaving = format!("{in_it} AND kind = 'member_left' AND sender_id = {user}");
        let left_at = database.number("seq", &leaving).await;
        let above = format!("{in_it} AND seq > {left_at}");
        assert_eq!(database.number("count(*)", &above).await, 0, "group {group}: something after the leaving");
    }
    let [left, right] = leaver.sockets;
    clean(&server, vec![owner, left, right]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshes_at_the_same_instant_have_one_successor() {
    const ROUNDS: usize = 300;
    let server = Server::start(PATIENT).await;
    let mut sockets = vec![server.user("ann").await];
    for _ in 1..4 {
        let another = sockets[0].second_socket().await;
        sockets.push(another);
    }
    let mut refresh = Value::from(sockets[0].account.refresh.clone());
    for round in 0..ROUNDS {
        let data = json!({ "refresh": refresh, "rotate": true });
        let mut ids = Vec::new();
        for socket in &mut sockets {
            ids.push(socket.say("auth.refresh", data.clone()).await);
        }
        let mut successors = BTreeSet::new();
        for (socket, id) in sockets.iter_mut().zip(ids) {
            let reply = socket.reply(id).await;
            successors.insert(ok(&reply)["refresh"].as_str().expect("a rotation gives a refresh token").to_owned());
        }
        assert_eq!(successors.len(), 1, "round {round}: {successors:?}");
        refresh = successors.pop_first().into();
    }
    // The last one is the only one that still works, and one that was replaced long ago ends the session.
    sockets[0].command("auth.refresh", json!({ "refresh": refresh })).await;
    let stolen = json!({ "refresh": sockets[0].account.refresh });
    // The close may overtake the refusal.
    sockets[1].say("auth.refresh", stolen).await;
    for socket in &mut sockets {
        assert_eq!(socket.expect_close().await.code, 4003);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_opens_while_things_happen_misses_nothing() {
    const OPENED: usize = 150;
    let server = Server::start(&[PATIENT, &[("sockets-per-user", "0")]].concat()).await;
    let mut ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let opened = ann.command("conversation.open", json!({ "user": bob.user })).await;
    let conversation = opened["id"].as_i64().expect("a conversation has an id");
    let mut busy = ann.second_socket().await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let happening = tokio::spawn(async move {
        let mut until = 0;
        // One more of each after the last socket was opened, so that every gap shows.
        let mut last = false;
        while !std::mem::replace(&mut last, stopped.try_recv().is_ok()) {
            until += 1;
            let key = format!("k{until}");
            busy.command("conversation.mute", json!({ "conversation": conversation, "until": until })).await;
            let data = json!({ "conversation": conversation, "text": key.clone(), "client_key": key });
            busy.command("message.send", data).await;
        }
        busy
    });
    let mut sockets = vec![ann];
    for _ in 0..OPENED {
        let mut socket = sockets[0].second_socket().await;
        socket.command("conversation.get", json!({ "conversation": conversation })).await;
        sockets.push(socket);
    }
    stop.send(()).expect("things still happen");
    let mut busy = happening.await.expect("things happen");
    let head = busy.command("conversation.get", json!({ "conversation": conversation })).await["head"].clone();
    for socket in &mut sockets {
        socket.expect_where("message.created", |event| event["seq"] == head).await;
    }
    sockets.extend([busy, bob]);
    clean(&server, sockets).await;
}

/// The checker has the last word on every story; the sockets stay open until it has spoken.
async fn clean(server: &Server, mut clients: Vec<Client>) {
    let verdict = server.verdict_after(&mut clients).await;
    println!("{:?}", verdict.statistics);
    server.must_be_clean(&verdict);
}

fn sockets(sides: Vec<Side>) -> Vec<Client> {
    sides.into_iter().flat_map(|side| side.sockets).collect()
}
