//! A node dies with everybody on it. All come back at once to another one; nothing is lost, and those who stay away are
//! told gone.
//!
//! ```text
//! DUET_STORM_CLIENTS=2000 cargo test --release --test cluster storm -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use rand::RngExt;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::percentile;
use crate::support::cluster::{Cluster, open};
use crate::support::device::Device;
use crate::support::server::Account;
use crate::support::socket::Cut;
use crate::support::stopwatch::Stopwatch;
use crate::support::{Client, in_time};

/// Clients of the node, where nothing else is asked for.
const CLIENTS: usize = 300;
/// Members of each group, besides the one who speaks.
const GROUP: usize = 100;
/// People who do not come back.
const GONE: usize = 20;
/// Over what time the clients come back, each by chance: what a client does when it is told nothing.
const JITTER: Duration = Duration::from_millis(500);
/// Accounts that are made at once.
const AT_ONCE: usize = 8;

#[expect(clippy::disallowed_methods, reason = "how a test is run is not a setting of the server")]
fn clients() -> usize {
    let asked = std::env::var("DUET_STORM_CLIENTS").ok();
    asked.map_or(CLIENTS, |text| text.parse().expect("DUET_STORM_CLIENTS is a number"))
}

/// Makes so many accounts.
async fn accounts(cluster: &Cluster, name: &str, count: usize) -> Vec<Account> {
    let make = |number: usize| async move { cluster.server.account(&format!("{name}{number}")).await };
    stream::iter((0..count).map(make)).buffered(AT_ONCE).collect().await
}

/// How far a client is: its number, whether it came back, and the last number that it has of its group.
type Progress = (usize, bool, i64);

/// Everybody's reports, and which clients there are.
struct Reports {
    told: mpsc::UnboundedReceiver<Progress>,
    clients: usize,
}

impl Reports {
    /// Waits until each client has told what fits, and answers how long that took each from an instant on.
    async fn all(&mut self, what: &str, from: Stopwatch, fits: impl Fn(Progress) -> bool) -> Vec<Duration> {
        let mut times: BTreeMap<usize, Duration> = BTreeMap::new();
        while times.len() < self.clients {
            let what = format!("{} clients {what}", self.clients - times.len());
            let progress = in_time(&what, self.told.recv()).await.expect("the clients live");
            if fits(progress) {
                times.entry(progress.0).or_insert_with(|| from.quiet());
            }
        }
        times.into_values().collect()
    }
}

/// A client of the dying node: it takes what comes, goes to `refuge` when its socket ends, and tells how far it is.
async fn live(
    (number, mut device): (usize, Device),
    (home, refuge): (SocketAddr, SocketAddr),
    group: i64,
    progress: mpsc::UnboundedSender<Progress>,
) {
    device.connect(home).await.expect("the node lives");
    let mut moved = false;
    loop {
        let pause = device.pause();
        let taken = tokio::select! {
            frame = device.frame() => match frame {
                Ok(frame) => device.take(&frame).await,
                Err(end) => Err(end),
            },
            // What a busy node refused is asked for again.
            () = tokio::time::sleep(pause) => device.repeat().await,
        };
        if taken.is_ok() {
            let cursor = device.cursors.get(&group).filter(|_| device.ready());
            if progress.send((number, moved, cursor.copied().unwrap_or(-1))).is_err() {
                // The story is over.
                return;
            }
            continue;
        }
        moved = true;
        loop {
            let jitter = rand::rng().random_range(Duration::ZERO..JITTER);
            // As clients do, so that they do not come all at the same instant.
            tokio::time::sleep(jitter).await;
            if device.connect(refuge).await.is_ok() {
                break;
            }
        }
    }
}

/// Says something in every group in turn until it is told to stop. Answers itself, and the number of each
/// group's last message.
async fn speak(mut speaker: Client, groups: Vec<i64>, mut over: watch::Receiver<bool>) -> (Client, Vec<i64>) {
    let mut heads = vec![0; groups.len()];
    let mut said = 0;
    while !*over.borrow() {
        for (group, head) in groups.iter().zip(&mut heads) {
            said += 1;
            let key = format!("word {said}");
            let data = json!({ "conversation": group, "text": key.clone(), "client_key": key });
            *head = speaker.command("message.send", data).await["seq"].as_i64().expect("a number");
        }
        speaker.forget_events();
        // A moment between two words, so that the storm meets somebody who talks and no flood.
        let _ = tokio::time::timeout(Duration::from_millis(200), over.changed()).await;
    }
    (speaker, heads)
}

/// The ids of users by name.
async fn ids(cluster: &Cluster) -> BTreeMap<String, i64> {
    let rows = cluster.server.database().reader().await.rows("username, id", "FROM users").await;
    let pair = |row: Vec<serde_json::Value>| Some((row[0].as_str()?.to_owned(), row[1].as_i64()?));
    rows.into_iter().filter_map(pair).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_the_clients_of_a_node_that_dies_live_again_elsewhere() {
    let clients = clients();
    let mut cluster = Cluster::start(2, &[]).await;
    let ways = (cluster.server.nodes[0].address, cluster.server.nodes[1].address);
    let mut speaker = cluster.user(1, "speaker").await;
    let crowd = accounts(&cluster, "user", clients).await;
    let ids = ids(&cluster).await;
    let members: Vec<i64> = crowd.iter().map(|account| ids[&account.username]).collect();
    let mut groups = Vec::new();
    for members in members.chunks(GROUP) {
        let data = json!({ "title": "a group", "members": members });
        groups.push(speaker.command("conversation.create", data).await["id"].as_i64().expect("an id"));
    }
    let mut away = Vec::new();
    for account in accounts(&cluster, "gone", GONE).await {
        let client = cluster.on_node(0, account).await;
        open(&mut speaker, &client).await;
        away.push(client);
    }
    let (progress, told) = mpsc::unbounded_channel();
    let mut reports = Reports { told, clients };
    let mut living = JoinSet::new();
    for (number, account) in crowd.into_iter().enumerate() {
        let group = groups[number / GROUP];
        let device = Device::new(account, 1, vec![group], &cluster.server.recorder);
        living.spawn(live((number, device), ways, group, progress.clone()));
    }
    reports.all("to be there", Stopwatch::start(), |(_, moved, cursor)| !moved && cursor >= 0).await;
    let mut watcher = cluster.on_node(1, speaker.account.clone()).await;
    let (end, over) = watch::channel(false);
    let speaking = tokio::spawn(speak(speaker, groups, over));
    cluster.server.nodes[0].process().kill();
    let struck = Stopwatch::start();
    let mut waiting: Vec<i64> = away.iter().map(|client| client.user).collect();
    for client in away {
        client.cut(Cut::Drop).await;
    }
    let times = reports.all("to live again", struck, |(_, moved, cursor)| moved && cursor >= 0).await;
    let (p50, p99) = (percentile(times.clone(), 50), percentile(times, 99));
    println!("{clients} clients live again: p50 {p50:?}, p99 {p99:?} after the kill, with a processor free");
    assert!(p99 < Duration::from_secs(5), "{p99:?}");
    while !waiting.is_empty() {
        let told = watcher.expect_where("presence", |data| data["presence"] == "offline").await;
        waiting.retain(|user| told["user"] != *user);
    }
    println!("the {GONE} who stayed away were all told offline after {:?}", struck.elapsed());
    struck.must_be_within(Duration::from_secs(15), "telling of those who stayed away");
    end.send_replace(true);
    let (mut speaker, heads) = speaking.await.expect("the speaker speaks to the end");
    // The last word in each group comes to everybody, and the record of all of it is without a hole.
    reports.all("to have all", struck, |(number, _, cursor)| cursor >= heads[number / GROUP]).await;
    for client in [&mut speaker, &mut watcher] {
        // What waits for a socket leaves before the answer to the second one.
        client.command("ping", json!({})).await;
        client.command("ping", json!({})).await;
    }
    let verdict = cluster.server.verdict().await;
    println!("{:?}", verdict.statistics);
    cluster.server.must_be_clean(&verdict);
}
