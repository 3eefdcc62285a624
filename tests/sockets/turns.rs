//! In what order a socket reads what it missed.

use serde_json::json;

use crate::seed::{self, seed};
use crate::support::{Client, Server};

#[tokio::test(flavor = "multi_thread")]
async fn d19_a_long_conversation_does_not_keep_the_others_waiting() {
    let server = Server::start(&[]).await;
    let ann = server.account("ann").await;
    seed(&server, &[seed::TALK]).await;
    let mut ann = Client::connect(&server, ann).await;
    let cursors: serde_json::Map<_, _> = (7001..=7010).map(|id| (id.to_string(), json!(0))).collect();
    ann.command("resume", json!({ "epoch": ann.hello["epoch"], "personal": 0, "conversations": cursors })).await;
    let mut order = Vec::new();
    let mut ended = 0;
    while ended < 10 {
        let page = ann.expect("conversation.page").await;
        ended += usize::from(page["more"] == false);
        order.push(page["conversation"].as_i64().expect("an id"));
    }
    // Each stream has one page before any has its second.
    let (first, rest) = order.split_at(10);
    let mut first = first.to_vec();
    first.sort_unstable();
    assert_eq!(first, (7001..=7010).collect::<Vec<i64>>(), "{order:?}");
    assert_eq!(rest.len(), 2 * 19, "the long ones have 20 pages each");
}
