//! Lists with their length, cut by offset, for clients that page in that way: the Django API's.

use std::collections::HashMap;

use super::conversations::ListPosition;
use super::messages::{self, MessageRow, messages_for_reader};
use super::pairs::{MatchRow, matches_of};
use super::{Conn, json_list, on};
use crate::error::Result;
use crate::model::{ConversationId, Message, MessageId, UserId};

/// The conversations in the list of user `$1`; the last message of each is above what was hidden.
macro_rules! listed {
    ($columns:literal, $tail:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM members m JOIN conversations c ON c.id = m.conversation_id ",
            "WHERE m.user_id = $1 AND (m.hidden_seq < 0 OR EXISTS ",
            "(SELECT 1 FROM messages x WHERE x.conversation_id = c.id AND x.seq > m.hidden_seq)) ",
            $tail
        )
    };
}

/// How many conversations are in a user's list.
pub async fn conversation_count(conn: &mut Conn, user: UserId) -> Result<i64> {
    const SQL: &str = listed!("count(*)", "");
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(user).fetch_one(c))?)
}

/// Some of a user's list, the latest first.
pub async fn conversations(conn: &mut Conn, user: UserId, offset: i64, limit: i64) -> Result<Vec<ConversationId>> {
    const SQL: &str = listed!("c.updated_at, c.id", "ORDER BY c.updated_at DESC, c.id DESC LIMIT $2 OFFSET $3");
    let rows: Vec<ListPosition> = on!(conn, c => sqlx::query_as(SQL).bind(user).bind(limit).bind(offset).fetch_all(c))?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Whether a conversation is in a user's list.
pub async fn is_listed(conn: &mut Conn, user: UserId, conversation: ConversationId) -> Result<bool> {
    const SQL: &str = listed!("count(*)", "AND c.id = $2");
    let found: i64 = on!(conn, c => sqlx::query_scalar(SQL).bind(user).bind(conversation).fetch_one(c))?;
    Ok(found > 0)
}

/// The messages of a conversation with a text that the reader may see; who blocks the reader looks like a deleted
/// account where the conversation is direct.
macro_rules! texts {
    ($tail:literal) => {
        messages_for_reader!(
            "WHERE m.conversation_id = $2 AND m.kind = 'text' AND m.deleted_at IS NULL AND m.seq > me.joined_seq \
                AND r.seq IS NULL AND u.deleted_at IS NULL \
                AND CASE WHEN c.kind = 'group' AND p.low = $1 THEN p.low_blocked_at \
                    WHEN c.kind = 'group' THEN p.high_blocked_at \
                    WHEN p.low = $1 THEN p.high_blocked_at ELSE p.low_blocked_at END IS NULL ",
            $tail
        )
    };
}

/// How many messages of a conversation a reader may see; none where the reader is no member.
pub async fn text_count(conn: &mut Conn, reader: UserId, conversation: ConversationId) -> Result<i64> {
    const SQL: &str = concat!("SELECT count(*) FROM (", texts!(""), ") AS counted");
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(reader).bind(conversation).fetch_one(c))?)
}

/// Some of them, the oldest first.
pub async fn texts(
    conn: &mut Conn,
    reader: UserId,
    conversation: ConversationId,
    offset: i64,
    limit: i64,
) -> Result<Vec<Message>> {
    const SQL: &str = texts!("ORDER BY m.seq LIMIT $3 OFFSET $4");
    let rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(SQL)
        .bind(reader).bind(conversation).bind(limit).bind(offset).fetch_all(c))?;
    messages::render(conn, reader, rows).await
}

/// The latest of them in each of some conversations.
pub async fn last_texts(
    conn: &mut Conn,
    reader: UserId,
    conversations: &[ConversationId],
) -> Result<HashMap<ConversationId, Message>> {
    const SQL: &str = messages_for_reader!(
        "WHERE m.id IN (SELECT (SELECT x.id FROM messages x JOIN users xu ON xu.id = x.sender_id \
            LEFT JOIN pairs xp ON xp.low = CASE WHEN $1 < x.sender_id THEN $1 ELSE x.sender_id END \
                AND xp.high = CASE WHEN $1 < x.sender_id THEN x.sender_id ELSE $1 END \
            WHERE x.conversation_id = me2.conversation_id AND x.seq > me2.joined_seq AND x.kind = 'text' \
                AND x.deleted_at IS NULL AND xu.deleted_at IS NULL \
                AND CASE WHEN c2.kind = 'group' AND xp.low = $1 THEN xp.low_blocked_at \
                    WHEN c2.kind = 'group' THEN xp.high_blocked_at \
                    WHEN xp.low = $1 THEN xp.high_blocked_at ELSE xp.low_blocked_at END IS NULL \
                AND NOT EXISTS (SELECT 1 FROM removals xr WHERE xr.user_id = $1 \
                    AND xr.conversation_id = x.conversation_id AND xr.seq = x.seq) \
            ORDER BY x.seq DESC LIMIT 1) \
        FROM json_each($2) j JOIN members me2 ON me2.conversation_id = j.value AND me2.user_id = $1 \
        JOIN conversations c2 ON c2.id = me2.conversation_id)"
    );
    let ids = json_list(conversations);
    let rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(&ids).fetch_all(c))?;
    let messages = messages::render(conn, reader, rows).await?;
    Ok(messages.into_iter().map(|message| (message.conversation, message)).collect())
}

/// One of them, by its id.
pub async fn text(
    conn: &mut Conn,
    reader: UserId,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Option<Message>> {
    const SQL: &str = texts!("AND m.id = $3");
    let row: Option<MessageRow> =
        on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(conversation).bind(id).fetch_optional(c))?;
    Ok(messages::render(conn, reader, row.into_iter().collect()).await?.pop())
}

/// How many matches a reader has.
pub async fn match_count(conn: &mut Conn, reader: UserId) -> Result<i64> {
    const SQL: &str = concat!("SELECT count(*) FROM (", matches_of!(""), ") AS counted");
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(reader).fetch_one(c))?)
}

/// Some of them, in the order of their ids.
pub async fn matches(conn: &mut Conn, reader: UserId, offset: i64, limit: i64) -> Result<Vec<MatchRow>> {
    const SQL: &str = matches_of!("ORDER BY p.id LIMIT $2 OFFSET $3");
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(limit).bind(offset).fetch_all(c))?)
}
