//! A page is bounded in bytes too, and the next one goes on where it ended.

use serde_json::{Value, json};

use crate::support::Server;

/// Messages of the greatest length, of signs that take four bytes each: 640 kB in all.
const MESSAGES: i64 = 40;
/// Most bytes of a page, with what stands around it.
const PAGE: usize = 262_144 + 1024;

#[tokio::test(flavor = "multi_thread")]
async fn n02_a_page_of_the_longest_messages_has_as_many_as_fit() {
    let server = Server::start(&[]).await;
    let mut ann = server.user("ann").await;
    let group = ann.command("conversation.create", json!({ "title": "long texts" })).await["id"].clone();
    for _ in 0..MESSAGES {
        let text = "\u{1f600}".repeat(4096);
        ann.command("message.send", json!({ "conversation": group, "text": text })).await;
    }
    let numbers = |page: &Value| {
        assert!(page.to_string().len() <= PAGE, "a page of {} bytes", page.to_string().len());
        let messages = page["messages"].as_array().expect("messages").iter();
        messages.map(|message| message["seq"].as_i64().expect("a number")).collect::<Vec<_>>()
    };
    // Backwards, and forwards: each message once, in its order.
    let (mut backwards, mut before) = (Vec::new(), i64::MAX);
    let (mut forwards, mut after) = (Vec::new(), 0);
    loop {
        let page = ann.command("message.history", json!({ "conversation": group, "before": before })).await;
        let mut seen = numbers(&page);
        before = seen[0];
        seen.append(&mut backwards);
        backwards = seen;
        if page["more"] == false {
            break;
        }
    }
    loop {
        let page = ann.command("message.history", json!({ "conversation": group, "after": after })).await;
        forwards.extend(numbers(&page));
        after = *forwards.last().expect("a message");
        if page["more"] == false {
            break;
        }
    }
    // The first number is that of the group's creation.
    let all: Vec<i64> = (1..=MESSAGES + 1).collect();
    assert_eq!((backwards, forwards), (all.clone(), all));
}
