//! Places for uploads that come at once. There are few, and they are shared fairly: where all are taken, one that comes
//! too slowly, or whose user or address holds more than the newcomer would, gives way.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Prefix;
use crate::config::Config;
use crate::model::UserId;

/// An upload is slow if it comes slower than so many times the slowest pace that is allowed.
const SLOW: u64 = 8;
/// From how much waiting for it on its pace is known.
const PACE_KNOWN: Duration = Duration::from_secs(2);

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    /// In bytes per second.
    slow: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    holders: BTreeMap<u64, Holder>,
}

/// Who holds a place.
#[derive(Debug)]
struct Holder {
    user: UserId,
    address: Prefix,
    /// It is still coming; after that it is the server's to finish, and does not give way.
    comes: bool,
    bytes: u64,
    /// How long the client was waited for.
    waited: Duration,
    end: CancellationToken,
}

impl Holder {
    /// Bytes per second, once it is known.
    fn pace(&self) -> Option<u64> {
        let millis = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX);
        (self.waited >= PACE_KNOWN).then(|| self.bytes.saturating_mul(1000) / millis.max(1))
    }
}

impl Places {
    pub(super) fn new(config: &Config) -> Arc<Places> {
        let slow = SLOW * u64::from(config.upload_bytes_per_s);
        Arc::new(Places { most: config.uploads.max(1), slow, held: Mutex::default() })
    }

    /// A place, if there is one or somebody gives way.
    pub(super) fn claim(self: &Arc<Places>, user: UserId, address: IpAddr) -> Option<Place> {
        let address = Prefix::host(address);
        let mut held = self.lock();
        if held.holders.len() >= self.most {
            let first = gives_way(&held.holders, user, address, self.slow)?;
            held.holders.remove(&first)?.end.cancel();
        }
        held.next += 1;
        let (id, end) = (held.next, CancellationToken::new());
        let (bytes, waited) = (0, Duration::ZERO);
        held.holders.insert(id, Holder { user, address, comes: true, bytes, waited, end: end.clone() });
        Some(Place { places: Arc::clone(self), id, end })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of those who hold a place gives way to a newcomer: of a user who holds more than the newcomer would, or, among
/// users who hold no more, at an address that does, or where that is alike too, one that comes slowly. Pure.
fn gives_way(holders: &BTreeMap<u64, Holder>, user: UserId, address: Prefix, slow: u64) -> Option<u64> {
    let users = counts(holders.values().map(|holder| holder.user));
    let addresses = counts(holders.values().map(|holder| holder.address));
    let of = |counts: &HashMap<_, usize>, key| counts.get(&key).copied().unwrap_or_default();
    let near = addresses.get(&address).copied().unwrap_or_default();
    let own = of(&users, user);
    let share = |holder: &Holder| {
        let theirs = of(&users, holder.user);
        let around = addresses.get(&holder.address).copied().unwrap_or_default();
        let is_slow = holder.pace().is_some_and(|pace| pace < slow);
        // Nobody gives way to somebody who holds as much.
        let more = theirs > own + 1 || (theirs > own && (around > near + 1 || is_slow));
        (holder.comes && more).then_some((theirs, around, is_slow, std::cmp::Reverse(holder.pace())))
    };
    let found = holders.iter().filter_map(|(id, holder)| Some((share(holder)?, *id)));
    found.max().map(|(_, id)| id)
}

fn counts<K: Eq + Hash>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
    let mut counts = HashMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

/// A place for an upload. Dropping it makes room for another.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    id: u64,
    end: CancellationToken,
}

impl Place {
    /// Some of the upload came, after the client was waited for so long.
    pub fn came(&self, bytes: u64, waited: Duration) {
        if let Some(holder) = self.places.lock().holders.get_mut(&self.id) {
            holder.bytes += bytes;
            holder.waited += waited;
        }
    }

    /// All of the upload came: it does not give way any more. False where it had to before.
    pub fn is_whole(&self) -> bool {
        let mut held = self.places.lock();
        let holder = held.holders.get_mut(&self.id);
        holder.map(|holder| holder.comes = false).is_some()
    }

    /// Waits until the upload has to give way to another.
    pub async fn must_end(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().holders.remove(&self.id);
    }
}

/// How long the client may still be waited for. What comes earns time, up to where it began; so a sender may pause, and
/// must keep a pace.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    most: Duration,
    left: Duration,
    /// What earns a second.
    bytes_per_s: u32,
}

impl Patience {
    /// For a pause of at most this time, and this pace; 0 is any pace.
    pub fn new(most: Duration, bytes_per_s: u32) -> Patience {
        Patience { most, left: most, bytes_per_s }
    }

    /// How long the next bytes may be waited for.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// So many bytes came after so long.
    pub fn came(&mut self, bytes: u64, waited: Duration) {
        let micros = match self.bytes_per_s {
            0 => u64::MAX,
            pace => bytes.saturating_mul(1_000_000) / u64::from(pace),
        };
        let earned = self.left.saturating_sub(waited).saturating_add(Duration::from_micros(micros));
        self.left = earned.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places(most: usize) -> Arc<Places> {
        Places::new(&Config { uploads: most, upload_bytes_per_s: 1000, ..Config::default() })
    }

    fn claim(places: &Arc<Places>, user: i64, last: u8) -> Option<Place> {
        places.claim(UserId(user), [192, 0, 2, last].into())
    }

    fn is_over(place: &Place) -> bool {
        place.end.is_cancelled()
    }

    #[test]
    fn n06_who_holds_most_gives_way() {
        let places = places(8);
        let greedy: Vec<Place> = (0..8).map(|_| claim(&places, 1, 1).expect("room")).collect();
        let others: Vec<Place> = (2..6).map(|user| claim(&places, user, 1).expect("let in")).collect();
        assert_eq!(greedy.iter().filter(|place| is_over(place)).count(), 4);
        assert!(claim(&places, 1, 1).is_none(), "the greedy one gets no more");
        assert!(!others.iter().any(is_over));
        assert!(claim(&places, 2, 1).is_some(), "a second one, of four users with one each and one with four");
    }

    #[test]
    fn n06_then_the_address_that_holds_most_then_the_slow() {
        let places = places(4);
        let crowd: Vec<Place> = (1..5).map(|user| claim(&places, user, 1).expect("room")).collect();
        assert!(claim(&places, 9, 1).is_none(), "at the same address all have one");
        let other = claim(&places, 9, 2).expect("another address");
        assert_eq!(crowd.iter().filter(|place| is_over(place)).count(), 1);
        drop(other);
        let last = claim(&places, 8, 1).expect("room");
        crowd.iter().for_each(|place| place.came(20_000, Duration::from_secs(2)));
        last.came(17_000, Duration::from_secs(2));
        assert!(claim(&places, 7, 1).is_none(), "all come well");
        last.came(0, Duration::from_secs(1));
        assert!(claim(&places, 7, 1).is_some() && is_over(&last), "one is slow");
    }

    #[test]
    fn n06_what_came_whole_does_not_give_way() {
        let places = places(2);
        let [one, other] = [claim(&places, 1, 1).expect("room"), claim(&places, 1, 1).expect("room")];
        assert!(one.is_whole() && other.is_whole());
        assert!(claim(&places, 2, 2).is_none());
        drop(one);
        assert!(claim(&places, 2, 2).is_some());
    }

    proptest! {
        #[test]
        fn n06_a_steady_sender_is_kept_and_a_slower_one_is_not(
            pace in 1_u32..10_000,
            window in 100_u64..20_000,
            pieces in prop::collection::vec(1_u64..5_000, 50..200),
        ) {
            let most = Duration::from_millis(window);
            // Each piece comes as late as the pace allows.
            let at = |pace: u32, bytes: u64| Duration::from_micros(bytes * 1_000_000 / u64::from(pace));
            let mut patience = Patience::new(most, pace);
            for bytes in pieces.iter().copied().filter(|bytes| at(pace, *bytes) <= most) {
                prop_assert!(at(pace, bytes) <= patience.left());
                patience.came(bytes, at(pace, bytes));
            }
            // At half of it, patience ends: after no more than twice what was allowed to be missing.
            let (mut patience, mut time) = (Patience::new(most, pace), Duration::ZERO);
            loop {
                let wait = at(pace, 10) * 2;
                if wait > patience.left() {
                    break;
                }
                patience.came(10, wait);
                time += wait;
            }
            prop_assert!(time <= most * 2 + at(pace, 10) * 2);
        }

        #[test]
        fn n06_places_are_never_more_and_a_newcomer_without_any_passes_the_greedy(
            most in 1_usize..10,
            claims in prop::collection::vec((0_i64..6, 0_u8..3), 1..60),
        ) {
            let places = places(most);
            let mut held: Vec<(i64, Place)> = Vec::new();
            for (user, address) in claims {
                let before = counts(held.iter().map(|(user, _)| *user));
                let greedy = before.values().any(|count| *count > before.get(&user).copied().unwrap_or_default() + 1);
                let room = held.len() < most;
                let claimed = claim(&places, user, address);
                prop_assert!(claimed.is_some() || !(room || greedy));
                held.extend(claimed.map(|place| (user, place)));
                held.retain(|(_, place)| !is_over(place));
                prop_assert!(held.len() <= most && held.len() == places.lock().holders.len());
            }
        }
    }
}
