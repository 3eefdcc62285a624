//! How what was committed reaches the sockets. One node: straight to the feed. The order of publishing is the order of
//! the commits, because a transaction publishes before it lets go of the writer.

use std::sync::Arc;

use crate::error::CloseCode;
use crate::feed;
use crate::hub::{Hub, Which};
use crate::model::{ConversationId, Message, PersonalEntry, UserId};
use crate::protocol::Event;
use crate::protocol::events::MessageCreated;

/// Something that happened, for the sockets it concerns.
#[derive(Debug)]
pub enum Notice {
    /// A conversation moved from `after` to `seq`.
    Moved {
        /// Which.
        conversation: ConversationId,
        /// The number of the change.
        seq: i64,
        /// The number before it.
        after: i64,
        /// What to tell.
        event: Event,
        /// Members who must not see it: they get its number only.
        hidden_from: Vec<UserId>,
    },
    /// An entry of a personal stream.
    Personal {
        /// Whose.
        user: UserId,
        /// The entry.
        entry: PersonalEntry,
    },
    /// State of a conversation without a number; a socket that misses it gets it with the next page.
    State {
        /// Which.
        conversation: ConversationId,
        /// What to tell.
        event: Event,
        /// Members who must not see it.
        hidden_from: Vec<UserId>,
    },
    /// At most once, to the members of a conversation.
    EphemeralIn {
        /// Which.
        conversation: ConversationId,
        /// What to tell.
        event: Event,
        /// Members who must not see it.
        hidden_from: Vec<UserId>,
    },
    /// At most once, to some users.
    EphemeralTo {
        /// Whom.
        users: Vec<UserId>,
        /// What to tell.
        event: Event,
    },
    /// A user came into a conversation and has nothing of it yet.
    Joined {
        /// Which.
        conversation: ConversationId,
        /// Who.
        user: UserId,
    },
    /// A user is no longer in a conversation.
    Left {
        /// Which.
        conversation: ConversationId,
        /// Who.
        user: UserId,
    },
    /// Sessions were ended.
    SessionsEnded {
        /// Whose.
        user: UserId,
        /// Which of them.
        which: Which,
        /// Told to their sockets.
        code: CloseCode,
    },
}

impl Notice {
    /// A message came, which nobody has seen yet.
    pub fn created(message: Message, hidden_from: Vec<UserId>) -> Notice {
        let (conversation, seq) = (message.conversation, message.seq);
        let event = Event::MessageCreated(MessageCreated { conversation, seq, after: None, message });
        Notice::Moved { conversation, seq, after: seq - 1, event, hidden_from }
    }
}

/// The way from a commit to the sockets.
#[derive(Debug)]
pub struct Bus {
    hub: Arc<Hub>,
}

impl Bus {
    /// A bus for one node.
    pub fn local(hub: Arc<Hub>) -> Bus {
        Bus { hub }
    }

    /// Tells the sockets. Never waits.
    pub fn publish(&self, notices: &[Notice]) {
        feed::apply(&self.hub, notices);
    }
}
