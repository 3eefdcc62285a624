//! Every command: its name, its input, its reply. One list feeds the parser, the document, the schema and the tests.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{parse_data, replies};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{
    Conversation, ConversationId, Gender, MatchId, MessageId, Micros, OwnProfile, Preferences, Profile, Role,
    SessionId, Status, Text, UserId,
};
use crate::sentence;

/// A row of the command table.
#[derive(Debug, Clone, Copy)]
pub struct CommandInfo {
    /// The `type` of the frame.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The shape of `data`.
    pub input: fn(&mut SchemaGenerator) -> Schema,
    /// The shape of the reply's `data`.
    pub reply: fn(&mut SchemaGenerator) -> Schema,
}

macro_rules! commands {
    ($($name:literal $variant:ident -> $reply:ty, $summary:literal;)*) => {
        /// A command with its input.
        #[derive(Debug, Clone)]
        pub enum Command { $(#[doc = $summary] $variant($variant)),* }

        impl Command {
            /// Every command, in the order of the document.
            pub const ALL: &[CommandInfo] = &[$(CommandInfo {
                name: $name,
                summary: $summary,
                input: |schemas| schemas.subschema_for::<$variant>(),
                reply: |schemas| schemas.subschema_for::<$reply>(),
            }),*];

            /// Reads `data` for the command called `kind`.
            pub fn parse(kind: &str, data: &str) -> Result<Command> {
                match kind {
                    $($name => parse_data(data).map(Command::$variant),)*
                    _ => Err(Error::new(ErrorCode::UnknownCommand, sentence!("no-command"))),
                }
            }

            /// The `type` of the frame.
            pub fn name(&self) -> &'static str { match self { $(Command::$variant(_) => $name),* } }
        }
    };
}

commands! {
    "auth" Auth -> replies::Hello, "Says who you are. The first command on a socket.";
    "auth.refresh" AuthRefresh -> replies::Renewed, "Renews the credentials of this socket before they expire.";
    "ping" Ping -> replies::Pong, "Asks for the server's time; shows that the line is alive.";
    "resume" Resume -> replies::Resumed, "Names your cursors and gets what you missed.";
    "profile.me" ProfileMe -> OwnProfile, "Your own account.";
    "profile.get" ProfileGet -> Profile, "What you may see of another user.";
    "profile.update" ProfileUpdate -> OwnProfile, "Changes what you name of your profile, and nothing else.";
    "status.set" StatusSet -> replies::Done, "Chooses what you are seen as while connected.";
    "password.change" PasswordChange -> replies::Done, "Changes the password and ends your other sessions.";
    "session.list" SessionList -> replies::Sessions, "Your signed-in devices.";
    "session.revoke" SessionRevoke -> replies::Done, "Ends one of your sessions, or all others.";
    "account.delete" AccountDelete -> replies::Done, "Deletes your account, for good.";
    "preferences.get" PreferencesGet -> Preferences, "Whom you look for.";
    "preferences.update" PreferencesUpdate -> Preferences, "Changes what you name of whom you look for.";
    "candidate.list" CandidateList -> replies::Candidates, "People you might like, who might like you.";
    "like.add" LikeAdd -> replies::Liked, "Likes a user. Two likes are a match.";
    "like.remove" LikeRemove -> replies::Done, "Takes a like back; ends the match, if there was one.";
    "like.count" LikeCount -> replies::Count, "How many people like you that you have not answered.";
    "pass.add" PassAdd -> replies::Done, "Does not want to see a user among the candidates again.";
    "match.list" MatchList -> replies::Matches, "Your matches, newest first.";
    "match.end" MatchEnd -> replies::Done, "Ends a match. Neither sees the other among the candidates again.";
    "block.add" BlockAdd -> replies::Done, "Blocks a user. Final the moment it is answered.";
    "block.remove" BlockRemove -> replies::Done, "Takes a block back. Likes and matches do not come back.";
    "block.list" BlockList -> replies::Blocks, "Whom you have blocked.";
    "report.send" ReportSend -> replies::Reported, "Tells the operator of a user, with the messages you name as evidence.";
    "conversation.open" ConversationOpen -> Conversation, "Opens the direct conversation with a user, or finds it.";
    "conversation.create" ConversationCreate -> Conversation, "Creates a group.";
    "conversation.list" ConversationList -> replies::Conversations, "Your conversations, the latest first, in pages.";
    "conversation.get" ConversationGet -> Conversation, "One conversation with its members.";
    "conversation.rename" ConversationRename -> replies::Changed, "Gives a group another title.";
    "conversation.leave" ConversationLeave -> replies::Done, "Leaves a group; hides a direct conversation until its next message.";
    "conversation.mute" ConversationMute -> replies::Done, "Asks for no notifications until a time.";
    "conversation.archive" ConversationArchive -> replies::Done, "Puts a conversation away, or takes it back.";
    "member.add" MemberAdd -> replies::Changed, "Brings users into a group.";
    "member.remove" MemberRemove -> replies::Changed, "Takes a user out of a group.";
    "member.role" MemberRole -> replies::Changed, "Gives a member a role.";
    "message.send" MessageSend -> replies::Sent, "Sends a message. Answered after it is on disk.";
    "message.edit" MessageEdit -> replies::Changed, "Changes the text of your message.";
    "message.delete" MessageDelete -> replies::Changed, "Deletes a message, for you or for all.";
    "message.react" MessageReact -> replies::Changed, "Puts an emoji under a message.";
    "message.unreact" MessageUnreact -> replies::Changed, "Takes your emoji back.";
    "message.history" MessageHistory -> replies::History, "Messages by number, backwards or forwards, in pages.";
    "message.delivered" MessageDelivered -> replies::Done, "Says how far you have received.";
    "message.read" MessageRead -> replies::Done, "Says how far you have read.";
    "message.search" MessageSearch -> replies::Found, "Finds messages that you may see by their words.";
    "media.links" MediaLinks -> replies::Links, "Where you can fetch some files, for a while.";
    "typing.set" TypingSet -> replies::Done, "Says that you are typing, or stopped. Told to members who are there; never kept.";
    "presence.get" PresenceGet -> replies::Presences, "Who of some users is there, as far as you may know.";
    "notification.list" NotificationList -> replies::Notifications, "Your inbox, newest first.";
    "notification.read" NotificationRead -> replies::Done, "Marks your inbox as read up to a number.";
}

/// Declares input structs: every field documented, unknown fields refused.
macro_rules! inputs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$attr])* pub $field: $type,)* }
    )* };
}

inputs! {
    /// Input of `auth`.
    Auth {
        /// An access token.
        token: Text,
    }
    /// Input of `auth.refresh`: one of the two tokens.
    AuthRefresh {
        /// A new access token of the same session.
        #[serde(default)] token: Option<Text>,
        /// The refresh token of this session, for a new access token in the reply.
        #[serde(default)] refresh: Option<Text>,
        /// Also replace the refresh token. A replaced one, used again, ends the session.
        #[serde(default)] rotate: bool,
    }
    /// Input of `ping`.
    Ping {}
    /// Input of `resume`.
    Resume {
        /// The epoch that came with the cursors.
        epoch: Text,
        /// The last number you have of your personal stream.
        #[serde(default)] personal: Option<i64>,
        /// The last number you have, by conversation.
        #[serde(default)] conversations: BTreeMap<ConversationId, i64>,
    }
    /// Input of `profile.me`.
    ProfileMe {}
    /// Input of `profile.get`.
    ProfileGet {
        /// Whose.
        user: UserId,
    }
    /// Input of `profile.update`. What is left out stays.
    ProfileUpdate {
        /// Your user name.
        #[serde(default)] username: Option<Text>,
        /// E-mail address; empty to remove.
        #[serde(default)] email: Option<Text>,
        /// Telephone number; empty to remove. Told to nobody else.
        #[serde(default)] phone: Option<Text>,
        /// Given name.
        #[serde(default)] first_name: Option<Text>,
        /// Family name.
        #[serde(default)] last_name: Option<Text>,
        /// About.
        #[serde(default)] bio: Option<Text>,
        /// `YYYY-MM-DD`; empty to remove.
        #[serde(default)] birth_date: Option<Text>,
        /// As you say.
        #[serde(default)] gender: Option<Gender>,
        /// The name of your place.
        #[serde(default)] location: Option<Text>,
        /// Where you are; stored coarse, never given out. Null to remove.
        #[serde(default, deserialize_with = "named")] place: Option<Option<Place>>,
        /// Replaces the whole list.
        #[serde(default)] interests: Option<Vec<Text>>,
        /// Ids of pictures that you uploaded before, the first one first; replaces the whole list.
        #[serde(default)] pictures: Option<Vec<Text>>,
    }
    /// A point on Earth.
    Place {
        /// Degrees north, -90 to 90.
        latitude: f64,
        /// Degrees east, -180 to 180.
        longitude: f64,
    }
    /// Input of `status.set`.
    StatusSet {
        /// What to be seen as.
        status: Status,
    }
    /// Input of `password.change`.
    PasswordChange {
        /// The present one.
        old: Text,
        /// The next one.
        new: Text,
    }
    /// Input of `session.list`.
    SessionList {}
    /// Input of `session.revoke`.
    SessionRevoke {
        /// Which; left out: all but the one asking.
        #[serde(default)] session: Option<SessionId>,
        /// Your password.
        password: Text,
    }
    /// Input of `account.delete`.
    AccountDelete {
        /// Your password.
        password: Text,
    }
    /// Input of `preferences.get`.
    PreferencesGet {}
    /// Input of `preferences.update`. What is left out stays.
    PreferencesUpdate {
        /// Youngest, in whole years.
        #[serde(default)] age_min: Option<i64>,
        /// Oldest, in whole years.
        #[serde(default)] age_max: Option<i64>,
        /// Farthest, in kilometres.
        #[serde(default)] distance_km: Option<i64>,
        /// Which genders.
        #[serde(default)] genders: Option<Vec<Gender>>,
    }
    /// Input of `candidate.list`.
    CandidateList {
        /// How many at most.
        #[serde(default)] limit: Option<i64>,
    }
    /// Input of `like.add`.
    LikeAdd {
        /// Whom.
        user: UserId,
    }
    /// Input of `like.remove`.
    LikeRemove {
        /// Whom.
        user: UserId,
    }
    /// Input of `like.count`.
    LikeCount {}
    /// Input of `pass.add`.
    PassAdd {
        /// Whom.
        user: UserId,
    }
    /// Input of `match.list`.
    MatchList {
        /// Only matches older than this one.
        #[serde(default)] before: Option<MatchId>,
        /// How many at most.
        #[serde(default)] limit: Option<i64>,
    }
    /// Input of `match.end`.
    MatchEnd {
        /// The other one.
        user: UserId,
    }
    /// Input of `block.add`.
    BlockAdd {
        /// Whom.
        user: UserId,
    }
    /// Input of `block.remove`.
    BlockRemove {
        /// Whom.
        user: UserId,
    }
    /// Input of `block.list`.
    BlockList {}
    /// Input of `report.send`.
    ReportSend {
        /// Whom.
        user: UserId,
        /// Why: a short word, such as `spam`, `fake`, `abuse`.
        reason: Text,
        /// More about it.
        #[serde(default)] text: Text,
        /// The messages meant, as you see them now.
        #[serde(default)] messages: Vec<MessageRef>,
    }
    /// A message by its place.
    MessageRef {
        /// Where it is.
        conversation: ConversationId,
        /// Its place.
        seq: i64,
    }
    /// Input of `conversation.open`.
    ConversationOpen {
        /// The other one.
        user: UserId,
    }
    /// Input of `conversation.create`.
    ConversationCreate {
        /// The title.
        title: Text,
        /// Who besides you.
        #[serde(default)] members: Vec<UserId>,
        /// Makes a repeat find the same group.
        #[serde(default)] client_key: Option<Text>,
    }
    /// Input of `conversation.list`.
    ConversationList {
        /// Only those that come after this position, taken from `next` of the page before.
        #[serde(default)] after: Option<Text>,
        /// How many at most.
        #[serde(default)] limit: Option<i64>,
        /// Those put away instead of the others.
        #[serde(default)] archived: bool,
    }
    /// Input of `conversation.get`.
    ConversationGet {
        /// Which.
        conversation: ConversationId,
    }
    /// Input of `conversation.rename`.
    ConversationRename {
        /// Which.
        conversation: ConversationId,
        /// The new title.
        title: Text,
    }
    /// Input of `conversation.leave`.
    ConversationLeave {
        /// Which.
        conversation: ConversationId,
    }
    /// Input of `conversation.mute`.
    ConversationMute {
        /// Which.
        conversation: ConversationId,
        /// Microseconds since 1970; 0 to unmute.
        until: Micros,
    }
    /// Input of `conversation.archive`.
    ConversationArchive {
        /// Which.
        conversation: ConversationId,
        /// Away, or back.
        archived: bool,
    }
    /// Input of `member.add`.
    MemberAdd {
        /// Which group.
        conversation: ConversationId,
        /// Who.
        users: Vec<UserId>,
    }
    /// Input of `member.remove`.
    MemberRemove {
        /// Which group.
        conversation: ConversationId,
        /// Who.
        user: UserId,
    }
    /// Input of `member.role`.
    MemberRole {
        /// Which group.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// The role.
        role: Role,
    }
    /// Input of `message.send`.
    MessageSend {
        /// Where to.
        conversation: ConversationId,
        /// What; may be empty beside an attachment.
        text: Text,
        /// The id of a file of yours that you uploaded before.
        #[serde(default)] attachment: Option<Text>,
        /// The `seq` of the message this one answers.
        #[serde(default)] reply_to: Option<i64>,
        /// Your own name for it: a repeat with the same key is the same message, for ever.
        #[serde(default)] client_key: Option<Text>,
    }
    /// Input of `message.edit`.
    MessageEdit {
        /// Where it is.
        conversation: ConversationId,
        /// Its place.
        seq: i64,
        /// The new text.
        text: Text,
    }
    /// Input of `message.delete`.
    MessageDelete {
        /// Where it is.
        conversation: ConversationId,
        /// Its place.
        seq: i64,
        /// For all, which only its author may, or an admin of the group; else only for you.
        #[serde(default)] for_all: bool,
    }
    /// Input of `message.react`.
    MessageReact {
        /// Where it is.
        conversation: ConversationId,
        /// Its place.
        seq: i64,
        /// What to put under it.
        emoji: Text,
    }
    /// Input of `message.unreact`.
    MessageUnreact {
        /// Where it is.
        conversation: ConversationId,
        /// Its place.
        seq: i64,
        /// What to take back.
        emoji: Text,
    }
    /// Input of `message.history`: the latest, or those before or after a number.
    MessageHistory {
        /// Which conversation.
        conversation: ConversationId,
        /// Messages below this `seq`, the nearest first in the choice; given in ascending order.
        #[serde(default)] before: Option<i64>,
        /// Messages above this `seq`.
        #[serde(default)] after: Option<i64>,
        /// How many at most.
        #[serde(default)] limit: Option<i64>,
    }
    /// Input of `message.delivered`.
    MessageDelivered {
        /// Which conversation.
        conversation: ConversationId,
        /// All up to this `seq`.
        seq: i64,
    }
    /// Input of `message.read`.
    MessageRead {
        /// Which conversation.
        conversation: ConversationId,
        /// All up to this `seq`.
        seq: i64,
    }
    /// Input of `message.search`.
    MessageSearch {
        /// Words, all of which must be in the text; upper case and accents do not matter.
        query: Text,
        /// Only in this conversation.
        #[serde(default)] conversation: Option<ConversationId>,
        /// Only messages with a smaller id, taken from `next` of the page before.
        #[serde(default)] before: Option<MessageId>,
        /// How many at most.
        #[serde(default)] limit: Option<i64>,
    }
    /// Input of `media.links`.
    MediaLinks {
        /// The ids of the files.
        files: Vec<Text>,
    }
    /// Input of `typing.set`.
    TypingSet {
        /// Where.
        conversation: ConversationId,
        /// Typing, or stopped. Expires by itself.
        typing: bool,
    }
    /// Input of `presence.get`.
    PresenceGet {
        /// Of whom.
        users: Vec<UserId>,
    }
    /// Input of `notification.list`.
    NotificationList {
        /// Only those with a smaller number.
        #[serde(default)] before: Option<i64>,
        /// How many at most.
        #[serde(default)] limit: Option<i64>,
    }
    /// Input of `notification.read`.
    NotificationRead {
        /// All up to this number of the personal stream.
        seq: i64,
    }
}

/// A field that may be null, which is something else than not being there.
fn named<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(data: D) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(data).map(Some)
}
