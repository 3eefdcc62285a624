//! Who follows which conversation. Each gain and loss of a conversation is an entry of its user's personal stream, and
//! has its number there. A socket knows up to which number it was read what its user is in, and the number of each
//! later change that it saw; so an older change never undoes a newer one, in whatever order and however often they come.

use std::sync::Arc;

use super::socket::{Behind, Rung, State};
use super::{Followers, Hub, Socket};
use crate::model::{ConversationId, PersonalEntry, PersonalKind, Stream, UserId};

/// A user came into a conversation, or is no longer in it, by an entry of their personal stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Whose personal stream.
    pub user: UserId,
    /// The number of the entry.
    pub seq: i64,
    /// Which conversation.
    pub conversation: ConversationId,
    /// Whether the user is in it from there on.
    pub is_member: bool,
}

impl Membership {
    /// What an entry says of a membership, if it says anything.
    pub fn of(user: UserId, entry: &PersonalEntry) -> Option<Membership> {
        let is_member = match entry.kind {
            PersonalKind::ConversationGained => true,
            PersonalKind::ConversationLost => false,
            _ => return None,
        };
        Some(Membership { user, seq: entry.seq, conversation: ConversationId(entry.subject), is_member })
    }
}

/// How it is known that a user is in a conversation or not, which decides what is newer and what a socket reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The entry was told: what happens in the conversation is told after it.
    Told,
    /// The entry was read: what happened in the conversation may have been told before it.
    Read,
    /// All memberships were read while the socket starts: its client asks for what it lacks.
    Start,
    /// The database was asked later, as of this number: as [`Origin::Read`].
    State,
}

impl Hub {
    /// Makes a starting socket follow the conversations its user is in, as they were read as of a number of the
    /// personal stream. Answers whether the position of any is not known here yet, for [`Hub::position`].
    pub fn start(&self, socket: &Arc<Socket>, as_of: i64, conversations: &[ConversationId]) -> bool {
        let mut rung = Rung::default();
        self.follow(socket, as_of, conversations, Origin::Start, &mut rung);
        let unknown = |id: &ConversationId| {
            self.streams.get(&Stream::Conversation(*id)).is_some_and(|followers| followers.delivered.is_none())
        };
        let unknown = conversations.iter().any(unknown);
        let personal = Stream::Personal(socket.actor.user);
        if let Some(mut followers) = self.streams.get_mut(&personal) {
            let delivered = *followers.delivered.get_or_insert(as_of);
            let mut state = socket.lock();
            // What was told while the socket started, or to another socket of the user, is read.
            match delivered.cmp(&as_of) {
                std::cmp::Ordering::Greater => state.behind.insert(personal, Behind::At(as_of)),
                std::cmp::Ordering::Less => state.behind.insert(personal, Behind::Ahead(as_of)),
                std::cmp::Ordering::Equal => state.behind.remove(&personal),
            };
            // An idle socket keeps no map.
            if state.behind.is_empty() {
                state.behind = Default::default();
            }
        }
        unknown
    }

    /// Compares what a user's sockets here follow with what the user is in, as of a number of the personal stream.
    /// Answers how many differed.
    pub fn reconcile(&self, user: UserId, as_of: i64, conversations: &[ConversationId], rung: &mut Rung) -> usize {
        let sockets = self.sockets_of(user);
        let started = sockets.iter().filter(|socket| socket.lock().as_of.is_some());
        started.map(|socket| self.follow(socket, as_of, conversations, Origin::State, rung)).sum()
    }

    /// Makes a socket follow these conversations and no others. Answers how many it did not follow rightly before.
    fn follow(
        &self,
        socket: &Arc<Socket>,
        as_of: i64,
        conversations: &[ConversationId],
        origin: Origin,
        rung: &mut Rung,
    ) -> usize {
        let before = {
            let mut state = socket.lock();
            if state.as_of.is_some_and(|known| known > as_of) {
                return 0;
            }
            // First of all, so that an older entry which comes meanwhile changes nothing.
            state.as_of = Some(as_of);
            state.following.clone()
        };
        let mut sorted = conversations.to_vec();
        sorted.sort_unstable();
        let lost = before.iter().filter(|id| sorted.binary_search(id).is_err());
        let change = |conversation: &ConversationId, is_member| Membership {
            user: socket.actor.user,
            seq: as_of,
            conversation: *conversation,
            is_member,
        };
        let changes = sorted.iter().map(|id| change(id, true)).chain(lost.map(|id| change(id, false)));
        let changed = changes.filter(|change| self.settle(socket, change, origin, rung)).count();
        let mut state = socket.lock();
        if state.as_of == Some(as_of) {
            state.changed.retain(|_, seq| *seq > as_of);
            state.changed.shrink_to_fit();
        }
        changed
    }

    /// A membership changed, or was asked for: the user's sockets here follow the conversation or do not.
    pub fn membership(&self, change: &Membership, origin: Origin, rung: &mut Rung) {
        for socket in self.sockets_of(change.user) {
            self.settle(&socket, change, origin, rung);
        }
    }

    /// Takes a membership for one socket, unless it knows a newer one. Decided under the lock of the conversation's
    /// stream, then the socket's. Answers whether it changed what the socket follows.
    fn settle(&self, socket: &Arc<Socket>, change: &Membership, origin: Origin, rung: &mut Rung) -> bool {
        let stream = Stream::Conversation(change.conversation);
        let mut followers = self.streams.entry(stream).or_default();
        let mut state = socket.lock();
        let mut changed = false;
        if state.accepts(change, origin) {
            if matches!(origin, Origin::Told | Origin::Read) {
                state.changed.insert(change.conversation, change.seq);
            }
            let place = state.following.binary_search(&change.conversation);
            match place {
                Err(place) if change.is_member => {
                    // Most conversations have one or two sockets here; doubling from four would waste most of it.
                    followers.sockets.reserve_exact(1);
                    followers.sockets.push(Arc::clone(socket));
                    state.following.insert(place, change.conversation);
                    begin(&mut followers, &mut state, stream, origin);
                    changed = true;
                }
                // Lost and gained again, and the loss was not seen: what the client has of it may be over.
                Ok(_) if change.is_member && matches!(origin, Origin::Told | Origin::Read) => {
                    begin(&mut followers, &mut state, stream, origin);
                }
                Ok(place) if !change.is_member => {
                    followers.sockets.retain(|other| other.id != socket.id);
                    state.following.remove(place);
                    state.behind.remove(&stream);
                    state.watermarks.remove(&change.conversation);
                    changed = true;
                }
                _ => {}
            }
            if state.behind.contains_key(&stream) {
                state.ring(socket, rung);
            }
        }
        drop(state);
        let is_empty = followers.sockets.is_empty();
        drop(followers);
        if is_empty {
            self.streams.remove_if(&stream, |_, followers| followers.sockets.is_empty());
        }
        changed
    }
}

/// Where a socket begins in a conversation that it comes to follow: whoever came in has nothing of it yet.
fn begin(followers: &mut Followers, state: &mut State, stream: Stream, origin: Origin) {
    match origin {
        Origin::Start => return,
        // A conversation that nobody followed here is told from its first number on.
        Origin::Told if *followers.delivered.get_or_insert(0) == 0 => return,
        Origin::Told | Origin::Read | Origin::State => {}
    }
    state.behind.insert(stream, Behind::At(0));
    if let Stream::Conversation(conversation) = stream {
        state.watermarks.insert(conversation);
    }
}

impl State {
    /// Whether a membership is newer than what is known of it.
    fn accepts(&self, change: &Membership, origin: Origin) -> bool {
        let known = self.changed.get(&change.conversation).copied().max(self.as_of);
        let newer = match origin {
            Origin::Told | Origin::Read => known.is_none_or(|known| change.seq > known),
            // As of this number: what it says includes the entry of this number.
            Origin::Start | Origin::State => known.is_none_or(|known| change.seq >= known),
        };
        newer && !self.is_closed
    }
}

#[cfg(test)]
mod tests;
