//! Pictures and files over real sockets: brought, used, fetched, and gone when nobody may see them or nobody refers to
//! them any more.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

mod access;
mod uploads;

use serde_json::{Value, json};
use support::{Client, Server};

/// Ann and Bob, and their direct conversation.
async fn two_who_talk(server: &Server) -> (Client, Client, i64) {
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let opened = ann.command("conversation.open", json!({ "user": bob.user })).await;
    (ann, bob, opened["id"].as_i64().expect("an id"))
}

/// Sends a file without a word.
async fn send(client: &mut Client, conversation: i64, file: &Value) -> i64 {
    let message = json!({ "conversation": conversation, "text": "", "attachment": file });
    client.command("message.send", message).await["seq"].as_i64().expect("a number")
}
