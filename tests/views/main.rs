//! What a user is shown is what is there: live events, pages, history, counts and lists agree, on every device, whoever
//! blocks, leaves, joins or deletes.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story that cannot go on fails, and says how to repeat it"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

mod answers;
mod blocks;
mod counts;
mod model;

use serde_json::{Value, json};
use support::{Client, Server};

/// Users of these names, each with a socket.
async fn users<const N: usize>(server: &Server, names: [&str; N]) -> [Client; N] {
    let mut clients = Vec::new();
    for name in names {
        clients.push(server.user(name).await);
    }
    clients.try_into().expect("as many clients as names")
}

/// Makes a group of the first of some clients with all the others, and forgets what was told of it.
async fn group(clients: &mut [&mut Client]) -> i64 {
    let members: Vec<i64> = clients.iter().skip(1).map(|client| client.user).collect();
    let data = json!({ "title": "all", "members": members });
    let group = clients[0].command("conversation.create", data).await["id"].as_i64().expect("an id");
    for client in clients {
        client.expect_where("message.created", |event| event["conversation"] == group).await;
        client.forget_events();
    }
    group
}

async fn say(client: &mut Client, conversation: i64, text: &str) -> i64 {
    let sent = client.command("message.send", json!({ "conversation": conversation, "text": text })).await;
    sent["seq"].as_i64().expect("a number")
}

/// All messages of a conversation as history has them.
async fn history(client: &mut Client, conversation: i64) -> Vec<Value> {
    let page = client.command("message.history", json!({ "conversation": conversation })).await;
    page["messages"].as_array().expect("messages").clone()
}

/// All messages of a conversation as a device without any gets them by resuming.
async fn pages(client: &Client, conversation: i64) -> Vec<Value> {
    let mut device = client.second_socket().await;
    let epoch = device.hello["epoch"].clone();
    let cursors = json!({ conversation.to_string(): 0 });
    device.command("resume", json!({ "epoch": epoch, "conversations": cursors })).await;
    let page = device.expect_where("conversation.page", |page| page["more"] == false).await;
    let mut messages = page["messages"].as_array().expect("messages").clone();
    messages.sort_by_key(|message| message["seq"].as_i64());
    messages
}

/// Fails unless pages show what history shows.
async fn must_agree(client: &mut Client, conversation: i64) {
    let paged = pages(client, conversation).await;
    assert_eq!(history(client, conversation).await, paged, "history and pages differ for {}", client.user);
}
