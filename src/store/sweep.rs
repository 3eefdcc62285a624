//! What changed lately, as processes that share a database tell each other through it. A doorbell is quicker; this is
//! what it is checked against.
//!
//! A reader keeps a snapshot of the database (`pg_current_snapshot()`): which transactions it has seen. What it has not
//! seen are the rows of all others that a later snapshot sees. So each row is read once, however late its transaction
//! commits and however long another one runs.

use std::collections::HashMap;

use sqlx::FromRow;

use super::{Conn, Purpose, Store, json_list, on, run};
use crate::error::{Error, Result};
use crate::model::{ConversationId, Micros, Stream, UserId};

/// Rows that one deletion of old rows takes.
const FORGOTTEN_AT_ONCE: i64 = 10_000;

/// Something that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A stream moved up to a number.
    Moved(Stream, i64),
    /// Members of a conversation received or read.
    Positions(ConversationId),
    /// Sessions of a user began to end.
    Sessions(UserId),
}

impl Change {
    /// As it is kept: kind, subject, number.
    fn row(self) -> (&'static str, i64, i64) {
        match self {
            Change::Moved(Stream::Personal(user), seq) => ("personal", user.0, seq),
            Change::Moved(Stream::Conversation(conversation), seq) => ("conversation", conversation.0, seq),
            Change::Positions(conversation) => ("positions", conversation.0, 0),
            Change::Sessions(user) => ("sessions", user.0, 0),
        }
    }
}

/// The database at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Its clock.
    pub at: Micros,
    /// When its server started: one that was started again may give the numbers of lost transactions once more.
    server: Micros,
    snapshot: Snapshot,
}

/// Which transactions are over: all below `xmax` but those in `running`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Snapshot {
    text: String,
    xmax: u64,
    /// Separated by commas, as Postgres writes them.
    running: String,
}

impl Snapshot {
    fn read(text: String) -> Result<Snapshot> {
        let mut parts = text.splitn(3, ':').skip(1);
        let xmax = parts.next().and_then(|xmax| xmax.parse().ok());
        let xmax = xmax.ok_or_else(|| Error::internal(format!("no snapshot of a database: {text}")))?;
        let running = parts.next().unwrap_or_default().to_owned();
        Ok(Snapshot { text, xmax, running })
    }
}

/// What was noted between two moments, read in slices of so many transactions.
#[derive(Debug)]
pub struct Range {
    /// Those that were running at the first moment; nothing once they were read.
    running: String,
    /// The first transaction that was not read.
    from: u64,
    upto: Moment,
}

/// The database now.
pub async fn now(conn: &mut Conn) -> Result<Moment> {
    const SQL: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT, \
        (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::BIGINT, pg_current_snapshot()::TEXT";
    let (at, server, snapshot): (Micros, Micros, String) = on!(conn, c => sqlx::query_as(SQL).fetch_one(c))?;
    Ok(Moment { at, server, snapshot: Snapshot::read(snapshot)? })
}

impl Range {
    /// What was noted from one moment to another. Where the server was started in between, the rows of `overlap`
    /// microseconds before the first moment are read again.
    pub async fn between(conn: &mut Conn, from: &Moment, upto: Moment, overlap: Micros) -> Result<Range> {
        const FIRST: &str = "SELECT xid::TEXT FROM changes WHERE at >= $1 ORDER BY xid LIMIT 1";
        let mut begin = from.snapshot.xmax;
        if from.server != upto.server {
            let since = from.at - overlap;
            let first: Option<String> = on!(conn, c => sqlx::query_scalar(FIRST).bind(since).fetch_optional(c))?;
            begin = first.and_then(|xid| xid.parse().ok()).map_or(begin, |first: u64| begin.min(first));
        }
        Ok(Range { running: from.snapshot.running.clone(), from: begin, upto })
    }

    /// The changes of the next `transactions`, each stream and conversation named once: with its greatest number, or,
    /// where there is no number, with the ids of the rows. Moves nothing on: see [`Range::done`].
    pub async fn slice(&self, conn: &mut Conn, transactions: u64) -> Result<Vec<(Change, Vec<i64>)>> {
        // Transactions that were running at the first moment, and those that began later: each part by the index.
        const SQL: &str = "SELECT kind, subject, max(seq) AS seq, \
                string_agg(id::TEXT, ',') FILTER (WHERE kind = 'positions') AS ids \
            FROM (SELECT id, kind, subject, seq FROM changes \
                    WHERE xid = ANY (string_to_array($1, ',')::XID8[]) AND xid < $2::TEXT::XID8 \
                    AND pg_visible_in_snapshot(xid, $4::TEXT::PG_SNAPSHOT) \
                UNION ALL SELECT id, kind, subject, seq FROM changes \
                    WHERE xid >= $2::TEXT::XID8 AND xid < $3::TEXT::XID8 \
                    AND pg_visible_in_snapshot(xid, $4::TEXT::PG_SNAPSHOT)) AS noted \
            GROUP BY kind, subject";
        let (from, below) = (self.from.to_string(), self.end(transactions).to_string());
        let snapshot = &self.upto.snapshot.text;
        let rows: Vec<ChangeRow> = on!(conn, c => sqlx::query_as(SQL)
            .bind(&self.running).bind(from).bind(below).bind(snapshot).fetch_all(c))?;
        Ok(rows.iter().filter_map(|row| Some((row.change()?, row.ids()))).collect())
    }

    fn end(&self, transactions: u64) -> u64 {
        self.from.saturating_add(transactions).min(self.upto.snapshot.xmax)
    }

    /// The slice of the next `transactions` was handled. Answers the moment up to which all was read, once there is no
    /// more.
    pub fn done(&mut self, transactions: u64) -> Option<Moment> {
        self.from = self.end(transactions);
        self.running.clear();
        (self.from >= self.upto.snapshot.xmax).then(|| self.upto.clone())
    }
}

#[derive(FromRow)]
struct ChangeRow {
    kind: String,
    subject: i64,
    seq: i64,
    ids: Option<String>,
}

impl ChangeRow {
    /// None for a kind that a newer duet writes.
    fn change(&self) -> Option<Change> {
        match self.kind.as_str() {
            "personal" => Some(Change::Moved(Stream::Personal(UserId(self.subject)), self.seq)),
            "conversation" => Some(Change::Moved(Stream::Conversation(ConversationId(self.subject)), self.seq)),
            "positions" => Some(Change::Positions(ConversationId(self.subject))),
            "sessions" => Some(Change::Sessions(UserId(self.subject))),
            _ => None,
        }
    }

    fn ids(&self) -> Vec<i64> {
        self.ids.iter().flat_map(|ids| ids.split(',')).filter_map(|id| id.parse().ok()).collect()
    }
}

/// Notes changes in the transaction that makes them. Answers the ids of the rows, in order.
pub async fn note(tx: &mut Conn, changes: &[Change]) -> Result<Vec<i64>> {
    const SQL: &str = "INSERT INTO changes (kind, subject, seq) \
        SELECT item ->> 0, (item ->> 1)::BIGINT, (item ->> 2)::BIGINT \
        FROM json_array_elements($1::JSON) WITH ORDINALITY AS items (item, place) ORDER BY place RETURNING id";
    // A process that has its database to itself looks for nothing there.
    if changes.is_empty() || !tx.is_shared() {
        return Ok(Vec::new());
    }
    let rows: Vec<_> = changes.iter().map(|change| change.row()).collect();
    let rows = json_list(&rows);
    let mut ids: Vec<i64> = on!(tx, c => sqlx::query_scalar(SQL).bind(&rows).fetch_all(c))?;
    // Ids ascend in the order of insertion, which is kept; the order of what RETURNING answers is not promised.
    ids.sort_unstable();
    Ok(ids)
}

/// Deletes what was noted before a time, by the database's clock, some rows at once. Rows that another process deletes
/// at the same time are left to it. Answers whether there may be more.
pub async fn forget(store: &Store, before: Micros) -> Result<bool> {
    const SQL: &str = "DELETE FROM changes WHERE id IN ( \
        SELECT id FROM changes WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)";
    let mut tx = store.begin(Purpose::Server).await?;
    let forgotten = run!(&mut *tx, sqlx::query(SQL).bind(before).bind(FORGOTTEN_AT_ONCE))?;
    tx.commit(|| ()).await?;
    Ok(forgotten as i64 >= FORGOTTEN_AT_ONCE)
}

/// Who is in some conversations; those with more than `most` members are left out.
pub async fn members_of(
    conn: &mut Conn,
    conversations: &[ConversationId],
    most: usize,
) -> Result<HashMap<ConversationId, Vec<UserId>>> {
    const SQL: &str = "SELECT m.conversation_id, m.user_id FROM json_each($1) j \
        JOIN conversations c ON c.id = j.value AND c.member_count <= $2 \
        JOIN members m ON m.conversation_id = c.id";
    let ids = json_list(conversations);
    let rows: Vec<(ConversationId, UserId)> =
        on!(conn, c => sqlx::query_as(SQL).bind(&ids).bind(most as i64).fetch_all(c))?;
    let mut members: HashMap<ConversationId, Vec<UserId>> = HashMap::new();
    for (conversation, user) in rows {
        members.entry(conversation).or_default().push(user);
    }
    Ok(members)
}
