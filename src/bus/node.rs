//! This node among others: its incarnations, what it hears, and what it believes of the rest.
//!
//! An incarnation is one subscription with one lease. A subscription can die without an error, so each node must hear its
//! own tick; one that does not, or whose lease lapsed, begins again as another incarnation, registers everybody who is
//! here anew, and sweeps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use deadpool_redis::redis::aio::PubSubStream;
use deadpool_redis::redis::{AsyncConnectionConfig, Client};
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::directory::{Directory, LOOK, Placed, Result, Trouble};
use super::notice::{self, Notice, Told};
use super::publisher::{self, Outgoing};
use super::registration::{Here, Marks, Written};
use super::{Places, Whereabouts};
use crate::config::{Config, ms};
use crate::feed::Feed;
use crate::hub::Membership;
use crate::limits::{Nodes, Rate};
use crate::metrics;
use crate::model::{Micros, UserId};
use crate::planted::{self, Fault};

/// How long a node waits before it begins again.
const AGAIN: Duration = Duration::from_millis(250);
/// Users whose arrivals and departures are written down at once.
const MARKS_AT_ONCE: usize = 512;
/// Users that are written down again each second, since Redis may have forgotten them.
const AGAIN_AT_ONCE: usize = 200;
/// How many renewals of the lease lie between two comparisons of who is here with what was written.
const COMPARE_EVERY: u32 = 5;
/// How long it holds where somebody was, when Redis does not answer.
const LAST_KNOWN: Duration = Duration::from_secs(15);
/// Users of whom that is remembered.
const REMEMBERED: usize = 65_536;

/// This node among others.
pub(super) struct Node {
    pub(super) directory: Directory,
    pub(super) lookup_max: usize,
    pub(super) nodes: Nodes,
    feed: Arc<Feed>,
    client: Client,
    outgoing: mpsc::Sender<Outgoing>,
    marks: Marks,
    begun: Instant,
    incarnation: Mutex<Arc<str>>,
    incarnations: AtomicU64,
    /// Rung when another node says that it is there.
    look: Notify,
    /// The node goes; no other incarnation begins.
    leaving: AtomicBool,
    live: Mutex<Arc<Vec<String>>>,
    last_known: DashMap<UserId, (bool, Instant)>,
    tick: Duration,
    deaf: Duration,
    wait: Duration,
    sockets_per_user: usize,
}

impl Node {
    pub(super) fn start(
        config: &Config,
        installation: &str,
        feed: Arc<Feed>,
        nodes: Nodes,
        gone: mpsc::Sender<Vec<UserId>>,
    ) -> std::result::Result<Arc<Node>, String> {
        let client = Client::open(&*config.redis_url).map_err(|cause| format!("--redis-url: {cause}"))?;
        let (outgoing, queue) = mpsc::channel(config.bus_queue.max(1));
        let node = Arc::new(Node {
            directory: Directory::new(config, installation)?,
            lookup_max: config.lookup_max,
            nodes,
            feed,
            client: client.clone(),
            outgoing,
            marks: Marks::default(),
            begun: Instant::now(),
            incarnation: Mutex::new(Arc::from("")),
            incarnations: AtomicU64::new(0),
            look: Notify::new(),
            leaving: AtomicBool::new(false),
            live: Mutex::default(),
            last_known: DashMap::new(),
            tick: ms(config.tick_ms),
            deaf: ms(config.deaf_ms),
            wait: ms(config.redis_wait_ms),
            sockets_per_user: config.sockets_per_user,
        });
        let patience =
            AsyncConnectionConfig::new().set_connection_timeout(Some(node.wait)).set_response_timeout(Some(node.wait));
        tokio::spawn(publisher::run(Arc::clone(&node), client, patience, queue));
        tokio::spawn(run(Arc::clone(&node), gone));
        Ok(node)
    }

    /// What this node is called now.
    pub(super) fn incarnation(&self) -> Arc<str> {
        Arc::clone(&self.incarnation.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All incarnations that were listed a moment ago.
    pub(super) fn live(&self) -> Arc<Vec<String>> {
        Arc::clone(&self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn hears(&self) -> bool {
        self.feed.hears()
    }

    /// Queues what others are to be told; when it does not fit, they find it by their sweep.
    pub(super) fn publish(&self, told: Told) {
        if !told.notices.is_empty() && self.outgoing.try_send(Outgoing::Told(told)).is_err() {
            metrics::untold(1);
        }
    }

    /// A user's socket opened here. Returns when others can see that, or cannot for now.
    pub(super) async fn enter(&self, user: UserId) {
        if self.hears() {
            let _ = timeout(self.wait, self.marks.mark_and_wait(user)).await;
        } else {
            // Where nothing is heard, this node is not told anything anyhow.
            self.marks.mark(user);
            self.feed.hub.spread(user, self.nodes.count());
        }
    }

    /// A user's socket closed here.
    pub(super) fn left(&self, user: UserId) {
        self.marks.mark(user);
    }

    pub(super) async fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        if let Err(error) = self.directory.end(&self.incarnation()).await {
            tracing::debug!(%error, "the lease lapses by itself");
        }
    }

    pub(super) async fn whereabouts(&self, users: &[UserId]) -> HashMap<UserId, Whereabouts> {
        let (here, away): (Vec<UserId>, Vec<UserId>) = users.iter().partition(|user| self.feed.hub.is_here(**user));
        let mut found: HashMap<UserId, Whereabouts> =
            here.into_iter().map(|user| (user, Whereabouts::Connected)).collect();
        if away.is_empty() {
            return found;
        }
        let asked = if self.hears() { self.directory.present(&away).await.ok() } else { None };
        let now = Instant::now();
        for (at, user) in away.into_iter().enumerate() {
            let present = asked.as_ref().and_then(|present| present.get(at).copied());
            if let Some(present) = present {
                self.remember(user, present, now);
            }
            let known = self.last_known.get(&user).map(|known| *known);
            let known = known.filter(|(_, at)| now.saturating_duration_since(*at) < LAST_KNOWN);
            found.insert(
                user,
                match present.or(known.map(|(present, _)| present)) {
                    Some(true) => Whereabouts::Connected,
                    Some(false) => Whereabouts::Absent,
                    None => Whereabouts::Unknown,
                },
            );
        }
        found
    }

    fn remember(&self, user: UserId, present: bool, now: Instant) {
        if self.last_known.len() >= REMEMBERED {
            self.last_known.retain(|_, (_, at)| now.saturating_duration_since(*at) < LAST_KNOWN);
        }
        if self.last_known.len() < REMEMBERED {
            self.last_known.insert(user, (present, now));
        }
    }

    pub(super) async fn take(
        &self,
        what: &'static str,
        user: UserId,
        rate: Rate,
    ) -> Option<std::result::Result<(), Duration>> {
        if !self.hears() {
            return None;
        }
        self.directory.take(what, user, rate).await.ok()
    }

    /// The text of a tick: when it was sent, in microseconds of this process.
    pub(super) fn tick(&self, at: Instant) -> String {
        format!("tick {}", at.saturating_duration_since(self.begun).as_micros())
    }

    fn next_incarnation(&self) -> Arc<str> {
        let mut random = [0; 8];
        // Without a random source the count of this process tells its own incarnations apart.
        let _ = getrandom::fill(&mut random);
        let number = self.incarnations.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{number}", u64::from_le_bytes(random)).into()
    }

    /// All users with sockets here.
    fn here(&self) -> Here {
        let mut users: Vec<UserId> = self.feed.hub.actors().iter().map(|actor| actor.user).collect();
        users.sort_unstable();
        users.dedup();
        users.into_iter().map(|user| (user, self.feed.hub.opened(user))).collect()
    }
}

/// One incarnation after the other, as long as the process lives.
async fn run(node: Arc<Node>, gone: mpsc::Sender<Vec<UserId>>) {
    let mut previous: Option<Arc<str>> = None;
    let mut told = false;
    loop {
        let incarnation = node.next_incarnation();
        let Err(why) = live(&node, &incarnation, previous.as_deref(), &gone).await;
        if node.leaving.load(Ordering::Acquire) {
            return;
        }
        // Told once for each time, and also where it never heard: a wrong password or certificate shows so.
        if node.feed.set_hears(false) {
            metrics::deafened();
            told = false;
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(%why, "cut off from the other nodes; what they tell comes by the sweep");
            // The libraries tell what is wrong with a certificate in words only.
            if why.to_string().contains("certificate") {
                tracing::warn!("the certificate of Redis is not trusted: name its authority's file in SSL_CERT_FILE");
            }
        }
        // Who is here is read and written down when the next incarnation begins. Nobody waits for that.
        node.marks.clear();
        previous = Some(incarnation);
        tokio::time::sleep(AGAIN).await;
    }
}

enum Never {}

async fn live(
    node: &Node,
    incarnation: &Arc<str>,
    previous: Option<&str>,
    gone: &mpsc::Sender<Vec<UserId>>,
) -> Result<Never> {
    let subscribing = async {
        let mut line = node.client.get_async_pubsub().await?;
        line.subscribe(node.directory.channel(incarnation)).await?;
        Ok::<_, Trouble>(line.into_on_message())
    };
    let heard = timeout(node.wait * 2, subscribing).await.map_err(|_| Trouble::Other("Redis does not answer"))??;
    *node.incarnation.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(incarnation);
    // Subscribed first, registered after, swept last: so nothing falls in between.
    // Who comes or goes from here on is marked, and written down when this is done.
    let here = node.here();
    node.directory.begin(incarnation, previous, &here).await?;
    let mut written = Written::default();
    written.note(&here);
    tokio::select! {
        ended = listen(node, heard) => ended,
        ended = keep(node, incarnation, written, gone) => ended,
    }
}

/// Hears what others tell, and this node's own ticks.
async fn listen(node: &Node, mut heard: PubSubStream) -> Result<Never> {
    let mut ticks = interval(node.tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_tick = Instant::now();
    loop {
        tokio::select! {
            message = heard.next() => {
                let message = message.ok_or(Trouble::Other("Redis ended the subscription"))?;
                let text: String = message.get_payload()?;
                match text.strip_prefix("tick ") {
                    _ if text == LOOK => node.look.notify_one(),
                    Some(sent) => {
                        last_tick = Instant::now();
                        if let Ok(sent) = sent.parse().map(Duration::from_micros) {
                            metrics::bus_lag(node.begun.elapsed().saturating_sub(sent));
                        }
                        if !node.hears() && node.feed.set_hears(true) {
                            tracing::info!("this node hears the others");
                        }
                    }
                    None => {
                        let (mut notices, ignored) = notice::read(&text);
                        if planted::is(Fault::UnheardMemberships) {
                            notices.retain(|notice| !matches!(notice, Notice::Personal { user, entry }
                                if Membership::of(*user, entry).is_some()));
                        }
                        metrics::heard(notices.len(), ignored);
                        node.feed.apply(&notices);
                    }
                }
            }
            _ = ticks.tick() => {
                if last_tick.elapsed() > node.deaf {
                    return Err(Trouble::Other("this node did not hear its own tick"));
                }
                // A full queue is no tick; with the next one it is either better or the end of this incarnation.
                let _ = node.outgoing.try_send(Outgoing::Tick(Instant::now()));
            }
        }
    }
}

/// Keeps the lease, keeps the directory as it should be, and buries the dead.
async fn keep(
    node: &Node,
    incarnation: &Arc<str>,
    mut written: Written,
    gone: &mpsc::Sender<Vec<UserId>>,
) -> Result<Never> {
    let mut lease = interval(Duration::from_secs(1));
    lease.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut renewals, mut cursor) = (0, 0);
    loop {
        tokio::select! {
            _ = lease.tick() => {
                renew(node, incarnation, gone).await?;
                renewals += 1;
                if renewals % COMPARE_EVERY == 0 {
                    written.differing(&node.here()).into_iter().for_each(|user| node.marks.mark(user));
                }
                let again = written.next(AGAIN_AT_ONCE);
                write_down(node, incarnation, &mut written, &again).await?;
                let (next, listed) = node.directory.listed(incarnation, cursor).await?;
                cursor = next;
                listed.into_iter().filter(|user| !written.has(*user)).for_each(|user| node.marks.mark(user));
            }
            () = node.look.notified() => renew(node, incarnation, gone).await?,
            marked = node.marks.take(MARKS_AT_ONCE) => {
                let (users, waiting): (Vec<UserId>, Vec<_>) = marked.into_iter().unzip();
                write_down(node, incarnation, &mut written, &users).await?;
                for waiting in waiting.into_iter().flatten() {
                    // Who waited may have gone meanwhile.
                    let _ = waiting.send(());
                }
            }
        }
    }
}

/// Writes into the directory where some users are now.
async fn write_down(node: &Node, incarnation: &str, written: &mut Written, users: &[UserId]) -> Result<()> {
    let users: Here = users.iter().map(|user| (*user, node.feed.hub.opened(*user))).collect();
    let placed = node.directory.place(incarnation, &users).await?;
    written.note(&users);
    placed.iter().for_each(|placed| settle(node, incarnation, placed));
    Ok(())
}

/// Renews the lease, sees who else is there, and buries the dead.
async fn renew(node: &Node, incarnation: &Arc<str>, gone: &mpsc::Sender<Vec<UserId>>) -> Result<()> {
    let listed = node.directory.keep(incarnation).await?;
    let listed = listed.ok_or(Trouble::Other("the lease of this node had lapsed"))?;
    let others: Vec<String> = listed.iter().filter(|node| **node != **incarnation).cloned().collect();
    let dead = node.directory.dead_among(&others).await?;
    let live: Vec<String> = listed.into_iter().filter(|node| !dead.contains(node)).collect();
    node.nodes.set(live.len());
    *node.live.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    for dead in dead {
        let users = node.directory.bury(&dead).await?;
        if !users.is_empty() {
            tracing::warn!(node = dead, users = users.len(), "a node is gone");
            // Telling is at most once: when too many are told already, these are told by asking.
            let _ = gone.try_send(users);
        }
    }
    Ok(())
}

/// Tells the nodes that hold a user what they need to know of each other: how many they are, and who must give way.
fn settle(node: &Node, incarnation: &str, placed: &Placed) {
    let Placed { user, changed, ref places } = *placed;
    let nodes = places.len().max(1) as u32;
    let mut notices = Vec::new();
    if places.contains_key(incarnation) {
        node.feed.hub.spread(user, nodes);
    }
    if changed && places.keys().any(|other| other != incarnation) {
        notices.push(Notice::Spread { user, nodes });
    }
    if let Some(opened_upto) = too_many(places, node.sockets_per_user) {
        node.feed.hub.replace(user, opened_upto);
        notices.push(Notice::Crowded { user, opened_upto });
    }
    node.publish(notices.into());
}

/// Up to when sockets of a user must give way, so that no more than `max` stay.
fn too_many(places: &Places, max: usize) -> Option<Micros> {
    let mut opened: Vec<Micros> = places.values().flatten().copied().collect();
    if max == 0 || opened.len() <= max {
        return None;
    }
    opened.sort_unstable();
    Some(opened[opened.len() - max - 1])
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("incarnation", &self.incarnation()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_sockets_give_way_over_all_nodes() {
        let places = Places::from([("a".to_owned(), vec![10, 40]), ("b".to_owned(), vec![20, 30])]);
        assert_eq!(too_many(&places, 4), None);
        assert_eq!(too_many(&places, 3), Some(10));
        assert_eq!(too_many(&places, 1), Some(30));
        assert_eq!(too_many(&places, 0), None);
    }
}
