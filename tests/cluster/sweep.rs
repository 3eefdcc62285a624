//! What the sweep costs, what it finds late, and what it learns of the time.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::cluster::{Cluster, open};
use crate::support::in_time;
use crate::support::proxy::Weather;

/// Changes that other nodes noted.
const NOTED: i64 = 200_000;

/// Rows of the table of changes that all nodes have read.
async fn rows_read(cluster: &Cluster) -> i64 {
    let read = "coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)";
    cluster.server.database().reader().await.number(read, "FROM pg_stat_user_tables WHERE relname = 'changes'").await
}

/// Waits until each node has swept so many times more.
async fn sweeps(cluster: &Cluster, more: f64) {
    for node in 0..cluster.operators.len() {
        let before = cluster.counted(node, "duet_sweep_seconds_count").await;
        in_time("a node to sweep", async {
            while cluster.counted(node, "duet_sweep_seconds_count").await < before + more {
                // Before the next look.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the clock that the server's is compared with")]
fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_micros() as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn n21_every_change_is_read_once_by_each_node_and_what_was_not_told_is_found_among_them() {
    const LOSE_LITTLE: &str = "SET synchronous_commit = off";
    const NOTE: &str = "DO $$ BEGIN FOR step IN 1..25000 LOOP \
        INSERT INTO changes (kind, subject, seq) SELECT 'conversation', 1000000 + number, step \
            FROM generate_series(1, 8) AS number; \
        COMMIT; END LOOP; END $$";
    let mut cluster = Cluster::start(2, &[("sweep-ms", "300")]).await;
    let (mut ann, mut bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let conversation = open(&mut ann, &bob).await;
    cluster.redis.process().kill();
    cluster.until(1, "node 1 to notice", false).await;
    let before = rows_read(&cluster).await;
    let mut database = cluster.server.database().writer().await;
    database.execute(LOSE_LITTLE).await;
    database.execute(NOTE).await;
    ann.command("message.send", json!({ "conversation": conversation, "text": "among many" })).await;
    bob.expect_message("among many").await;
    sweeps(&cluster, 10.0).await;
    let read = rows_read(&cluster).await - before;
    println!("{read} rows were read of {NOTED}, by two nodes");
    assert!(read < 4 * NOTED, "{read}: changes are read again and again");
}

/// A row is noted before its commit, and others are noted and read meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn n21_a_commit_that_takes_long_is_told_when_it_is_over() {
    const SLOW_COMMIT: &str = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
            $$ BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$; \
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED \
            FOR EACH ROW WHEN (NEW.text = 'late') EXECUTE FUNCTION wait()";
    let overlap = [("sweep-grace-ms", "100"), ("sweep-overlap-ms", "300"), ("postgres-statement-ms", "9000")];
    let mut cluster = Cluster::start(2, &overlap).await;
    cluster.server.database().writer().await.execute(SLOW_COMMIT).await;
    let (mut ann, mut bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let conversation = open(&mut ann, &bob).await;
    cluster.redis.process().kill();
    cluster.until(1, "node 1 to notice", false).await;
    ann.command("message.send", json!({ "conversation": conversation, "text": "late" })).await;
    bob.expect_message("late").await;
}

/// What the database says of the time takes a while to arrive.
#[tokio::test(flavor = "multi_thread")]
async fn d19_a_node_whose_sweeps_are_slow_has_the_right_time() {
    let patient = [("postgres-statement-ms", "15000"), ("postgres-wait-ms", "15000"), ("query-ms", "15000")];
    let cluster = Cluster::start(1, &patient).await;
    let account = cluster.server.account("ann").await;
    cluster.to_postgres[0].set(Weather { delay: Duration::from_millis(500), ..Weather::default() });
    // One may have begun before.
    sweeps(&cluster, 1.0).await;
    sweeps(&cluster, 1.0).await;
    cluster.to_postgres[0].heal();
    let ann = cluster.on_node(0, account).await;
    let off = now() - ann.hello["time"].as_i64().expect("a time");
    assert!(off.abs() < 1_000_000, "the clock is {off} microseconds behind");
}
