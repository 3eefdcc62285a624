//! What is true of a server on Postgres alone: how it starts, what it holds there, and how it gets on with others that
//! lock the same rows.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::{Command, Output, Stdio};
use std::task::Poll;

use duet::config::Config;
use duet::error::ErrorCode;
use duet::model::{Text, UserId};
use duet::store::{Purpose, Store, Tx, Use, accounts};
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use support::checker::Source;
use support::node::Launch;
use support::private::Postgres;
use support::server::patient;
use support::setup::shared;
use support::{Client, Server, in_time};

/// Runs duet to its end on a database.
fn duet(url: &str, args: &[&str]) -> Output {
    let data = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(args).args(["--listen", "127.0.0.1:0", "--database-url", url, "--data-dir"]).arg(data.path());
    command.stdin(Stdio::null()).output().expect("run duet")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs duet where it must refuse, and answers its words.
fn refusal(url: &str, args: &[&str]) -> String {
    let output = duet(url, args);
    assert!(!output.status.success(), "{args:?} was taken: {}", said(&output));
    said(&output)
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("connect to the database")
}

async fn execute(database: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(database).await.expect("a statement of the story");
}

async fn number(database: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(database).await.expect("a number")
}

/// Looks again and again until a query answers this number.
async fn until(database: &mut PgConnection, what: &str, sql: &str, wanted: i64) {
    in_time(what, async {
        while number(database, sql).await != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A new database on the Postgres of these stories.
async fn new_database() -> String {
    let shared = shared().await;
    shared.postgres.url(&shared.postgres.create().await)
}

/// So many nodes on a database, which hear of each other through Redis.
async fn nodes(count: usize, url: &str, settings: &[(&str, &str)]) -> Server {
    let home = tempfile::Builder::new().prefix("duet-test-").tempdir().expect("a directory");
    let redis = shared().await.redis.url();
    let mut all = patient(settings);
    all.extend([("database-url".to_owned(), url.to_owned()), ("redis-url".to_owned(), redis)]);
    let launches = (0..count).map(|node| Launch {
        data: home.path().join(format!("data-{node}")),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        settings: all.clone(),
        environment: vec![("DUET_SECRET".to_owned(), "one key for all nodes of the stories".to_owned())],
    });
    let launches = launches.collect();
    Server::assemble(home, Source::Url(url.to_owned()), launches).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_lose_what_it_acknowledged_is_refused() {
    let postgres = Postgres::start().await;
    let url = postgres.url(&postgres.create().await);
    let mut root = connect(&postgres.url("postgres")).await;
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        execute(&mut root, &format!("ALTER SYSTEM SET {setting} = off")).await;
        execute(&mut root, "SELECT pg_reload_conf()").await;
        let off = format!("SELECT count(*) FROM pg_settings WHERE name = '{setting}' AND setting = 'off'");
        until(&mut root, "the setting", &off, 1).await;
        let told = refusal(&url, &["serve"]);
        assert!(told.contains(&format!("{setting}=off")) && told.contains("--allow-unsafe-durability"), "{told}");
        let done = duet(&url, &["migrate", "--allow-unsafe-durability", "true"]);
        assert!(done.status.success(), "{}", said(&done));
        execute(&mut root, &format!("ALTER SYSTEM RESET {setting}")).await;
        execute(&mut root, "SELECT pg_reload_conf()").await;
        until(&mut root, "the setting", &off, 0).await;
    }
    let done = duet(&url, &["migrate"]);
    assert!(done.status.success(), "{}", said(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_at_the_start_is_told_with_what_to_do() {
    let url = new_database().await;
    assert!(duet(&url, &["migrate"]).status.success());
    let mut database = connect(&url).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
        VALUES (9999, 'later', true, '', 0)";
    execute(&mut database, newer).await;
    let told = refusal(&url, &["serve"]);
    assert!(told.contains("9999") && told.contains("newer"), "{told}");

    execute(&mut database, "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0").await;
    let told = refusal(&shared().await.postgres.url("bytes"), &["serve"]);
    assert!(told.contains("SQL_ASCII") && told.contains("UTF8"), "{told}");

    let told = refusal("postgres://somebody:a-password@127.0.0.1:1/nowhere", &["serve"]);
    assert!(told.contains("127.0.0.1:1/nowhere") && !told.contains("a-password"), "{told}");
    let told = said(&duet("postgres://somebody:a-password@127.0.0.1:1/nowhere", &["config"]));
    assert!(told.contains("somebody:(hidden)@") && !told.contains("a-password"), "{told}");
    assert!(refusal("mysql://127.0.0.1/duet", &["serve"]).contains("postgres:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_on_an_empty_database_agree() {
    let url = new_database().await;
    let server = nodes(5, &url, &[]).await;
    let account = server.account("ann").await;
    let mut epochs = Vec::new();
    for _ in 0..5 {
        epochs.push(Client::connect(&server, account.clone()).await.hello["epoch"].clone());
    }
    assert!(epochs[0].is_string() && epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
    let mut database = connect(&url).await;
    let twice = "SELECT count(*) - count(DISTINCT version) FROM _sqlx_migrations";
    assert_eq!(number(&mut database, twice).await, 0);
    assert_eq!(number(&mut database, "SELECT count(*) FROM meta WHERE key = 'installation'").await, 1);
}

/// Something that a transaction writes.
async fn add_user(tx: &mut Tx, name: &str) -> duet::error::Result<Option<UserId>> {
    let (name, none) = (&Text::without_nul(name), &Text::default());
    let user = accounts::NewUser {
        username: name,
        username_key: name,
        password_hash: none,
        email: none,
        first_name: none,
        last_name: none,
    };
    accounts::insert(tx, &user, 0).await
}

/// A transaction that has written, on a machine so busy that the first ones may sleep too long before that.
async fn written(store: &Store, name: &str) -> Tx {
    in_time("a transaction that writes", async {
        loop {
            let mut tx = store.begin(Purpose::SignIn).await.expect("begin");
            if add_user(&mut tx, name).await.is_ok() {
                return tx;
            }
        }
    })
    .await
}

/// Polls a future so often at most, and drops it wherever it is then.
async fn polled(future: impl Future, times: usize) {
    let mut future = pin!(future);
    for _ in 0..times {
        let ready = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
        if ready {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_dropped_at_any_moment_leave_nothing_open_and_lose_nothing() {
    const WRITTEN: usize = 300;
    let url = new_database().await;
    // Few connections, so that what one leaves behind meets the next one.
    let config =
        Config { database_url: url.clone().into(), postgres_writers: 3, postgres_wait_ms: 10_000, ..Config::default() };
    let store = std::sync::Arc::new(Store::open(&config, Use::Serving).await.expect("open the store"));
    async fn insert(store: &Store, name: &str, commit: bool) -> bool {
        let Ok(mut tx) = store.begin(Purpose::SignIn).await else { return false };
        let inserted = add_user(&mut tx, name).await;
        matches!(inserted, Ok(Some(_))) && commit && tx.commit(|| ()).await.is_ok()
    }
    let dropping = tokio::spawn({
        let store = std::sync::Arc::clone(&store);
        async move {
            for number in 0..3000_usize {
                polled(insert(&store, &format!("dropped{number}"), false), number * 7 % 97).await;
            }
        }
    });
    let mut acknowledged = Vec::new();
    for number in 0..WRITTEN {
        let name = format!("kept{number}");
        if insert(&store, &name, true).await {
            acknowledged.push(name);
        }
    }
    dropping.await.expect("it drops them all");
    assert!(acknowledged.len() > WRITTEN / 2, "only {} of {WRITTEN} were written", acknowledged.len());
    let mut database = connect(&url).await;
    let open = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'duet' AND state LIKE 'idle in transaction%'";
    until(&mut database, "all transactions to be over", open, 0).await;
    let kept: Vec<String> =
        sqlx::query_scalar("SELECT username FROM users").fetch_all(&mut database).await.expect("the users");
    let lost: Vec<_> = acknowledged.iter().filter(|name| !kept.contains(name)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(!kept.iter().any(|name| name.starts_with("dropped")), "what was dropped was committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_slept_too_long_is_to_be_run_again_and_leaves_nothing() {
    let url = new_database().await;
    let config = Config { database_url: url.clone().into(), ..Config::default() };
    let store = Store::open(&config, Use::Serving).await.expect("open the store");
    let mut database = connect(&url).await;
    let open = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'duet' AND state = 'idle in transaction'";
    // The process sleeps in the middle of a transaction, as one that was stopped does; the server ends it.
    let (mut writing, committing) = (written(&store, "slept").await, written(&store, "slept before the commit").await);
    until(&mut database, "both transactions to be ended by the server", open, 0).await;
    let refused = add_user(&mut writing, "too late").await.expect_err("the transaction is over");
    assert!(refused.overtaken && refused.code == ErrorCode::Busy, "{refused}");
    committing.commit(|| ()).await.expect_err("nothing was committed");
    assert_eq!(number(&mut database, "SELECT count(*) FROM users").await, 0);
    let mut next = store.begin(Purpose::SignIn).await.expect("another connection");
    add_user(&mut next, "awake").await.expect("write");
    next.commit(|| ()).await.expect("commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ends_in_a_deadlock_is_run_again() {
    // Who waits looks for a deadlock once, after this time; by then it must have come about.
    const LATE: &str = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''5s''', \
        current_database()); END $$";
    let url = new_database().await;
    execute(&mut connect(&url).await, LATE).await;
    let server = nodes(1, &url, &[]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    ann.command("like.add", json!({ "user": bob.user })).await;
    let (mut database, mut watcher) = (connect(&url).await, connect(&url).await);
    // Somebody locks Ann and then the pair, while the command locks the pair and then Ann. The database ends the one
    // that has waited long enough to look, which is the command.
    execute(&mut database, "SET deadlock_timeout = '20s'; BEGIN").await;
    execute(&mut database, &format!("SELECT id FROM users WHERE id = {} FOR UPDATE", ann.user)).await;
    let passed = ann.say("pass.add", json!({ "user": bob.user })).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'duet' AND wait_event_type = 'Lock'";
    until(&mut watcher, "the command to wait for Ann", waiting, 1).await;
    execute(&mut database, "SELECT id FROM pairs FOR UPDATE").await;
    execute(&mut database, "COMMIT").await;
    let reply = ann.reply(passed).await;
    assert_eq!(reply["ok"], true, "{reply}");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    // A connection that rests tells what it counted after ten seconds.
    let counted = async {
        while number(&mut watcher, deadlocks).await != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    in_time("the deadlock to be counted", counted).await;
    assert_eq!(number(&mut watcher, "SELECT count(*) FROM pairs WHERE low_passed_at IS NOT NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_write_to_and_block_each_other_on_two_nodes_are_never_told_of_a_collision() {
    const ROUNDS: usize = 60;
    let url = new_database().await;
    let server = nodes(2, &url, &[]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    let both = [(ann, bob.user), (bob, 1)].map(|(mut one, other)| {
        let conversation = conversation.clone();
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let message = json!({ "conversation": conversation, "text": "hi", "client_key": round.to_string() });
                let user = json!({ "user": other });
                let group = json!({ "title": "two", "members": [other] });
                let profile = json!({ "bio": round.to_string() });
                // Who lifts a block has been told that it stands.
                let until_blocked = [("message.send", &message), ("like.add", &user), ("block.add", &user)];
                let since = [
                    ("message.send", &message),
                    ("conversation.create", &group),
                    ("block.remove", &user),
                    ("like.add", &user),
                    ("like.remove", &user),
                    ("profile.update", &profile),
                ];
                for commands in [&until_blocked[..], &since[..]] {
                    let mut ids = Vec::new();
                    for (kind, data) in commands {
                        ids.push((kind, one.say(kind, (*data).clone()).await));
                    }
                    for (kind, id) in ids {
                        let reply = one.reply(id).await;
                        let code = reply["error"]["code"].as_str().unwrap_or_default();
                        let fine = ["blocked", "not_found", "forbidden"].contains(&code);
                        assert!(reply["ok"] == true || fine, "{kind}: {reply}");
                    }
                }
            }
            one
        })
    });
    let mut clients = Vec::new();
    for one in both {
        clients.push(one.await.expect("nobody is told of a collision"));
    }
    let verdict = server.verdict_after(&mut clients).await;
    server.must_be_clean(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_socket_keep_their_order_over_several_lanes() {
    const EACH: i64 = 30;
    let url = new_database().await;
    let server = nodes(1, &url, &[("write-lanes", "4"), ("commands-in-flight", "1000")]).await;
    let mut ann = server.user("ann").await;
    let mut conversations = Vec::new();
    for number in 0..6 {
        let other = server.user(&format!("user{number}")).await;
        conversations.push(ann.command("conversation.open", json!({ "user": other.user })).await["id"].clone());
    }
    let mut ids = Vec::new();
    for text in 0..EACH {
        for conversation in &conversations {
            let data = json!({ "conversation": conversation, "text": text.to_string() });
            ids.push((conversation.clone(), text, ann.say("message.send", data).await));
        }
    }
    for (conversation, text, id) in ids {
        let reply = ann.reply(id).await;
        assert_eq!(reply["data"]["seq"], text + 1, "message {text} of {conversation}: {reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_alone_is_refused_while_a_server_runs_also_after_the_database_restarted() {
    let mut postgres = Postgres::start().await;
    let url = postgres.url(&postgres.create().await);
    let mut server = nodes(1, &url, &[]).await;
    let told = refusal(&url, &["restored"]);
    assert!(told.contains("another duet"), "{told}");
    let copy = std::env::temp_dir().join("duet-never-made");
    assert!(refusal(&url, &["backup", &copy.to_string_lossy()]).contains("pg_dump"));
    assert!(said(&duet(&url, &["user", "list"])).contains("0 accounts"));
    assert!(duet(&url, &["migrate"]).status.success(), "a newer version brings its tables while the older one serves");

    postgres.process().signal("QUIT");
    postgres.process().end("postgres to stop").await;
    postgres.restart().await;
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = 'ShareLock'";
    until(&mut connect(&url).await, "the server to hold its lock again", held, 1).await;
    assert!(refusal(&url, &["restored"]).contains("another duet"));
    server.account("ann").await;

    server.stop().await;
    until(&mut connect(&url).await, "the lock to go with the server", held, 0).await;
    assert!(duet(&url, &["restored"]).status.success());
}
