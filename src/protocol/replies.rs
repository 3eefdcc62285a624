//! What commands are answered, where it is more than a shape of the model.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{
    Conversation, ConversationId, Match, Message, MessageId, Micros, PersonalEntry, Profile, ReportId, Session,
    SessionId, UserId, UserPresence,
};

/// It is done; there is nothing to tell.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Done {}

/// The first answer on a socket.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Hello {
    /// Who you are.
    pub user: UserId,
    /// Your user name.
    pub username: String,
    /// Which of your sessions this is.
    pub session: SessionId,
    /// Names the history of this database; cursors of another epoch are worth nothing.
    pub epoch: String,
    /// The head of your personal stream: its cursor, if you have none.
    pub personal: i64,
    /// The server's clock, in microseconds since 1970.
    pub time: Micros,
    /// When the access token ends, in microseconds since 1970.
    pub expires_at: Micros,
    /// The limits that a client should know.
    pub limits: BTreeMap<&'static str, i64>,
}

/// The credentials of this socket were renewed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Renewed {
    /// A new access token, if a refresh token was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// A new refresh token, if rotation was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
    /// When the access token ends, in microseconds since 1970.
    pub expires_at: Micros,
}

/// The line is alive.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pong {
    /// The server's clock, in microseconds since 1970.
    pub time: Micros,
}

/// What differs from the cursors that were named. Pages for it follow as events.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Resumed {
    /// The epoch of this database.
    pub epoch: String,
    /// Set when no cursor could be taken: `epoch` or `cursor_above_head`. Forget the cursors and load again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<ResetReason>,
    /// The head of your personal stream.
    pub personal: i64,
    /// The named conversations that moved, and their heads; a page follows for each.
    pub moved: BTreeMap<ConversationId, i64>,
    /// The named conversations that you are no longer in, or never were.
    pub gone: Vec<ConversationId>,
    /// The named conversations whose cursor lies above the head: forget what you have of them and load again.
    pub reset_conversations: Vec<ConversationId>,
}

/// Why cursors are worth nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// The database was restored, or is another one.
    Epoch,
    /// The personal cursor lies above its head.
    CursorAboveHead,
}

/// The message is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sent {
    /// Its global id.
    pub id: MessageId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its place.
    pub seq: i64,
    /// When it was committed.
    pub sent_at: Micros,
}

/// The conversation moved to `seq`, or stands there because nothing needed to change.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Changed {
    /// Which.
    pub conversation: ConversationId,
    /// The number of the change.
    pub seq: i64,
}

/// A page of messages, ascending by `seq`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct History {
    /// The conversation.
    pub conversation: ConversationId,
    /// The number of its latest change when the page was read.
    pub head: i64,
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are more in the direction asked for.
    pub more: bool,
}

/// Messages found, newest first. A page can hold fewer than `limit`, even none, and have a next one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Found {
    /// The messages.
    pub messages: Vec<Message>,
    /// To be given as `before` to go on; left out when everything was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<MessageId>,
}

/// A page of conversations.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Conversations {
    /// The conversations, the latest first.
    pub conversations: Vec<Conversation>,
    /// To be given as `after` for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Signed-in devices.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Sessions {
    /// The sessions, the last used first.
    pub sessions: Vec<Session>,
}

/// People you might like.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Candidates {
    /// Their profiles, the best first.
    pub candidates: Vec<Profile>,
    /// Why there can be none, whoever else is here: `no_birth_date` or `too_young`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Excluded>,
}

/// Why nobody is shown to a user, nor the user to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Excluded {
    /// The profile has no birth date.
    NoBirthDate,
    /// Younger than this server allows.
    TooYoung,
}

/// What a like led to.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Liked {
    /// Whether the two of you are matched now.
    pub matched: bool,
    /// The match.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub made: Option<Match>,
}

/// A count.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Count {
    /// How many.
    pub count: i64,
}

/// A page of matches.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Matches {
    /// The matches, newest first.
    pub matches: Vec<Match>,
}

/// Whom you have blocked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Blocks {
    /// The users, the latest block first.
    pub users: Vec<Blocked>,
}

/// A user you have blocked.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Blocked {
    /// The user.
    pub user: UserId,
    /// The user name; empty once the account is gone.
    pub username: String,
    /// When you blocked them.
    pub at: Micros,
}

/// The operator has it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Reported {
    /// The number of the report.
    pub report: ReportId,
}

/// Where files can be fetched, by whoever has the URL and until it ends.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Links {
    /// The files that you may see, in the order asked for.
    pub links: Vec<FileLink>,
    /// Those that are not there for you.
    pub gone: Vec<String>,
}

/// Where one file can be fetched.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FileLink {
    /// The id of the file.
    pub file: String,
    /// All of it.
    pub url: String,
    /// A picture of at most 1024 pixels on each side; absent where `url` is no greater, and for animations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// A picture of at most 256 pixels on each side; absent where `url` is no greater.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub small: Option<String>,
    /// Until when the URLs are good, in microseconds since 1970. They end sooner if you may see the file no more.
    pub expires_at: Micros,
}

/// Who is there.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Presences {
    /// In the order asked for.
    pub users: Vec<UserPresence>,
}

/// A page of the inbox.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Notifications {
    /// The entries, newest first.
    pub notifications: Vec<PersonalEntry>,
    /// All up to this number were read.
    pub read: i64,
    /// How many were not; counting stops at the limit `unread_cap`.
    pub unread: i64,
}
