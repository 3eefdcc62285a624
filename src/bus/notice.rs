//! What happened, for the sockets it concerns: a value on this node, a line of JSON between nodes.
//!
//! A packet is `{"v":1,"from":"<incarnation>","notices":[{"<kind>":{…}},…]}`. Whoever reads one ignores kinds and fields
//! it does not know, and refuses another `v`; so a node may tell a newer one's news to older ones, and the other way
//! round, while they are replaced one by one. What is ignored reaches the sockets by the sweep.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::error::CloseCode;
use crate::hub::Which;
use crate::model::{ConversationId, Message, MessageKind, Micros, PersonalEntry, UserId, Watermark};
use crate::protocol::Event;
use crate::protocol::events::MessageCreated;

/// The version of the packets. A node of version 1 follows conversations by notices that are no more; it ignores these
/// packets and goes by its sweep.
const VERSION: u32 = 2;
/// The oldest version that is understood.
const OLDEST: u32 = 1;

/// Something that happened, for the sockets it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A conversation moved from `after` to `seq`.
    Moved {
        /// Which.
        conversation: ConversationId,
        /// The number of the change.
        seq: i64,
        /// The number before it.
        after: i64,
        /// What to tell, encoded.
        #[serde(with = "raw")]
        frame: Utf8Bytes,
        /// Members who must not see it.
        hidden_from: Vec<UserId>,
        /// What they get instead, encoded; its number only where there is none.
        #[serde(default, with = "raw_or_none")]
        instead: Option<Utf8Bytes>,
    },
    /// An entry of a personal stream.
    Personal {
        /// Whose.
        user: UserId,
        /// The entry.
        entry: PersonalEntry,
    },
    /// Members received or read. State without a number: a socket that misses it is told again from the database.
    Watermarks {
        /// Where.
        conversation: ConversationId,
        /// The members who moved, each with those who must not be told.
        watermarks: Vec<(Watermark, Vec<UserId>)>,
        /// Whether all members are told. Else each is told of themselves.
        to_all: bool,
        /// Its row in the table of changes, so that a sweep does not tell it again; 0 where there is none.
        change: i64,
    },
    /// At most once, to the members of a conversation.
    EphemeralIn {
        /// Which.
        conversation: ConversationId,
        /// What to tell, encoded.
        #[serde(with = "raw")]
        frame: Utf8Bytes,
        /// Members who must not see it.
        hidden_from: Vec<UserId>,
    },
    /// At most once, to some users.
    EphemeralTo {
        /// Whom.
        users: Vec<UserId>,
        /// What to tell, encoded.
        #[serde(with = "raw")]
        frame: Utf8Bytes,
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
    /// A user has too many sockets, over all nodes: those opened up to a time give way.
    Crowded {
        /// Who.
        user: UserId,
        /// Until when.
        opened_upto: Micros,
    },
    /// On how many nodes a user has sockets now, so that each allows its share of the user's rates.
    Spread {
        /// Who.
        user: UserId,
        /// On how many.
        nodes: u32,
    },
}

/// Whom a notice concerns.
#[derive(Debug, Clone, Copy)]
pub(super) enum Concerns<'a> {
    Members(ConversationId),
    Users(&'a [UserId]),
}

impl Notice {
    /// A message came, which nobody has seen yet. What happens to a group is told without its author to those who must
    /// not see the author.
    pub fn created(message: Message, hidden_from: Vec<UserId>) -> Notice {
        let (conversation, seq) = (message.conversation, message.seq);
        let event = |message| Event::MessageCreated(MessageCreated { conversation, seq, after: None, message });
        let of_group = message.kind != Some(MessageKind::Text) && !hidden_from.is_empty();
        let instead = of_group.then(|| event(Message { sender: None, ..message.clone() }).encode());
        Notice::Moved { conversation, seq, after: seq - 1, frame: event(message).encode(), hidden_from, instead }
    }

    /// A conversation moved to `seq`, from the number before it.
    pub fn moved(conversation: ConversationId, seq: i64, event: &Event, hidden_from: Vec<UserId>) -> Notice {
        Notice::Moved { conversation, seq, after: seq - 1, frame: event.encode(), hidden_from, instead: None }
    }

    /// The conversation whose members it concerns.
    pub fn conversation(&self) -> Option<ConversationId> {
        match self.concerns() {
            Concerns::Members(conversation) => Some(conversation),
            Concerns::Users(_) => None,
        }
    }

    pub(super) fn concerns(&self) -> Concerns<'_> {
        match self {
            Notice::Moved { conversation, .. }
            | Notice::Watermarks { conversation, .. }
            | Notice::EphemeralIn { conversation, .. } => Concerns::Members(*conversation),
            Notice::EphemeralTo { users, .. } => Concerns::Users(users),
            Notice::Personal { user, .. }
            | Notice::SessionsEnded { user, .. }
            | Notice::Crowded { user, .. }
            | Notice::Spread { user, .. } => Concerns::Users(std::slice::from_ref(user)),
        }
    }
}

/// Notices of one commit, with the members of the conversations they are about. A conversation that is not named has
/// more members than are worth looking up one by one: its notices go to every node.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// In the order in which they are to be told.
    pub notices: Vec<Notice>,
    /// By conversation. Stays empty on a single node.
    pub members: HashMap<ConversationId, Vec<UserId>>,
}

impl From<Vec<Notice>> for Told {
    fn from(notices: Vec<Notice>) -> Told {
        Told { notices, members: HashMap::new() }
    }
}

/// A packet as it is read: notices one by one, so that one that is not understood costs no other.
#[derive(Deserialize)]
struct Packet<'a> {
    v: u32,
    #[serde(borrow)]
    notices: Vec<&'a RawValue>,
}

/// Writes a packet out of notices that are encoded already.
pub(super) fn packet<'a>(from: &str, notices: impl Iterator<Item = &'a str>) -> String {
    let notices: Vec<&str> = notices.collect();
    format!(r#"{{"v":{VERSION},"from":"{from}","notices":[{}]}}"#, notices.join(","))
}

/// What a packet tells, and how many of its notices were not understood.
pub(super) fn read(packet: &str) -> (Vec<Notice>, usize) {
    match serde_json::from_str::<Packet<'_>>(packet) {
        Ok(Packet { v: OLDEST..=VERSION, notices }) => {
            let all = notices.len();
            let read: Vec<Notice> =
                notices.into_iter().filter_map(|notice| serde_json::from_str(notice.get()).ok()).collect();
            let ignored = all - read.len();
            (read, ignored)
        }
        _ => (Vec::new(), 1),
    }
}

/// A frame is JSON already, and goes into a packet as it is.
mod raw {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::RawValue;
    use tokio_tungstenite::tungstenite::Utf8Bytes;

    pub(super) fn serialize<S: Serializer>(frame: &Utf8Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(frame.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Utf8Bytes, D::Error> {
        Ok(<&RawValue>::deserialize(deserializer)?.get().into())
    }
}

/// The same for a frame that need not be there.
mod raw_or_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::RawValue;
    use tokio_tungstenite::tungstenite::Utf8Bytes;

    pub(super) fn serialize<S: Serializer>(frame: &Option<Utf8Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: Option<&RawValue> = frame
            .as_ref()
            .map(|frame| serde_json::from_str(frame.as_str()))
            .transpose()
            .map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Utf8Bytes>, D::Error> {
        Ok(<Option<&RawValue>>::deserialize(deserializer)?.map(|raw| raw.get().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PersonalKind, SessionId};

    fn every_kind() -> Vec<Notice> {
        let (conversation, user, frame) = (ConversationId(3), UserId(7), Utf8Bytes::from(r#"{"type":"x","data":{}}"#));
        let entry = PersonalEntry { seq: 4, kind: PersonalKind::Matched, subject: 8, at: 5 };
        let hidden_from = vec![UserId(9)];
        let (frame_too, hidden) = (frame.clone(), hidden_from.clone());
        let moved = |instead| {
            let (frame, hidden_from) = (frame.clone(), hidden_from.clone());
            Notice::Moved { conversation, seq: 2, after: 1, frame, hidden_from, instead }
        };
        let watermarks = vec![(Watermark { user, delivered: 3, read: 2 }, hidden_from.clone())];
        vec![
            moved(None),
            moved(Some(frame.clone())),
            Notice::Personal { user, entry },
            Notice::Watermarks { conversation, watermarks, to_all: true, change: 11 },
            Notice::EphemeralIn { conversation, frame: frame.clone(), hidden_from: hidden.clone() },
            Notice::EphemeralTo { users: hidden, frame: frame_too },
            Notice::SessionsEnded { user, which: Which::AllBut(SessionId(2)), code: CloseCode::Revoked },
            Notice::Crowded { user, opened_upto: 12 },
            Notice::Spread { user, nodes: 2 },
        ]
    }

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        let encoded: Vec<String> =
            every_kind().iter().map(|notice| serde_json::to_string(notice).expect("plain")).collect();
        let packet = packet("a1", encoded.iter().map(String::as_str));
        assert_eq!(read(&packet), (every_kind(), 0));
    }

    #[test]
    fn what_a_newer_node_adds_is_ignored_and_the_rest_is_heard() {
        let newer = r#"{"v":1,"from":"b","more":true,"notices":[
            {"teleported":{"user":1}},
            {"spread":{"user":7,"nodes":2,"why":"a new field"}},
            {"sessions_ended":{"user":7,"which":"all","code":4999}}]}"#;
        assert_eq!(read(newer), (vec![Notice::Spread { user: UserId(7), nodes: 2 }], 2));
        assert_eq!(read(r#"{"v":3,"notices":[]}"#), (Vec::new(), 1));
        assert_eq!(read("tick"), (Vec::new(), 1));
    }
}
