//! The database as the checker needs it, read with plain SQL.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::rows::Source;

/// One row of `messages`.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub id: i64,
    pub conversation: i64,
    pub seq: i64,
    pub rev: i64,
    pub sender: i64,
    pub kind: String,
    pub text: String,
    pub client_key: Option<String>,
    pub edited: bool,
    pub deleted: bool,
}

/// Who has blocked whom in a direct conversation is judged by its two users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectPair {
    pub low: i64,
    pub high: i64,
}

/// One row of `personal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalRow {
    pub kind: String,
    pub subject: i64,
}

/// What lasts, as far as the promises speak of it.
#[derive(Debug, Default)]
pub struct Database {
    pub messages: Vec<Message>,
    /// Head by conversation.
    pub heads: BTreeMap<i64, i64>,
    pub direct: BTreeMap<i64, DirectPair>,
    /// `(conversation, user)` to `(joined_seq, read)`.
    pub members: BTreeMap<(i64, i64), (i64, i64)>,
    /// `(message id, emoji, user)`.
    pub reactions: BTreeSet<(i64, String, i64)>,
    /// `(user, conversation, seq)` that the user deleted for themselves.
    pub removals: BTreeSet<(i64, i64, i64)>,
    /// `(blocker, blocked)`.
    pub blocks: BTreeSet<(i64, i64)>,
    pub personal: BTreeMap<(i64, i64), PersonalRow>,
    pub personal_heads: BTreeMap<i64, i64>,
}

impl Database {
    /// Reads it, as far as it concerns the users given and the conversations they are or were in.
    pub async fn read(source: &Source, users: &BTreeSet<i64>, conversations: &BTreeSet<i64>) -> Database {
        let mut at_once = source.snapshot().await;
        let (users, chats) = (list(users), list(conversations));
        let in_chats = format!("WHERE conversation_id IN ({chats})");
        let mut database = Database::default();
        let from = format!("FROM conversations WHERE id IN ({chats})");
        for row in at_once.rows("id, seq, low, high", &from).await {
            let id = int(&row[0]);
            database.heads.insert(id, int(&row[1]));
            if let (Some(low), Some(high)) = (row[2].as_i64(), row[3].as_i64()) {
                database.direct.insert(id, DirectPair { low, high });
            }
        }
        let from = format!("FROM messages {in_chats} ORDER BY conversation_id, seq");
        database.messages = at_once.rows(MESSAGE, &from).await.iter().map(|row| message(row)).collect();
        let from = format!("FROM members {in_chats}");
        for row in at_once.rows("conversation_id, user_id, joined_seq, read", &from).await {
            database.members.insert((int(&row[0]), int(&row[1])), (int(&row[2]), int(&row[3])));
        }
        let from = format!("FROM reactions JOIN messages ON messages.id = message_id {in_chats}");
        for row in at_once.rows("message_id, emoji, user_id", &from).await {
            database.reactions.insert((int(&row[0]), text(&row[1]), int(&row[2])));
        }
        for row in at_once.rows("user_id, conversation_id, seq", &format!("FROM removals {in_chats}")).await {
            database.removals.insert((int(&row[0]), int(&row[1]), int(&row[2])));
        }
        let from = format!("FROM pairs WHERE low IN ({users})");
        for row in at_once.rows("low, high, low_blocked_at IS NOT NULL, high_blocked_at IS NOT NULL", &from).await {
            let (low, high) = (int(&row[0]), int(&row[1]));
            let sides = [(truth(&row[2]), (low, high)), (truth(&row[3]), (high, low))];
            database.blocks.extend(sides.into_iter().filter(|(blocked, _)| *blocked).map(|(_, side)| side));
        }
        for row in
            at_once.rows("user_id, seq, kind, subject", &format!("FROM personal WHERE user_id IN ({users})")).await
        {
            let entry = PersonalRow { kind: text(&row[2]), subject: int(&row[3]) };
            database.personal.insert((int(&row[0]), int(&row[1])), entry);
        }
        for row in at_once.rows("id, seq", &format!("FROM users WHERE id IN ({users})")).await {
            database.personal_heads.insert(int(&row[0]), int(&row[1]));
        }
        database
    }
}

const MESSAGE: &str = "messages.id, conversation_id, seq, rev, sender_id, kind, text, client_key, \
     edited_at IS NOT NULL, deleted_at IS NOT NULL";

/// Numbers, as they may stand in SQL. There is always one, since an empty list is no SQL.
fn list(ids: &BTreeSet<i64>) -> String {
    let ids = ids.iter().map(i64::to_string).chain(["0".to_owned()]);
    ids.collect::<Vec<_>>().join(", ")
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// SQLite answers conditions with 0 and 1.
fn truth(value: &Value) -> bool {
    *value == true || *value == 1
}

fn message(row: &[Value]) -> Message {
    Message {
        id: int(&row[0]),
        conversation: int(&row[1]),
        seq: int(&row[2]),
        rev: int(&row[3]),
        sender: int(&row[4]),
        kind: text(&row[5]),
        text: text(&row[6]),
        client_key: row[7].as_str().map(str::to_owned),
        edited: truth(&row[8]),
        deleted: truth(&row[9]),
    }
}
