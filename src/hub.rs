//! The sockets of this node: who follows which stream, and up to which number each stream was delivered. Never awaits.
//!
//! A socket is *live* in a stream unless the stream is in the socket's `behind` map. Live: an event goes into the
//! outbox. Behind: nothing is queued; the socket pulls pages from its cursor (`feed.rs`) until it has caught up, which
//! is decided under the lock of the stream. Resume, slow reader, gap and late join are this one mechanism.
//!
//! Locks: a stream's entry first, then a socket's state. No guard leaves this module.

pub mod currency;
mod early;
mod membership;
mod socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::config::Config;
use crate::error::CloseCode;
use crate::metrics;
use crate::model::{Actor, ConversationId, Micros, SessionId, Stream, UserId};
use crate::planted::{self, Fault};

pub use membership::{Membership, Origin};
pub use socket::{Pull, Rung, Socket};

use currency::Currency;
use early::{Early, Held};
use socket::{Behind, State};

/// The sockets of this node.
#[derive(Debug)]
pub struct Hub {
    /// Whether this node knows which sessions stand.
    pub currency: Currency,
    /// Which streams have events that came early.
    pub early: Early,
    streams: DashMap<Stream, Followers>,
    next_socket: AtomicU64,
    outbox_frames: usize,
    outbox_bytes: usize,
}

/// The sockets here that follow a stream.
#[derive(Debug, Default)]
struct Followers {
    /// The last number delivered to the live ones; not known until an event or a read tells.
    delivered: Option<i64>,
    sockets: Vec<Arc<Socket>>,
    /// Events that came before others that they follow on.
    early: Vec<Held>,
}

/// An event of a stream, encoded.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Which stream.
    pub stream: Stream,
    /// The number that it takes a cursor to.
    pub seq: i64,
    /// The number that it takes a cursor from.
    pub after: i64,
    /// What nearly all get.
    pub frame: &'a Utf8Bytes,
    /// Who must not see it, and what they get instead.
    pub hidden: Option<(&'a [UserId], &'a Utf8Bytes)>,
}

/// A page for a socket that is behind.
#[derive(Debug)]
pub struct Caught {
    /// The cursor after the page.
    pub upto: i64,
    /// Another page follows.
    pub more: bool,
    /// The encoded page; none when it would say nothing.
    pub frame: Option<Utf8Bytes>,
}

impl Hub {
    /// A hub without sockets.
    pub fn new(config: &Config) -> Hub {
        Hub {
            currency: Currency::default(),
            early: Early::new(config),
            streams: DashMap::new(),
            next_socket: AtomicU64::new(1),
            outbox_frames: config.outbox_frames,
            outbox_bytes: config.outbox_bytes,
        }
    }

    /// Registers a socket in its user's personal stream. It is told nothing numbered until [`Hub::start`]. Over the
    /// limit, the user's oldest socket is told to close.
    pub fn register(&self, actor: Actor, opened_at: Micros, sockets_max: usize) -> Arc<Socket> {
        let id = self.next_socket.fetch_add(1, Ordering::Relaxed);
        let socket = Arc::new(Socket::starting(id, actor, opened_at));
        let mut followers = self.streams.entry(Stream::Personal(actor.user)).or_default();
        if sockets_max > 0 && followers.sockets.len() >= sockets_max {
            let closing = followers.sockets.len() + 1 - sockets_max;
            followers.sockets.iter().take(closing).for_each(|oldest| oldest.close(CloseCode::Replaced));
        }
        followers.sockets.push(Arc::clone(&socket));
        socket
    }

    /// Tells how far a stream was when it was read after its sockets had registered. Answers how far it is known to be.
    pub fn position(&self, stream: Stream, head: i64) -> i64 {
        self.streams.get_mut(&stream).map_or(head, |mut followers| *followers.delivered.get_or_insert(head))
    }

    /// Forgets a socket that ended. Answers whether it was the last of its user here.
    pub fn remove(&self, socket: &Arc<Socket>) -> bool {
        let following = {
            let mut state = socket.lock();
            // From here on no membership makes it follow anything.
            state.is_closed = true;
            std::mem::take(&mut state.following)
        };
        let personal = Stream::Personal(socket.actor.user);
        self.forget(personal, socket);
        for id in following {
            self.forget(Stream::Conversation(id), socket);
        }
        !self.streams.contains_key(&personal)
    }

    fn forget(&self, stream: Stream, socket: &Arc<Socket>) {
        if let Some(mut followers) = self.streams.get_mut(&stream) {
            followers.sockets.retain(|other| other.id != socket.id);
        }
        self.streams.remove_if(&stream, |_, followers| followers.sockets.is_empty());
    }

    /// Brings a numbered event to the live sockets of its stream; those whose outbox is full fall behind. An event that
    /// does not follow on what was delivered waits a moment for the ones before it, since two nodes are seldom heard in
    /// the order of their commits.
    pub fn deliver(&self, event: &Delivery<'_>, rung: &mut Rung) {
        let Some(mut followers) = self.streams.get_mut(&event.stream) else { return };
        let delivered = *followers.delivered.get_or_insert(event.after);
        let in_order = !planted::is(Fault::OrderNotRepaired);
        if event.seq <= delivered && in_order {
            return;
        }
        if event.after > delivered && in_order && self.early.hold(&mut followers.early, event) {
            return;
        }
        self.give(&mut followers, event, rung);
        while let Some(next) = early::next(&mut followers) {
            self.give(&mut followers, &next.as_delivery(event.stream), rung);
        }
    }

    /// Brings an event to the sockets of its stream now. Where it leaves a gap all fall behind, so that they read what is
    /// missing first.
    fn give(&self, followers: &mut Followers, event: &Delivery<'_>, rung: &mut Rung) {
        let delivered = followers.delivered.unwrap_or(event.after);
        let gap = event.after > delivered && !planted::is(Fault::OrderNotRepaired);
        for socket in &followers.sockets {
            let mut state = socket.lock();
            match state.behind.get(&event.stream).copied() {
                Some(Behind::At(_) | Behind::Starting) => continue,
                Some(Behind::Ahead(cursor)) if event.seq <= cursor => continue,
                Some(Behind::Ahead(cursor)) if event.after > cursor => {
                    state.behind.insert(event.stream, Behind::At(cursor));
                }
                Some(Behind::Ahead(_)) => {
                    state.behind.remove(&event.stream);
                    self.push(&mut state, socket.actor.user, event, event.after);
                }
                None if gap => {
                    metrics::fell_behind();
                    state.behind.insert(event.stream, Behind::At(delivered));
                }
                None => self.push(&mut state, socket.actor.user, event, delivered),
            }
            state.ring(socket, rung);
        }
        followers.delivered = Some(event.seq);
    }

    /// Gives up waiting for what should have come before events that came early: their sockets read it.
    pub fn give_up(&self, rung: &mut Rung) {
        for stream in self.early.overdue() {
            let waiting = self.streams.get_mut(&stream).map(|mut followers| std::mem::take(&mut followers.early));
            if let Some(last) = waiting.iter().flatten().map(|event| event.seq).max() {
                self.jump(stream, last, rung);
            }
        }
    }

    /// A stream was seen to have moved to `seq` without a word of it here: its live sockets read on from what they have.
    /// Answers whether it was news. A stream whose position is not known is left alone: who starts there reads it.
    pub fn jump(&self, stream: Stream, seq: i64, rung: &mut Rung) -> bool {
        let Some(mut followers) = self.streams.get_mut(&stream) else { return false };
        let Some(delivered) = followers.delivered.filter(|delivered| *delivered < seq) else { return false };
        for socket in &followers.sockets {
            let mut state = socket.lock();
            let from = match state.behind.get(&stream).copied() {
                None => delivered,
                Some(Behind::Ahead(cursor)) if cursor < seq => cursor,
                Some(_) => continue,
            };
            state.behind.insert(stream, Behind::At(from));
            state.ring(socket, rung);
        }
        followers.delivered = Some(seq);
        true
    }

    /// Members of a conversation received or read without a word of it here: its sockets read where all stand.
    pub fn reread_watermarks(&self, conversation: ConversationId, rung: &mut Rung) {
        let Some(followers) = self.streams.get(&Stream::Conversation(conversation)) else { return };
        for socket in &followers.sockets {
            let mut state = socket.lock();
            state.watermarks.insert(conversation);
            state.ring(socket, rung);
        }
    }

    /// Into the outbox of a live socket, or behind from `cursor` when there is no room.
    fn push(&self, state: &mut State, user: UserId, event: &Delivery<'_>, cursor: i64) {
        let frame = match event.hidden {
            Some((users, instead)) if users.contains(&user) => instead,
            _ => event.frame,
        };
        if state.outbox.len() < self.outbox_frames && state.bytes + frame.len() <= self.outbox_bytes {
            state.put(frame.clone());
        } else if !planted::is(Fault::OrderNotRepaired) {
            metrics::fell_behind();
            state.behind.insert(event.stream, Behind::At(cursor));
        }
    }

    /// Tells the sockets of a stream something that may be lost: it is dropped where the outbox is half full. `except` are
    /// users who must not get it.
    pub fn tell(&self, stream: Stream, frame: &Utf8Bytes, except: &[UserId], rung: &mut Rung) {
        let Some(followers) = self.streams.get(&stream) else { return };
        for socket in followers.sockets.iter().filter(|socket| !except.contains(&socket.actor.user)) {
            let mut state = socket.lock();
            let has_room = state.outbox.len() < self.outbox_frames / 2;
            if has_room && state.bytes + frame.len() <= self.outbox_bytes / 2 {
                state.put(frame.clone());
                state.ring(socket, rung);
            }
        }
    }

    /// Tells the sockets of a conversation, but for those of some users, where members stand. Those whose outbox is full read it later.
    pub fn tell_watermarks(&self, conversation: ConversationId, frame: &Utf8Bytes, except: &[UserId], rung: &mut Rung) {
        let Some(followers) = self.streams.get(&Stream::Conversation(conversation)) else { return };
        for socket in followers.sockets.iter().filter(|socket| !except.contains(&socket.actor.user)) {
            self.give_watermarks(conversation, frame, socket, rung);
        }
    }

    /// Tells the sockets of a user where the user stands in a conversation.
    pub fn tell_own_watermark(&self, conversation: ConversationId, user: UserId, frame: &Utf8Bytes, rung: &mut Rung) {
        self.sockets_of(user).iter().for_each(|socket| self.give_watermarks(conversation, frame, socket, rung));
    }

    fn give_watermarks(&self, conversation: ConversationId, frame: &Utf8Bytes, socket: &Arc<Socket>, rung: &mut Rung) {
        let mut state = socket.lock();
        if state.outbox.len() < self.outbox_frames && state.bytes + frame.len() <= self.outbox_bytes {
            state.put(frame.clone());
        } else {
            state.watermarks.insert(conversation);
        }
        state.ring(socket, rung);
    }

    /// A client named its cursor: the socket reads on from there before it is live again. A stream that the socket
    /// does not follow is left alone.
    pub fn rewind(&self, socket: &Arc<Socket>, stream: Stream, cursor: i64) {
        let Some(followers) = self.streams.get(&stream) else { return };
        if followers.sockets.iter().any(|other| other.id == socket.id) {
            socket.lock().behind.insert(stream, Behind::At(cursor));
            socket.bell.notify_one();
        }
    }

    /// Takes a page that was read for a socket from `from`. The socket is live again when the page reaches all that
    /// was delivered; decided under the stream's lock, so that no event falls between.
    pub fn caught_up(&self, socket: &Arc<Socket>, stream: Stream, from: i64, page: Caught) {
        let followers = self.streams.get_mut(&stream);
        let mut state = socket.lock();
        // A resume may have rewound the cursor, or the user may have left, while the page was read.
        let (Some(mut followers), Some(Behind::At(cursor))) = (followers, state.behind.get(&stream).copied()) else {
            return;
        };
        if cursor != from {
            return;
        }
        let delivered = *followers.delivered.get_or_insert(page.upto);
        if page.more || page.upto < delivered {
            state.behind.insert(stream, Behind::At(page.upto));
        } else if page.upto > delivered {
            state.behind.insert(stream, Behind::Ahead(page.upto));
        } else {
            state.behind.remove(&stream);
        }
        if let Some(frame) = page.frame {
            state.put(frame);
        }
    }

    /// Tells every socket here of a session, or of all sessions of the user but one, to close.
    pub fn end_sessions(&self, user: UserId, which: Which, code: CloseCode) {
        for socket in self.sockets_of(user) {
            let meant = match which {
                Which::All => true,
                Which::Only(session) => socket.actor.session == session,
                Which::AllBut(session) => socket.actor.session != session,
            };
            if meant {
                socket.close(code);
            }
        }
    }

    /// Whether a user has a socket here.
    pub fn is_here(&self, user: UserId) -> bool {
        self.streams.contains_key(&Stream::Personal(user))
    }

    /// Whether any socket here follows a stream.
    pub fn follows(&self, stream: Stream) -> bool {
        self.streams.contains_key(&stream)
    }

    /// When the sockets of a user here were opened, the oldest first.
    pub fn opened(&self, user: UserId) -> Vec<Micros> {
        self.sockets_of(user).iter().map(|socket| socket.opened_at).collect()
    }

    /// Tells the sockets of a user here that were opened up to a time to close: the user has too many.
    pub fn replace(&self, user: UserId, opened_upto: Micros) {
        let sockets = self.sockets_of(user);
        let old = sockets.iter().filter(|socket| socket.opened_at <= opened_upto);
        old.for_each(|socket| socket.close(CloseCode::Replaced));
    }

    /// On how many nodes a user has sockets; each allows its share of the user's rates.
    pub fn spread(&self, user: UserId, nodes: u32) {
        self.sockets_of(user).iter().for_each(|socket| socket.spread(nodes));
    }

    /// Tells every socket here to close.
    pub fn close_all(&self, code: CloseCode) {
        let personal = self.streams.iter().filter(|entry| matches!(entry.key(), Stream::Personal(_)));
        personal.for_each(|entry| entry.sockets.iter().for_each(|socket| socket.close(code)));
    }

    /// Who has a socket here.
    pub fn actors(&self) -> Vec<Actor> {
        let personal = self.streams.iter().filter(|entry| matches!(entry.key(), Stream::Personal(_)));
        personal.flat_map(|entry| entry.sockets.iter().map(|socket| socket.actor).collect::<Vec<_>>()).collect()
    }

    /// Who has the sockets of a user here.
    pub fn actors_of(&self, user: UserId) -> Vec<Actor> {
        self.sockets_of(user).iter().map(|socket| socket.actor).collect()
    }

    /// Who has the sockets after a number, ascending: at most `most`, and none more once they together follow more than
    /// so many conversations.
    pub fn page(&self, after: u64, most: usize, conversations: usize) -> Vec<Actor> {
        let personal = self.streams.iter().filter(|entry| matches!(entry.key(), Stream::Personal(_)));
        let mut later: Vec<Arc<Socket>> = personal
            .flat_map(|entry| entry.sockets.iter().filter(|socket| socket.id > after).cloned().collect::<Vec<_>>())
            .collect();
        later.sort_unstable_by_key(|socket| socket.id);
        let mut following = 0;
        let fits = later.iter().take(most).take_while(|socket| {
            let before = following;
            following += socket.lock().following.len();
            before <= conversations
        });
        fits.map(|socket| socket.actor).collect()
    }

    /// Whether a stream that is followed here moved further than its sockets were told.
    pub fn lacks(&self, stream: Stream, seq: i64) -> bool {
        self.streams.get(&stream).is_some_and(|followers| followers.delivered.is_some_and(|delivered| delivered < seq))
    }

    /// How many sockets are here.
    pub fn socket_count(&self) -> usize {
        let personal = self.streams.iter().filter(|entry| matches!(entry.key(), Stream::Personal(_)));
        personal.map(|entry| entry.sockets.len()).sum()
    }

    fn sockets_of(&self, user: UserId) -> Vec<Arc<Socket>> {
        self.streams.get(&Stream::Personal(user)).map_or(Vec::new(), |followers| followers.sockets.clone())
    }
}

/// Which sessions of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Every one.
    All,
    /// This one.
    Only(SessionId),
    /// Every one but this.
    AllBut(SessionId),
}

#[cfg(test)]
mod tests;
