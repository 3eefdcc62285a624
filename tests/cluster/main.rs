//! What holds over several nodes, and through the trouble that can come between them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story that cannot go on fails, and what was measured belongs to the proof"
)]

mod encrypted;
mod membership;
mod power;
mod registration;
mod storm;
#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;
mod sweep;

use std::time::Duration;

use serde_json::{Value, json};
use support::cluster::{Cluster, open};
use support::proxy::Weather;
use support::raw::RawSocket;
use support::stopwatch::Stopwatch;
use support::{Client, in_time};

/// Says a text and waits until the other one has it, however it comes. Answers how long the reply and the message
/// took, as far as a processor was free.
async fn tell(from: &mut Client, to: &mut Client, conversation: i64, text: &str) -> (Duration, Duration) {
    let begun = Stopwatch::start();
    from.command("message.send", json!({ "conversation": conversation, "text": text })).await;
    let answered = begun.quiet();
    to.expect_message(text).await;
    (answered, begun.quiet())
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_chat_goes_on_and_with_it_again_at_once() {
    let mut cluster = Cluster::start(2, &[]).await;
    let (mut ann, mut bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let conversation = open(&mut ann, &bob).await;
    tell(&mut ann, &mut bob, conversation, "with redis").await;
    cluster.redis.process().kill();
    let (mut answers, mut deliveries) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let (answered, delivered) = tell(&mut ann, &mut bob, conversation, &format!("without {number}")).await;
        answers.push(answered);
        deliveries.push(delivered);
    }
    let (answers, deliveries) = (percentile(answers, 99), percentile(deliveries, 99));
    println!("redis down: replies p99 {answers:?}, deliveries to the other node p99 {deliveries:?}");
    assert!(answers < Duration::from_millis(500), "sends do not feel it");
    assert!(deliveries < Duration::from_millis(2_500), "one sweep");
    cluster.redis.restart().await;
    let begun = Stopwatch::start();
    cluster.until(0, "node 0 to hear again", true).await;
    cluster.until(1, "node 1 to hear again", true).await;
    let back = begun.quiet();
    let (_, delivered) = tell(&mut ann, &mut bob, conversation, "with redis again").await;
    println!("the fast path is back after {back:?}; the first message took {delivered:?}");
    assert!(back < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_died_in_silence_is_noticed_and_nothing_is_lost() {
    let cluster = Cluster::start(2, &[]).await;
    let (mut ann, mut bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let conversation = open(&mut ann, &bob).await;
    tell(&mut ann, &mut bob, conversation, "before").await;
    cluster.to_redis[1].lose_server();
    let noticed = cluster.until(1, "node 1 to notice that it is deaf", false).await;
    let (_, delivered) = tell(&mut ann, &mut bob, conversation, "while deaf").await;
    let back = cluster.until(1, "node 1 to hear again", true).await;
    println!("noticed after {noticed:?}, a message took {delivered:?}, hearing again after {back:?}");
    assert!(noticed < Duration::from_secs(3));
    assert!(delivered < Duration::from_millis(2_500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgot_everything_loses_nothing() {
    let cluster = Cluster::start(2, &[]).await;
    let (mut ann, mut bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let conversation = open(&mut ann, &bob).await;
    for round in 0..5 {
        let answer = cluster.redis.say("FLUSHALL").await;
        assert!(answer.starts_with("+OK"), "{answer}");
        let (_, delivered) = tell(&mut ann, &mut bob, conversation, &format!("forgotten {round}")).await;
        assert!(delivered < Duration::from_millis(2_500), "{delivered:?}");
    }
    // Everybody is registered anew, and found.
    in_time("bob to be found again", async {
        let before = cluster.counted(0, "duet_bus_packets_total").await;
        while cluster.counted(0, "duet_bus_packets_total").await == before {
            tell(&mut ann, &mut bob, conversation, "are you there").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_takes_sends_again_and_no_node_restarts() {
    let mut cluster = Cluster::with_postgres(2, &[]).await;
    let (mut ann, mut bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let conversation = open(&mut ann, &bob).await;
    tell(&mut ann, &mut bob, conversation, "before").await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(cluster.on_node(0, ann.account.clone()).await);
    }
    let pids: Vec<u32> = cluster.server.nodes.iter().map(|node| node.pid()).collect();
    let postgres = cluster.postgres();
    postgres.stop_at_once().await;
    let refused = ann.refused("message.send", json!({ "conversation": conversation, "text": "now" })).await;
    assert_eq!(refused["retryable"], true, "{refused}");
    // What it sent later, before it knew, must not come first. The others stay.
    assert_eq!(ann.expect_close().await.code, 4009);
    // Who comes now is told so at once, and not kept until the time for saying who they are is over.
    let coming = Stopwatch::start();
    let mut early = RawSocket::open(cluster.server.nodes[0].address, "", None).await.expect("an upgrade");
    early.say(&json!({ "type": "auth", "data": { "token": ann.account.access } }).to_string()).await;
    let answer = early.json().await;
    assert_eq!((&answer["error"]["code"], early.end().await.0), (&json!("busy"), 4009), "{answer}");
    let bearer = format!("Authorization: Bearer {}\r\n", ann.account.access);
    let early = RawSocket::open(cluster.server.nodes[0].address, &bearer, None).await;
    assert!(early.is_err_and(|answer| answer.starts_with("HTTP/1.1 503 ")), "judged before the upgrade");
    coming.must_be_within(Duration::from_secs(8), "turning two away");
    cluster.postgres().restart().await;
    let begun = Stopwatch::start();
    let mut taken = false;
    for other in &mut others {
        let id = other.say("message.send", json!({ "conversation": conversation, "text": "after" })).await;
        if other.reply(id).await["ok"] == true {
            taken = true;
            break;
        }
    }
    assert!(taken, "no send was taken");
    let taken = begun.quiet();
    bob.expect_message("after").await;
    println!("the first acknowledgement came {taken:?} after the database was up");
    assert!(taken < Duration::from_secs(5));
    let after: Vec<u32> = cluster.server.nodes.iter().map(|node| node.pid()).collect();
    assert_eq!(pids, after);
}

/// A message costs at most one publish for each other node that holds the recipient or the sender's other sockets.
#[tokio::test(flavor = "multi_thread")]
async fn a_direct_message_is_published_once_per_node_concerned() {
    for nodes in [2, 4] {
        let cluster = Cluster::start(nodes, &[]).await;
        let (mut ann, mut bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
        let conversation = open(&mut ann, &bob).await;
        // Of the sender another socket, of the recipient two, and on the last node somebody else.
        let mut others = vec![
            cluster.on_node(1 % nodes, ann.account.clone()).await,
            cluster.on_node(2 % nodes, bob.account.clone()).await,
        ];
        let _stranger = cluster.user(nodes - 1, "carol").await;
        tell(&mut ann, &mut bob, conversation, "first").await;
        let concerned = if nodes == 2 { 1.0 } else { 2.0 };
        // That people came is told by tasks of their own.
        let mut before = cluster.counted_everywhere("duet_bus_packets_total").await;
        in_time("the arrivals to be told", async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let now = cluster.counted_everywhere("duet_bus_packets_total").await;
                if std::mem::replace(&mut before, now) == now {
                    break;
                }
            }
        })
        .await;
        const MESSAGES: usize = 50;
        for number in 0..MESSAGES {
            let text = format!("{number}");
            tell(&mut ann, &mut bob, conversation, &text).await;
            for other in &mut others {
                other.expect_message(&text).await;
            }
        }
        let published = cluster.counted_everywhere("duet_bus_packets_total").await - before;
        println!("{nodes} nodes: {published} publishes for {MESSAGES} messages to {concerned} other nodes");
        assert!(published <= MESSAGES as f64 * concerned, "{published}");
        assert!(published > 0.0, "nothing was counted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_that_of_all_nodes_and_unknown_when_nobody_can_tell() {
    let mut cluster = Cluster::start(2, &[]).await;
    let (mut ann, bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    open(&mut ann, &bob).await;
    let ask = json!({ "users": [bob.user] });
    let presence = |answer: &Value| answer["users"][0]["presence"].as_str().unwrap_or_default().to_owned();
    assert_eq!(presence(&ann.command("presence.get", ask.clone()).await), "online");
    // A second socket on the other node, and the first one goes: still there.
    let again = cluster.on_node(0, bob.account.clone()).await;
    let (bob_user, bob_account) = (bob.user, bob.account.clone());
    bob.cut(support::socket::Cut::Close).await;
    assert_eq!(presence(&ann.command("presence.get", ask.clone()).await), "online");
    again.cut(support::socket::Cut::Close).await;
    let told = ann.expect_where("presence", |data| data["presence"] == "offline").await;
    assert_eq!(told["user"], bob_user);
    let _bob = cluster.on_node(1, bob_account).await;
    ann.expect_where("presence", |data| data["presence"] == "online").await;
    assert_eq!(presence(&ann.command("presence.get", ask.clone()).await), "online");
    cluster.redis.process().kill();
    cluster.until(0, "node 0 to notice", false).await;
    let begun = Stopwatch::start();
    assert_eq!(presence(&ann.command("presence.get", ask.clone()).await), "online", "as last known");
    in_time("what was known to be known no more", async {
        while presence(&ann.command("presence.get", ask.clone()).await) == "online" {
            // Before the next question.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    begun.must_be_within(Duration::from_secs(20), "forgetting what was last known");
    assert_eq!(presence(&ann.command("presence.get", ask.clone()).await), "unknown");
    println!("unknown after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_closes_the_sockets_on_every_node_with_and_without_redis() {
    let mut cluster = Cluster::start(2, &[]).await;
    for (name, limit, redis) in [("ann", 1_000, true), ("bob", 2_000, false)] {
        let account = cluster.server.account(name).await;
        let (here, mut there) = (cluster.on_node(0, account.clone()).await, cluster.on_node(1, account).await);
        if !redis {
            cluster.redis.process().kill();
            cluster.until(1, "node 1 to notice", false).await;
        }
        let begun = Stopwatch::start();
        let answer = here.http("POST", "/api/v1/auth/logout/", Some(&json!({}))).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let ended = there.expect_close().await;
        let took = begun.quiet();
        println!("redis {redis}: the socket on the other node was closed after {took:?}");
        assert_eq!(ended.code, 4003);
        assert!(took < Duration::from_millis(limit), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_slept_tells_nothing_to_a_session_that_ended_meanwhile() {
    let mut cluster = Cluster::start(2, &[]).await;
    let account = cluster.server.account("ann").await;
    let (mut here, mut there) = (cluster.on_node(0, account.clone()).await, cluster.on_node(1, account).await);
    let mut bob = cluster.user(0, "bob").await;
    let conversation = open(&mut bob, &here).await;
    tell(&mut bob, &mut there, conversation, "awake").await;
    cluster.server.nodes[1].process().signal("STOP");
    // What it was told lies in its sockets: it will wake with frames to write.
    for number in 0..20 {
        bob.command("message.send", json!({ "conversation": conversation, "text": format!("asleep {number}") })).await;
    }
    there.say("conversation.list", json!({})).await;
    let answer = here.http("POST", "/api/v1/auth/logout/", Some(&json!({}))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    here.expect_close().await;
    there.forget_events();
    // Longer than a process may be quiet without having slept.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    cluster.server.nodes[1].process().signal("CONT");
    let ended = there.expect_close().await;
    assert_eq!(ended.code, 4003);
    assert_eq!(there.take_events("message.created").len(), 0, "not one frame");
    assert_eq!(there.take_events("conversation.page").len(), 0, "not one frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_user_hold_over_all_nodes() {
    let cluster = Cluster::start(2, &[("likes-per-hour", "6"), ("sockets-per-user", "3")]).await;
    let account = cluster.server.account("ann").await;
    let mut sockets = Vec::new();
    for node in [0, 1, 0] {
        sockets.push(cluster.on_node(node, account.clone()).await);
    }
    let mut liked = Vec::new();
    for number in 0..10 {
        let other = cluster.server.account(&format!("user{number}")).await;
        let other = cluster.on_node(0, other).await;
        let socket = &mut sockets[number % 3];
        let id = socket.say("like.add", json!({ "user": other.user })).await;
        liked.push(socket.reply(id).await["ok"] == true);
    }
    assert_eq!(liked, [[true; 6].as_slice(), [false; 4].as_slice()].concat(), "six likes, wherever they are given");
    // A fourth socket, on the other node: the oldest of all gives way.
    let _fourth = cluster.on_node(1, account).await;
    assert_eq!(sockets[0].expect_close().await.code, 4004);
    for socket in &mut sockets[1..] {
        socket.command("ping", json!({})).await;
    }
}

/// What a user may do so many times an hour is asked of Redis, which may take its time; nobody's rows are locked meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_is_open_while_redis_is_asked_for_a_rate() {
    const LEFT_OPEN: &str = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'duet' \
        AND state LIKE 'idle in transaction%' AND clock_timestamp() - state_change > interval '600 ms'";
    let settings = [("likes-per-hour", "9"), ("direct-per-hour", "9"), ("redis-wait-ms", "1500"), ("deaf-ms", "9000")];
    let cluster = Cluster::start(2, &settings).await;
    let (mut ann, mut bob, mut carol) =
        (cluster.user(0, "ann").await, cluster.user(0, "bob").await, cluster.user(0, "carol").await);
    let mut database = cluster.server.database().reader().await;
    cluster.to_redis[0].set(Weather { silent: true, ..Weather::default() });
    let begun = Stopwatch::start();
    let liked = ann.say("like.add", json!({ "user": bob.user })).await;
    let opened = bob.say("conversation.open", json!({ "user": carol.user })).await;
    let reported = carol.say("report.send", json!({ "user": ann.user, "reason": "spam" })).await;
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(database.number("count(*)", LEFT_OPEN).await, 0, "a transaction waits for Redis");
        // Before the next look.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for (client, asked) in [(&mut ann, liked), (&mut bob, opened), (&mut carol, reported)] {
        let reply = client.reply(asked).await;
        assert_eq!(reply["ok"], true, "without Redis a node allows its share: {reply}");
        assert!(begun.elapsed() > Duration::from_secs(1), "Redis was not asked, so nothing was shown");
    }
}

/// The row that tells of a commit is stamped before it. Of one that comes to light later than any sweep looks back, and
/// whose answer was lost, the others hear when its client repeats it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_came_to_light_too_late_is_told_when_it_is_repeated() {
    const SLOW_COMMIT: &str = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
            $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$; \
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED \
            FOR EACH ROW WHEN (NEW.text = 'late') EXECUTE FUNCTION wait()";
    let cluster = Cluster::start(2, &[("sweep-grace-ms", "100"), ("sweep-overlap-ms", "300")]).await;
    cluster.server.database().writer().await.execute(SLOW_COMMIT).await;
    let (mut ann, mut bob, mut carol) =
        (cluster.user(0, "ann").await, cluster.user(0, "bob").await, cluster.user(1, "carol").await);
    let group = json!({ "title": "three", "members": [bob.user, carol.user] });
    let group = ann.command("conversation.create", group).await["id"].clone();
    let send = |text: &str| json!({ "conversation": group, "text": text, "client_key": text });
    ann.command("message.send", send("in time")).await;
    bob.expect_message("in time").await;
    carol.expect_message("in time").await;

    cluster.to_postgres[0].set(Weather { loses_commits: true, ..Weather::default() });
    assert_eq!(ann.refused("message.send", send("late")).await["code"], "unknown_outcome");
    cluster.to_postgres[0].heal();
    ann.expect_close().await;
    let mut ann = ann.connect_again().await;
    let repeated = ann.command("message.send", send("late")).await;
    let begun = Stopwatch::start();
    bob.expect_message("late").await;
    carol.expect_message("late").await;
    begun.must_be_within(Duration::from_millis(2_500), "one sweep");
    let written = cluster.server.database().reader().await.number("seq", "FROM messages WHERE text = 'late'").await;
    assert_eq!(repeated["seq"], written, "it is the one that had been committed");
}
