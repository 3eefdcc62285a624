//! The end of an account that owns much: accepted at once, erased in slices beside everybody else's messages, and
//! whatever happens to the process in between.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::PASSWORD;
use crate::support::{Client, Server, in_time};

/// How much the account owns: as much as the figures in docs/reliability.md are of, or enough for several slices.
#[expect(clippy::disallowed_methods, reason = "how large a test is is not a setting of the server")]
fn size(variable: &str, usual: i64) -> i64 {
    let given = std::env::var(variable).ok();
    given.map_or(usual, |text| text.parse().expect("the size is a number"))
}

/// Longest that an erasure may take, whatever its size.
const ERASED_BY: Duration = Duration::from_secs(1200);

/// What the account of these stories owns.
struct Estate {
    messages: i64,
    matches: i64,
    conversation: i64,
}

/// Puts matches, and messages in the conversation of ann and bob, into the database. Every other message has a key.
async fn estate(server: &Server, ann: &mut Client, bob: &Client, messages: i64, matches: i64) -> Estate {
    let opened = ann.command("conversation.open", json!({ "user": bob.user })).await;
    let conversation = opened["id"].as_i64().expect("an id");
    let mut database = server.database().writer().await;
    let user = ann.user;
    let numbers = |count: i64| {
        format!(
            "WITH RECURSIVE numbers (number) AS \
             (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {count})"
        )
    };
    let words = match server.database() {
        crate::support::checker::Source::File(_) => {
            "INSERT INTO message_search (rowid, folded, conversation) \
             SELECT id, 'forgotten word' || seq, conversation_id FROM messages"
        }
        crate::support::checker::Source::Url(_) => {
            "INSERT INTO message_search (rowid, words) \
             SELECT id, array_to_tsvector(string_to_array('forgotten word' || seq, ' ')) FROM messages"
        }
    };
    for sql in [
        format!(
            "INSERT INTO users (username, username_key, password_hash, last_active_at, created_at) {} \
             SELECT 'crowd' || number, 'crowd' || number, '!', 1, 1 FROM numbers",
            numbers(matches)
        ),
        format!(
            "INSERT INTO pairs (low, high, low_liked_at, high_liked_at, matched_at) \
             SELECT {user}, id, 1, 1, 1 FROM users WHERE username LIKE 'crowd%'"
        ),
        format!(
            "INSERT INTO messages (conversation_id, seq, rev, sender_id, kind, text, client_key, sent_at) {} \
             SELECT {conversation}, number, number, {user}, 'text', 'Forgotten word' || number, \
             CASE WHEN number % 2 = 0 THEN 'key-' || number END, 1 FROM numbers",
            numbers(messages)
        ),
        words.to_owned(),
        format!("UPDATE conversations SET seq = {messages} WHERE id = {conversation}"),
    ] {
        database.execute(&sql).await;
    }
    Estate { messages, matches, conversation }
}

/// How many jobs there are.
async fn jobs(server: &Server) -> i64 {
    server.database().reader().await.number("count(*)", "FROM jobs").await
}

/// Nothing of the account is left but places, and everybody was told once.
async fn must_be_erased(server: &Server, user: i64, estate: &Estate) {
    let mut database = server.database().reader().await;
    let own = format!("FROM messages WHERE sender_id = {user} AND kind = 'text'");
    assert_eq!(database.number("count(*)", &own).await, estate.messages, "the places stay");
    let full = format!("{own} AND (text <> '' OR client_key IS NOT NULL)");
    assert_eq!(database.number("count(*)", &full).await, 0, "messages that still have a text or a key");
    let words = "FROM message_search WHERE rowid IN (SELECT id FROM messages WHERE text = '')";
    assert_eq!(database.number("count(*)", words).await, 0, "messages that can be found");
    let told = format!("FROM personal WHERE kind = 'user_gone' AND subject = {user}");
    assert_eq!(database.number("count(*)", &told).await, estate.matches + 1, "matches and bob were told");
    assert_eq!(database.number("count(DISTINCT user_id)", &told).await, estate.matches + 1, "each once");
    let matched =
        format!("FROM pairs WHERE {user} IN (low, high) AND matched_at IS NOT NULL AND match_ended_at IS NULL");
    assert_eq!(database.number("count(*)", &matched).await, 0, "matches that did not end");
    assert_eq!(database.number("count(*)", &format!("FROM personal WHERE user_id = {user}")).await, 0);
}

/// Deletes an account, and answers how long its acceptance took.
async fn delete(client: &mut Client) -> Duration {
    let begun = Instant::now();
    client.say("account.delete", json!({ "password": PASSWORD })).await;
    assert_eq!(client.expect_close().await.code, 4003, "the account is signed out");
    begun.elapsed()
}

/// Sends one message after the other until nothing is left to do, and answers how long each took.
async fn talk(server: &Server, client: &mut Client, conversation: i64) -> Vec<Duration> {
    let (begun, mut took, mut looked) = (Instant::now(), Vec::new(), Instant::now());
    loop {
        let sent = Instant::now();
        let data = json!({ "conversation": conversation, "text": "and what do you think?" });
        client.command("message.send", data).await;
        took.push(sent.elapsed());
        if looked.elapsed() > Duration::from_millis(100) {
            looked = Instant::now();
            if jobs(server).await == 0 {
                return took;
            }
            assert!(begun.elapsed() < ERASED_BY, "the erasure does not come to its end");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n05_others_talk_while_an_account_that_owns_much_is_erased() {
    let (messages, matches) = (size("DUET_ERASE_MESSAGES", 3_000), size("DUET_ERASE_MATCHES", 300));
    let server = Server::start(&[("silent-ms", "600000")]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let (mut cem, dora) = (server.user("cem").await, server.user("dora").await);
    let theirs = cem.command("conversation.open", json!({ "user": dora.user })).await["id"].as_i64().expect("an id");
    let group = ann.command("conversation.create", json!({ "title": "ours", "members": [bob.user, cem.user] })).await;
    let estate = estate(&server, &mut ann, &bob, messages, matches).await;
    let accepted = delete(&mut ann).await;
    // Whoever it was is gone at once, for everybody, and the name is free.
    let unknown = bob.refused("profile.get", json!({ "user": 999_999 })).await;
    assert_eq!(bob.refused("profile.get", json!({ "user": ann.user })).await, unknown);
    let history = json!({ "conversation": estate.conversation, "limit": 5 });
    let history = bob.command("message.history", history).await;
    assert!(history["messages"].as_array().is_some_and(|page| page.iter().all(|one| one["deleted"] == true)));
    let found = bob.command("message.search", json!({ "query": "forgotten" })).await;
    assert_eq!(found["messages"], json!([]));
    bob.expect_where("personal", |entry| entry["kind"] == "user_gone" && entry["subject"] == ann.user).await;
    let again = server.user("ann").await;
    assert_ne!(again.user, ann.user, "the name is free, the id is not given away again");
    let begun = Instant::now();
    let mut took = talk(&server, &mut cem, theirs).await;
    took.sort_unstable();
    let (count, most) = (took.len(), took[took.len() - 1]);
    println!(
        "{messages} messages, {matches} matches: accepted after {accepted:?}, erased after {:?}; {count} sends meanwhile, \
         median {:?}, p99 {:?}, longest {most:?}",
        begun.elapsed(),
        took[count / 2],
        took[count * 99 / 100]
    );
    must_be_erased(&server, ann.user, &estate).await;
    // A socket that nobody read from meanwhile may be closed.
    let mut bob = Client::connect(&server, bob.account.clone()).await;
    let left = bob.command("conversation.get", json!({ "conversation": group["id"] })).await;
    assert_eq!((&left["member_count"], &left["role"]), (&json!(2), &json!("owner")), "the group has an heir: {left}");
}

/// How far the erasure is, as the database has it.
async fn progress(server: &Server) -> Option<Value> {
    let mut database = server.database().reader().await;
    let rows = database.rows("progress", "FROM jobs WHERE kind = 'erase_account'").await;
    rows.first().map(|row| row[0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn n05_an_erasure_that_is_killed_goes_on() {
    let mut server = Server::start(&[("jobs-share", "5")]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let estate = estate(&server, &mut ann, &bob, 2_000, 500).await;
    delete(&mut ann).await;
    let mut kills = 0;
    let mut seen = progress(&server).await;
    // Killed after each few slices, wherever the next one is.
    while kills < 5 && seen.is_some() {
        let before = seen.clone();
        in_time("another slice", async {
            while seen.is_some() && seen == before {
                // Before the next look.
                tokio::time::sleep(Duration::from_millis(2)).await;
                seen = progress(&server).await;
            }
        })
        .await;
        server.kill();
        kills += 1;
        server.restart().await;
        seen = progress(&server).await;
    }
    assert!(kills > 2, "it was erased before it was killed");
    server.at_rest().await;
    must_be_erased(&server, ann.user, &estate).await;
}

/// The operator's command does the same beside the running server.
#[tokio::test(flavor = "multi_thread")]
async fn n05_the_operator_deletes_an_account() {
    let server = Server::start(&[]).await;
    let (mut ann, mut bob) = (server.user("ann").await, server.user("bob").await);
    let estate = estate(&server, &mut ann, &bob, 10, 10).await;
    server.operate(&["user", "delete", "ann"]);
    assert_eq!(ann.expect_close().await.code, 4003);
    bob.expect_where("personal", |entry| entry["kind"] == "user_gone" && entry["subject"] == ann.user).await;
    server.at_rest().await;
    must_be_erased(&server, ann.user, &estate).await;
    assert!(server.operate(&["user", "list"]).contains("deleted"));
}
