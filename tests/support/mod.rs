//! The verbs in which the stories are told: a real server process, real sockets, a record of every frame, and a checker
//! that knows neither.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story that cannot go on fails, loudly and where it stands"
)]

pub mod bucket;
pub mod by_hand;
pub mod certificates;
pub mod checker;
pub mod client;
pub mod cluster;
pub mod device;
pub mod django;
pub mod files;
pub mod flood;
pub mod http;
pub mod node;
pub mod player;
pub mod private;
pub mod process;
pub mod proxy;
pub mod python;
pub mod raw;
pub mod recorder;
pub mod rows;
pub mod server;
pub mod setup;
pub mod socket;
pub mod stopwatch;
pub mod tally;
pub mod tokens;

pub use client::Client;
pub use server::Server;

use std::future::Future;
use std::time::Duration;

/// Longest that a story waits for anything. Far longer than a machine takes that has compilers to run as well: a story
/// that is well never comes near it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for something that must come, and says what it was when it does not.
///
/// # Panics
/// When it did not come in time.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// The seed of this run: from `DUET_SEED`, or a fresh one. Printed, so that a failure can be run again.
#[expect(clippy::disallowed_methods, reason = "the seed of a test is not a setting of the server")]
pub fn seed() -> u64 {
    let given = std::env::var("DUET_SEED").ok();
    let seed = given.map_or_else(rand::random, |text| text.parse().expect("DUET_SEED is a number"));
    println!("DUET_SEED={seed}");
    seed
}
