//! What this node tells the others: looked up and published in batches, over one connection. While one batch is under
//! way the next one gathers. What cannot be sent is dropped and counted; the others find it by their sweep.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, pipe};
use tokio::sync::mpsc;

use super::directory::Result;
use super::node::Node;
use super::notice::{Concerns, Told, packet};
use crate::metrics;
use crate::model::UserId;

/// Commits that are told in one go.
const BATCH: usize = 256;
/// From this many bytes on, what is told to a node begins another packet.
const PACKET_BYTES: usize = 256 << 10;

/// What waits to be told.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// Notices of one commit.
    Told(Told),
    /// To be heard by this node itself, so that it knows that it hears.
    Tick(Instant),
}

/// Publishes until the queue ends.
pub(super) async fn run(node: Arc<Node>, client: Client, patience: AsyncConnectionConfig, queue: Queue) {
    let mut queue = queue;
    let mut line: Option<MultiplexedConnection> = None;
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let sent = async {
            let conn = match &mut line {
                Some(conn) => conn,
                None => line.insert(client.get_multiplexed_async_connection_with_config(&patience).await?),
            };
            send(&node, conn, &batch).await
        };
        if let Err(error) = sent.await {
            line = None;
            metrics::untold(batch.len());
            tracing::debug!(%error, "other nodes were not told");
        }
        batch.clear();
    }
}

pub(super) type Queue = mpsc::Receiver<Outgoing>;

async fn send(node: &Node, conn: &mut MultiplexedConnection, batch: &[Outgoing]) -> Result<()> {
    let places = look_up(node, conn, batch).await?;
    let (me, live) = (node.incarnation(), node.live());
    // By node, the encoded notices in the order of the commits.
    let mut letters: HashMap<&str, Vec<String>> = HashMap::new();
    let mut ticks = Vec::new();
    for outgoing in batch {
        let told = match outgoing {
            Outgoing::Tick(at) => {
                ticks.push(node.tick(*at));
                continue;
            }
            Outgoing::Told(told) => told,
        };
        for notice in &told.notices {
            let all = || live.iter().map(String::as_str).collect::<BTreeSet<&str>>();
            let nodes = match concerned(node, told, notice.concerns()) {
                Some(users) => users.iter().flat_map(|user| nodes_of(&places, user)).collect(),
                None => all(),
            };
            let Ok(encoded) = serde_json::to_string(notice) else { continue };
            nodes.into_iter().filter(|node| *node != &*me).for_each(|node| {
                letters.entry(node).or_default().push(encoded.clone());
            });
        }
    }
    let mut pipeline = pipe();
    let channel = node.directory.channel(&me);
    for tick in ticks {
        pipeline.cmd("PUBLISH").arg(&channel).arg(tick).ignore();
    }
    let mut packets = 0;
    for (to, notices) in &letters {
        for letter in split(notices) {
            let letter = packet(&me, letter.iter().map(String::as_str));
            pipeline.cmd("PUBLISH").arg(node.directory.channel(to)).arg(letter).ignore();
            packets += 1;
        }
    }
    if !pipeline.is_empty() {
        pipeline.exec_async(conn).await?;
    }
    metrics::published(packets);
    Ok(())
}

/// The users that a notice concerns; none where they are too many to be looked up one by one.
fn concerned<'a>(node: &Node, told: &'a Told, concerns: Concerns<'a>) -> Option<&'a [UserId]> {
    let users = match concerns {
        Concerns::Users(users) => users,
        Concerns::Members(conversation) => told.members.get(&conversation)?,
    };
    (users.len() <= node.lookup_max).then_some(users)
}

fn nodes_of<'a>(places: &'a HashMap<UserId, Vec<String>>, user: &UserId) -> impl Iterator<Item = &'a str> {
    places.get(user).into_iter().flatten().map(String::as_str)
}

/// Where all that the batch concerns are, in one exchange.
async fn look_up(
    node: &Node,
    conn: &mut MultiplexedConnection,
    batch: &[Outgoing],
) -> Result<HashMap<UserId, Vec<String>>> {
    let mut users: BTreeSet<UserId> = BTreeSet::new();
    for outgoing in batch {
        let Outgoing::Told(told) = outgoing else { continue };
        let concerned = told.notices.iter().filter_map(|notice| concerned(node, told, notice.concerns()));
        concerned.for_each(|some| users.extend(some));
    }
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    let mut pipeline = pipe();
    for user in &users {
        pipeline.cmd("HKEYS").arg(node.directory.user(*user));
    }
    let nodes: Vec<Vec<String>> = pipeline.query_async(conn).await?;
    Ok(users.into_iter().zip(nodes).collect())
}

/// Cuts what a node is told into packets of a bearable size, none of them empty.
fn split(notices: &[String]) -> Vec<&[String]> {
    let mut packets = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (at, notice) in notices.iter().enumerate() {
        if bytes > 0 && bytes + notice.len() > PACKET_BYTES {
            packets.push(&notices[begin..at]);
            (begin, bytes) = (at, 0);
        }
        bytes += notice.len();
    }
    packets.push(&notices[begin..]);
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_between_notices_and_lose_none() {
        let notices: Vec<String> = [10, PACKET_BYTES, 5, 5, PACKET_BYTES - 5].map(|size| "x".repeat(size)).into();
        let sizes: Vec<usize> = split(&notices).iter().map(|packet| packet.len()).collect();
        assert_eq!(sizes, [1, 1, 2, 1]);
    }
}
