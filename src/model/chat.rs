//! Conversations, members and messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attachment, ConversationId, MessageId, Micros, UserId};

/// How a conversation came to be, and what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ConversationKind {
    /// Two users, at most one per pair, for ever.
    Direct,
    /// A titled conversation with roles.
    Group,
}

/// What a member of a group may do. Each role may do all that the next one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Writes and leaves.
    Member,
    /// Also renames, and adds and removes members.
    Admin,
    /// Also gives roles. A group has one at least.
    Owner,
}

/// What a message is: somebody's text, or a change of the conversation that all members share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum MessageKind {
    /// A person wrote it.
    Text,
    /// The group was created; `text` is its title.
    Created,
    /// The group was renamed; `text` is the new title.
    Renamed,
    /// `subject` came in.
    MemberAdded,
    /// `subject` was taken out.
    MemberRemoved,
    /// `subject` left.
    MemberLeft,
    /// `subject` has a new role, told in `text`.
    RoleChanged,
}

/// One message as a reader sees it: whole, as a tombstone (`deleted`), or as a bare number (`hidden`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Message {
    /// Where it is.
    pub conversation: ConversationId,
    /// Its place, which never changes.
    pub seq: i64,
    /// The number of its latest change; equal to `seq` when it never changed.
    pub rev: i64,
    /// The global id. Absent when hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// The author. Absent when hidden, and from what happens to a group where the reader blocks who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<UserId>,
    /// What it is. Absent when hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<MessageKind>,
    /// The text, or what the `kind` says. Absent when deleted or hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The picture, voice note or other file that came with it. Absent when deleted or hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Box<Attachment>>,
    /// The member that a membership or role change is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<UserId>,
    /// The `seq` of the message this one answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<i64>,
    /// The key its author gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// When it was committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Micros>,
    /// When its text was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Micros>,
    /// Deleted for all: only its place is left.
    #[serde(skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// A text of somebody whom this reader blocks: only its place is told.
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// Who reacted with what, in order of the emoji.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
}

impl Message {
    /// The bare number that a reader sees of a message which is not theirs.
    pub fn hidden(conversation: ConversationId, seq: i64, rev: i64) -> Message {
        Message {
            conversation,
            seq,
            rev,
            id: None,
            sender: None,
            kind: None,
            text: None,
            attachment: None,
            subject: None,
            reply_to: None,
            client_key: None,
            sent_at: None,
            edited_at: None,
            deleted: false,
            hidden: true,
            reactions: Vec::new(),
        }
    }
}

/// One emoji under a message, and who put it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// The users, by id.
    pub users: Vec<UserId>,
}

/// How far a member has received and read. State, merged by maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, sqlx::FromRow)]
pub struct Watermark {
    /// The member.
    pub user: UserId,
    /// All up to this `seq` reached one of the member's devices.
    pub delivered: i64,
    /// All up to this `seq` was read.
    pub read: i64,
}

/// Where a member stands in which conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct PlacedWatermark {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The member and where they stand. Keep the greater of old and new.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub watermark: Watermark,
}

/// A member of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// The user name; empty once the account is gone.
    pub username: String,
    /// What the member may do.
    pub role: Role,
    /// How far the member has received.
    pub delivered: i64,
    /// How far the member has read.
    pub read: i64,
    /// The account is gone for this reader.
    #[serde(skip_serializing_if = "is_false")]
    pub gone: bool,
}

/// A conversation as one member sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Direct or group.
    pub kind: ConversationKind,
    /// The title of a group; empty for a direct one.
    pub title: String,
    /// The number of its latest change: the cursor of a client that knows nothing yet of this conversation.
    pub head: i64,
    /// My role.
    pub role: Role,
    /// The members, by id; in lists at most as many as the limit `members_listed`.
    pub members: Vec<Member>,
    /// How many members there are.
    pub member_count: i64,
    /// The latest message that I may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Message>,
    /// Messages of others after my read watermark that I may see; counting stops at the limit `unread_cap`.
    pub unread: i64,
    /// How far I have received.
    pub delivered: i64,
    /// How far I have read.
    pub read: i64,
    /// No notifications until then; 0 when not muted.
    pub muted_until: Micros,
    /// Put away by me.
    pub archived: bool,
    /// When it began.
    pub created_at: Micros,
    /// When it last got a message.
    pub updated_at: Micros,
}

pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}
