//! `kill -9` under load: what was acknowledged is there afterwards, once, in order, on every device.
#![expect(clippy::print_stdout, reason = "what was counted belongs to the proof")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use support::Server;
use support::flood::{Cast, Flood, Plan, cast};

const KILLS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_through_fifty_kills() {
    let seed = support::seed();
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut server = Server::start(&[]).await;
    let recorder = server.recorder.clone();
    let people = Cast { users: 20, devices: 2, direct: 2, groups: 2, group_of: 0 };
    let devices = cast(&server, &recorder, "user", people).await;
    let connected = devices.len();
    let plan = Plan { window: 4, per_socket: 30, changes: 0.3, ..Plan::default() };
    let mut flood = Flood::start(&server.addresses, devices, plan, seed);
    for _ in 0..KILLS {
        flood.answered(dice.random_range(1..200)).await;
        flood.kill(&mut server).await;
    }
    flood.answered(50).await;
    flood.drain();
    let verdict = flood.settle(&recorder, server.database()).await;
    println!("{:?}", verdict.statistics);
    server.must_be_clean(&verdict);
    let in_flight = verdict.statistics.unanswered_at_kill.iter().filter(|count| **count > 0).count();
    println!("{in_flight} of {KILLS} kills left a send unanswered");
    assert!(in_flight >= 40, "only {in_flight} of {KILLS} kills hit a send in flight, so little was shown");
    assert_eq!(verdict.statistics.complete_devices, connected, "every device came back and stayed");
    assert!(verdict.statistics.repeated > 0, "no send was ever repeated, so little was shown");
}
