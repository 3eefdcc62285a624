//! Sockets cut at random points: 200 short sessions, each clean by itself.

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::sync::Arc;

use support::Server;
use support::checker::Statistics;
use support::flood::{Cast, Flood, Plan, cast};
use tokio::task::JoinSet;

const SESSIONS: u64 = 200;
/// Sessions at once, so that they also disturb each other a little.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sessions_of_cut_sockets_are_clean() {
    let seed = support::seed();
    let server = Arc::new(Server::start(&[]).await);
    let mut sessions = JoinSet::new();
    let mut all = Vec::new();
    for number in 0..SESSIONS {
        if sessions.len() == AT_ONCE {
            all.push(sessions.join_next().await.expect("some run").expect("a session is clean"));
        }
        sessions.spawn(session(Arc::clone(&server), number, seed.wrapping_add(number)));
    }
    while let Some(one) = sessions.join_next().await {
        all.push(one.expect("a session is clean"));
    }
    let sum = |count: fn(&Statistics) -> usize| all.iter().map(count).sum::<usize>();
    let (sent, repeated, resumes) = (sum(|s| s.acknowledged), sum(|s| s.repeated), sum(|s| s.resumes));
    println!("{} sessions: {sent} sends, {repeated} repeated, {resumes} resumes", all.len());
    assert_eq!(all.len(), SESSIONS as usize);
    assert!(repeated > 0 && resumes > 0, "cuts that cut nothing show nothing");
}

async fn session(server: Arc<Server>, number: u64, seed: u64) -> Statistics {
    let recorder = server.another_record();
    let people = Cast { users: 3, devices: 2, direct: 1, groups: 1 };
    let devices = cast(&server, &recorder, &format!("s{number}u"), people).await;
    let connected = devices.len();
    let plan = Plan { window: 3, per_socket: usize::MAX, in_all: 15, cuts: 0.05, changes: 0.2 };
    let flood = Flood::start(server.address, devices, plan, seed);
    let verdict = flood.settle(&recorder, &server.database()).await;
    assert!(verdict.findings.is_empty(), "session {number}, seed {seed}:\n{}", verdict.findings.join("\n"));
    assert_eq!(verdict.statistics.complete_devices, connected);
    verdict.statistics
}
