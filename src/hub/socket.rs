//! What the hub and the task of a socket share: the outbox, where the socket is behind, and why it must close.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::error::CloseCode;
use crate::model::{Actor, ConversationId, Micros, Stream};

/// What the hub and the task of a socket share.
pub struct Socket {
    pub(super) id: u64,
    /// Who speaks here.
    pub actor: Actor,
    /// When it was opened.
    pub opened_at: Micros,
    state: Mutex<State>,
    /// When its token ends.
    expires_at: AtomicI64,
    /// On how many nodes its user has sockets.
    nodes: AtomicU32,
    /// Rung when the outbox has something, a stream fell behind, or the socket must close.
    pub bell: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) outbox: VecDeque<Utf8Bytes>,
    pub(super) bytes: usize,
    pub(super) behind: BTreeMap<Stream, Behind>,
    /// The stream whose turn it was last in this round.
    turn: Option<Stream>,
    /// Conversations whose watermarks are to be read for this socket, as it may have missed some.
    pub(super) watermarks: BTreeSet<ConversationId>,
    close: Option<CloseCode>,
    /// The conversations it follows, ascending, so that it can be forgotten without looking through all.
    pub(super) following: Vec<ConversationId>,
    /// Up to which number of its user's personal stream the memberships were read; none while the socket starts.
    pub(super) as_of: Option<i64>,
    /// The number of the latest change of each membership that was seen besides.
    pub(super) changed: HashMap<ConversationId, i64>,
    /// The socket ended: it follows nothing any more.
    pub(super) is_closed: bool,
    rung: bool,
}

/// Where a socket stands in a stream it is not live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// Pages are to be pulled from here.
    At(i64),
    /// In the personal stream of a socket that starts: where it begins is not known yet.
    Starting,
    /// Caught up to here, which is more than was delivered: the events up to here are still on their way.
    Ahead(i64),
}

/// What a socket is to read next from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pull {
    /// A page of a stream, from a cursor.
    Page(Stream, i64),
    /// The watermarks of conversations.
    Watermarks(Vec<ConversationId>),
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

impl State {
    pub(super) fn put(&mut self, frame: Utf8Bytes) {
        self.bytes += frame.len();
        self.outbox.push_back(frame);
    }

    /// A page of the next stream in this round.
    fn next_page(&mut self) -> Option<Pull> {
        let from = self.turn.map_or(Unbounded, Excluded);
        let mut rest = self.behind.range((from, Unbounded));
        let (stream, cursor) = rest.find_map(|(stream, behind)| match behind {
            Behind::At(cursor) => Some((*stream, *cursor)),
            Behind::Ahead(_) | Behind::Starting => None,
        })?;
        self.turn = Some(stream);
        Some(Pull::Page(stream, cursor))
    }

    /// Notes that the socket is to be rung, once however many events it gets.
    pub(super) fn ring(&mut self, socket: &Arc<Socket>, rung: &mut Rung) {
        if !self.rung {
            self.rung = true;
            rung.0.push(Arc::clone(socket));
        }
    }
}

impl Socket {
    /// A socket that is *starting*: see [`super::Hub::register`].
    pub(super) fn starting(id: u64, actor: Actor, opened_at: Micros) -> Socket {
        let behind = BTreeMap::from([(Stream::Personal(actor.user), Behind::Starting)]);
        Socket {
            id,
            actor: Actor { socket: Some(id), ..actor },
            opened_at,
            state: Mutex::new(State { behind, ..State::default() }),
            expires_at: AtomicI64::new(0),
            nodes: AtomicU32::new(1),
            bell: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not take this socket's state with it: each change below is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On how many nodes the user of this socket has sockets, as far as is known.
    pub fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed)
    }

    pub(super) fn spread(&self, nodes: u32) {
        self.nodes.store(nodes.max(1), Ordering::Relaxed);
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

    /// Takes all that waits in the outbox, and answers how many frames that were. A socket that must close is told
    /// nothing more.
    pub fn take(&self, into: &mut Vec<Utf8Bytes>) -> usize {
        let mut state = self.lock();
        let waiting = state.outbox.len();
        if state.close.is_none() {
            into.extend(state.outbox.drain(..));
        }
        state.bytes = 0;
        // An idle socket keeps no buffer.
        state.outbox = VecDeque::new();
        waiting
    }

    /// What to read next, in rounds: a page of each stream that the socket is behind in, then the watermarks of at most
    /// `many` conversations, which count as read from here on. So no stream waits for all of another one.
    pub fn next_pull(&self, many: usize) -> Option<Pull> {
        let mut state = self.lock();
        if let Some(page) = state.next_page() {
            return Some(page);
        }
        state.turn = None;
        let conversations: Vec<ConversationId> = state.watermarks.iter().take(many).copied().collect();
        if conversations.is_empty() {
            return state.next_page();
        }
        state.watermarks.retain(|conversation| !conversations.contains(conversation));
        Some(Pull::Watermarks(conversations))
    }

    /// The watermarks of these are to be read.
    pub fn read_watermarks(&self, conversations: impl IntoIterator<Item = ConversationId>) {
        self.lock().watermarks.extend(conversations);
        self.bell.notify_one();
    }

    /// Puts a frame into the outbox that was read for this socket alone.
    pub fn put(&self, frame: Utf8Bytes) {
        self.lock().put(frame);
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
