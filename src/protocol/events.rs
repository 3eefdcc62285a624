//! What sockets are told without asking.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::model::{ConversationId, Message, Micros, PersonalEntry, PlacedWatermark, UserId, UserPresence};

/// A row of the event table.
#[derive(Debug, Clone, Copy)]
pub struct EventInfo {
    /// The `type` of the frame.
    pub name: &'static str,
    /// What it tells, in one sentence.
    pub summary: &'static str,
    /// The shape of `data`.
    pub data: fn(&mut SchemaGenerator) -> Schema,
}

macro_rules! events {
    ($($name:literal $variant:ident, $summary:literal;)*) => {
        /// An event with its data.
        #[derive(Debug, Clone, Serialize, JsonSchema)]
        #[serde(tag = "type", content = "data")]
        pub enum Event { $(#[doc = $summary] #[serde(rename = $name)] $variant($variant)),* }

        impl Event {
            /// Every event, in the order of the document.
            pub const ALL: &[EventInfo] = &[$(EventInfo {
                name: $name,
                summary: $summary,
                data: |schemas| schemas.subschema_for::<$variant>(),
            }),*];
        }
    };
}

events! {
    "message.created" MessageCreated, "A message, or a change of membership, role or title.";
    "message.edited" MessageEdited, "The text of a message changed.";
    "message.deleted" MessageDeleted, "A message was deleted for all; its place stays.";
    "message.hidden" MessageHidden, "The conversation moved by something that is not yours to see.";
    "reaction.added" ReactionAdded, "A member put an emoji under a message.";
    "reaction.removed" ReactionRemoved, "A member took an emoji back.";
    "conversation.page" ConversationPage, "What you missed of a conversation, or what did not fit your outbox.";
    "personal" Personal, "An entry of your personal stream.";
    "personal.page" PersonalPage, "What you missed of your personal stream.";
    "watermarks" Watermarks, "How far members have received and read, in one conversation or several.";
    "typing" Typing, "A member is typing, or stopped. At most once, expires by itself.";
    "presence" PresenceChanged, "Somebody whom you may see came, went or changed status. At most once.";
    "auth.expiring" AuthExpiring, "The access token ends soon. Renew it with auth.refresh.";
    "server.draining" ServerDraining, "The server will close this socket. Wait the delay, connect again, resume.";
}

impl Event {
    /// The frame, encoded once for all who get it.
    pub fn encode(&self) -> Utf8Bytes {
        super::encode(self)
    }
}

/// Whether `after` goes without saying, as it does nearly always.
fn follows(after: &Option<i64>) -> bool {
    after.is_none()
}

/// A message came.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MessageCreated {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Takes your cursor from `after` to here.
    pub seq: i64,
    /// Where your cursor must stand at least; `seq` - 1 when left out.
    #[serde(skip_serializing_if = "follows")]
    pub after: Option<i64>,
    /// The message.
    pub message: Message,
}

/// A text changed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MessageEdited {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Takes your cursor from `seq` - 1 to here; the `rev` of the message now.
    pub seq: i64,
    /// The place of the message.
    pub message: i64,
    /// Its text now.
    pub text: String,
    /// When it changed.
    pub edited_at: Micros,
}

/// A message became a tombstone.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MessageDeleted {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Takes your cursor from `seq` - 1 to here; the `rev` of the message now.
    pub seq: i64,
    /// The place of the message.
    pub message: i64,
}

/// A number that is not yours to see.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MessageHidden {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Takes your cursor from `seq` - 1 to here.
    pub seq: i64,
}

/// An emoji came.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReactionAdded {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Takes your cursor from `seq` - 1 to here; the `rev` of the message now.
    pub seq: i64,
    /// The place of the message.
    pub message: i64,
    /// Who.
    pub user: UserId,
    /// What.
    pub emoji: String,
}

/// An emoji went.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReactionRemoved {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Takes your cursor from `seq` - 1 to here; the `rev` of the message now.
    pub seq: i64,
    /// The place of the message.
    pub message: i64,
    /// Who.
    pub user: UserId,
    /// What.
    pub emoji: String,
}

/// Everything in (after, upto]. Numbers that are not in it were superseded, or are not yours.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConversationPage {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Where your cursor must stand at least.
    pub after: i64,
    /// Takes your cursor here.
    pub upto: i64,
    /// Another page follows.
    pub more: bool,
    /// The messages whose latest change lies in the range, by `rev`, in their state of now.
    pub messages: Vec<Message>,
}

/// An entry of the personal stream.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Personal {
    /// The entry; its `seq` takes your personal cursor from `seq` - 1 to there.
    #[serde(flatten)]
    pub entry: PersonalEntry,
}

/// Entries of the personal stream: all of (after, upto].
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PersonalPage {
    /// Where your cursor must stand at least.
    pub after: i64,
    /// Takes your cursor here.
    pub upto: i64,
    /// Another page follows.
    pub more: bool,
    /// The entries, ascending.
    pub entries: Vec<PersonalEntry>,
}

/// Positions of members.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Watermarks {
    /// Who stands where. Keep the greater of old and new, each number by itself.
    pub watermarks: Vec<PlacedWatermark>,
}

/// Somebody types.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Typing {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// Typing, or stopped.
    pub typing: bool,
    /// When to take it as stopped, in milliseconds from now.
    pub expires_ms: i64,
}

/// Somebody came, went or changed status.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PresenceChanged {
    /// Who, and what of them may be told.
    #[serde(flatten)]
    pub presence: UserPresence,
}

/// The credentials end soon.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AuthExpiring {
    /// When, in microseconds since 1970.
    pub expires_at: Micros,
}

/// The server goes away.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ServerDraining {
    /// How long to wait before connecting again; a delay of this socket's own.
    pub delay_ms: i64,
}
