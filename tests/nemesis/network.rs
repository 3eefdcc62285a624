//! What happens on the ways between clients, nodes, Postgres and Redis.

use std::time::Duration;

use rand::seq::SliceRandom;

use crate::NODES;
use crate::run::Run;
use crate::support::proxy::Weather;
use crate::support::raw::RawSocket;

/// Of a hundred packets, five come late, and now and then a connection breaks.
const LOSSY: Weather = Weather {
    stalls: 0.05,
    resets: 0.0005,
    shut: false,
    silent: false,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
    bytes_per_s: 0,
    cut_after: 0,
    loses_commits: false,
};

/// One node has no Redis, while the others have.
pub async fn cut_from_redis(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    run.cluster.to_redis[node].cut();
    run.hold_long().await;
    run.cluster.to_redis[node].heal();
}

/// One node has no database, while the others have.
pub async fn cut_from_postgres(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    run.cluster.to_postgres[node].cut();
    run.hold().await;
    run.cluster.to_postgres[node].heal();
}

/// Clients of one node are cut off in the middle of what they say, again and again.
pub async fn clients_cut(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    run.cluster.clients[node].set(Weather { cut_after: 3_000, ..Weather::default() });
    run.hold().await;
    run.cluster.clients[node].heal();
    run.cluster.clients[node].half_close();
}

/// The clients of one node vanish, and the node is never told.
pub async fn clients_half_open(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    run.cluster.clients[node].lose_clients();
    run.hold_long().await;
}

/// One node loses all its clients, and they are never told.
pub async fn servers_half_open(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    run.cluster.clients[node].lose_server();
    run.hold().await;
}

/// Fifteen more sockets of somebody who takes part never read what they are told.
pub async fn slow_consumers(run: &mut Run<'_>) {
    let account = run.cluster.server.login(&run.talker).await;
    let authorization = format!("Authorization: Bearer {}\r\n", account.access);
    run.strike(None).await;
    let mut slow = Vec::new();
    for _ in 0..15 {
        let address = run.cluster.server.next_address();
        slow.extend(RawSocket::open(address, &authorization, Some(2048)).await.ok());
    }
    run.hold_long().await;
    drop(slow);
}

/// Everything is lossy, for everybody.
pub async fn lossy(run: &mut Run<'_>) {
    run.strike(None).await;
    run.cluster.weather(LOSSY);
    run.hold().await;
    run.cluster.weather(Weather::default());
}

/// The clients of one node have next to no bandwidth.
pub async fn thin(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    run.cluster.clients[node].set(Weather { bytes_per_s: 8_000, ..Weather::default() });
    run.hold().await;
    run.cluster.clients[node].heal();
}

/// Ways stop one by one in a random order, and go on one by one in another.
pub async fn swizzle(run: &mut Run<'_>) {
    let mut ways: Vec<usize> = (0..3 * NODES).collect();
    ways.shuffle(&mut run.dice);
    ways.truncate(4);
    run.strike(None).await;
    for stopped in [true, false] {
        for way in &ways {
            let proxy = run.cluster.proxies().nth(*way).expect("there are so many");
            proxy.set(Weather { silent: stopped, ..Weather::default() });
            // One after another is the point.
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        ways.shuffle(&mut run.dice);
    }
}
