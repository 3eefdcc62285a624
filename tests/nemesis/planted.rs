//! The nemesis must notice a cluster that breaks its promises. Each fault is planted in all nodes, which suffer what can
//! bring it to light, and must be found within five minutes.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::faults::Fault;
use crate::segment::{Course, play};
use crate::support;
use crate::support::cluster::Cluster;

/// Until when a planted fault must be found.
const FOUND: Duration = Duration::from_secs(300);

/// Makes trouble until something is found.
async fn is_found(planted: &str, kinds: &[Fault], changes: f64) {
    let course = Course {
        seed: support::seed(),
        time: Duration::from_secs(40),
        longest: Duration::from_secs(3),
        kinds: kinds.to_vec(),
        changes,
    };
    let begun = Instant::now();
    let mut cluster = crate::cluster(Some(planted)).await;
    let mut dealt = 0;
    for number in 0.. {
        let played = AssertUnwindSafe(play(&mut cluster, &course, number, dealt)).catch_unwind().await;
        let after = begun.elapsed();
        // A cluster so broken that the story cannot go on is found too.
        let Ok(judged) = played else {
            println!("{planted} was found after {after:?}: the story could not go on");
            return;
        };
        if let Some(first) = judged.findings.first() {
            println!("{planted} was found after {after:?}, by {} findings: {first}", judged.findings.len());
            return;
        }
        assert!(after < FOUND, "{planted} was not found in {after:?}: {}", judged.line);
        dealt += usize::try_from(judged.line["faults"].as_u64().expect("a number")).expect("a small one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_told_before_its_commit_is_found() {
    // Edits and reactions are what that server tells too early.
    is_found("publish_before_commit", &[Fault::NodeDiesBeforeCommit, Fault::PostgresStopped], 0.6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_that_does_not_sweep_is_found() {
    is_found("no_sweep", &[Fault::NodeDiesAfterCommit, Fault::RedisKilled], 0.1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_that_is_handed_on_inside_a_transaction_is_found() {
    is_found("no_rollback_guard", &[Fault::Quarrel, Fault::TransactionsCancelled], 0.3).await;
}
