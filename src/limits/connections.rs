//! How many connections there are, in all and from each address, and which of them gives way to a newcomer.
//!
//! A connection is a guest until it is the socket of somebody known. Of guests who wait for their client, and have not
//! shown who it is, each address has a limited number. Where it is reached, or that of all connections, the newcomer is
//! let in and the guest that shows least sign of being of use ends: one that has sent nothing, before one that lies idle,
//! before one in the middle of something; of several alike the one that has waited for longest, since a client that means
//! to speak does so soon. A request at work is never ended.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::{Nodes, Prefix};
use crate::config::Config;

/// What a connection is doing; those before give way before those behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has not sent a request, or the half of one.
    Silent,
    /// It was answered, and has sent nothing since.
    Idle,
    /// It is a socket that has not said who it is.
    Upgraded,
    /// The rest of its request is awaited.
    Receiving,
    /// It takes its answer.
    Answered,
    /// Its request is at work.
    Working,
}

/// What is known of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Nothing.
    Unknown,
    /// It showed a valid token with a request.
    Known,
    /// It is the socket of a user.
    Socket,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    nodes: Nodes,
    most: usize,
    unauthenticated_most: usize,
    sockets_most: usize,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    /// Counts admissions and changes, so that what was longer so has the lower number.
    next: u64,
    open: HashMap<u64, Connection>,
    by_address: HashMap<Prefix, Address>,
}

#[derive(Debug)]
struct Connection {
    /// Whose; none as long as a proxy has not said it.
    address: Option<Prefix>,
    class: Class,
    phase: Phase,
    since: u64,
    end: CancellationToken,
}

impl Connection {
    /// It waits for a client of whom nothing is known.
    fn is_unknown(&self) -> bool {
        self.class == Class::Unknown && self.phase < Phase::Working
    }
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Address {
    guests: BTreeSet<u64>,
    known: usize,
    unknown: usize,
    sockets: usize,
}

impl Connections {
    pub(super) fn new(config: &Config, nodes: Nodes) -> Arc<Connections> {
        Arc::new(Connections {
            nodes,
            most: config.connections,
            unauthenticated_most: config.unauthenticated_per_address,
            sockets_most: config.sockets_per_address,
            all: Mutex::default(),
        })
    }

    pub(super) fn admit(self: &Arc<Connections>, address: Option<IpAddr>) -> Option<Permit> {
        let address = address.map(Prefix::host);
        let mut all = self.lock();
        if self.most > 0 && all.open.len() >= self.most && !all.make_room() {
            return None;
        }
        self.make_room_at(&mut all, address);
        let (id, end) = (all.number(), CancellationToken::new());
        let (class, phase) = (Class::Unknown, Phase::Silent);
        all.insert(id, Connection { address, class, phase, since: id, end: end.clone() });
        Some(Permit { connections: Arc::clone(self), id, end })
    }

    pub(super) fn open(&self) -> usize {
        self.lock().open.len()
    }

    /// Ends one of those who wait at an address, where there are as many as may be.
    fn make_room_at(&self, all: &mut All, address: Option<Prefix>) {
        let most = self.nodes.share(self.unauthenticated_most);
        if let Some(found) = address.and_then(|address| all.by_address.get(&address))
            && most > 0
            && found.unknown >= most
        {
            let guests = found.guests.clone();
            all.end_one_of(&guests, Connection::is_unknown);
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn insert(&mut self, id: u64, connection: Connection) {
        if let Some(address) = connection.address {
            let counts = self.by_address.entry(address).or_default();
            match connection.class {
                Class::Socket => counts.sockets += 1,
                class => {
                    counts.guests.insert(id);
                    counts.known += usize::from(class == Class::Known);
                    counts.unknown += usize::from(connection.is_unknown());
                }
            }
        }
        self.open.insert(id, connection);
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.open.remove(&id)?;
        if let Some(address) = connection.address
            && let Some(counts) = self.by_address.get_mut(&address)
        {
            match connection.class {
                Class::Socket => counts.sockets -= 1,
                class => {
                    counts.guests.remove(&id);
                    counts.known -= usize::from(class == Class::Known);
                    counts.unknown -= usize::from(connection.is_unknown());
                }
            }
            if counts.guests.is_empty() && counts.sockets == 0 {
                self.by_address.remove(&address);
            }
        }
        Some(connection)
    }

    /// Changes a connection that has not ended.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Connection)) {
        if let Some(mut connection) = self.remove(id) {
            change(&mut connection);
            self.insert(id, connection);
        }
    }

    /// Ends a guest of the address that has most of them.
    fn make_room(&mut self) -> bool {
        let most = self.by_address.values().max_by_key(|address| address.guests.len());
        let guests = most.map(|address| address.guests.clone()).unwrap_or_default();
        self.end_one_of(&guests, |_| true)
    }

    /// Ends the one that gives way first, if there is one.
    fn end_one_of(&mut self, ids: &BTreeSet<u64>, may_end: impl Fn(&Connection) -> bool) -> bool {
        let found = ids.iter().filter_map(|id| Some((*id, self.open.get(id)?)));
        let found = found.filter(|(_, connection)| connection.phase < Phase::Working && may_end(connection));
        let first = found.min_by_key(|(_, connection)| (connection.class, connection.phase, connection.since));
        let ended = first.map(|(id, _)| id).and_then(|id| self.remove(id));
        ended.inspect(|connection| connection.end.cancel()).is_some()
    }
}

/// The right to one connection. Dropping it makes room for another.
#[derive(Debug)]
pub struct Permit {
    connections: Arc<Connections>,
    id: u64,
    end: CancellationToken,
}

impl Permit {
    /// Counts the connection for an address that a proxy told, unless it is counted for one.
    pub fn claim(&self, address: IpAddr) {
        let mut all = self.connections.lock();
        if all.open.get(&self.id).is_some_and(|connection| connection.address.is_none()) {
            let address = Some(Prefix::host(address));
            self.connections.make_room_at(&mut all, address);
            all.change(self.id, |connection| connection.address = address);
        }
    }

    /// Says what the connection is doing now.
    pub fn is(&self, phase: Phase) {
        let mut all = self.connections.lock();
        let since = all.number();
        let Some(connection) = all.open.get(&self.id).filter(|connection| connection.phase != phase) else { return };
        if connection.phase == Phase::Working && connection.class == Class::Unknown {
            let address = connection.address;
            self.connections.make_room_at(&mut all, address);
        }
        all.change(self.id, |connection| (connection.phase, connection.since) = (phase, since));
    }

    /// The client showed who it is with a request. So many of an address are counted no more among those who did not.
    pub fn known(&self) {
        let mut all = self.connections.lock();
        let most = self.connections.nodes.share(self.connections.sockets_most);
        let found = all.open.get(&self.id).filter(|connection| connection.class == Class::Unknown);
        let counts = found.and_then(|connection| all.by_address.get(&connection.address?));
        if counts.is_some_and(|counts| most == 0 || counts.known < most) {
            all.change(self.id, |connection| connection.class = Class::Known);
        }
    }

    /// Counts the connection as a socket of somebody known from now on; false when its address has too many of those.
    pub fn authenticated(&self) -> bool {
        let mut all = self.connections.lock();
        let most = self.connections.nodes.share(self.connections.sockets_most);
        let Some(connection) = all.open.get(&self.id).filter(|connection| connection.class != Class::Socket) else {
            return true;
        };
        let counts = connection.address.and_then(|address| all.by_address.get(&address));
        let room = most == 0 || counts.is_none_or(|counts| counts.sockets < most);
        if room {
            all.change(self.id, |connection| connection.class = Class::Socket);
        }
        room
    }

    /// Waits until the connection has to give way to another.
    pub async fn must_end(&self) {
        self.end.cancelled().await;
    }

    /// Whether it has to.
    pub fn is_over(&self) -> bool {
        self.end.is_cancelled()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connections(most: usize, unauthenticated: usize, sockets: usize) -> Arc<Connections> {
        Connections::new(
            &Config {
                connections: most,
                unauthenticated_per_address: unauthenticated,
                sockets_per_address: sockets,
                ..Config::default()
            },
            Nodes::default(),
        )
    }

    fn admitted(all: &Arc<Connections>, last: u8) -> Option<Permit> {
        all.admit(Some([192, 0, 2, last].into()))
    }

    #[test]
    fn each_limit_holds_and_dropping_makes_room() {
        let all = connections(5, 2, 2);
        let first = admitted(&all, 1).expect("first");
        let second = admitted(&all, 1).expect("second");
        let other = admitted(&all, 2).expect("another address");
        other.is(Phase::Working);
        assert!(first.authenticated() && first.authenticated());
        assert!(second.authenticated());
        let third = admitted(&all, 1).expect("third");
        assert!(!third.authenticated(), "two sockets of one address");
        third.is(Phase::Working);
        let fifth = admitted(&all, 3).expect("five in all");
        fifth.is(Phase::Working);
        assert!(admitted(&all, 4).is_none(), "a sixth");
        drop(first);
        assert!(third.authenticated());
        drop((second, other, third, fifth));
        assert_eq!((all.open(), all.lock().by_address.len()), (0, 0));
    }

    #[test]
    fn n07_who_shows_least_gives_way() {
        let all = connections(0, 5, 0);
        let next = || admitted(&all, 1).expect("a newcomer is let in");
        let [silent, idle, upgraded, receiving, answered] = [next(), next(), next(), next(), next()];
        for (permit, phase) in [
            (&answered, Phase::Answered),
            (&receiving, Phase::Receiving),
            (&upgraded, Phase::Upgraded),
            (&idle, Phase::Idle),
        ] {
            permit.is(phase);
        }
        let (mut at_work, mut waiting) = (Vec::new(), Vec::new());
        for given_way in [&silent, &idle, &upgraded, &receiving, &answered] {
            assert!(!given_way.is_over());
            at_work.push(next());
            assert!(given_way.is_over());
            at_work[at_work.len() - 1].is(Phase::Working);
            // One that waits as well as any, so that there are five again.
            waiting.push(next());
            waiting[waiting.len() - 1].is(Phase::Answered);
        }
        drop(waiting);
        let crowd: Vec<Permit> = (0..20).map(|_| next()).collect();
        assert!(!at_work.iter().any(Permit::is_over), "what is at work does not give way");
        at_work.iter().for_each(Permit::known);
        at_work.iter().for_each(|permit| permit.is(Phase::Idle));
        let more: Vec<Permit> = (0..20).map(|_| next()).collect();
        assert!(!at_work.iter().any(Permit::is_over), "nor who is known");
        assert!(crowd.iter().all(Permit::is_over));
        assert_eq!(more.iter().filter(|permit| !permit.is_over()).count(), 5);
        assert_eq!(all.open(), 10, "what has to end is counted no more");
    }

    #[test]
    fn n07_of_several_alike_the_one_that_waited_longest_gives_way() {
        let all = connections(0, 3, 0);
        let permits: Vec<Permit> = (0..10).map(|_| admitted(&all, 1).expect("let in")).collect();
        assert!(permits[..7].iter().all(Permit::is_over) && !permits[7..].iter().any(Permit::is_over));
    }

    #[test]
    fn n07_when_all_is_full_the_address_with_most_gives_way() {
        let all = connections(10, 0, 0);
        let socket = admitted(&all, 1).expect("let in");
        assert!(socket.authenticated());
        let crowd: Vec<Permit> = (0..9).map(|_| admitted(&all, 2).expect("let in")).collect();
        let newcomer = admitted(&all, 3).expect("let in");
        assert!(crowd[0].is_over() && !newcomer.is_over() && !socket.is_over());
        crowd.iter().for_each(|one| one.is(Phase::Working));
        assert!(admitted(&all, 3).is_none(), "nobody has to end what is at work");
    }

    #[test]
    fn zero_is_no_limit() {
        let all = connections(0, 0, 0);
        let permits: Vec<_> = (0..1000).map(|_| admitted(&all, 1).expect("no limit")).collect();
        assert!(permits.iter().all(Permit::authenticated));
        drop(permits);
        assert_eq!(all.lock().by_address.len(), 0);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Come(u8),
        Go(prop::sample::Index),
        Do(prop::sample::Index, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u8..3).prop_map(Step::Come),
            any::<prop::sample::Index>().prop_map(Step::Go),
            (any::<prop::sample::Index>(), 0_usize..8).prop_map(|(which, what)| Step::Do(which, what)),
        ]
    }

    proptest! {
        #[test]
        fn n07_no_limit_is_passed_and_nothing_is_counted_twice(steps in prop::collection::vec(step(), 1..200)) {
            let all = connections(12, 4, 3);
            let mut permits: Vec<Permit> = Vec::new();
            for step in steps {
                match step {
                    Step::Come(address) => permits.extend(admitted(&all, address)),
                    Step::Go(which) if !permits.is_empty() => drop(permits.swap_remove(which.index(permits.len()))),
                    Step::Do(which, what) if !permits.is_empty() => {
                        let permit = &permits[which.index(permits.len())];
                        match what {
                            0 => permit.known(),
                            1 => drop(permit.authenticated()),
                            2 => permit.is(Phase::Silent),
                            3 => permit.is(Phase::Idle),
                            4 => permit.is(Phase::Upgraded),
                            5 => permit.is(Phase::Receiving),
                            6 => permit.is(Phase::Answered),
                            _ => permit.is(Phase::Working),
                        }
                    }
                    _ => {}
                }
                let state = all.lock();
                let alive = permits.iter().filter(|permit| !permit.is_over()).count();
                prop_assert_eq!(state.open.len(), alive);
                prop_assert!(alive <= 12);
                for (address, counts) in &state.by_address {
                    let here = state.open.values().filter(|one| one.address == Some(*address));
                    let of = |class| here.clone().filter(|one| one.class == class).count();
                    prop_assert_eq!(counts.unknown, here.clone().filter(|one| one.is_unknown()).count());
                    prop_assert_eq!((counts.sockets, counts.known), (of(Class::Socket), of(Class::Known)));
                    prop_assert_eq!(counts.guests.len(), of(Class::Unknown) + of(Class::Known));
                    prop_assert!(counts.unknown <= 4 && counts.sockets <= 3 && counts.known <= 3);
                }
            }
            drop(permits);
            prop_assert_eq!((all.open(), all.lock().by_address.len()), (0, 0));
        }
    }
}
