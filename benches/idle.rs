//! What an idle socket costs: `cargo bench --bench idle [-- SOCKETS]`.
//!
//! Prints the resident bytes per idle socket over the empty server, for sockets each of its own user, in 20
//! conversations and one group of all, presence on, after one sent and one received message, and after a page of history
//! with more than 200 kB. The demand is at most 12 KiB, whatever a socket was used for.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program to be run and read by a person")]

#[expect(dead_code, unreachable_pub, reason = "it uses its own part of the verbs of the stories")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use support::setup::Because;
use support::{Server, http};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Each user talks with the ten users after them, and so with the ten before.
const NEIGHBOURS: i64 = 10;
/// Most bytes that an idle socket may cost.
const DEMAND: f64 = 12.0 * 1024.0;

/// Messages of the group of all, and the characters of each: the page that everybody fetches.
const PAGE: [i64; 2] = [60, 3500];

const SETTINGS: &[(&str, &str)] = &[("connections", "0"), ("ping-ms", "600000"), ("silent-ms", "1200000")];

#[tokio::main]
async fn main() {
    let sockets: i64 = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(10_000);
    let mut server = Server::start_alone(Because::OfTheFile, SETTINGS).await;
    server.account("seed").await;
    server.stop().await;
    seed(&server, sockets).await;
    server.restart().await;
    let empty = resident(server.nodes[0].pid());
    println!("empty server: {} KiB resident", empty / 1024);

    let began = Instant::now();
    let mut open = Vec::new();
    for user in 1..=sockets {
        open.push(connect(&server, user).await);
    }
    println!("{sockets} sockets signed in and connected in {:.1} s", began.elapsed().as_secs_f64());
    report("connected", &server, empty, sockets).await;
    // Each sends one message and, a moment later, has got its own and that of the user before.
    for (place, socket) in open.iter_mut().enumerate() {
        let conversation = place as i64 * NEIGHBOURS + 1;
        let send = json!({"id": 2, "type": "message.send", "data": {"conversation": conversation, "text": "hello"}});
        socket.send(Message::Text(send.to_string().into())).await.unwrap();
        wait_for(socket, |frame| frame["id"] == 2 && frame["ok"] == true).await;
    }
    // All but the first had the neighbour's message before the reply to their own.
    let last = (sockets - 1) * NEIGHBOURS + 1;
    wait_for(&mut open[0], |frame| frame["type"] == "message.created" && frame["data"]["conversation"] == last).await;
    report("after one message sent and one received", &server, empty, sockets).await;
    let page = json!({"id": 3, "type": "message.history", "data": {"conversation": sockets * NEIGHBOURS + 1}});
    for socket in &mut open {
        socket.send(Message::Text(page.to_string().into())).await.unwrap();
        wait_for(socket, |frame| frame["id"] == 3 && frame["data"]["messages"][0]["text"].is_string()).await;
    }
    let bytes = report("after a page of 213 kB", &server, empty, sockets).await;
    println!("demand: at most {DEMAND} bytes: {}", if bytes <= DEMAND { "met" } else { "NOT met" });
    std::process::exit(i32::from(bytes > DEMAND));
}

/// Users and conversations, written straight into the file: registering ten thousand is not what is measured.
async fn seed(server: &Server, users: i64) {
    let mut database = SqliteConnectOptions::new().filename(server.file()).connect().await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    let steps = [
        "UPDATE users SET username = 'u1', username_key = 'u1' WHERE id = 1",
        "INSERT INTO users (id, username, username_key, password_hash, last_active_at, created_at) \
            SELECT value, 'u' || value, 'u' || value, (SELECT password_hash FROM users WHERE id = 1), 0, 0 \
            FROM (WITH RECURSIVE s (value) AS (SELECT 2 UNION ALL SELECT value + 1 FROM s WHERE value < $1) \
            SELECT value FROM s)",
        "INSERT INTO conversations (id, kind, low, high, created_by, member_count, created_at, updated_at) \
            SELECT (a - 1) * $2 + n, 'direct', min(a, b), max(a, b), a, 2, 0, 0 FROM \
            (SELECT u.id AS a, s.value AS n, (u.id - 1 + s.value) % $1 + 1 AS b FROM users u, \
            (WITH RECURSIVE s (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < $2) \
            SELECT value FROM s) s)",
        "INSERT INTO members (conversation_id, user_id, role, joined_seq) \
            SELECT id, low, 'member', 0 FROM conversations UNION ALL SELECT id, high, 'member', 0 FROM conversations",
        "INSERT INTO conversations (id, kind, title, created_by, member_count, seq, created_at, updated_at) \
            VALUES ($1 * $2 + 1, 'group', 'all', 1, $1, $3, 0, 0)",
        "INSERT INTO members (conversation_id, user_id, role, joined_seq) SELECT $1 * $2 + 1, id, 'member', 0 FROM users",
        "INSERT INTO messages (conversation_id, seq, rev, sender_id, kind, text, sent_at) \
            SELECT $1 * $2 + 1, value, value, 1, 'text', replace(hex(zeroblob($4 / 2)), '0', 'x'), 0 \
            FROM (WITH RECURSIVE s (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < $3) \
            SELECT value FROM s)",
    ];
    let [messages, characters] = PAGE;
    for step in steps {
        let query = sqlx::query(step).bind(users).bind(NEIGHBOURS).bind(messages).bind(characters);
        query.execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    database.close().await.unwrap();
}

type Socket = WebSocketStream<TcpStream>;

async fn connect(server: &Server, user: i64) -> Socket {
    let body = json!({ "username": format!("u{user}"), "password": support::server::PASSWORD });
    let answer = http::call(server.next_address(), "POST", "/api/token/", None, Some(&body)).await;
    assert_eq!(answer.status, 200, "signing in: {}", answer.body);
    let stream = TcpStream::connect(server.next_address()).await.unwrap();
    let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(0);
    let url = format!("ws://{}/ws", server.next_address());
    let (mut socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await.unwrap();
    let auth = json!({"id": 1, "type": "auth", "data": {"token": answer.json["access"]}});
    socket.send(Message::Text(auth.to_string().into())).await.unwrap();
    wait_for(&mut socket, |frame| frame["id"] == 1 && frame["ok"] == true).await;
    socket
}

async fn wait_for(socket: &mut Socket, wanted: impl Fn(&Value) -> bool) {
    while !wanted(&next(socket).await) {}
}

async fn next(socket: &mut Socket) -> Value {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(60), socket.next()).await.unwrap().unwrap().unwrap();
        if let Message::Text(text) = frame {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

/// The bytes per socket once the server has come to rest.
async fn report(when: &str, server: &Server, empty: u64, sockets: i64) -> f64 {
    // At rest: two looks a second apart that differ by less than one part in a thousand.
    let mut now = resident(server.nodes[0].pid());
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = std::mem::replace(&mut now, resident(server.nodes[0].pid()));
        if now.abs_diff(before) * 1000 < now {
            break;
        }
    }
    let bytes = now.saturating_sub(empty) as f64 / sockets as f64;
    println!("{when}: {} KiB resident, {bytes:.0} bytes per socket", now / 1024);
    bytes
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
