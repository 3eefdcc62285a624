//! The database as the checker needs it, read with plain SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions, Connection, Row};

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
    /// Reads the file, as far as it concerns the users given and the conversations they are or were in.
    pub async fn read(file: &Path, users: &BTreeSet<i64>, conversations: &BTreeSet<i64>) -> Database {
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let mut connection = options.connect().await.expect("open the database");
        // All of it as it stood at one moment: the server may be at work.
        let mut at_once = connection.begin().await.expect("begin to read");
        let users = json_list(users);
        let chats = json_list(conversations);
        let mut database = Database::default();
        for row in rows(&mut at_once, CONVERSATIONS, &chats).await {
            let id = row.get(0);
            database.heads.insert(id, row.get(1));
            if let (Some(low), Some(high)) = (row.get(2), row.get(3)) {
                database.direct.insert(id, DirectPair { low, high });
            }
        }
        database.messages = rows(&mut at_once, MESSAGES, &chats).await.iter().map(message).collect();
        for row in rows(&mut at_once, MEMBERS, &chats).await {
            database.members.insert((row.get(0), row.get(1)), (row.get(2), row.get(3)));
        }
        let reactions = rows(&mut at_once, REACTIONS, &chats).await;
        database.reactions = reactions.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        let removals = rows(&mut at_once, REMOVALS, &chats).await;
        database.removals = removals.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        for row in rows(&mut at_once, BLOCKS, &users).await {
            let (low, high): (i64, i64) = (row.get(0), row.get(1));
            let sides = [(row.get::<bool, _>(2), (low, high)), (row.get::<bool, _>(3), (high, low))];
            database.blocks.extend(sides.into_iter().filter(|(blocked, _)| *blocked).map(|(_, side)| side));
        }
        for row in rows(&mut at_once, PERSONAL, &users).await {
            let entry = PersonalRow { kind: row.get(2), subject: row.get(3) };
            database.personal.insert((row.get(0), row.get(1)), entry);
        }
        database.personal_heads =
            rows(&mut at_once, PERSONAL_HEADS, &users).await.iter().map(|row| (row.get(0), row.get(1))).collect();
        at_once.rollback().await.expect("end to read");
        database
    }
}

const CONVERSATIONS: &str =
    "SELECT id, seq, low, high FROM conversations WHERE id IN (SELECT value FROM json_each($1))";
const MESSAGES: &str = "SELECT id, conversation_id, seq, rev, sender_id, kind, text, client_key, \
     edited_at IS NOT NULL, deleted_at IS NOT NULL FROM messages \
     WHERE conversation_id IN (SELECT value FROM json_each($1)) ORDER BY conversation_id, seq";
const MEMBERS: &str = "SELECT conversation_id, user_id, joined_seq, read FROM members \
     WHERE conversation_id IN (SELECT value FROM json_each($1))";
const REACTIONS: &str = "SELECT message_id, emoji, user_id FROM reactions JOIN messages ON messages.id = message_id \
     WHERE conversation_id IN (SELECT value FROM json_each($1))";
const REMOVALS: &str =
    "SELECT user_id, conversation_id, seq FROM removals WHERE conversation_id IN (SELECT value FROM json_each($1))";
const BLOCKS: &str = "SELECT low, high, low_blocked_at IS NOT NULL, high_blocked_at IS NOT NULL FROM pairs \
     WHERE low IN (SELECT value FROM json_each($1))";
const PERSONAL: &str =
    "SELECT user_id, seq, kind, subject FROM personal WHERE user_id IN (SELECT value FROM json_each($1))";
const PERSONAL_HEADS: &str = "SELECT id, seq FROM users WHERE id IN (SELECT value FROM json_each($1))";

fn json_list(ids: &BTreeSet<i64>) -> String {
    serde_json::to_string(ids).expect("a list of numbers")
}

async fn rows(connection: &mut SqliteConnection, sql: &'static str, list: &str) -> Vec<SqliteRow> {
    sqlx::query(sql).bind(list).fetch_all(connection).await.unwrap_or_else(|cause| panic!("{sql}: {cause}"))
}

fn message(row: &SqliteRow) -> Message {
    Message {
        id: row.get(0),
        conversation: row.get(1),
        seq: row.get(2),
        rev: row.get(3),
        sender: row.get(4),
        kind: row.get(5),
        text: row.get(6),
        client_key: row.get(7),
        edited: row.get(8),
        deleted: row.get(9),
    }
}
