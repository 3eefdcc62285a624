//! One socket that keeps as many commands in flight as it may holds up nobody but itself (row 3).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Client, Server};

/// Messages that lie in the group of the one who asks.
const MESSAGES: i64 = 120_000;
/// Commands in flight on one socket.
const IN_FLIGHT: usize = 64;
/// How often the others ask while they are.
const ROUNDS: usize = 40;

/// A group in which this many messages hold a common word, written past the server.
async fn crowded_group(server: &Server, owner: &mut Client, member: i64) -> i64 {
    let group = json!({ "title": "archive", "members": [member] });
    let group = owner.command("conversation.create", group).await;
    let (id, head) = (group["id"].as_i64().expect("an id"), group["head"].as_i64().expect("a head"));
    let mut database = server.database().writer().await;
    let sender = owner.user;
    let (numbers, words) = if server.nodes.len() > 1 {
        (format!("generate_series(1, {MESSAGES}) AS numbers (n)"), "array_to_tsvector(ARRAY['hello', 'number', ")
    } else {
        let series = format!("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {MESSAGES})");
        (format!("({series} SELECT n FROM s)"), "")
    };
    let messages = format!(
        "INSERT INTO messages (conversation_id, seq, rev, sender_id, kind, text, sent_at) \
         SELECT {id}, {head} + n, {head} + n, {sender}, 'text', 'hello number ' || n, 1 FROM {numbers}"
    );
    let index = match words.is_empty() {
        true => format!(
            "INSERT INTO message_search (rowid, folded, conversation) \
             SELECT id, text, conversation_id FROM messages WHERE conversation_id = {id} AND kind = 'text'"
        ),
        false => format!(
            "INSERT INTO message_search (rowid, words) SELECT id, {words}split_part(text, ' ', 3), '#{id}']) \
             FROM messages WHERE conversation_id = {id} AND kind = 'text'"
        ),
    };
    let head = format!("UPDATE conversations SET seq = {head} + {MESSAGES} WHERE id = {id}");
    for statement in [messages, index, head] {
        database.execute(&statement).await;
    }
    id
}

/// Keeps commands in flight until it is told to stop. Answers how many were answered well, and with what they were
/// refused.
async fn keep_asking(
    mut client: Client,
    ask: impl Fn(usize) -> (&'static str, Value),
    stop: &Stop,
) -> (usize, Vec<Value>) {
    let (mut answered, mut refused, mut waiting) = (0, Vec::new(), Vec::new());
    for number in 0.. {
        while waiting.len() >= IN_FLIGHT || (stop.is_set() && !waiting.is_empty()) {
            let reply = client.reply(waiting.remove(0)).await;
            match reply["ok"] == true {
                true => answered += 1,
                false => refused.push(reply["error"]["code"].clone()),
            }
        }
        if stop.is_set() {
            break;
        }
        let (kind, data) = ask(number);
        waiting.push(client.say(kind, data).await);
    }
    (answered, refused)
}

/// A sign to stop.
#[derive(Debug, Default)]
struct Stop(std::sync::atomic::AtomicBool);

impl Stop {
    fn is_set(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// What others do meanwhile: read, write, and come anew. All of it must be done; how long it took is printed.
async fn others_go_on(server: &Server, ann: &mut Client, conversation: i64, what: &str) {
    let mut took: [Vec<Duration>; 3] = Default::default();
    for round in 0..ROUNDS {
        let began = Instant::now();
        ann.command("message.history", json!({ "conversation": conversation })).await;
        took[0].push(began.elapsed());
        let began = Instant::now();
        let text = format!("{what} {round}");
        ann.command("message.send", json!({ "conversation": conversation, "text": text })).await;
        took[1].push(began.elapsed());
        let began = Instant::now();
        drop(Client::connect(server, ann.account.clone()).await);
        took[2].push(began.elapsed());
    }
    for (name, mut times) in ["history", "send", "hello"].iter().zip(took) {
        times.sort_unstable();
        println!("beside 64 {what}: {name} p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() - 1]);
    }
}

/// Whoever is on the nodes already hears nothing of it either: a node that could not sweep would send everybody away.
#[tokio::test(flavor = "multi_thread")]
async fn n03_one_socket_with_its_commands_in_flight_holds_up_nobody() {
    let server = Server::start(&[("database-lost-ms", "3000")]).await;
    let (mut eve, mut bob) = (server.user("eve").await, server.user("bob").await);
    let (mut ann, mut cid) = (server.user("ann").await, server.user("cid").await);
    eve.command("profile.update", json!({ "birth_date": "1990-01-01" })).await;
    let archive = crowded_group(&server, &mut eve, bob.user).await;
    let ours = ann.command("conversation.open", json!({ "user": cid.user })).await["id"].as_i64().expect("an id");
    let asked: [(&'static str, Value); 8] = [
        ("message.search", json!({ "query": "hello" })),
        ("message.search", json!({ "query": "hello nowhere" })),
        ("message.history", json!({ "conversation": archive })),
        ("conversation.list", json!({})),
        ("candidate.list", json!({})),
        ("match.list", json!({})),
        ("conversation.mute", json!({ "conversation": archive, "until": 1 })),
        ("resume", json!({ "epoch": eve.hello["epoch"], "personal": 0, "conversations": { archive.to_string(): 1 } })),
    ];
    for (kind, data) in asked {
        let stop = Stop::default();
        let asking = eve.second_socket().await;
        let ask = |_| (kind, data.clone());
        let story = async {
            others_go_on(&server, &mut ann, ours, kind).await;
            stop.set();
        };
        let ((answered, refused), ()) = tokio::join!(keep_asking(asking, ask, &stop), story);
        println!("{kind}: {answered} answered, {} refused", refused.len());
        assert!(refused.is_empty(), "{kind}: the one who asks waits, and is answered: {refused:?}");
    }
    for client in [&mut bob, &mut cid, &mut eve] {
        client.command("ping", json!({})).await;
    }
}
