//! The sockets of this node: who follows which stream, and up to which number each stream was delivered. Never awaits.
//!
//! A socket is *live* in a stream unless the stream is in the socket's `behind` map. Live: an event goes into the
//! outbox. Behind: nothing is queued; the socket pulls pages from its cursor (`feed.rs`) until it has caught up, which
//! is decided under the lock of the stream. Resume, slow reader, gap and late join are this one mechanism.
//!
//! Locks: a stream's entry first, then a socket's state. No guard leaves this module.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::config::Config;
use crate::error::CloseCode;
use crate::metrics;
use crate::model::{Actor, ConversationId, Micros, SessionId, Stream, UserId};

/// The sockets of this node.
#[derive(Debug)]
pub struct Hub {
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
}

/// What the hub and the task of a socket share.
pub struct Socket {
    id: u64,
    /// Who speaks here.
    pub actor: Actor,
    state: Mutex<State>,
    /// When its token ends.
    expires_at: AtomicI64,
    /// Rung when the outbox has something, a stream fell behind, or the socket must close.
    pub bell: Notify,
}

#[derive(Default)]
struct State {
    outbox: VecDeque<Utf8Bytes>,
    bytes: usize,
    behind: HashMap<Stream, Behind>,
    close: Option<CloseCode>,
    /// The conversations it follows, so that it can be forgotten without looking through all.
    following: Vec<ConversationId>,
    /// While the socket starts: what it lost after its memberships were read.
    starting: Option<HashSet<ConversationId>>,
    rung: bool,
}

/// Where a socket stands in a stream it is not live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// Pages are to be pulled from here. `told`: state without a number was told since the last pull began, so that
    /// the page it reads may lack it.
    At { cursor: i64, told: bool },
    /// Caught up to here, which is more than was delivered: the events up to here are still on their way.
    Ahead(i64),
}

impl Behind {
    fn at(cursor: i64) -> Behind {
        Behind::At { cursor, told: false }
    }
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

/// Sockets that got something and must be rung once the whole batch is in.
#[derive(Debug, Default)]
pub struct Rung(Vec<Arc<Socket>>);

impl Drop for Rung {
    fn drop(&mut self) {
        for socket in self.0.drain(..) {
            socket.lock().rung = false;
            socket.bell.notify_one();
        }
    }
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

/// How an unnumbered event is treated when an outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is dropped, from half the outbox on.
    Drop,
    /// The stream falls behind, so that its next page tells the state.
    Repair,
}

impl Hub {
    /// A hub without sockets.
    pub fn new(config: &Config) -> Hub {
        Hub {
            streams: DashMap::new(),
            next_socket: AtomicU64::new(1),
            outbox_frames: config.outbox_frames,
            outbox_bytes: config.outbox_bytes,
        }
    }

    /// Registers a socket in its user's personal stream. It is *starting* until [`Hub::follow`]. Over the limit, the
    /// user's oldest socket is told to close.
    pub fn register(&self, actor: Actor, sockets_max: usize) -> Arc<Socket> {
        let socket = Arc::new(Socket {
            id: self.next_socket.fetch_add(1, Ordering::Relaxed),
            actor,
            state: Mutex::new(State { starting: Some(HashSet::new()), ..State::default() }),
            expires_at: AtomicI64::new(0),
            bell: Notify::new(),
        });
        let mut followers = self.streams.entry(Stream::Personal(actor.user)).or_default();
        if sockets_max > 0 && followers.sockets.len() >= sockets_max {
            let closing = followers.sockets.len() + 1 - sockets_max;
            followers.sockets.iter().take(closing).for_each(|oldest| oldest.close(CloseCode::Replaced));
        }
        followers.sockets.push(Arc::clone(&socket));
        socket
    }

    /// Makes a starting socket follow the conversations it was read to be in; those it lost meanwhile are left out.
    /// Answers whether the position of any is not known here yet, for [`Hub::position`].
    pub fn follow(&self, socket: &Arc<Socket>, conversations: &[ConversationId]) -> bool {
        let mut unknown = false;
        for id in conversations {
            let stream = Stream::Conversation(*id);
            let mut followers = self.streams.entry(stream).or_default();
            let lost = socket.lock().starting.as_ref().is_some_and(|lost| lost.contains(id));
            if !lost {
                followers.add(socket, *id);
                unknown |= followers.delivered.is_none();
            } else if followers.sockets.is_empty() {
                drop(followers);
                self.streams.remove_if(&stream, |_, followers| followers.sockets.is_empty());
            }
        }
        socket.lock().starting = None;
        unknown
    }

    /// Tells how far a stream was when it was read after its sockets had registered. Answers how far it is known to be.
    pub fn position(&self, stream: Stream, head: i64) -> i64 {
        self.streams.get_mut(&stream).map_or(head, |mut followers| *followers.delivered.get_or_insert(head))
    }

    /// Forgets a socket that ended. Answers whether it was the last of its user here.
    pub fn remove(&self, socket: &Arc<Socket>) -> bool {
        let personal = Stream::Personal(socket.actor.user);
        // Out of the personal stream first: from then on no join can make it follow anything new.
        self.forget(personal, socket);
        let following = std::mem::take(&mut socket.lock().following);
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

    /// A user came into a conversation: their sockets here follow it from `cursor`.
    pub fn join(&self, conversation: ConversationId, user: UserId, cursor: i64, rung: &mut Rung) {
        let stream = Stream::Conversation(conversation);
        for socket in self.sockets_of(user) {
            let mut followers = self.streams.entry(stream).or_default();
            followers.add(&socket, conversation);
            let delivered = *followers.delivered.get_or_insert(cursor);
            let mut state = socket.lock();
            if let Some(lost) = &mut state.starting {
                lost.remove(&conversation);
            }
            if delivered != cursor {
                state.behind.insert(stream, Behind::at(cursor));
                state.ring(&socket, rung);
            }
        }
    }

    /// A user is no longer in a conversation.
    pub fn leave(&self, conversation: ConversationId, user: UserId) {
        let stream = Stream::Conversation(conversation);
        for socket in self.sockets_of(user) {
            self.forget(stream, &socket);
            let mut state = socket.lock();
            state.behind.remove(&stream);
            state.following.retain(|id| *id != conversation);
            if let Some(lost) = &mut state.starting {
                lost.insert(conversation);
            }
        }
    }

    /// Brings a numbered event to the live sockets of its stream; those whose outbox is full fall behind. An event that
    /// does not follow on what was delivered makes all fall behind, so that they read what is missing first.
    pub fn deliver(&self, event: &Delivery<'_>, rung: &mut Rung) {
        let Some(mut followers) = self.streams.get_mut(&event.stream) else { return };
        let delivered = *followers.delivered.get_or_insert(event.after);
        if event.seq <= delivered && !crate::planted::is(crate::planted::Fault::OrderNotRepaired) {
            return;
        }
        let gap = event.after > delivered && !crate::planted::is(crate::planted::Fault::OrderNotRepaired);
        for socket in &followers.sockets {
            let mut state = socket.lock();
            match state.behind.get(&event.stream).copied() {
                Some(Behind::At { .. }) => continue,
                Some(Behind::Ahead(cursor)) if event.seq <= cursor => continue,
                Some(Behind::Ahead(cursor)) if event.after > cursor => {
                    state.behind.insert(event.stream, Behind::at(cursor));
                }
                Some(Behind::Ahead(_)) => {
                    state.behind.remove(&event.stream);
                    self.push(&mut state, socket.actor.user, event, event.after);
                }
                None if gap => {
                    metrics::fell_behind();
                    state.behind.insert(event.stream, Behind::at(delivered));
                }
                None => self.push(&mut state, socket.actor.user, event, delivered),
            }
            state.ring(socket, rung);
        }
        followers.delivered = Some(event.seq);
    }

    /// Into the outbox of a live socket, or behind from `cursor` when there is no room.
    fn push(&self, state: &mut State, user: UserId, event: &Delivery<'_>, cursor: i64) {
        let frame = match event.hidden {
            Some((users, instead)) if users.contains(&user) => instead,
            _ => event.frame,
        };
        if state.outbox.len() < self.outbox_frames && state.bytes + frame.len() <= self.outbox_bytes {
            state.put(frame.clone());
        } else if !crate::planted::is(crate::planted::Fault::OrderNotRepaired) {
            metrics::fell_behind();
            state.behind.insert(event.stream, Behind::at(cursor));
        }
    }

    /// Tells the sockets of a stream something that has no number. `except` are users who must not get it.
    pub fn tell(&self, stream: Stream, frame: &Utf8Bytes, except: &[UserId], loss: Loss, rung: &mut Rung) {
        let Some(followers) = self.streams.get(&stream) else { return };
        let (frames, bytes) = match loss {
            Loss::Drop => (self.outbox_frames / 2, self.outbox_bytes / 2),
            Loss::Repair => (self.outbox_frames, self.outbox_bytes),
        };
        for socket in followers.sockets.iter().filter(|socket| !except.contains(&socket.actor.user)) {
            let mut state = socket.lock();
            if let Some(Behind::At { told, .. }) = state.behind.get_mut(&stream) {
                *told |= loss == Loss::Repair;
                continue;
            }
            if state.outbox.len() < frames && state.bytes + frame.len() <= bytes {
                state.put(frame.clone());
            } else if loss == Loss::Repair
                && let Some(delivered) = followers.delivered
            {
                state.behind.insert(stream, Behind::at(delivered));
            }
            state.ring(socket, rung);
        }
    }

    /// A client named its cursor: the socket reads on from there before it is live again. A stream that the socket
    /// does not follow is left alone.
    pub fn rewind(&self, socket: &Arc<Socket>, stream: Stream, cursor: i64) {
        let Some(followers) = self.streams.get(&stream) else { return };
        if followers.sockets.iter().any(|other| other.id == socket.id) {
            socket.lock().behind.insert(stream, Behind::at(cursor));
            socket.bell.notify_one();
        }
    }

    /// Takes a page that was read for a socket from `from`. The socket is live again when the page reaches all that
    /// was delivered; decided under the stream's lock, so that no event falls between.
    pub fn caught_up(&self, socket: &Arc<Socket>, stream: Stream, from: i64, page: Caught) {
        let followers = self.streams.get(&stream);
        let mut state = socket.lock();
        // A resume may have rewound the cursor, or the user may have left, while the page was read.
        let (Some(followers), Some(Behind::At { cursor, told })) = (followers, state.behind.get(&stream).copied())
        else {
            return;
        };
        if cursor != from {
            return;
        }
        let delivered = followers.delivered.unwrap_or(page.upto);
        if page.more || told || page.upto < delivered {
            state.behind.insert(stream, Behind::at(page.upto));
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

    /// Who has a socket here.
    pub fn actors(&self) -> Vec<Actor> {
        let personal = self.streams.iter().filter(|entry| matches!(entry.key(), Stream::Personal(_)));
        personal.flat_map(|entry| entry.sockets.iter().map(|socket| socket.actor).collect::<Vec<_>>()).collect()
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Every one.
    All,
    /// This one.
    Only(SessionId),
    /// Every one but this.
    AllBut(SessionId),
}

impl Followers {
    fn add(&mut self, socket: &Arc<Socket>, conversation: ConversationId) {
        if !self.sockets.iter().any(|other| other.id == socket.id) {
            // Most conversations have one or two sockets here; doubling from four would waste most of it.
            self.sockets.reserve_exact(1);
            self.sockets.push(Arc::clone(socket));
            socket.lock().following.push(conversation);
        }
    }
}

impl State {
    fn put(&mut self, frame: Utf8Bytes) {
        self.bytes += frame.len();
        self.outbox.push_back(frame);
    }

    /// Notes that the socket is to be rung, once however many events it gets.
    fn ring(&mut self, socket: &Arc<Socket>, rung: &mut Rung) {
        if !self.rung {
            self.rung = true;
            rung.0.push(Arc::clone(socket));
        }
    }
}

impl Socket {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not take this socket's state with it: each change below is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the socket's token ends.
    pub fn expires_at(&self) -> Micros {
        self.expires_at.load(Ordering::Relaxed)
    }

    /// The socket has a token that ends then.
    pub fn renewed(&self, expires_at: Micros) {
        self.expires_at.store(expires_at, Ordering::Relaxed);
        self.bell.notify_one();
    }

    /// Takes all that waits in the outbox. A socket that must close is told nothing more.
    pub fn take(&self, into: &mut Vec<Utf8Bytes>) {
        let mut state = self.lock();
        if state.close.is_none() {
            into.extend(state.outbox.drain(..));
        }
        state.bytes = 0;
        // An idle socket keeps no buffer.
        state.outbox = VecDeque::new();
    }

    /// A stream to pull a page of, and from where.
    pub fn next_behind(&self) -> Option<(Stream, i64)> {
        let mut state = self.lock();
        state.behind.iter_mut().find_map(|(stream, behind)| match behind {
            Behind::At { cursor, told } => {
                *told = false;
                Some((*stream, *cursor))
            }
            Behind::Ahead(_) => None,
        })
    }

    /// Why the socket must close, if it must.
    pub fn closing(&self) -> Option<CloseCode> {
        self.lock().close
    }

    /// Asks the task of the socket to close it; the first reason stands.
    pub fn close(&self, code: CloseCode) {
        self.lock().close.get_or_insert(code);
        self.bell.notify_one();
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.id).field("actor", &self.actor).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
