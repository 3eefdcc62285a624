//! What the hub and the task of a socket share: the outbox, where the socket is behind, and why it must close.

use std::collections::{HashMap, VecDeque};
use std::fmt;
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
    pub(super) behind: HashMap<Stream, Behind>,
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
    /// Pages are to be pulled from here. `told`: state without a number was told since the last pull began, so that
    /// the page it reads may lack it.
    At { cursor: i64, told: bool },
    /// In the personal stream of a socket that starts: where it begins is not known yet.
    Starting,
    /// Caught up to here, which is more than was delivered: the events up to here are still on their way.
    Ahead(i64),
}

impl Behind {
    pub(super) fn at(cursor: i64) -> Behind {
        Behind::At { cursor, told: false }
    }
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
        let behind = HashMap::from([(Stream::Personal(actor.user), Behind::Starting)]);
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

    /// A stream to pull a page of, and from where.
    pub fn next_behind(&self) -> Option<(Stream, i64)> {
        let mut state = self.lock();
        state.behind.iter_mut().find_map(|(stream, behind)| match behind {
            Behind::At { cursor, told } => {
                *told = false;
                Some((*stream, *cursor))
            }
            Behind::Ahead(_) | Behind::Starting => None,
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
