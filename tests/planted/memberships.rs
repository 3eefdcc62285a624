//! A node that does not hear who came into a conversation or left it finds out all the same: by the next entry of the
//! personal stream that it hears, by its sweep, and while a socket opens.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::cluster::{Cluster, Parts};
use crate::support::{Client, in_time};

/// Two nodes that do not hear of memberships from each other.
async fn two_nodes() -> Cluster {
    let environment: &[(&str, &str)] = &[("DUET_PLANTED_FAULT", "unheard_memberships")];
    Cluster::of(2, Parts { environment, ..Parts::default() }).await
}

async fn create(ann: &mut Client, members: &[i64]) -> i64 {
    let group = json!({ "title": "a group", "members": members });
    ann.command("conversation.create", group).await["id"].as_i64().expect("an id")
}

async fn say(from: &mut Client, conversation: i64, text: &str) {
    from.command("message.send", json!({ "conversation": conversation, "text": text })).await;
}

/// The next entry is heard at once, and no sweep has looked yet that could have found the lost one.
#[tokio::test(flavor = "multi_thread")]
async fn n19_a_conversation_whose_gain_was_lost_is_followed_when_a_later_entry_is_heard() {
    let cluster = two_nodes().await;
    let (mut ann, mut carol) = (cluster.user(0, "ann").await, cluster.user(1, "carol").await);
    let group = create(&mut ann, &[carol.user]).await;
    ann.command("like.add", json!({ "user": carol.user })).await;
    carol.expect_where("personal", |entry| entry["kind"] == "like_received").await;
    say(&mut ann, group, "one").await;
    carol.expect_message("one").await;
    ann.command("member.remove", json!({ "conversation": group, "user": carol.user })).await;
    ann.command("like.remove", json!({ "user": carol.user })).await;
    ann.command("like.add", json!({ "user": carol.user })).await;
    carol.expect_where("personal", |entry| entry["kind"] == "conversation_lost").await;
    say(&mut ann, group, "not for carol").await;
    ann.command("member.add", json!({ "conversation": group, "users": [carol.user] })).await;
    say(&mut ann, group, "two").await;
    carol.expect_message("two").await;
    let told = carol.take_events("message.created");
    assert!(!told.iter().any(|told| told["message"]["text"] == "not for carol"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn n19_a_conversation_whose_gain_was_lost_is_followed_when_a_sweep_finds_it() {
    let cluster = two_nodes().await;
    let (mut ann, mut carol) = (cluster.user(0, "ann").await, cluster.user(1, "carol").await);
    for round in 0..3 {
        let group = create(&mut ann, &[carol.user]).await;
        carol.expect_where("personal", |entry| entry["kind"] == "conversation_gained").await;
        say(&mut ann, group, &format!("round {round}")).await;
        carol.expect_message(&format!("round {round}")).await;
    }
}

/// Waits until a server paused where it was asked to.
async fn paused(place: &Path) {
    in_time("the server to pause", async {
        while !place.with_extension("reached").exists() {
            // Before the next look.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n19_a_conversation_that_is_gained_or_lost_while_a_socket_opens_is_followed_or_not() {
    let cluster = two_nodes().await;
    let mut ann = cluster.user(0, "ann").await;
    let account = cluster.server.account("carol").await;
    let carol = cluster.on_node(1, account.clone()).await.user;
    let lost = create(&mut ann, &[carol]).await;
    let place = cluster.failpoints[1].join("hello");
    std::fs::write(&place, "").expect("ask for a pause");
    let opening = async { cluster.on_node(1, account).await };
    let changing = async {
        paused(&place).await;
        let gained = create(&mut ann, &[carol]).await;
        ann.command("member.remove", json!({ "conversation": lost, "user": carol })).await;
        std::fs::remove_file(&place).expect("end the pause");
        gained
    };
    let (mut carol, gained) = tokio::join!(opening, changing);
    say(&mut ann, lost, "not for carol").await;
    say(&mut ann, gained, "for carol").await;
    carol.expect_message("for carol").await;
    let told = carol.take_events("message.created");
    assert!(!told.iter().any(|told| told["message"]["text"] == "not for carol"), "{told:?}");
}
