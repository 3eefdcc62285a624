//! Full-text search within what a reader may see.

use super::messages::{MessageRow, messages_for_reader, render};
use super::{Conn, on, streams};
use crate::error::Result;
use crate::model::{ConversationId, Message, MessageId, UserId};

/// Conversations of a reader that are named to the index; a reader with more is filtered after the index alone.
const CONVERSATIONS_NAMED: usize = 500;

/// Messages that hold all `words` (folded, plain), newest first, at most `limit`, below the id `before`.
pub async fn find(
    conn: &mut Conn,
    reader: UserId,
    words: &[String],
    conversation: Option<ConversationId>,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Vec<Message>> {
    const SQL: &str = messages_for_reader!(
        "JOIN message_search s ON s.rowid = m.id \
         WHERE message_search MATCH $2 AND m.id < $3 AND ($4 IS NULL OR m.conversation_id = $4) \
            AND m.deleted_at IS NULL AND u.deleted_at IS NULL AND r.seq IS NULL AND m.seq > me.joined_seq \
            AND NOT (c.kind = 'group' \
                AND CASE WHEN p.low = $1 THEN p.low_blocked_at ELSE p.high_blocked_at END IS NOT NULL) \
            AND NOT (c.kind = 'direct' \
                AND CASE WHEN p.low = $1 THEN p.high_blocked_at ELSE p.low_blocked_at END IS NOT NULL) \
         ORDER BY m.id DESC LIMIT $5"
    );
    let conversations = match conversation {
        Some(id) => vec![id],
        None => streams::heads(conn, reader).await?.into_iter().map(|head| head.conversation).collect(),
    };
    let query = index_query(words, &conversations);
    let before = before.map_or(i64::MAX, |id| id.0);
    let rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(SQL)
        .bind(reader).bind(&query).bind(before).bind(conversation).bind(limit as i64).fetch_all(c))?;
    render(conn, reader, rows).await
}

/// Every word quoted, so that nothing in it is an operator; narrowed to the reader's conversations inside the index.
fn index_query(words: &[String], conversations: &[ConversationId]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
    let mut query = format!("folded : ({})", quoted.join(" AND "));
    if !conversations.is_empty() && conversations.len() <= CONVERSATIONS_NAMED {
        let ids: Vec<String> = conversations.iter().map(|id| format!("\"{id}\"")).collect();
        query.push_str(&format!(" AND conversation : ({})", ids.join(" OR ")));
    }
    query
}
