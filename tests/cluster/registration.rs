//! Who is here stands in the directory, whatever happens between a node and Redis while sockets come and go.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, open};
use crate::support::proxy::Weather;
use crate::support::socket::Cut;
use crate::support::{Client, in_time};

/// A key of the directory.
async fn key(cluster: &Cluster, name: &str) -> String {
    let mut database = cluster.server.database().reader().await;
    let rows = database.rows("value", "FROM meta WHERE key = 'installation'").await;
    format!("duet:{}:{name}", rows[0][0].as_str().expect("a name"))
}

/// Waits until Redis answers a command so.
async fn redis_answers(cluster: &Cluster, command: &str, fits: impl Fn(&str) -> bool) {
    in_time(command, async {
        while !fits(cluster.redis.say(command).await.trim()) {
            // Before the next look.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits until a user is seen so.
async fn is_seen(by: &mut Client, user: i64, presence: &str) {
    in_time(&format!("{user} to be {presence}"), async {
        loop {
            let seen: Value = by.command("presence.get", json!({ "users": [user] })).await;
            if seen["users"][0]["presence"] == presence {
                break;
            }
            // Before the next look.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn n20_a_socket_that_opens_or_closes_while_its_node_begins_again_is_seen_so() {
    let patient = [("redis-wait-ms", "4000"), ("deaf-ms", "20000"), ("node-lease-ms", "30000")];
    let cluster = Cluster::start(2, &patient).await;
    let mut ann = cluster.user(0, "ann").await;
    let account = cluster.server.account("carol").await;
    let (bob, carol) = (cluster.user(1, "bob").await, cluster.on_node(1, account.clone()).await);
    open(&mut ann, &bob).await;
    open(&mut ann, &carol).await;
    let (bob_user, carol_user) = (bob.user, carol.user);
    carol.cut(Cut::Close).await;
    is_seen(&mut ann, carol_user, "offline").await;
    is_seen(&mut ann, bob_user, "online").await;
    let nodes = format!("SCARD {}", key(&cluster, "nodes").await);
    cluster.to_redis[1].set(Weather { delay: Duration::from_millis(300), ..Weather::default() });
    cluster.to_redis[1].reset();
    // The next incarnation is listed: it has begun to write down who was here then.
    redis_answers(&cluster, &nodes, |count| count == ":3").await;
    bob.cut(Cut::Close).await;
    let _carol = cluster.on_node(1, account).await;
    cluster.to_redis[1].heal();
    cluster.until(1, "node 1 to hear again", true).await;
    is_seen(&mut ann, carol_user, "online").await;
    is_seen(&mut ann, bob_user, "offline").await;
}

/// A Redis that fails over to a replica forgets what it was told last.
#[tokio::test(flavor = "multi_thread")]
async fn n20_what_redis_forgot_is_written_again_and_what_it_kept_is_taken_back() {
    let cluster = Cluster::start(2, &[]).await;
    let mut ann = cluster.user(0, "ann").await;
    let (bob, carol) = (cluster.user(1, "bob").await, cluster.user(1, "carol").await);
    open(&mut ann, &bob).await;
    open(&mut ann, &carol).await;
    let carol_user = carol.user;
    let [of_bob, of_carol] = [bob.user, carol_user].map(|user| format!("user:{user}"));
    let (of_bob, of_carol) = (key(&cluster, &of_bob).await, key(&cluster, &of_carol).await);
    // Node 1's name is the one field of Bob's places.
    let answer = cluster.redis.say(&format!("HKEYS {of_bob}")).await;
    let node = answer.trim().lines().last().expect("a node").trim().to_owned();
    let at = key(&cluster, &format!("at:{node}")).await;
    carol.cut(Cut::Close).await;
    is_seen(&mut ann, carol_user, "offline").await;
    cluster.redis.say(&format!("DEL {of_bob}")).await;
    cluster.redis.say(&format!("HSET {of_carol} {node} 1")).await;
    cluster.redis.say(&format!("SADD {at} {carol_user}")).await;
    is_seen(&mut ann, bob.user, "online").await;
    is_seen(&mut ann, carol_user, "offline").await;
}
