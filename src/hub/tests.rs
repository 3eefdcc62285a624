//! The hub against a model: whatever is delivered late, twice, out of order or not at all, a client that follows the
//! rule applies every number once and in order, and ends where the database is.

use proptest::prelude::*;

use super::*;
use crate::model::ConversationId;

const STREAM: Stream = Stream::Conversation(ConversationId(1));

/// What the world does.
#[derive(Debug, Clone)]
enum Step {
    /// A change commits; its event is on its way.
    Commit,
    /// The event at a place among those on their way arrives, and stays on its way (to come again) if `again`.
    Arrive { place: usize, again: bool },
    /// The event at a place is lost.
    Lose(usize),
    /// A sweep sees how far the database is.
    Sweep,
    /// What came early has waited long enough.
    GiveUp,
    /// A position in the database moves, and is told; or only a sweep sees it.
    Mark { told: bool },
    /// A client reads what is in its outbox.
    Read(usize),
    /// A socket that is behind pulls a page of at most `size` numbers.
    Pull { socket: usize, size: i64 },
    /// A client that knows `back` numbers less than it does asks to resume from there.
    Rewind { socket: usize, back: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Commit),
        4 => (0..6usize, any::<bool>()).prop_map(|(place, again)| Step::Arrive { place, again }),
        1 => (0..6usize).prop_map(Step::Lose),
        1 => Just(Step::Sweep),
        2 => any::<bool>().prop_map(|told| Step::Mark { told }),
        1 => Just(Step::GiveUp),
        2 => (0..3usize).prop_map(Step::Read),
        3 => (0..3usize, 1..4i64).prop_map(|(socket, size)| Step::Pull { socket, size }),
        1 => (0..3usize, 0..5i64).prop_map(|(socket, back)| Step::Rewind { socket, back }),
    ]
}

/// A client by the book: drops what it has, applies what follows, and notes a hole.
#[derive(Default)]
struct Client {
    cursor: i64,
    hole: bool,
    position: i64,
}

impl Client {
    fn hear(&mut self, frame: &str) {
        if let Some(position) = frame.strip_prefix("at ") {
            self.position = self.position.max(position.parse().expect("a number"));
            return;
        }
        let (after, upto) = frame.split_once(' ').expect("two numbers");
        let (after, upto): (i64, i64) = (after.parse().expect("a number"), upto.parse().expect("a number"));
        if upto <= self.cursor {
            return;
        }
        if after <= self.cursor { self.cursor = upto } else { self.hole = true }
    }
}

struct World {
    hub: Hub,
    sockets: Vec<Arc<Socket>>,
    clients: Vec<Client>,
    head: i64,
    position: i64,
    coming: Vec<i64>,
}

fn frame(after: i64, upto: i64) -> Utf8Bytes {
    format!("{after} {upto}").into()
}

impl World {
    fn new() -> World {
        let config = Config { outbox_frames: 3, early_ms: 0, early_events: 3, ..Config::default() };
        let hub = Hub::new(&config);
        let actors = (1..=3).map(|id| Actor { user: UserId(id), session: SessionId(id), socket: None });
        let sockets: Vec<_> = actors.map(|actor| hub.register(actor, 0, 0)).collect();
        for socket in &sockets {
            hub.start(socket, 0, &[ConversationId(1)]);
        }
        hub.position(STREAM, 0);
        let clients = sockets.iter().map(|_| Client::default()).collect();
        World { hub, sockets, clients, head: 0, position: 0, coming: Vec::new() }
    }

    fn watermark(&self) -> Utf8Bytes {
        format!("at {}", self.position).into()
    }

    fn arrive(&self, seq: i64) {
        let frame = frame(seq - 1, seq);
        let event = Delivery { stream: STREAM, seq, after: seq - 1, frame: &frame, hidden: None };
        self.hub.deliver(&event, &mut Rung::default());
    }

    fn read(&mut self, socket: usize) {
        let mut frames = Vec::new();
        self.sockets[socket].take(&mut frames);
        frames.iter().for_each(|frame| self.clients[socket].hear(frame));
        if std::mem::take(&mut self.clients[socket].hole) {
            self.hub.rewind(&self.sockets[socket], STREAM, self.clients[socket].cursor);
        }
    }

    /// As the socket's task does: it writes what waits before it pulls a page.
    fn pull(&mut self, socket: usize, size: i64) -> bool {
        self.read(socket);
        let (stream, from) = match self.sockets[socket].next_pull(1) {
            None => return false,
            Some(Pull::Page(stream, from)) => (stream, from),
            Some(Pull::Watermarks(_)) => {
                self.sockets[socket].put(self.watermark());
                return true;
            }
        };
        let upto = self.head.min(from + size);
        let page = Caught { upto, more: upto < self.head, frame: (upto > from).then(|| frame(from, upto)) };
        self.hub.caught_up(&self.sockets[socket], stream, from, page);
        true
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Commit => {
                self.head += 1;
                self.coming.push(self.head);
            }
            Step::Arrive { place, again } if place < self.coming.len() => {
                self.arrive(self.coming[place]);
                if !again {
                    self.coming.remove(place);
                }
            }
            Step::Lose(place) if place < self.coming.len() => drop(self.coming.remove(place)),
            Step::Sweep => drop(self.hub.jump(STREAM, self.head, &mut Rung::default())),
            Step::GiveUp => self.hub.give_up(&mut Rung::default()),
            Step::Mark { told } => {
                self.position += 1;
                let (conversation, mut rung) = (ConversationId(1), Rung::default());
                match told {
                    true => self.hub.tell_watermarks(conversation, &self.watermark(), &[], &mut rung),
                    false => self.hub.reread_watermarks(conversation, &mut rung),
                }
            }
            Step::Read(socket) => self.read(socket),
            Step::Pull { socket, size } => drop(self.pull(socket, size)),
            Step::Rewind { socket, back } => {
                self.read(socket);
                let client = &mut self.clients[socket];
                client.cursor = (client.cursor - back).max(0);
                self.hub.rewind(&self.sockets[socket], STREAM, client.cursor);
            }
            Step::Arrive { .. } | Step::Lose(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_client_ends_where_the_database_is(steps in proptest::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.take(step));
        // What was lost is noticed by the next sweep at the latest.
        world.take(&Step::Sweep);
        for socket in 0..world.sockets.len() {
            let mut rounds = 0;
            while world.pull(socket, 3) {
                rounds += 1;
                prop_assert!(rounds < 200, "socket {socket} never catches up");
            }
            world.read(socket);
            while world.pull(socket, 3) {}
            world.read(socket);
            prop_assert_eq!(world.clients[socket].cursor, world.head, "socket {}", socket);
            prop_assert_eq!(world.clients[socket].position, world.position, "socket {}", socket);
            prop_assert!(world.sockets[socket].next_pull(1).is_none());
        }
    }
}

#[test]
fn d19_streams_take_turns_and_watermarks_have_one_in_each_round() {
    let mut world = World::new();
    let socket = &Arc::clone(&world.sockets[0]);
    let streams = [1, 2, 3].map(|id| Stream::Conversation(ConversationId(id)));
    world.hub.start(socket, 1, &[1, 2, 3].map(ConversationId));
    world.read(0);
    streams.iter().for_each(|stream| world.hub.rewind(socket, *stream, 0));
    socket.read_watermarks((1..=5).map(ConversationId));
    let turns = |count: usize| (0..count).filter_map(|_| socket.next_pull(2)).collect::<Vec<_>>();
    let page = |at: usize| Pull::Page(streams[at], 0);
    let watermarks = |ids: &[i64]| Pull::Watermarks(ids.iter().copied().map(ConversationId).collect());
    // Nobody takes the pages, so each stream stays behind.
    let round = [page(0), page(1), page(2), watermarks(&[1, 2])];
    assert_eq!(turns(4), round);
    assert_eq!(turns(4), [page(0), page(1), page(2), watermarks(&[3, 4])]);
    // One that caught up is passed over; what came back is due again.
    world.hub.caught_up(socket, streams[1], 0, Caught { upto: 0, more: false, frame: None });
    socket.read_watermarks([ConversationId(1)]);
    assert_eq!(turns(3), [page(0), page(2), watermarks(&[1, 5])]);
    assert_eq!(turns(4), [page(0), page(2), page(0), page(2)]);
}

#[test]
fn two_events_that_come_in_the_wrong_order_are_told_in_the_right_one() {
    let mut world = World::new();
    world.head = 2;
    world.arrive(2);
    let mut frames = Vec::new();
    world.sockets[0].take(&mut frames);
    assert!(frames.is_empty() && world.sockets[0].next_pull(1).is_none(), "the second waits for the first");
    world.arrive(1);
    world.sockets[0].take(&mut frames);
    assert_eq!(frames, [frame(0, 1), frame(1, 2)]);
    // A first one that never comes is read from the database.
    world.arrive(4);
    world.hub.give_up(&mut Rung::default());
    assert_eq!(world.sockets[0].next_pull(1), Some(Pull::Page(STREAM, 2)));
}
