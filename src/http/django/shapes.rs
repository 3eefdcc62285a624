//! The objects of the Django API: section 2 of the contract. Their fields stand in its order.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::Call;
use crate::model::{
    self, Attachment, ConversationId, Gender, MatchId, MessageId, Micros, OwnProfile, Presence, Profile, UserId,
};

/// An account in full: the caller's own, or what the caller may see of another.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UserFull {
    id: UserId,
    username: String,
    email: String,
    first_name: String,
    last_name: String,
    profile_picture: Option<String>,
    bio: String,
    date_of_birth: Option<String>,
    phone_number: String,
    location: String,
    is_online: bool,
    last_activity: Option<String>,
    interests: Vec<Interest>,
    preferences: Option<Preferences>,
}

/// An interest with the number that all users share.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Interest {
    id: i64,
    name: String,
}

fn interests(numbered: Vec<(i64, String)>) -> Vec<Interest> {
    numbered.into_iter().map(|(id, name)| Interest { id, name }).collect()
}

/// Where the caller can fetch the first of some pictures.
fn first(pictures: &[Attachment], call: &Call) -> Option<String> {
    pictures.first().and_then(|picture| call.url_of(picture))
}

impl UserFull {
    /// The caller's own, who is here since they ask.
    pub(super) fn own(own: OwnProfile, numbered: Vec<(i64, String)>, call: &Call) -> UserFull {
        UserFull {
            profile_picture: first(&own.pictures, call),
            id: own.id,
            username: own.username,
            email: own.email,
            first_name: own.first_name,
            last_name: own.last_name,
            bio: own.bio,
            date_of_birth: own.birth_date,
            phone_number: own.phone,
            location: own.location,
            is_online: true,
            last_activity: Some(date_time(own.last_seen)),
            interests: interests(numbered),
            preferences: Some(own.preferences.into()),
        }
    }

    /// Another's. What only they themselves may see is empty.
    pub(super) fn other(other: Profile, numbered: Vec<(i64, String)>, call: &Call) -> UserFull {
        UserFull {
            profile_picture: first(&other.pictures, call),
            id: other.id,
            is_online: is_online(other.presence),
            username: other.username,
            email: String::new(),
            first_name: other.first_name,
            last_name: other.last_name,
            bio: other.bio,
            date_of_birth: None,
            phone_number: String::new(),
            location: other.location,
            last_activity: other.last_seen.map(date_time),
            interests: interests(numbered),
            preferences: None,
        }
    }
}

/// What a change of the own profile answers: the account, and where it is, as coarsely as that is kept.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UserPlaced {
    #[serde(flatten)]
    pub(super) user: UserFull,
    pub(super) latitude: Option<f64>,
    pub(super) longitude: Option<f64>,
}

/// Whom somebody looks for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Preferences {
    min_age: i64,
    max_age: i64,
    max_distance: i64,
    gender_preference: &'static str,
}

impl From<model::Preferences> for Preferences {
    fn from(wanted: model::Preferences) -> Preferences {
        let gender_preference = match wanted.genders[..] {
            [Gender::Man] => "M",
            [Gender::Woman] => "F",
            [Gender::Other] => "O",
            // Two of the three have no letter; all is the nearest.
            _ => "A",
        };
        Preferences {
            min_age: wanted.age_min,
            max_age: wanted.age_max,
            max_distance: wanted.distance_km,
            gender_preference,
        }
    }
}

/// A user in passing.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct UserMini {
    id: UserId,
    username: String,
    profile_picture: Option<String>,
}

/// Somebody one might like, or has matched.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MatchUser {
    id: UserId,
    username: String,
    first_name: String,
    last_name: String,
    profile_picture: Option<String>,
    bio: String,
    location: String,
    is_online: bool,
    last_activity: Option<String>,
    interests: Vec<String>,
    age: Option<i64>,
    distance: Option<f64>,
}

impl MatchUser {
    pub(super) fn new(profile: Profile, call: &Call) -> MatchUser {
        MatchUser {
            profile_picture: first(&profile.pictures, call),
            id: profile.id,
            username: profile.username,
            first_name: profile.first_name,
            last_name: profile.last_name,
            bio: profile.bio,
            location: profile.location,
            is_online: is_online(profile.presence),
            last_activity: profile.last_seen.map(date_time),
            interests: profile.interests,
            age: profile.age,
            // The upper edge of a band, in whole kilometres.
            distance: profile.distance_km.map(|km| km as f64),
        }
    }
}

/// A match, as one of the two sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Match {
    id: MatchId,
    created_at: String,
    is_active: bool,
    matched_user: MatchUser,
}

impl Match {
    pub(super) fn new(made: model::Match, call: &Call) -> Match {
        let created_at = date_time(made.created_at);
        Match { id: made.id, created_at, is_active: true, matched_user: MatchUser::new(made.user, call) }
    }
}

/// A message.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Message {
    id: MessageId,
    conversation: ConversationId,
    sender: UserMini,
    content: String,
    created_at: String,
    is_read: bool,
    attachment: Option<String>,
    is_read_by_recipient: bool,
}

/// What a message is shown by: who looks, what the members are called and look like, and how far each has read.
pub(super) struct Readers<'a> {
    pub(super) call: &'a Call,
    pub(super) me: UserId,
    pub(super) names: HashMap<UserId, String>,
    pub(super) pictures: &'a HashMap<UserId, Attachment>,
    pub(super) read: Vec<(UserId, i64)>,
}

impl Readers<'_> {
    fn mini(&self, id: UserId) -> UserMini {
        let profile_picture = self.pictures.get(&id).and_then(|picture| self.call.url_of(picture));
        UserMini { id, username: self.names.get(&id).cloned().unwrap_or_default(), profile_picture }
    }
}

impl Message {
    /// A message with a text, as the reader sees it; none for anything else.
    pub(super) fn new(message: model::Message, readers: &Readers<'_>) -> Option<Message> {
        let (id, sender, content) = (message.id?, message.sender?, message.text?);
        let has_read = |(_, upto): &(UserId, i64)| *upto >= message.seq;
        let is_read = readers.read.iter().filter(|(user, _)| *user != sender).any(has_read);
        let read_by_me = readers.read.iter().filter(|(user, _)| *user == readers.me).any(has_read);
        Some(Message {
            id,
            conversation: message.conversation,
            sender: readers.mini(sender),
            content,
            created_at: date_time(message.sent_at.unwrap_or_default()),
            is_read,
            attachment: message.attachment.and_then(|file| readers.call.url_of(&file)),
            is_read_by_recipient: if sender == readers.me { is_read } else { read_by_me },
        })
    }
}

/// A conversation, as one of its members sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Conversation {
    id: ConversationId,
    participants: Vec<UserMini>,
    created_at: String,
    updated_at: String,
    pub(super) is_active: bool,
    last_message: Option<Message>,
    unread_count: i64,
}

impl Conversation {
    pub(super) fn new(
        conversation: model::Conversation,
        call: &Call,
        me: UserId,
        pictures: &HashMap<UserId, Attachment>,
    ) -> Conversation {
        let members = &conversation.members;
        let readers = Readers {
            call,
            me,
            names: members.iter().map(|member| (member.user, member.username.clone())).collect(),
            pictures,
            read: members.iter().map(|member| (member.user, member.read)).collect(),
        };
        let participants = members.iter().map(|member| readers.mini(member.user)).collect();
        Conversation {
            id: conversation.id,
            participants,
            created_at: date_time(conversation.created_at),
            updated_at: date_time(conversation.updated_at),
            is_active: true,
            last_message: conversation.last_message.and_then(|message| Message::new(message, &readers)),
            unread_count: conversation.unread,
        }
    }
}

fn is_online(presence: Presence) -> bool {
    matches!(presence, Presence::Online | Presence::Away | Presence::Busy)
}

/// ISO 8601 in UTC, with microseconds unless there are none.
pub(super) fn date_time(at: Micros) -> String {
    let Ok(at) = jiff::Timestamp::from_microsecond(at) else { return String::new() };
    let fraction = if at.subsec_nanosecond() == 0 { "" } else { ".%6f" };
    at.strftime(&format!("%Y-%m-%dT%H:%M:%S{fraction}Z")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_django_does() {
        assert_eq!(date_time(1_684_161_045_123_456), "2023-05-15T14:30:45.123456Z");
        assert_eq!(date_time(1_684_161_045_000_000), "2023-05-15T14:30:45Z");
        assert_eq!(date_time(1_684_161_045_000_100), "2023-05-15T14:30:45.000100Z");
    }
}
