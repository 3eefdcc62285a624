//! What an import writes: whole rows with the ids they had, many in one statement, and beside them, in the same
//! transaction, how far it is.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::{Conn, Tx, json_list, on, run, search};
use crate::error::Result;
use crate::model::{ConversationId, FileId, Micros, Text, UserId};
use crate::text;

/// Where an import keeps how far it is.
const JOURNAL: &str = "import";
/// Longest words of one message that are indexed together, in bytes; Postgres takes less than a MiB.
const WORDS_MAX: usize = 256 << 10;

/// Tables whose rows an import makes, and those of which it makes none, by which it sees whether others wrote.
pub const TABLES: [&str; 10] = [
    "users",
    "interests",
    "interest_names",
    "pairs",
    "conversations",
    "messages",
    "imported_files",
    "sessions",
    "personal",
    "reports",
];

/// A user with the id they had.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the columns")]
pub struct NewUser {
    pub id: i64,
    pub username: String,
    pub username_key: String,
    pub password_hash: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub bio: String,
    pub phone: String,
    pub location: String,
    pub birth_date: Option<String>,
    pub cell_lat: Option<i64>,
    pub cell_lon: Option<i64>,
    pub age_min: i64,
    pub age_max: i64,
    pub distance_km: i64,
    pub seeks: String,
    pub created_at: Micros,
    pub last_active_at: Micros,
    pub disabled_at: Option<Micros>,
}

/// What stands between two users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the columns")]
pub struct NewPair {
    pub id: i64,
    pub low: i64,
    pub high: i64,
    pub low_liked_at: Option<Micros>,
    pub high_liked_at: Option<Micros>,
    pub low_blocked_at: Option<Micros>,
    pub high_blocked_at: Option<Micros>,
    pub matched_at: Option<Micros>,
    pub match_ended_at: Option<Micros>,
}

/// A conversation without its messages.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the columns")]
pub struct NewConversation {
    pub id: i64,
    pub kind: &'static str,
    pub title: String,
    pub low: Option<i64>,
    pub high: Option<i64>,
    pub created_by: i64,
    pub member_count: i64,
    pub created_at: Micros,
    pub updated_at: Micros,
}

/// Somebody in a conversation who has read nothing yet.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the columns")]
pub struct NewMember {
    pub conversation_id: i64,
    pub user_id: i64,
    pub role: &'static str,
    pub joined_seq: i64,
    /// 0 hides the conversation until its next message, -1 does not.
    pub hidden_seq: i64,
}

/// A message at its place.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the columns")]
pub struct NewMessage {
    pub id: i64,
    pub conversation_id: i64,
    pub seq: i64,
    pub rev: i64,
    pub sender_id: i64,
    pub kind: &'static str,
    pub text: String,
    pub sent_at: Micros,
}

/// How far a member has read.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Position {
    /// Where.
    pub conversation: i64,
    /// Who.
    pub user: i64,
    /// How far.
    pub read: i64,
    /// How far the conversation is.
    pub head: i64,
}

/// Where a row had its file.
#[derive(Debug, Serialize)]
pub struct NewFile {
    /// `profile` or `message`.
    pub kind: &'static str,
    /// Of what.
    pub subject: i64,
    /// Below the media directory.
    pub path: String,
}

const INT: &str = "BIGINT";
const TEXT: &str = "TEXT";

/// Inserts rows that come as one JSON parameter, by the names of their fields.
async fn insert<T: Serialize>(tx: &mut Conn, table: &str, columns: &[(&str, &str)], rows: &[T]) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let names = |write: fn(&(&str, &str)) -> String| columns.iter().map(write).collect::<Vec<_>>().join(", ");
    let (plain, rows) = (names(|(name, _)| (*name).to_owned()), json_list(rows));
    // The names are our own.
    let sql = match tx.is_shared() {
        true => {
            let typed = names(|(name, kind)| format!("{name} {kind}"));
            format!("INSERT INTO {table} ({plain}) SELECT {plain} FROM json_to_recordset($1::JSON) AS j ({typed})")
        }
        false => {
            let taken = names(|(name, _)| format!("value ->> '{name}'"));
            format!("INSERT INTO {table} ({plain}) SELECT {taken} FROM json_each($1) WHERE true")
        }
    };
    let sql = format!("{sql} ON CONFLICT DO NOTHING");
    Ok(run!(tx, sqlx::query(AssertSqlSafe(sql)).bind(&rows))?)
}

/// Adds users.
pub async fn users(tx: &mut Conn, users: &[NewUser]) -> Result<u64> {
    const COLUMNS: &[(&str, &str)] = &[
        ("id", INT),
        ("username", TEXT),
        ("username_key", TEXT),
        ("password_hash", TEXT),
        ("email", TEXT),
        ("first_name", TEXT),
        ("last_name", TEXT),
        ("bio", TEXT),
        ("phone", TEXT),
        ("location", TEXT),
        ("birth_date", TEXT),
        ("cell_lat", INT),
        ("cell_lon", INT),
        ("age_min", INT),
        ("age_max", INT),
        ("distance_km", INT),
        ("seeks", TEXT),
        ("created_at", INT),
        ("last_active_at", INT),
        ("disabled_at", INT),
    ];
    insert(tx, "users", COLUMNS, users).await
}

/// Those of some keys of names that somebody has.
pub async fn taken(tx: &mut Conn, keys: &[&str]) -> Result<HashSet<String>> {
    const SQL: [&str; 2] = [
        "SELECT username_key FROM users WHERE username_key IN (SELECT value FROM json_each($1))",
        "SELECT username_key FROM users WHERE username_key IN (SELECT json_array_elements_text($1::JSON))",
    ];
    let (sql, keys) = (tx.sql(SQL), json_list(keys));
    let found: Vec<String> = on!(tx, c => sqlx::query_scalar(sql).bind(&keys).fetch_all(c))?;
    Ok(found.into_iter().collect())
}

/// Adds interests to the dictionary.
pub async fn interest_names(tx: &mut Conn, names: &[crate::store::django::InterestName]) -> Result<u64> {
    insert(tx, "interest_names", &[("id", INT), ("name", TEXT)], names).await
}

/// Adds interests of users.
pub async fn interests(tx: &mut Conn, interests: &[(i64, String)]) -> Result<u64> {
    #[derive(Serialize)]
    struct Row<'a> {
        user_id: i64,
        name: &'a str,
    }
    let rows: Vec<Row<'_>> = interests.iter().map(|(user_id, name)| Row { user_id: *user_id, name }).collect();
    insert(tx, "interests", &[("user_id", INT), ("name", TEXT)], &rows).await
}

/// Adds pairs.
pub async fn pairs(tx: &mut Conn, pairs: &[NewPair]) -> Result<u64> {
    const COLUMNS: &[(&str, &str)] = &[
        ("id", INT),
        ("low", INT),
        ("high", INT),
        ("low_liked_at", INT),
        ("high_liked_at", INT),
        ("low_blocked_at", INT),
        ("high_blocked_at", INT),
        ("matched_at", INT),
        ("match_ended_at", INT),
    ];
    insert(tx, "pairs", COLUMNS, pairs).await
}

/// Adds conversations and who is in them.
pub async fn conversations(tx: &mut Conn, all: &[NewConversation], members: &[NewMember]) -> Result<u64> {
    const COLUMNS: &[(&str, &str)] = &[
        ("id", INT),
        ("kind", TEXT),
        ("title", TEXT),
        ("low", INT),
        ("high", INT),
        ("created_by", INT),
        ("member_count", INT),
        ("created_at", INT),
        ("updated_at", INT),
    ];
    const MEMBERS: &[(&str, &str)] =
        &[("conversation_id", INT), ("user_id", INT), ("role", TEXT), ("joined_seq", INT), ("hidden_seq", INT)];
    let written = insert(tx, "conversations", COLUMNS, all).await?;
    insert(tx, "members", MEMBERS, members).await?;
    Ok(written)
}

/// Keeps where files were.
pub async fn files(tx: &mut Conn, files: &[NewFile]) -> Result<u64> {
    insert(tx, "imported_files", &[("kind", TEXT), ("subject", INT), ("path", TEXT)], files).await
}

/// A file that an imported row names.
#[derive(Debug, FromRow)]
pub struct FileRow {
    /// `profile` or `message`.
    pub kind: String,
    /// The user, or the message.
    pub subject: i64,
    /// Below the media directory of the service.
    pub path: String,
    /// The user, or the author of the message.
    pub owner: UserId,
}

/// The next of the files that imported rows name, behind one of them.
pub async fn files_after(conn: &mut Conn, (kind, subject): &(String, i64), most: i64) -> Result<Vec<FileRow>> {
    const SQL: &str = "SELECT i.kind, i.subject, i.path, COALESCE(m.sender_id, i.subject) AS owner \
        FROM imported_files i LEFT JOIN messages m ON i.kind = 'message' AND m.id = i.subject \
        WHERE i.kind > $1 OR (i.kind = $1 AND i.subject > $2) ORDER BY i.kind, i.subject LIMIT $3";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(kind).bind(subject).bind(most).fetch_all(c))?)
}

/// A file belongs to a message, unless that was deleted meanwhile.
pub async fn attach(tx: &mut Conn, message: i64, file: FileId) -> Result<()> {
    const SQL: &str = "UPDATE messages SET file_id = $2 WHERE id = $1 AND deleted_at IS NULL";
    run!(tx, sqlx::query(SQL).bind(message).bind(file))?;
    Ok(())
}

/// Conversations as far as their messages came: the head of each, and how far each member has read.
#[derive(Debug, Default)]
pub struct Reached {
    /// By conversation.
    pub heads: HashMap<i64, i64>,
    /// By conversation and member.
    pub read: HashMap<i64, Vec<Position>>,
}

/// How far some conversations came.
pub async fn reached(tx: &mut Conn, conversations: &[i64]) -> Result<Reached> {
    const HEADS: &str = "SELECT c.id, c.seq FROM json_each($1) j JOIN conversations c ON c.id = j.value";
    const READ: &str = "SELECT m.conversation_id, m.user_id, m.read, c.seq FROM json_each($1) j \
        JOIN conversations c ON c.id = j.value JOIN members m ON m.conversation_id = c.id";
    let ids = json_list(conversations);
    let heads: Vec<(i64, i64)> = on!(tx, c => sqlx::query_as(HEADS).bind(&ids).fetch_all(c))?;
    let read: Vec<(i64, i64, i64, i64)> = on!(tx, c => sqlx::query_as(READ).bind(&ids).fetch_all(c))?;
    let mut reached = Reached { heads: heads.into_iter().collect(), ..Reached::default() };
    for (conversation, user, read, head) in read {
        reached.read.entry(conversation).or_default().push(Position { conversation, user, read, head });
    }
    Ok(reached)
}

/// Those of some users that are there.
pub async fn known_users(tx: &mut Conn, users: &[i64]) -> Result<HashSet<i64>> {
    const SQL: &str = "SELECT u.id FROM json_each($1) j JOIN users u ON u.id = j.value";
    let ids = json_list(users);
    let found: Vec<i64> = on!(tx, c => sqlx::query_scalar(SQL).bind(&ids).fetch_all(c))?;
    Ok(found.into_iter().collect())
}

/// Adds messages with their words, and says how far their conversations and the members of these are now.
pub async fn messages(tx: &mut Conn, messages: &[NewMessage], reached: &Reached) -> Result<u64> {
    const COLUMNS: &[(&str, &str)] = &[
        ("id", INT),
        ("conversation_id", INT),
        ("seq", INT),
        ("rev", INT),
        ("sender_id", INT),
        ("kind", TEXT),
        ("text", TEXT),
        ("sent_at", INT),
    ];
    const HEADS: [&str; 2] = [
        "UPDATE conversations SET seq = j.value ->> 1 FROM json_each($1) j WHERE conversations.id = j.value ->> 0",
        "UPDATE conversations SET seq = (j.value ->> 1)::BIGINT FROM json_array_elements($1::JSON) AS j (value) \
            WHERE conversations.id = (j.value ->> 0)::BIGINT",
    ];
    macro_rules! positions {
        ($rows:literal) => {
            concat!(
                "UPDATE members SET read = j.read, delivered = j.read, ",
                "hidden_seq = CASE WHEN hidden_seq < 0 THEN -1 ELSE j.head END FROM ",
                $rows,
                " WHERE members.conversation_id = j.conversation AND members.user_id = j.\"user\""
            )
        };
    }
    const POSITIONS: [&str; 2] = [
        positions!(
            "(SELECT value ->> 'conversation' AS conversation, value ->> 'user' AS \"user\", value ->> 'read' AS read, \
                value ->> 'head' AS head FROM json_each($1)) j"
        ),
        positions!("json_to_recordset($1::JSON) AS j (conversation BIGINT, \"user\" BIGINT, read BIGINT, head BIGINT)"),
    ];
    let written = insert(tx, "messages", COLUMNS, messages).await?;
    index_words(tx, messages).await?;
    let (heads, positions) = (tx.sql(HEADS), tx.sql(POSITIONS));
    let of_heads: Vec<(&i64, &i64)> = reached.heads.iter().collect();
    run!(tx, sqlx::query(heads).bind(json_list(&of_heads)))?;
    let of_members: Vec<&Position> = reached.read.values().flatten().collect();
    run!(tx, sqlx::query(positions).bind(json_list(&of_members)))?;
    Ok(written)
}

async fn index_words(tx: &mut Conn, messages: &[NewMessage]) -> Result<()> {
    const SQL: [&str; 2] = [
        "INSERT INTO message_search (rowid, folded, conversation) \
            SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)",
        "INSERT INTO message_search (rowid, words) \
            SELECT (item ->> 0)::BIGINT, array_to_tsvector(string_to_array(item ->> 1, ' ')) \
            FROM json_array_elements($1::JSON) AS items (item)",
    ];
    let shared = tx.is_shared();
    let words = messages.iter().filter(|message| !message.text.is_empty()).map(|message| {
        let words = text::index_words(first_words(&message.text));
        match shared {
            true => (message.id, search::lexemes(&words, ConversationId(message.conversation_id)), 0),
            false => (message.id, words, message.conversation_id),
        }
    });
    let words: Vec<(i64, Text, i64)> = words.collect();
    let sql = tx.sql(SQL);
    run!(tx, sqlx::query(sql).bind(json_list(&words)))?;
    Ok(())
}

/// As much of a text as is indexed.
fn first_words(text: &str) -> &str {
    &text[..text.floor_char_boundary(WORDS_MAX)]
}

/// How far the import is, as it wrote it down.
pub async fn journal(tx: &mut Conn) -> Result<Option<String>> {
    const SQL: &str = "SELECT value FROM meta WHERE key = $1";
    Ok(on!(tx, c => sqlx::query_scalar(SQL).bind(JOURNAL).fetch_optional(c))?)
}

/// Writes down how far the import is.
pub async fn keep_journal(tx: &mut Conn, journal: &str) -> Result<()> {
    const SQL: &str = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2";
    run!(tx, sqlx::query(SQL).bind(JOURNAL).bind(journal))?;
    Ok(())
}

/// How many rows each of the tables has.
pub async fn counts(tx: &mut Tx) -> Result<Vec<(&'static str, i64)>> {
    let mut counts = Vec::new();
    for table in TABLES {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        counts.push((table, on!(&mut **tx, c => sqlx::query_scalar(sql).fetch_one(c))?));
    }
    Ok(counts)
}

/// New rows of a table get ids behind this one, and behind all that are there.
pub async fn continue_ids(tx: &mut Conn, table: &str, last: i64) -> Result<()> {
    let highest = AssertSqlSafe(format!("SELECT COALESCE(max(id), 0) FROM {table}"));
    let highest: i64 = on!(tx, c => sqlx::query_scalar(highest).fetch_one(c))?;
    let last = last.max(highest);
    if last == 0 {
        return Ok(());
    }
    if tx.is_shared() {
        const CONTINUE: &str = "SELECT setval(pg_get_serial_sequence($1, 'id'), $2)";
        run!(tx, sqlx::query(CONTINUE).bind(table).bind(last))?;
        return Ok(());
    }
    const RAISE: &str = "UPDATE sqlite_sequence SET seq = $2 WHERE name = $1";
    const BEGIN: &str = "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)";
    if run!(tx, sqlx::query(RAISE).bind(table).bind(last))? == 0 {
        run!(tx, sqlx::query(BEGIN).bind(table).bind(last))?;
    }
    Ok(())
}

/// Without its statistics Postgres would choose its first plans as for empty tables.
pub async fn analyze(tx: &mut Conn) -> Result<()> {
    if tx.is_shared() {
        run!(tx, sqlx::query("ANALYZE"))?;
    }
    Ok(())
}
