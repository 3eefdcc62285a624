//! Rates and counts: how fast a user may speak, how often a login may fail, how many connections an address may hold.
//!
//! The judging is pure ([`Bucket`], [`Failures`]): time comes in as an argument. Around it stand maps that forget whoever
//! is at rest, so that they stay small.

mod connections;
mod logins;
mod places;

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::config::Config;
use crate::model::UserId;

pub use connections::{Permit, Phase};
pub use logins::{Attempt, Failures};
pub use places::{Patience, Place};

use connections::Connections;
use logins::Logins;
use places::Places;

/// How many users, accounts or prefixes one map may remember before it looks for those it can forget.
const REMEMBERED: usize = 65_536;

/// Among how many nodes the limits are shared that each node counts for itself: by account and by address.
#[derive(Debug, Clone)]
pub struct Nodes(Arc<AtomicU32>);

impl Default for Nodes {
    fn default() -> Nodes {
        Nodes(Arc::new(AtomicU32::new(1)))
    }
}

impl Nodes {
    /// How many there are, as far as is known.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// There are so many now.
    pub fn set(&self, count: usize) {
        self.0.store(u32::try_from(count).unwrap_or(u32::MAX).max(1), Ordering::Relaxed);
    }

    /// This node's share of a limit; 0 stays no limit.
    fn share(&self, limit: usize) -> usize {
        limit.div_ceil(self.count() as usize)
    }
}

/// What a user may do so many times an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hourly {
    /// Open a new direct conversation.
    Direct,
    /// Like somebody new.
    Like,
    /// Report somebody.
    Report,
}

impl Hourly {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Hourly::Direct => "direct",
            Hourly::Like => "like",
            Hourly::Report => "report",
        }
    }
}

/// All limits on rates and connections.
#[derive(Debug)]
pub struct Limits {
    commands: Buckets<UserId>,
    direct: Buckets<UserId>,
    likes: Buckets<UserId>,
    reports: Buckets<UserId>,
    logins: Logins,
    connections: Arc<Connections>,
    uploads: Arc<Places>,
}

impl Limits {
    /// Limits as the settings say, some of them shared among nodes.
    pub fn new(config: &Config, nodes: &Nodes) -> Limits {
        let hourly = |count: u32| Buckets::new(Rate::new(count, Duration::from_secs(3600), count));
        Limits {
            commands: Buckets::new(Rate::new(config.commands_per_s, Duration::from_secs(1), config.commands_burst)),
            direct: hourly(config.direct_per_hour),
            likes: hourly(config.likes_per_hour),
            reports: hourly(config.reports_per_hour),
            logins: Logins::new(config, nodes.clone()),
            connections: Connections::new(config, nodes.clone()),
            uploads: Places::new(config),
        }
    }

    /// Counts a command of a user, or says how long to wait. Of a user who has sockets on several nodes each allows its
    /// share.
    pub fn command(&self, user: UserId, nodes: u32) -> Result<(), Duration> {
        self.commands.take(user, nodes, Instant::now())
    }

    /// Counts something that a user may do so many times an hour, or says how long to wait. `nodes` as for commands; 1
    /// where all nodes are counted together besides.
    pub fn hourly(&self, what: Hourly, user: UserId, nodes: u32) -> Result<(), Duration> {
        self.buckets(what).take(user, nodes, Instant::now())
    }

    /// The rate of something, for those who count it over all nodes; none where it has no limit.
    pub fn rate(&self, what: Hourly) -> Option<Rate> {
        self.buckets(what).rate
    }

    fn buckets(&self, what: Hourly) -> &Buckets<UserId> {
        match what {
            Hourly::Direct => &self.direct,
            Hourly::Like => &self.likes,
            Hourly::Report => &self.reports,
        }
    }

    /// Counts an attempt to log in to an account from an address, which is known to the account or not, or says how long
    /// to wait. It counts as failed until it is told otherwise, so that many at once get no further than one after the
    /// other.
    pub fn login(&self, account: &str, address: IpAddr, known: bool) -> Result<Attempt<'_>, Duration> {
        self.logins.attempt(account, Some(Prefix::of(address)), known, Instant::now())
    }

    /// The same for a password that confirms something on an open session.
    pub fn confirmation(&self, user: UserId) -> Result<Attempt<'_>, Duration> {
        self.logins.attempt(&format!("confirmation of {user}"), None, false, Instant::now())
    }

    /// Admits a connection, of an address where that is known, unless there are too many and none of them gives way.
    /// Counted until the permit is dropped.
    pub fn connection(&self, address: Option<IpAddr>) -> Option<Permit> {
        self.connections.admit(address)
    }

    /// A place for an upload, unless all are taken and nobody who holds one gives way. Held until it is dropped.
    pub fn upload(&self, user: UserId, address: IpAddr) -> Option<Place> {
        self.uploads.claim(user, address)
    }

    /// How many connections there are.
    pub fn open_connections(&self) -> usize {
        self.connections.open()
    }
}

/// What counts as one address: an IPv4 address as its /24, an IPv6 address as its /64, since one person has a /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix(IpAddr);

impl Prefix {
    /// The prefix of an address; an IPv4 address in IPv6 clothes is one of IPv4.
    pub fn of(address: IpAddr) -> Prefix {
        Prefix(match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & 0xffff_ff00).into()),
            IpAddr::V6(v6) => IpAddr::V6(half(v6)),
        })
    }

    /// The address itself for IPv4, the /64 for IPv6: what sockets are counted by.
    pub fn host(address: IpAddr) -> Prefix {
        Prefix(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(half(v6)),
            v4 => v4,
        })
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

fn half(v6: Ipv6Addr) -> Ipv6Addr {
    (u128::from(v6) & (u128::MAX << 64)).into()
}

/// One unit every `interval`, and `burst` of them at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// `count` units in each `period`; `None`, for no limit, where `count` is 0.
    pub fn new(count: u32, period: Duration, burst: u32) -> Option<Rate> {
        (count > 0).then(|| Rate { interval: period / count, burst: burst.max(1) })
    }

    /// How long it takes until one more unit is there.
    pub fn interval(self) -> Duration {
        self.interval
    }

    /// How many units are there after a rest.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// The share of one of several nodes.
    fn shared_by(self, nodes: u32) -> Rate {
        let nodes = nodes.max(1);
        Rate { interval: self.interval * nodes, burst: (self.burst / nodes).max(1) }
    }
}

/// A token bucket. It holds only the instant from which on it is full again.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(now: Instant) -> Bucket {
        Bucket { full_at: now }
    }

    /// Takes `cost` units, or takes nothing and says how long until they are there.
    pub fn take(&mut self, rate: Rate, now: Instant, cost: u32) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + rate.interval * cost;
        let wait = (full_at - now).saturating_sub(rate.interval * rate.burst);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.full_at = full_at;
        Ok(())
    }

    /// As good as one that was never used.
    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// A bucket for each of many. Without a rate, all passes.
#[derive(Debug)]
struct Buckets<K: Eq + Hash> {
    rate: Option<Rate>,
    remembered: Remembered<K, Bucket>,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(rate: Option<Rate>) -> Buckets<K> {
        Buckets { rate, remembered: Remembered::new() }
    }

    fn take(&self, key: K, nodes: u32, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let rate = rate.shared_by(nodes);
        let taken = self.remembered.change(
            key,
            |bucket| bucket.is_full(now),
            Bucket::new(now),
            |bucket| bucket.take(rate, now, 1),
        );
        taken.unwrap_or(Err(rate.interval))
    }
}

/// A bounded map that makes room by forgetting what is at rest.
#[derive(Debug)]
struct Remembered<K: Eq + Hash, V> {
    map: DashMap<K, V>,
    /// New keys until the next look for what can be forgotten; counting the map itself would lock all of it each time.
    room: AtomicUsize,
}

impl<K: Eq + Hash, V> Remembered<K, V> {
    fn new() -> Remembered<K, V> {
        Remembered { map: DashMap::new(), room: AtomicUsize::new(REMEMBERED) }
    }

    /// Changes the value of a key. `None` when the map is full of values none of which is at rest, and lacks the key.
    fn change<T>(&self, key: K, at_rest: impl Fn(&V) -> bool, fresh: V, change: impl FnOnce(&mut V) -> T) -> Option<T> {
        if self.room.load(Ordering::Relaxed) == 0 {
            self.map.retain(|_, value| !at_rest(value));
            self.room.store(REMEMBERED.saturating_sub(self.map.len()), Ordering::Relaxed);
        }
        match self.map.entry(key) {
            Entry::Occupied(mut found) => Some(change(found.get_mut())),
            Entry::Vacant(place) => {
                let room = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
                room.ok()?;
                Some(change(&mut place.insert(fresh)))
            }
        }
    }

    /// Changes the value of a key that is there.
    fn amend(&self, key: &K, change: impl FnOnce(&mut V)) {
        if let Some(mut found) = self.map.get_mut(key) {
            change(&mut found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bucket as the books tell it: a level that rises with time, in nanoseconds of interval.
    struct Model {
        level: u128,
        at: Duration,
    }

    impl Model {
        fn take(&mut self, rate: Rate, at: Duration, cost: u32) -> Result<(), Duration> {
            let size = (rate.interval * rate.burst).as_nanos();
            self.level = size.min(self.level + (at - self.at).as_nanos());
            self.at = at;
            let price = (rate.interval * cost).as_nanos();
            let missing = price.saturating_sub(self.level);
            if missing > 0 {
                return Err(Duration::from_nanos(missing as u64));
            }
            self.level -= price;
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn a_bucket_does_what_the_model_does(
            count in 1..200_u32,
            burst in 1..300_u32,
            steps in prop::collection::vec((0..2_000_u64, 1..4_u32), 1..200),
        ) {
            let rate = Rate::new(count, Duration::from_secs(1), burst).expect("a limit");
            let start = Instant::now();
            let mut bucket = Bucket::new(start);
            let mut model = Model { level: (rate.interval * rate.burst).as_nanos(), at: Duration::ZERO };
            let mut at = Duration::ZERO;
            for (millis, cost) in steps {
                at += Duration::from_millis(millis);
                prop_assert_eq!(bucket.take(rate, start + at, cost), model.take(rate, at, cost));
            }
        }

        #[test]
        fn whoever_waits_as_told_passes(count in 1..100_u32, burst in 1..50_u32) {
            let rate = Rate::new(count, Duration::from_secs(1), burst).expect("a limit");
            let mut now = Instant::now();
            let mut bucket = Bucket::new(now);
            for _ in 0..burst {
                prop_assert!(bucket.take(rate, now, 1).is_ok());
            }
            let wait = bucket.take(rate, now, 1).expect_err("empty");
            prop_assert!(bucket.take(rate, now + wait - Duration::from_nanos(1), 1).is_err());
            now += wait;
            prop_assert!(bucket.take(rate, now, 1).is_ok());
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let buckets = Buckets::new(Rate::new(0, Duration::from_secs(1), 5));
        assert!((0..10_000).all(|_| buckets.take(UserId(1), 1, Instant::now()).is_ok()));
    }

    #[test]
    fn the_map_stays_bounded_and_forgets_those_at_rest() {
        let buckets = Buckets::new(Rate::new(1, Duration::from_secs(1), 1));
        let start = Instant::now();
        let all = REMEMBERED as i64;
        assert!((0..all).all(|id| buckets.take(UserId(id), 1, start).is_ok()));
        assert!(buckets.take(UserId(all), 1, start).is_err(), "full of users who just spoke");
        assert!(buckets.take(UserId(0), 1, start).is_err(), "those who are known are judged as ever");
        assert!(buckets.take(UserId(all), 1, start + Duration::from_secs(2)).is_ok(), "the others are at rest");
        assert_eq!(buckets.remembered.map.len(), 1);
    }

    #[test]
    fn nodes_share_a_rate() {
        let rate = Rate::new(60, Duration::from_secs(60), 10);
        let now = Instant::now();
        let allowed = |nodes: u32| {
            let node = |_| Buckets::new(rate);
            let nodes: Vec<Buckets<UserId>> = (0..nodes).map(node).collect();
            let tries = nodes
                .iter()
                .map(|node| (0..100).filter(|_| node.take(UserId(1), nodes.len() as u32, now).is_ok()).count());
            tries.sum::<usize>()
        };
        assert_eq!((allowed(1), allowed(2), allowed(5)), (10, 10, 10));
    }

    #[test]
    fn a_person_is_one_prefix() {
        let prefix = |text: &str| Prefix::of(text.parse().expect("an address"));
        assert_eq!(prefix("192.0.2.7"), prefix("192.0.2.200"));
        assert_ne!(prefix("192.0.2.7"), prefix("192.0.3.7"));
        assert_eq!(prefix("2001:db8::1"), prefix("2001:db8::ffff:1:2:3"));
        assert_ne!(prefix("2001:db8::1"), prefix("2001:db8:0:1::1"));
        assert_eq!(prefix("::ffff:192.0.2.7"), prefix("192.0.2.1"));
        let host = |text: &str| Prefix::host(text.parse().expect("an address"));
        assert_ne!(host("192.0.2.7"), host("192.0.2.200"));
    }
}
