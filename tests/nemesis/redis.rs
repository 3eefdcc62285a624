//! What happens to the doorbell.

use std::collections::HashMap;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::run::Run;
use crate::support::proxy::Weather;

/// It is killed, and comes back empty after a while.
pub async fn killed(run: &mut Run<'_>) {
    run.strike(None).await;
    run.cluster.redis.process().kill();
    run.hold().await;
    run.cluster.redis.restart().await;
}

/// It sleeps.
pub async fn paused(run: &mut Run<'_>) {
    run.strike(None).await;
    run.cluster.redis.process().signal("STOP");
    run.hold_long().await;
    run.cluster.redis.process().signal("CONT");
}

/// It has forgotten the connections of one node, and the node was never told.
pub async fn half_open(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(None).await;
    run.cluster.to_redis[node].lose_server();
    run.hold().await;
}

/// A node that sleeps takes nothing, and Redis drops its subscription.
pub async fn slow_subscriber(run: &mut Run<'_>) {
    let node = run.any_node();
    let limit = "CONFIG SET client-output-buffer-limit";
    let set = run.cluster.redis.say(&format!("{limit} \"pubsub 4096 4096 1\"")).await;
    assert!(set.starts_with("+OK"), "{set}");
    run.strike(None).await;
    run.cluster.to_redis[node].set(Weather { bytes_per_s: 500, ..Weather::default() });
    run.hold().await;
    run.cluster.to_redis[node].heal();
    run.cluster.redis.say(&format!("{limit} \"pubsub 32mb 8mb 60\"")).await;
}

/// It forgets everything.
pub async fn flushed(run: &mut Run<'_>) {
    run.strike(None).await;
    let done = run.cluster.redis.say("FLUSHALL").await;
    assert!(done.starts_with("+OK"), "{done}");
    run.hold().await;
}

/// An empty one takes its place at once.
pub async fn replaced(run: &mut Run<'_>) {
    run.strike(None).await;
    run.cluster.redis.process().kill();
    run.cluster.redis.restart().await;
    run.hold().await;
}

/// What one node tells comes late, each time by another while: after what others told later.
pub async fn doorbells_late(run: &mut Run<'_>) {
    let node = run.any_node();
    let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(250));
    run.strike(None).await;
    run.cluster.to_redis[node].set(Weather { delay, jitter, ..Weather::default() });
    run.hold().await;
    run.cluster.to_redis[node].heal();
}

/// Everything that is told is told twice.
pub async fn doorbells_twice(run: &mut Run<'_>) {
    let mut heard = TcpStream::connect(run.cluster.redis.address).await.expect("connect to redis");
    let mut told = TcpStream::connect(run.cluster.redis.address).await.expect("connect to redis");
    heard.write_all(b"PSUBSCRIBE *\r\n").await.expect("subscribe to all");
    run.strike(None).await;
    let echoing = tokio::spawn(async move {
        let mut heard = BufReader::new(heard);
        // What was told by us comes by here too.
        let mut own: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut repeated = 0_usize;
        loop {
            let Some(message) = message(&mut heard).await else { return repeated };
            let [kind, _, channel, content] = message.as_slice() else { continue };
            if kind != b"pmessage" {
                continue;
            }
            let twin = own.entry([channel.as_slice(), content].concat()).or_default();
            if *twin > 0 {
                *twin -= 1;
                continue;
            }
            *twin += 1;
            repeated += 1;
            let mut again = b"*3\r\n".to_vec();
            for part in [b"PUBLISH".as_slice(), channel, content] {
                again.extend(format!("${}\r\n", part.len()).bytes());
                again.extend(part);
                again.extend(b"\r\n");
            }
            told.write_all(&again).await.expect("tell again");
            // The answer, a number, is of no interest; it must only not fill the connection.
            let _ = told.try_read(&mut [0; 4096]);
        }
    });
    run.hold().await;
    let ended = echoing.is_finished();
    echoing.abort();
    if ended {
        run.findings.push("the echo of the doorbells ended early, so little was told twice".to_owned());
    }
}

/// The next array of texts on a connection to Redis.
async fn message(from: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let parts = number(from, '*').await?;
    let mut message = Vec::new();
    for _ in 0..parts {
        let mut line = String::new();
        from.read_line(&mut line).await.ok()?;
        // The confirmation of a subscription has a number among the texts.
        let Some(length) = line.trim().strip_prefix('$') else {
            message.push(line.into_bytes());
            continue;
        };
        let mut part = vec![0; length.parse::<usize>().ok()? + 2];
        from.read_exact(&mut part).await.ok()?;
        part.truncate(part.len() - 2);
        message.push(part);
    }
    Some(message)
}

async fn number(from: &mut BufReader<TcpStream>, mark: char) -> Option<usize> {
    let mut line = String::new();
    from.read_line(&mut line).await.ok()?;
    line.trim().strip_prefix(mark)?.parse().ok()
}
