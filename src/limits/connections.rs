//! How many connections there are, in all and from each address.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::{Nodes, Prefix};
use crate::config::Config;

/// The counts. An address without connections has no entry.
#[derive(Debug)]
pub(super) struct Connections {
    nodes: Nodes,
    most: usize,
    unauthenticated_most: usize,
    sockets_most: usize,
    open: AtomicUsize,
    by_address: DashMap<Prefix, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    unauthenticated: usize,
    sockets: usize,
}

impl Connections {
    pub(super) fn new(config: &Config, nodes: Nodes) -> Arc<Connections> {
        Arc::new(Connections {
            nodes,
            most: config.connections,
            unauthenticated_most: config.unauthenticated_per_address,
            sockets_most: config.sockets_per_address,
            open: AtomicUsize::new(0),
            by_address: DashMap::new(),
        })
    }

    pub(super) fn admit(all: &Arc<Connections>) -> Option<Permit> {
        let open = all.open.fetch_add(1, Ordering::Relaxed);
        let permit = Permit { all: Arc::clone(all), address: None, authenticated: AtomicBool::new(false) };
        // Over the limit, the permit is dropped here and takes its count with it.
        (all.most == 0 || open < all.most).then_some(permit)
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn change(&self, address: Prefix, change: impl FnOnce(&mut Counts) -> bool) -> bool {
        match self.by_address.entry(address) {
            Entry::Occupied(mut found) => {
                let changed = change(found.get_mut());
                if found.get().unauthenticated + found.get().sockets == 0 {
                    found.remove();
                }
                changed
            }
            Entry::Vacant(place) => {
                let mut counts = Counts::default();
                let changed = change(&mut counts);
                if counts.unauthenticated + counts.sockets > 0 {
                    place.insert(counts);
                }
                changed
            }
        }
    }
}

/// The right to one connection. Dropping it makes room for another.
#[derive(Debug)]
pub struct Permit {
    all: Arc<Connections>,
    address: Option<Prefix>,
    authenticated: AtomicBool,
}

impl Permit {
    /// Counts the connection for an address, as one that has not said who it is; false when the address has too many
    /// of those. Behind a proxy the address is known only with the first request, so this is a step of its own.
    pub fn claim(&mut self, address: IpAddr) -> bool {
        let (address, most) = (Prefix::host(address), self.all.nodes.share(self.all.unauthenticated_most));
        let claimed = self.address.is_none()
            && self.all.change(address, |counts| {
                let room = most == 0 || counts.unauthenticated < most;
                counts.unauthenticated += usize::from(room);
                room
            });
        if claimed {
            self.address = Some(address);
        }
        claimed
    }

    /// Whether an address was counted.
    pub fn is_claimed(&self) -> bool {
        self.address.is_some()
    }

    /// Counts the connection as a socket of somebody known from now on; false when its address has too many of those.
    pub fn authenticated(&self) -> bool {
        let Some(address) = self.address else { return true };
        if self.authenticated.load(Ordering::Relaxed) {
            return true;
        }
        let most = self.all.nodes.share(self.all.sockets_most);
        let moved = self.all.change(address, |counts| {
            let room = most == 0 || counts.sockets < most;
            if room {
                counts.unauthenticated -= 1;
                counts.sockets += 1;
            }
            room
        });
        self.authenticated.store(moved, Ordering::Relaxed);
        moved
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.all.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            let authenticated = *self.authenticated.get_mut();
            self.all.change(address, |counts| {
                let count = if authenticated { &mut counts.sockets } else { &mut counts.unauthenticated };
                *count -= 1;
                true
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn claimed(all: &Arc<Connections>, last: u8) -> Option<Permit> {
        let mut permit = Connections::admit(all)?;
        permit.claim([192, 0, 2, last].into()).then_some(permit)
    }

    #[test]
    fn each_limit_holds_and_dropping_makes_room() {
        let all = connections(5, 2, 2);
        let first = claimed(&all, 1).expect("first");
        let second = claimed(&all, 1).expect("second");
        assert!(claimed(&all, 1).is_none(), "two have not said who they are");
        let other = claimed(&all, 2).expect("another address");
        assert!(first.authenticated() && first.authenticated());
        let third = claimed(&all, 1).expect("only one is unknown now");
        assert!(second.authenticated());
        assert!(!third.authenticated(), "two sockets of one address");
        let fifth = claimed(&all, 3).expect("five in all");
        assert!(claimed(&all, 4).is_none(), "a sixth");
        drop(first);
        assert!(third.authenticated());
        drop((second, other, third, fifth));
        assert_eq!((all.open(), all.by_address.len()), (0, 0));
    }

    #[test]
    fn zero_is_no_limit() {
        let all = connections(0, 0, 0);
        let permits: Vec<_> = (0..1000).map(|_| claimed(&all, 1).expect("no limit")).collect();
        assert!(permits.iter().all(Permit::authenticated));
        drop(permits);
        assert_eq!(all.by_address.len(), 0);
    }
}
