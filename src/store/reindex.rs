//! The index of words, made anew after the way in which words are made has changed: newest first, in bounded steps, with
//! the progress kept in `meta` beside what was written.

use sqlx::FromRow;

use super::{Conn, Tx, json_list, on, run, search};
use crate::error::Result;
use crate::model::{ConversationId, MessageId, MessageKind, Text};
use crate::text::{WORDS_VERSION, index_words};

/// Messages that one step goes through.
const TOGETHER: i64 = 500;
/// Where `meta` keeps how far it is: the version of the words, and the id below which messages are left.
const KEY: &str = "words";

#[derive(FromRow)]
struct Row {
    id: MessageId,
    conversation_id: ConversationId,
    kind: MessageKind,
    text: String,
    /// Of the row of the index on Postgres; changes whenever somebody writes the words again.
    version: String,
}

/// Indexes the next messages anew. Answers the id below which more are left; none at the end.
pub async fn step(tx: &mut Tx) -> Result<Option<MessageId>> {
    let Some(next) = left(tx).await? else { return Ok(None) };
    let rows = read(tx, next).await?;
    let next = rows.iter().map(|row| row.id).min();
    let texts = rows.into_iter().filter(|row| row.kind == MessageKind::Text && !row.text.is_empty());
    write(tx, texts.collect()).await?;
    const KEEP: &str = "UPDATE meta SET value = $2 WHERE key = $1";
    let progress = format!("{WORDS_VERSION}:{}", next.map_or(0, |id| id.0));
    run!(&mut **tx, sqlx::query(KEEP).bind(KEY).bind(progress))?;
    Ok(next)
}

/// Below which id messages are left; none where all are done. Locks the progress, as other nodes may be at it.
async fn left(tx: &mut Conn) -> Result<Option<MessageId>> {
    const MAKE: &str = "INSERT INTO meta (key, value) VALUES ($1, '') ON CONFLICT (key) DO NOTHING";
    const LOCK: [&str; 2] =
        ["SELECT value FROM meta WHERE key = $1", "SELECT value FROM meta WHERE key = $1 FOR NO KEY UPDATE"];
    const LAST: &str = "SELECT COALESCE(MAX(id), 0) + 1 FROM messages";
    run!(tx, sqlx::query(MAKE).bind(KEY))?;
    let sql = tx.sql(LOCK);
    let progress: String = on!(tx, c => sqlx::query_scalar(sql).bind(KEY).fetch_one(c))?;
    let progress = progress.split_once(':').filter(|(version, _)| version.parse() == Ok(WORDS_VERSION));
    match progress.and_then(|(_, next)| next.parse::<i64>().ok()) {
        Some(next) => Ok(Some(MessageId(next)).filter(|next| next.0 > 0)),
        None => Ok(Some(on!(tx, c => sqlx::query_scalar(LAST).fetch_one(c))?)),
    }
}

async fn read(tx: &mut Conn, below: MessageId) -> Result<Vec<Row>> {
    const ROWS: [&str; 2] = [
        "SELECT id, conversation_id, kind, text, '' AS version FROM messages WHERE id < $1 ORDER BY id DESC LIMIT $2",
        "SELECT m.id, m.conversation_id, m.kind, m.text, COALESCE(s.xmin::TEXT, '') AS version \
            FROM (SELECT * FROM messages WHERE id < $1 ORDER BY id DESC LIMIT $2) AS m \
            LEFT JOIN message_search s ON s.rowid = m.id",
    ];
    let sql = tx.sql(ROWS);
    Ok(on!(tx, c => sqlx::query_as(sql).bind(below).bind(TOGETHER).fetch_all(c))?)
}

/// Writes their words. On Postgres only where nobody wrote them since they were read: who edits or deletes a message
/// meanwhile has written, or taken away, the right ones.
async fn write(tx: &mut Conn, texts: Vec<Row>) -> Result<()> {
    const POSTGRES: &str = "UPDATE message_search s SET words = array_to_tsvector(string_to_array(item ->> 1, ' ')) \
        FROM json_array_elements($1::JSON) AS items (item) \
        WHERE s.rowid = (item ->> 0)::BIGINT AND s.xmin::TEXT = item ->> 2";
    const CLEAR: &str = "DELETE FROM message_search WHERE rowid IN (SELECT value ->> 0 FROM json_each($1))";
    const SQLITE: &str = "INSERT INTO message_search (rowid, folded, conversation) \
        SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)";
    if tx.is_shared() {
        let rows = texts.into_iter().map(|row| {
            let words = search::lexemes(&index_words(&row.text), row.conversation_id);
            (row.id, words, row.version)
        });
        let rows: Vec<(MessageId, Text, String)> = rows.collect();
        run!(tx, sqlx::query(POSTGRES).bind(json_list(&rows)))?;
        return Ok(());
    }
    let rows = texts.into_iter().map(|row| (row.id, index_words(&row.text), row.conversation_id));
    let rows = json_list(&rows.collect::<Vec<_>>());
    run!(tx, sqlx::query(CLEAR).bind(&rows))?;
    run!(tx, sqlx::query(SQLITE).bind(&rows))?;
    Ok(())
}
