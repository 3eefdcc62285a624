//! What changed lately, as processes that share a database tell each other through it. A doorbell is quicker; this is
//! what it is checked against.

use std::collections::HashMap;

use sqlx::FromRow;

use super::{Conn, Purpose, Store, json_list, on, run};
use crate::error::Result;
use crate::model::{ConversationId, Micros, Stream, UserId};

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

#[derive(FromRow)]
struct ChangeRow {
    id: i64,
    kind: String,
    subject: i64,
    seq: i64,
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
}

/// What a sweep found.
#[derive(Debug)]
pub struct Swept {
    /// The database's clock, read before the changes.
    pub at: Micros,
    /// The changes with the ids of their rows. A stream that moved is named once, with its greatest number.
    pub changes: Vec<(i64, Change)>,
}

/// Notes changes in the transaction that makes them, as its last statement, so that their time is close to the commit.
/// Answers the ids of the rows, in order.
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

/// What was noted from a time on, by the database's clock, and is older than `grace` microseconds; the end of
/// sessions, which cannot be told too early, whatever its age.
pub async fn since(conn: &mut Conn, from: Micros, grace: Micros) -> Result<Swept> {
    const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT";
    // A number tells all that lies below it. What has no number is told row by row, since ids do not become visible in
    // their order.
    const CHANGES: &str = "SELECT max(id) AS id, kind, subject, max(seq) AS seq FROM changes \
            WHERE at BETWEEN $1 AND $2 AND kind IN ('personal', 'conversation') GROUP BY kind, subject \
        UNION ALL SELECT id, kind, subject, seq FROM changes \
            WHERE at BETWEEN $1 AND $2 AND kind = 'positions' \
        UNION ALL SELECT id, kind, subject, seq FROM changes WHERE at >= $1 AND kind = 'sessions'";
    let at: Micros = on!(conn, c => sqlx::query_scalar(CLOCK).fetch_one(c))?;
    let rows: Vec<ChangeRow> = on!(conn, c => sqlx::query_as(CHANGES).bind(from).bind(at - grace).fetch_all(c))?;
    let changes = rows.iter().filter_map(|row| Some((row.id, row.change()?))).collect();
    Ok(Swept { at, changes })
}

/// Deletes what was noted before a time, by the database's clock.
pub async fn forget(store: &Store, before: Micros) -> Result<()> {
    const SQL: &str = "DELETE FROM changes WHERE at < $1";
    let mut tx = store.begin(Purpose::Server).await?;
    run!(&mut *tx, sqlx::query(SQL).bind(before))?;
    tx.commit(|| ()).await
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
