//! Numbers: the heads of streams, who is in them, the personal log, and the epoch that all numbers belong to.

use std::collections::{BTreeMap, HashMap};

use sqlx::FromRow;

use super::{Conn, Purpose, Store, json_list, on, run};
use crate::error::{Error, Result};
use crate::model::{ConversationId, Micros, PersonalEntry, PersonalKind, UserId};

/// A conversation that a user is in, and how far it is.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct Head {
    /// Which.
    pub conversation: ConversationId,
    /// The number of its latest change.
    pub head: i64,
}

/// What a user is in.
#[derive(Debug, Clone)]
pub struct Memberships {
    /// Who.
    pub user: UserId,
    /// The head of the personal stream.
    pub as_of: i64,
    /// The conversations, ascending.
    pub heads: Vec<Head>,
}

impl Store {
    /// The name of this database's history; made at the first start.
    pub async fn epoch(&self) -> std::result::Result<String, String> {
        self.named_once("epoch").await.map_err(|cause| format!("cannot read the epoch: {cause}"))
    }

    /// The name of this installation, for what it shares with others; made at the first start, and kept for ever.
    pub async fn installation(&self) -> std::result::Result<String, String> {
        self.named_once("installation").await.map_err(|cause| format!("cannot read the installation: {cause}"))
    }

    /// A random name that is made by whoever asks first.
    async fn named_once(&self, key: &str) -> Result<String> {
        const MAKE: &str = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
        let mut tx = self.begin(Purpose::Server).await?;
        let new = random_name()?;
        run!(&mut *tx, sqlx::query(MAKE).bind(key).bind(&new))?;
        let name = meta(&mut tx, key).await?;
        tx.commit(|| ()).await?;
        Ok(name.unwrap_or(new))
    }
}

async fn meta(conn: &mut Conn, key: &str) -> Result<Option<String>> {
    const SQL: &str = "SELECT value FROM meta WHERE key = $1";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(key).fetch_optional(c))?)
}

fn random_name() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

/// Begins a new epoch: every cursor given out before is worth nothing from here on.
pub async fn renew_epoch(tx: &mut Conn) -> Result<String> {
    const SQL: &str = "INSERT INTO meta (key, value) VALUES ('epoch', $1) ON CONFLICT (key) DO UPDATE SET value = $1";
    let epoch = random_name()?;
    run!(tx, sqlx::query(SQL).bind(&epoch))?;
    Ok(epoch)
}

/// What some users are in, each with the head of their personal stream, all of one instant: each entry up to the head
/// is in the list, and none after it.
pub async fn memberships(conn: &mut Conn, users: &[UserId]) -> Result<Vec<Memberships>> {
    const SQL: &str = "SELECT u.id, u.seq, c.id, c.seq FROM json_each($1) j JOIN users u ON u.id = j.value \
        LEFT JOIN members m ON m.user_id = u.id LEFT JOIN conversations c ON c.id = m.conversation_id \
        ORDER BY u.id, c.id";
    let ids = json_list(users);
    let rows: Vec<(UserId, i64, Option<ConversationId>, Option<i64>)> =
        on!(conn, c => sqlx::query_as(SQL).bind(&ids).fetch_all(c))?;
    let mut memberships: Vec<Memberships> = Vec::new();
    for (user, as_of, conversation, head) in rows {
        if memberships.last().is_none_or(|last| last.user != user) {
            memberships.push(Memberships { user, as_of, heads: Vec::new() });
        }
        if let (Some(last), Some(conversation), Some(head)) = (memberships.last_mut(), conversation, head) {
            last.heads.push(Head { conversation, head });
        }
    }
    Ok(memberships)
}

/// Whether a user is in a conversation, and the head of their personal stream, both of one instant.
pub async fn is_member(conn: &mut Conn, user: UserId, conversation: ConversationId) -> Result<(i64, bool)> {
    const SQL: &str = "SELECT u.seq, m.user_id FROM users u \
        LEFT JOIN members m ON m.user_id = u.id AND m.conversation_id = $2 WHERE u.id = $1";
    let row: (i64, Option<UserId>) = on!(conn, c => sqlx::query_as(SQL).bind(user).bind(conversation).fetch_one(c))?;
    Ok((row.0, row.1.is_some()))
}

/// Every conversation of a user, with its head.
pub async fn heads(conn: &mut Conn, user: UserId) -> Result<Vec<Head>> {
    const SQL: &str = "SELECT c.id AS conversation, c.seq AS head FROM members m \
        JOIN conversations c ON c.id = m.conversation_id WHERE m.user_id = $1";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).fetch_all(c))?)
}

/// Those of some conversations that a user is in, with their heads.
pub async fn heads_of(conn: &mut Conn, user: UserId, conversations: &[ConversationId]) -> Result<Vec<Head>> {
    const SQL: &str = "SELECT c.id AS conversation, c.seq AS head FROM json_each($2) j \
        JOIN members m ON m.conversation_id = j.value AND m.user_id = $1 \
        JOIN conversations c ON c.id = m.conversation_id";
    let ids = json_list(conversations);
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).bind(&ids).fetch_all(c))?)
}

/// The head of a user's personal stream.
pub async fn personal_head(conn: &mut Conn, user: UserId) -> Result<i64> {
    const SQL: &str = "SELECT seq FROM users WHERE id = $1";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(user).fetch_one(c))?)
}

/// An entry for a personal stream: whose, what happened, and about whom or what.
pub type NewEntry = (UserId, PersonalKind, i64);

/// Appends to one personal stream, in the transaction that makes the change.
///
/// # Errors
/// `not_found` for a user whose account was deleted.
pub async fn append_personal(
    tx: &mut Conn,
    user: UserId,
    kind: PersonalKind,
    subject: i64,
    at: Micros,
) -> Result<PersonalEntry> {
    let mut appended = append_each(tx, &[(user, kind, subject)], at).await?;
    appended.pop().map(|(_, entry)| entry).ok_or_else(|| Error::not_found("user"))
}

/// Appends to the personal streams of any number of users in two statements. Locks the users by ascending id. Skips
/// those whose accounts were deleted, so that nothing is written for them once their erasure has begun. Answers what
/// was written, in the order of `entries`.
pub async fn append_each(tx: &mut Conn, entries: &[NewEntry], at: Micros) -> Result<Vec<(UserId, PersonalEntry)>> {
    const NUMBER: [&str; 2] = [
        "UPDATE users SET seq = users.seq + j.entries \
            FROM (SELECT value ->> 0 AS user_id, value ->> 1 AS entries FROM json_each($1)) AS j \
            WHERE users.id = j.user_id AND users.deleted_at IS NULL RETURNING id, seq",
        "WITH items AS (SELECT (item ->> 0)::BIGINT AS user_id, (item ->> 1)::BIGINT AS entries \
                FROM json_array_elements($1::JSON) AS list (item)), \
            held AS (SELECT h.id FROM users h WHERE h.id IN (SELECT i.user_id FROM items i) AND h.deleted_at IS NULL \
                ORDER BY h.id FOR NO KEY UPDATE) \
            UPDATE users AS u SET seq = u.seq + i.entries FROM held JOIN items i ON i.user_id = held.id \
            WHERE u.id = held.id RETURNING u.id, u.seq",
    ];
    const WRITE: [&str; 2] = [
        "INSERT INTO personal (user_id, seq, kind, subject, at) \
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, $2 FROM json_each($1)",
        "INSERT INTO personal (user_id, seq, kind, subject, at) \
            SELECT (item ->> 0)::BIGINT, (item ->> 1)::BIGINT, item ->> 2, (item ->> 3)::BIGINT, $2 \
            FROM json_array_elements($1::JSON) AS list (item)",
    ];
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut counts: BTreeMap<UserId, i64> = BTreeMap::new();
    entries.iter().for_each(|(user, ..)| *counts.entry(*user).or_default() += 1);
    let counted: Vec<(UserId, i64)> = counts.iter().map(|(user, count)| (*user, *count)).collect();
    let (number, write) = (tx.sql(NUMBER), tx.sql(WRITE));
    let heads: Vec<(UserId, i64)> = on!(tx, c => sqlx::query_as(number).bind(json_list(&counted)).fetch_all(c))?;
    let count = |user: &UserId| counts.get(user).copied().unwrap_or_default();
    let mut last: HashMap<UserId, i64> = heads.into_iter().map(|(user, head)| (user, head - count(&user))).collect();
    let placed = entries.iter().filter_map(|(user, kind, subject)| {
        let seq = last.get_mut(user)?;
        *seq += 1;
        Some((*user, PersonalEntry { seq: *seq, kind: *kind, subject: *subject, at }))
    });
    let placed: Vec<(UserId, PersonalEntry)> = placed.collect();
    let rows: Vec<_> = placed.iter().map(|(user, entry)| (user, entry.seq, entry.kind, entry.subject)).collect();
    run!(tx, sqlx::query(write).bind(json_list(&rows)).bind(at))?;
    Ok(placed)
}

/// Entries of a personal stream after a cursor, ascending.
pub async fn personal_after(conn: &mut Conn, user: UserId, after: i64, limit: usize) -> Result<Vec<PersonalEntry>> {
    const SQL: &str =
        "SELECT seq, kind, subject, at FROM personal WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).bind(after).bind(limit as i64).fetch_all(c))?)
}
