//! Lists with their length, cut by offset, for clients that page in that way: the Django API's.

use std::collections::HashMap;

use super::conversations::ListPosition;
use super::messages::{self, MessageRow, last_of_each, messages_for_reader};
use super::pairs::{MatchRow, matches_of};
use super::visible::{is_readable, is_there};
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
            "(SELECT 1 FROM messages x WHERE x.conversation_id = c.id AND x.seq > m.hidden_seq)) AND ",
            is_there!(),
            " ",
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

/// The messages of conversation `$2` that the reader can read, where the conversation is there for the reader.
macro_rules! texts {
    ($tail:literal) => {
        concat!(
            messages_for_reader!("WHERE m.conversation_id = $2 AND ", is_readable!(), " AND "),
            is_there!(),
            " ",
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
    const SQL: [&str; 2] = last_of_each!(is_readable!());
    let sql = conn.sql(SQL);
    let ids = json_list(conversations);
    let rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(sql).bind(reader).bind(&ids).fetch_all(c))?;
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
