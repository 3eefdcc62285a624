//! Sockets cut at random points: 200 short sessions, each clean by itself.
#![expect(clippy::print_stdout, reason = "what was counted belongs to the proof")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::sync::Arc;

use serde_json::json;
use support::Server;
use support::checker::Statistics;
use support::flood::{Cast, Flood, Plan, cast};
use tokio::task::JoinSet;

const SESSIONS: u64 = 200;
/// Sessions at once, so that they also disturb each other a little.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sessions_of_cut_sockets_are_clean() {
    let seed = support::seed();
    let server = Arc::new(Server::start(&[]).await);
    let mut sessions = JoinSet::new();
    let mut all = Vec::new();
    for number in 0..SESSIONS {
        if sessions.len() == AT_ONCE {
            all.push(sessions.join_next().await.expect("some run").expect("a session is clean"));
        }
        sessions.spawn(session(Arc::clone(&server), number, seed.wrapping_add(number)));
    }
    while let Some(one) = sessions.join_next().await {
        all.push(one.expect("a session is clean"));
    }
    let sum = |count: fn(&Statistics) -> usize| all.iter().map(count).sum::<usize>();
    let (sent, repeated, resumes) = (sum(|s| s.acknowledged), sum(|s| s.repeated), sum(|s| s.resumes));
    println!("{} sessions: {sent} sends, {repeated} repeated, {resumes} resumes", all.len());
    assert_eq!(all.len(), SESSIONS as usize);
    assert!(repeated > 0 && resumes > 0, "cuts that cut nothing show nothing");
}

async fn session(server: Arc<Server>, number: u64, seed: u64) -> Statistics {
    let recorder = server.another_record();
    let people = Cast { users: 3, devices: 2, direct: 1, groups: 1, group_of: 0 };
    let devices = cast(&server, &recorder, &format!("s{number}u"), people).await;
    let connected = devices.len();
    let plan = Plan { window: 3, in_all: 15, cuts: 0.05, changes: 0.2, ..Plan::default() };
    let flood = Flood::start(&server.addresses, devices, plan, seed);
    let verdict = flood.settle(&recorder, server.database()).await;
    assert!(verdict.findings.is_empty(), "session {number}, seed {seed}:\n{}", verdict.findings.join("\n"));
    assert_eq!(verdict.statistics.complete_devices, connected);
    verdict.statistics
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_just_full_says_whether_another_follows() {
    let server = Server::start(&[("page-max", "4")]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let id = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    for number in 0..8 {
        let text = format!("word {number}");
        ann.command("message.send", json!({ "conversation": id, "text": text, "client_key": text })).await;
    }
    // Until the personal stream, too, has two pages and nothing more.
    let mut until = 0;
    let epoch = ann.hello["epoch"].clone();
    let head = json!({ "epoch": epoch, "personal": 0 });
    while ann.command("resume", head.clone()).await["personal"].as_i64() != Some(8) {
        until += 1;
        ann.command("conversation.mute", json!({ "conversation": id, "until": until })).await;
        assert!(until < 8, "one entry for each setting");
    }
    let mut again = ann.connect_again().await;
    let cursors = json!({ "epoch": epoch, "personal": 0, "conversations": { (id.to_string()): 0 } });
    again.command("resume", cursors).await;
    for kind in ["personal.page", "conversation.page"] {
        for (upto, more) in [(4, true), (8, false)] {
            let page = again.expect(kind).await;
            assert_eq!((&page["upto"], &page["more"]), (&json!(upto), &json!(more)), "{kind} {page}");
        }
    }
}
