//! Who follows which conversation, when the nodes hear of members who come and go in another order than that of the
//! commits, or not at all.

use std::time::Duration;

use serde_json::json;

use crate::support::Client;
use crate::support::cluster::{Cluster, open};
use crate::support::proxy::Weather;

/// How much longer the first node's way to Redis takes.
const SLOWER: Weather = Weather {
    shut: false,
    silent: false,
    delay: Duration::from_millis(80),
    jitter: Duration::ZERO,
    bytes_per_s: 0,
    stalls: 0.0,
    resets: 0.0,
    cut_after: 0,
    loses_commits: false,
};

/// A group of Ann, who owns it, Bob, an admin of it, and Carol.
async fn group(ann: &mut Client, bob: &Client, carol: &Client) -> i64 {
    let group = json!({ "title": "three", "members": [bob.user, carol.user] });
    let group = ann.command("conversation.create", group).await["id"].as_i64().expect("an id");
    ann.command("member.role", json!({ "conversation": group, "user": bob.user, "role": "admin" })).await;
    group
}

async fn say(from: &mut Client, conversation: i64, text: &str) {
    from.command("message.send", json!({ "conversation": conversation, "text": text })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n18_a_member_who_was_removed_and_added_again_hears_what_follows() {
    let cluster = Cluster::start(3, &[]).await;
    let (mut ann, mut bob, mut carol) =
        (cluster.user(0, "ann").await, cluster.user(1, "bob").await, cluster.user(2, "carol").await);
    for round in 0..4 {
        cluster.to_redis[0].heal();
        let group = group(&mut ann, &bob, &carol).await;
        say(&mut bob, group, &format!("before {round}")).await;
        carol.expect_message(&format!("before {round}")).await;
        cluster.to_redis[0].set(SLOWER);
        ann.command("member.remove", json!({ "conversation": group, "user": carol.user })).await;
        bob.command("member.add", json!({ "conversation": group, "users": [carol.user] })).await;
        // Told after the removal, on the same slow way.
        say(&mut ann, group, &format!("after {round}")).await;
        carol.expect_message(&format!("after {round}")).await;
        say(&mut bob, group, &format!("later {round}")).await;
        carol.expect_message(&format!("later {round}")).await;
    }
}

/// Transactions of the database of all nodes over some seconds.
async fn transactions(cluster: &Cluster) -> i64 {
    const COUNT: (&str, &str) =
        ("xact_commit + xact_rollback", "FROM pg_stat_database WHERE datname = current_database()");
    let mut database = cluster.server.database().reader().await;
    let before = database.number(COUNT.0, COUNT.1).await;
    // What is counted is what happens in this time.
    tokio::time::sleep(Duration::from_secs(3)).await;
    database.number(COUNT.0, COUNT.1).await - before
}

#[tokio::test(flavor = "multi_thread")]
async fn n18_a_member_whose_addition_is_heard_after_the_removal_hears_nothing_and_reads_nothing() {
    let cluster = Cluster::start(3, &[]).await;
    let (mut ann, mut bob, mut carol) =
        (cluster.user(0, "ann").await, cluster.user(1, "bob").await, cluster.user(2, "carol").await);
    let (group, direct) = (group(&mut ann, &bob, &carol).await, open(&mut ann, &carol).await);
    ann.command("member.remove", json!({ "conversation": group, "user": carol.user })).await;
    carol.expect_where("personal", |entry| entry["kind"] == "conversation_lost").await;
    let usual = transactions(&cluster).await;
    cluster.to_redis[0].set(SLOWER);
    ann.command("member.add", json!({ "conversation": group, "users": [carol.user] })).await;
    bob.command("member.remove", json!({ "conversation": group, "user": carol.user })).await;
    // Told after the addition, on the same slow way.
    say(&mut ann, direct, "all was told").await;
    carol.expect_message("all was told").await;
    say(&mut bob, group, "not for carol").await;
    let now = transactions(&cluster).await;
    println!("transactions in 3 s: {usual} before, {now} after");
    assert!(now < usual * 2 + 200, "a socket reads without end");
    bob.command("member.add", json!({ "conversation": group, "users": [carol.user] })).await;
    say(&mut bob, group, "for carol again").await;
    carol.expect_message("for carol again").await;
    let told = carol.take_events("message.created");
    assert!(!told.iter().any(|told| told["message"]["text"] == "not for carol"), "{told:?}");
}
