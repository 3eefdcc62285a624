//! The nemesis: three nodes, a Postgres and a Redis of their own, people who talk on two devices each, and one fault after
//! another, while every frame is recorded and the checker judges all of it in the end.
//!
//! ```text
//! cargo test --features planted-faults --test nemesis                 one short segment
//! DUET_SEED=n ...                                                     the same choices again
//! DUET_NEMESIS_FAULTS=NodeKilled,RedisPaused ...                      only these kinds
//! DUET_NEMESIS_SEGMENTS=30 DUET_NEMESIS_MINUTES=4 DUET_NEMESIS_DIR=d  the long run; again with the same directory it goes on
//! ```
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a story that cannot go on fails, and what was counted belongs to the proof"
)]

mod faults;
mod network;
mod nodes;
#[cfg(feature = "planted-faults")]
mod planted;
mod postgres;
mod redis;
mod restore;
mod run;
mod segment;
#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::path::PathBuf;
use std::time::Duration;

use faults::{FAULTS, Fault};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use segment::{Course, Summary, play};
use support::cluster::{Cluster, Parts};
use support::node::Addresses;
use support::private::Postgres;

/// Nodes of the cluster.
pub const NODES: usize = 3;
/// Who is silent is noticed within seconds, as the faults take seconds.
const SETTINGS: &[(&str, &str)] = &[("ping-ms", "3000"), ("silent-ms", "9000"), ("write-ms", "5000")];
/// Kinds of faults in the short run.
const SHORT_KINDS: usize = 9;
/// How long the short run makes trouble.
const SHORT: Duration = Duration::from_secs(80);
/// How many commands are edits, deletions, reactions and reads.
const CHANGES: f64 = 0.1;
/// Kinds that must have counted in the short run.
const AT_LEAST: usize = 6;

#[expect(clippy::disallowed_methods, reason = "how a test is run is not a setting of the server")]
fn asked(name: &str) -> Option<String> {
    std::env::var(format!("DUET_NEMESIS_{name}")).ok()
}

/// The kinds of faults that were asked for, or all that are possible.
fn kinds() -> Vec<Fault> {
    if let Some(names) = asked("FAULTS") {
        return names.split(',').map(|name| Fault::named(name).unwrap_or_else(|| panic!("no fault {name}"))).collect();
    }
    FAULTS.iter().map(|(fault, _)| *fault).filter(|fault| fault.possible()).collect()
}

/// Starts everything, with clients behind proxies. A fault of the server itself may be planted in all nodes.
pub async fn cluster(planted: Option<&str>) -> Cluster {
    let postgres = Some(Postgres::start_on_a_small_disk().await);
    let environment: Vec<_> = planted.map(|fault| ("DUET_PLANTED_FAULT", fault)).into_iter().collect();
    let parts = Parts { postgres, settings: SETTINGS, environment: &environment, ..Parts::default() };
    let mut cluster = Cluster::of(NODES, parts).await;
    cluster.server.addresses = Addresses::new(cluster.clients.iter().map(|proxy| proxy.address).collect());
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_nothing_is_lost() {
    let seed = support::seed();
    let Some(segments) = asked("SEGMENTS").map(|text| text.parse::<usize>().expect("a number of segments")) else {
        return short(seed).await;
    };
    let minutes: f64 = asked("MINUTES").map_or(4.0, |text| text.parse().expect("a number of minutes"));
    let folder = asked("DIR").map_or_else(|| PathBuf::from("nemesis-history"), PathBuf::from);
    let (time, longest) = (Duration::from_secs_f64(minutes * 60.0), Duration::from_secs(6));
    let course = Course { seed, time, longest, kinds: kinds(), changes: CHANGES };
    let mut summary = Summary::open(&folder);
    let mut cluster = cluster(None).await;
    let first = summary.segments();
    for number in first..first + segments {
        let dealt = usize::try_from(summary.sum("faults")).expect("a small number");
        let judged = play(&mut cluster, &course, number, dealt).await;
        summary.add(judged.line.clone());
        println!("{}", judged.line);
        if judged.findings.is_empty() {
            cluster.server.forget_records();
        } else {
            panic!("segment {number}:\n{}", judged.findings.join("\n"));
        }
    }
    summary.tell();
}

/// A few kinds, each at least once.
async fn short(seed: u64) {
    let mut kinds = kinds();
    kinds.shuffle(&mut SmallRng::seed_from_u64(seed));
    if asked("FAULTS").is_none() {
        kinds.truncate(SHORT_KINDS);
    }
    let least = AT_LEAST.min(kinds.len());
    let course = Course { seed, time: SHORT, longest: Duration::from_secs(3), kinds, changes: CHANGES };
    let mut cluster = cluster(None).await;
    let judged = play(&mut cluster, &course, 0, 0).await;
    println!("{}", judged.line);
    assert!(
        judged.findings.is_empty(),
        "{} findings:\n{}",
        judged.findings.len(),
        judged.findings[..judged.findings.len().min(20)].join("\n")
    );
    let kinds = judged.line["kinds"].as_object().expect("kinds by name");
    let counted = kinds.values().filter(|kind| kind["counted"].as_u64() > Some(0)).count();
    assert!(counted >= least, "only {counted} kinds of faults met a send without an answer, so little was shown");
}
