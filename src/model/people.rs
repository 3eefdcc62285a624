//! Profiles, preferences, matches, sessions, notifications.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attachment, ConversationId, MatchId, Micros, SessionId, UserId};

/// What a person says their gender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Gender {
    /// A man.
    Man,
    /// A woman.
    Woman,
    /// Another one.
    Other,
}

/// What a user has chosen to be seen as while connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Here.
    Online,
    /// Connected, not at the device.
    Away,
    /// Connected, does not want to be disturbed.
    Busy,
    /// Connected, seen as offline.
    Invisible,
}

/// What others are told of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Connected.
    Online,
    /// Connected, away.
    Away,
    /// Connected, busy.
    Busy,
    /// Not connected, invisible, or not yours to know.
    Offline,
    /// The server cannot tell at the moment.
    Unknown,
}

/// Presence of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UserPresence {
    /// The user.
    pub user: UserId,
    /// What may be told.
    pub presence: Presence,
}

/// How far away somebody is: the upper edge of a band, in kilometres. Never a finer figure.
pub type DistanceBand = i64;

/// What others may see of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Profile {
    /// The account.
    pub id: UserId,
    /// Its unique name.
    pub username: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// About.
    pub bio: String,
    /// Whole years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<i64>,
    /// As told by the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gender: Option<Gender>,
    /// Lower case, sorted.
    pub interests: Vec<String>,
    /// The name of the place, as the user wrote it.
    pub location: String,
    /// The pictures, the first one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<Attachment>,
    /// The distance band from the reader, in kilometres; absent when either place is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_km: Option<DistanceBand>,
    /// What may be told.
    pub presence: Presence,
    /// When the user was last here; absent when their presence is not yours to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Micros>,
}

/// My own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OwnProfile {
    /// My id.
    pub id: UserId,
    /// My unique name.
    pub username: String,
    /// E-mail address; empty when none was given.
    pub email: String,
    /// Telephone number; empty when none was given. Told to nobody else.
    pub phone: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// About.
    pub bio: String,
    /// `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
    /// As told by me.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gender: Option<Gender>,
    /// Lower case, sorted.
    pub interests: Vec<String>,
    /// The name of my place.
    pub location: String,
    /// My pictures, the first one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<Attachment>,
    /// Whether a place for distances is stored. The place itself is never given out.
    pub has_place: bool,
    /// What I chose to be seen as.
    pub status: Status,
    /// Whom I look for.
    pub preferences: Preferences,
    /// When I registered.
    pub created_at: Micros,
    /// When I was last here.
    pub last_seen: Micros,
}

/// Whom a user wants to see. Filters are mutual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Preferences {
    /// Youngest, in whole years.
    pub age_min: i64,
    /// Oldest, in whole years.
    pub age_max: i64,
    /// Farthest, in kilometres.
    pub distance_km: i64,
    /// Which genders. All three also takes people who told none.
    pub genders: Vec<Gender>,
}

/// A match, as one of the two sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Match {
    /// Its id; the same if the two match again later.
    pub id: MatchId,
    /// The other one.
    pub user: Profile,
    /// When it came to be.
    pub created_at: Micros,
    /// The direct conversation of the two, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
}

/// One signed-in device of mine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// What the client called itself at login.
    pub label: String,
    /// When it signed in.
    pub created_at: Micros,
    /// When it last got a token.
    pub last_used_at: Micros,
    /// When it ends by itself.
    pub expires_at: Micros,
    /// The one asking.
    #[sqlx(default)]
    pub current: bool,
}

/// What an entry of the personal stream is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum PersonalKind {
    /// Somebody liked me. Who it was is told by the match.
    LikeReceived,
    /// I liked `subject` on one of my devices.
    LikeSent,
    /// I took my like of `subject` back.
    LikeWithdrawn,
    /// I passed `subject`.
    PassSent,
    /// I matched with `subject`.
    Matched,
    /// The match with `subject` is over.
    Unmatched,
    /// I blocked `subject`.
    BlockAdded,
    /// I unblocked `subject`.
    BlockRemoved,
    /// The account `subject` is gone for me.
    UserGone,
    /// What I may see of the user `subject` changed: they are there again.
    UserChanged,
    /// I am now in the conversation `subject`.
    ConversationGained,
    /// I am no longer in the conversation `subject`.
    ConversationLost,
    /// My own settings of the conversation `subject` changed: muted, archived, left.
    ConversationChanged,
    /// I deleted the message with the id `subject` for me.
    MessageRemoved,
    /// My profile, preferences or status changed.
    ProfileChanged,
    /// The session `subject` was opened.
    SessionStarted,
    /// The session `subject` was ended.
    SessionEnded,
    /// My inbox was read up to the number `subject`.
    NotificationsRead,
}

impl PersonalKind {
    /// Whether an entry of this kind stands in the inbox.
    pub fn is_notification(self) -> bool {
        matches!(self, Self::LikeReceived | Self::Matched | Self::ConversationGained | Self::SessionStarted)
    }
}

/// One entry of the personal stream: ids only, rendered under today's rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, sqlx::FromRow)]
pub struct PersonalEntry {
    /// Its number in my personal stream.
    pub seq: i64,
    /// What happened.
    pub kind: PersonalKind,
    /// The id of what it is about; its meaning depends on `kind`. 0 where nothing may be told.
    pub subject: i64,
    /// When.
    pub at: Micros,
}
