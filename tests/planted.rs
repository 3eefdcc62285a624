//! The checker must notice a server that breaks its promises. Each fault is planted in a server of its own, lives
//! through the same short story, and must be found; without a fault the story is clean.
#![cfg(feature = "planted-faults")]
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a story that cannot go on fails, and what was counted belongs to the proof"
)]

#[path = "planted/memberships.rs"]
mod memberships;
#[path = "planted/sessions.rs"]
mod sessions;
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use support::checker::Verdict;
use support::flood::{Cast, Flood, Plan, cast};
use support::{Client, Server};

/// Small outboxes, so that falling behind belongs to the story.
async fn server(fault: &str) -> Server {
    Server::start_with(&[("outbox-frames", "8")], &[("DUET_PLANTED_FAULT", fault)]).await
}

/// Kills, cuts, and more events at once than an outbox holds.
async fn troubled_flood(fault: &str) -> Verdict {
    let seed = support::seed();
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut server = server(fault).await;
    let recorder = server.recorder.clone();
    let people = Cast { users: 6, devices: 2, direct: 2, groups: 2, group_of: 0 };
    let devices = cast(&server, &recorder, "user", people).await;
    let plan = Plan { window: 8, per_socket: 40, cuts: 0.01, changes: 0.2, ..Plan::default() };
    let mut flood = Flood::start(&server.addresses, devices, plan, seed);
    for _ in 0..8 {
        flood.answered(dice.random_range(1..150)).await;
        flood.kill(&mut server).await;
    }
    flood.answered(50).await;
    flood.drain();
    let verdict = flood.settle(&recorder, server.database()).await;
    report(fault, verdict)
}

/// Bob speaks on two sockets while Ann blocks him, lets him back in, and blocks him again.
async fn blocks_against_sends(fault: &str) -> Verdict {
    let server = server(fault).await;
    let mut ann = server.user("ann").await;
    let mut bob = [server.user("bob").await, Client::connect(&server, server.login("bob").await).await];
    let user = json!({ "user": bob[0].user });
    let id = ann.command("conversation.open", user.clone()).await["id"].clone();
    let mut said = 0;
    for _ in 0..200 {
        let mut ids = Vec::new();
        for _ in 0..4 {
            for socket in &mut bob {
                said += 1;
                let key = format!("b{said}");
                let data = json!({ "conversation": id, "text": key.clone(), "client_key": key });
                ids.push(socket.say("message.send", data).await);
            }
        }
        ann.command("block.add", user.clone()).await;
        ann.command("conversation.get", json!({ "conversation": id })).await;
        for (index, id) in ids.into_iter().enumerate() {
            bob[index % 2].reply(id).await;
        }
        ann.command("block.remove", user.clone()).await;
    }
    let [left, right] = bob;
    let verdict = server.verdict_after(&mut [ann, left, right]).await;
    report(fault, verdict)
}

fn report(fault: &str, verdict: Verdict) -> Verdict {
    println!("{fault:?}: {} findings, {:?}", verdict.findings.len(), verdict.statistics);
    verdict.findings.iter().take(5).for_each(|finding| println!("  {finding}"));
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fault_the_stories_are_clean() {
    let verdict = troubled_flood("").await;
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
    let verdict = blocks_against_sends("").await;
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_before_the_commit_is_found() {
    assert!(troubled_flood("ack_before_commit").await.finds("is lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_make_a_repeat_the_same_message_is_found() {
    assert!(!troubled_flood("no_idempotency").await.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_from_the_head_is_found() {
    assert!(troubled_flood("resume_from_head").await.finds("never shown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_not_put_in_order_are_found() {
    assert!(!troubled_flood("order_not_repaired").await.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_judged_outside_the_lock_is_found() {
    assert!(blocks_against_sends("block_outside_lock").await.finds("crossed the block"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f31_a_panic_ends_one_connection_and_takes_its_user_along() {
    let folder = tempfile::tempdir().expect("a directory");
    let asked = folder.path().join("command");
    let environment = [("DUET_FAILPOINTS", folder.path().to_str().expect("a path"))];
    let server = Server::start_with(&[("presence-linger-ms", "1")], &environment).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    ann.command("conversation.open", json!({ "user": bob.user })).await;
    let seen = ann.command("presence.get", json!({ "users": [bob.user] })).await;
    assert_eq!(seen["users"][0]["presence"], "online", "{seen}");
    std::fs::write(&asked, "panic").expect("ask for a panic");
    bob.say("ping", json!({})).await;
    let told = ann.expect_where("presence", |one| one["presence"] == "offline").await;
    assert_eq!(told["user"], bob.user, "{told}");
    assert!(!asked.exists(), "nothing panicked");
}

/// The database refuses the row of one message. It shares its transactions with those of everybody else in its lane.
#[tokio::test(flavor = "multi_thread")]
async fn n01_a_row_that_the_database_refuses_is_refused_to_its_sender_alone() {
    const EACH: usize = 40;
    let server = server("row_refused").await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let mallory = server.user("mallory").await;
    let all = json!({ "title": "all", "members": [bob.user, mallory.user] });
    let group = ann.command("conversation.create", all).await["id"].clone();
    let said = |text: String| json!({ "conversation": group, "text": text.clone(), "client_key": text });
    let mut attackers = Vec::new();
    for number in 0..3 {
        let mut socket = mallory.second_socket().await;
        let (first, bad) = (said(format!("before {number}")), said(format!("refuse this row {number}")));
        socket.command("message.send", first).await;
        let id = socket.say("message.send", bad).await;
        // What follows on this socket must not overtake it.
        let after = socket.say("message.send", said(format!("after {number}"))).await;
        attackers.push((socket, id, after));
        let mut waiting = Vec::new();
        for (one, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
            for line in 0..EACH {
                waiting.push(one.say("message.send", said(format!("{name} {number} {line}"))).await);
            }
        }
        let (of_ann, of_bob) = waiting.split_at(EACH);
        for (one, ids) in [(&mut ann, of_ann), (&mut bob, of_bob)] {
            let mut last = 0;
            for id in ids {
                let reply = one.reply(*id).await;
                let seq = reply["data"]["seq"].as_i64().unwrap_or_else(|| panic!("{reply}"));
                assert!(seq > last, "the order of a socket is kept");
                last = seq;
            }
        }
    }
    for (mut socket, bad, _) in attackers {
        assert_eq!(socket.reply(bad).await["error"]["code"], "internal");
        assert_eq!(socket.expect_close().await.code, 4009);
    }
    let mut history = server.database().snapshot().await;
    let stored = |text: &'static str| format!("FROM messages WHERE text LIKE '{text}%'");
    assert_eq!(history.number("count(*)", &stored("before")).await, 3);
    assert_eq!(history.number("count(*)", &stored("refuse")).await, 0);
    assert_eq!(history.number("count(*)", &stored("after")).await, 0);
    let verdict = server.verdict_after(&mut [ann, bob, mallory]).await;
    // What is wrong is what was planted.
    let planted = |finding: &&String| finding.starts_with("message.send was answered with an internal error");
    assert_eq!(verdict.findings.iter().filter(planted).count(), 3);
    assert_eq!(verdict.findings.len(), 3, "{:#?}", verdict.findings);
}
