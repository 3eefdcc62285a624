//! Memberships against a model: however entries are told, read, lost or repeated, whatever was read of the database
//! however late it is applied, a socket follows in the end what its user is in.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::hub::{Caught, Delivery, Pull};
use crate::model::{Actor, SessionId};

const USER: UserId = UserId(1);
const PERSONAL: Stream = Stream::Personal(USER);
const CONVERSATIONS: usize = 3;
const SOCKETS: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    /// The user comes into a conversation, or leaves it; the entry is on its way.
    Change(usize),
    /// The entry at a place among those on their way is told, and stays on its way (to come again) if `again`.
    Tell { place: usize, again: bool },
    /// The entry at a place is lost.
    Lose(usize),
    /// A sweep sees how far all streams are.
    Sweep,
    /// What came early has waited long enough.
    GiveUp,
    /// A socket opens.
    Open(usize),
    /// What the user is in is read, to be applied later.
    Look,
    /// The socket starts by what was looked up at a place.
    Start { socket: usize, look: usize },
    /// All sockets are compared with what was looked up at a place.
    Reconcile(usize),
    /// A socket that is behind pulls a page of one entry.
    Pull(usize),
    /// A socket ends.
    Close(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..CONVERSATIONS).prop_map(Step::Change),
        5 => (0..5usize, any::<bool>()).prop_map(|(place, again)| Step::Tell { place, again }),
        1 => (0..5usize).prop_map(Step::Lose),
        1 => Just(Step::Sweep),
        1 => Just(Step::GiveUp),
        2 => (0..SOCKETS).prop_map(Step::Open),
        2 => Just(Step::Look),
        3 => (0..SOCKETS, 0..4usize).prop_map(|(socket, look)| Step::Start { socket, look }),
        1 => (0..4usize).prop_map(Step::Reconcile),
        3 => (0..SOCKETS).prop_map(Step::Pull),
        1 => (0..SOCKETS).prop_map(Step::Close),
    ]
}

/// A socket, and how many looks had been taken before it was registered: it starts by a later one.
struct Device {
    socket: Arc<Socket>,
    looks: usize,
    started: bool,
}

struct World {
    hub: Hub,
    entries: Vec<PersonalEntry>,
    members: BTreeSet<ConversationId>,
    coming: Vec<PersonalEntry>,
    looks: Vec<(i64, Vec<ConversationId>)>,
    devices: [Option<Device>; SOCKETS],
}

impl World {
    fn new() -> World {
        let hub = Hub::new(&Config { early_ms: 0, early_events: 2, ..Config::default() });
        let devices = [const { None }; SOCKETS];
        World { hub, entries: Vec::new(), members: BTreeSet::new(), coming: Vec::new(), looks: Vec::new(), devices }
    }

    fn head(&self) -> i64 {
        self.entries.len() as i64
    }

    fn tell(&self, entry: &PersonalEntry) {
        let mut rung = Rung::default();
        let change = Membership::of(USER, entry).expect("all entries are memberships");
        self.hub.membership(&change, Origin::Told, &mut rung);
        let frame = "entry".into();
        let event = Delivery { stream: PERSONAL, seq: entry.seq, after: entry.seq - 1, frame: &frame, hidden: None };
        self.hub.deliver(&event, &mut rung);
    }

    fn open(&mut self, index: usize) {
        if self.devices[index].is_none() {
            let actor = Actor { user: USER, session: SessionId(1), socket: None };
            let device = Device { socket: self.hub.register(actor, 0, 0), looks: self.looks.len(), started: false };
            self.devices[index] = Some(device);
        }
    }

    fn start(&mut self, index: usize, look: usize) {
        let Some(device) = self.devices[index].as_mut().filter(|device| !device.started) else { return };
        if let Some((as_of, conversations)) = self.looks.get(look).filter(|_| look >= device.looks) {
            self.hub.start(&device.socket, *as_of, conversations);
            // Read after registering; nothing is ever said in these conversations.
            for id in conversations {
                self.hub.position(Stream::Conversation(*id), 0);
            }
            device.started = true;
        }
    }

    /// Answers whether there was something to pull.
    fn pull(&mut self, index: usize) -> bool {
        let Some(device) = self.devices[index].as_ref().filter(|device| device.started) else { return false };
        let (stream, from) = match device.socket.next_pull(1) {
            None => return false,
            Some(Pull::Watermarks(_)) => return true,
            Some(Pull::Page(stream, from)) => (stream, from),
        };
        let mut rung = Rung::default();
        match stream {
            Stream::Personal(_) => {
                let page: Vec<_> = self.entries.iter().filter(|entry| entry.seq > from).take(1).collect();
                let upto = page.last().map_or(from, |entry| entry.seq);
                let changes = page.iter().filter_map(|entry| Membership::of(USER, entry));
                changes.for_each(|change| self.hub.membership(&change, Origin::Read, &mut rung));
                let page = Caught { upto, more: upto < self.head(), frame: None };
                self.hub.caught_up(&device.socket, stream, from, page);
            }
            Stream::Conversation(conversation) if self.members.contains(&conversation) => {
                self.hub.caught_up(&device.socket, stream, from, Caught { upto: 0, more: false, frame: None });
            }
            Stream::Conversation(conversation) => {
                let change = Membership { user: USER, seq: self.head(), conversation, is_member: false };
                self.hub.membership(&change, Origin::State, &mut rung);
            }
        }
        true
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Change(which) => {
                let id = ConversationId(which as i64 + 1);
                let kind = match self.members.remove(&id) {
                    true => PersonalKind::ConversationLost,
                    false => PersonalKind::ConversationGained,
                };
                if kind == PersonalKind::ConversationGained {
                    self.members.insert(id);
                }
                let entry = PersonalEntry { seq: self.head() + 1, kind, subject: id.0, at: 0 };
                self.entries.push(entry.clone());
                self.coming.push(entry);
            }
            Step::Tell { place, again } if place < self.coming.len() => {
                self.tell(&self.coming[place]);
                if !again {
                    self.coming.remove(place);
                }
            }
            Step::Lose(place) if place < self.coming.len() => drop(self.coming.remove(place)),
            Step::Sweep => drop(self.hub.jump(PERSONAL, self.head(), &mut Rung::default())),
            Step::GiveUp => self.hub.give_up(&mut Rung::default()),
            Step::Open(socket) => self.open(socket),
            Step::Look => self.looks.push((self.head(), self.members.iter().copied().collect())),
            Step::Start { socket, look } => self.start(socket, look),
            Step::Reconcile(look) if look < self.looks.len() => {
                let (as_of, conversations) = &self.looks[look];
                self.hub.reconcile(USER, *as_of, conversations, &mut Rung::default());
            }
            Step::Pull(socket) => drop(self.pull(socket)),
            Step::Close(index) => {
                if let Some(device) = self.devices[index].take() {
                    self.hub.remove(&device.socket);
                }
            }
            Step::Tell { .. } | Step::Lose(_) | Step::Reconcile(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn n18_every_socket_follows_in_the_end_what_its_user_is_in(steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.take(step));
        world.take(&Step::Look);
        let last = world.looks.len() - 1;
        for socket in 0..SOCKETS {
            world.start(socket, last);
        }
        // What was lost is noticed by the next sweep at the latest.
        world.take(&Step::Sweep);
        for socket in 0..SOCKETS {
            let mut rounds = 0;
            while world.pull(socket) {
                rounds += 1;
                prop_assert!(rounds < 500, "socket {} reads without end", socket);
            }
        }
        let wanted: Vec<ConversationId> = world.members.iter().copied().collect();
        let mut open = 0;
        for device in world.devices.iter().flatten() {
            open += 1;
            prop_assert_eq!(&device.socket.lock().following, &wanted);
        }
        for id in (1..=CONVERSATIONS as i64).map(ConversationId) {
            let stream = Stream::Conversation(id);
            let sockets = world.hub.streams.get(&stream).map_or(0, |followers| followers.sockets.len());
            prop_assert_eq!(sockets, if world.members.contains(&id) { open } else { 0 }, "{:?}", id);
        }
    }
}

/// A socket that starts and a loss that is told at the same instant.
#[test]
fn d19_a_loss_that_is_told_while_a_socket_starts_is_not_overlooked() {
    let conversation = ConversationId(1);
    for _ in 0..5_000 {
        let hub = Hub::new(&Config::default());
        let socket = hub.register(Actor { user: USER, session: SessionId(1), socket: None }, 0, 0);
        let lost = Membership { user: USER, seq: 2, conversation, is_member: false };
        let gate = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                gate.wait();
                hub.membership(&lost, Origin::Told, &mut Rung::default());
            });
            gate.wait();
            hub.start(&socket, 1, &[conversation]);
        });
        assert!(!hub.follows(Stream::Conversation(conversation)), "it listens where its user is no member");
    }
}

/// A socket that ends and a gain that is told at the same instant.
#[test]
fn d19_a_gain_that_is_told_while_a_socket_ends_leaves_nothing_behind() {
    let conversation = ConversationId(1);
    for _ in 0..5_000 {
        let hub = Hub::new(&Config::default());
        let socket = hub.register(Actor { user: USER, session: SessionId(1), socket: None }, 0, 0);
        hub.start(&socket, 1, &[]);
        let gained = Membership { user: USER, seq: 2, conversation, is_member: true };
        let gate = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                gate.wait();
                hub.membership(&gained, Origin::Told, &mut Rung::default());
            });
            gate.wait();
            hub.remove(&socket);
        });
        assert_eq!(hub.streams.len(), 0, "a socket that ended follows something");
    }
}
