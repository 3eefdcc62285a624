//! Ids and public shapes. Row, domain and wire are one type; what must stay secret has no type here.

mod chat;
mod files;
mod people;
mod text;

pub use chat::*;
pub use files::*;
pub use people::*;
pub use text::{HoldsNul, Text};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01 UTC, by this server's clock.
pub type Micros = i64;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

ids! {
    /// An account. Never given away again, also after deletion.
    UserId
    /// One signed-in device.
    SessionId
    /// A direct or group conversation.
    ConversationId
    /// A message, over all conversations. Its place in its conversation is `seq`.
    MessageId
    /// A match, which is also the pair of users it is between.
    MatchId
    /// A report to the operator.
    ReportId
    /// A picture, voice note or other file, within the server. Clients know it by its name.
    FileId
}

/// Who acts: decided by the token, never by the input.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// The account.
    pub user: UserId,
    /// The device, so that what it ends or revokes can be told apart.
    pub session: SessionId,
    /// On which socket of this node, if on one: what is sent on one socket keeps its order.
    pub socket: Option<u64>,
}

impl Actor {
    /// Whether another token is of the same session.
    pub fn is_same_session(self, other: Actor) -> bool {
        (self.user, self.session) == (other.user, other.session)
    }
}

/// A numbered stream that sockets follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// What concerns one user.
    Personal(UserId),
    /// What all members of a conversation share.
    Conversation(ConversationId),
}
