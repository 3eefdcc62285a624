//! What happens to a message after it was sent: edits, deletions, reactions. Each takes the next number of the
//! conversation, which becomes the message's `rev`.

use sqlx::FromRow;

use super::visible::{author_hidden, pair_of};
use super::{Conn, conversations, files, on, run, search};
use crate::error::{Error, Result};
use crate::model::{ConversationId, FileId, MessageId, MessageKind, Micros, Text, UserId};

/// A message as it lies in its table, for judging a change of it.
#[derive(Debug, Clone, FromRow)]
pub struct Stored {
    /// Its global id.
    pub id: MessageId,
    /// Its author.
    pub sender_id: UserId,
    /// What it is.
    pub kind: MessageKind,
    /// Its text.
    pub text: String,
    /// What came with it.
    pub file_id: Option<FileId>,
    /// When it was deleted for all.
    pub deleted_at: Option<Micros>,
}

/// The message at a place, if a member sees more of it than its number.
pub async fn stored(tx: &mut Conn, member: UserId, conversation: ConversationId, seq: i64) -> Result<Stored> {
    const SQL: &str = concat!(
        "SELECT m.id, m.sender_id, m.kind, m.text, m.file_id, m.deleted_at FROM messages m \
        JOIN members me ON me.conversation_id = m.conversation_id AND me.user_id = $1 \
        JOIN conversations c ON c.id = m.conversation_id ",
        pair_of!("p", "$1", "m.sender_id"),
        " WHERE m.conversation_id = $2 AND m.seq = $3 AND m.seq > me.joined_seq AND NOT (m.kind = 'text' AND ",
        author_hidden!(),
        ")"
    );
    let found = on!(tx, c => sqlx::query_as(SQL).bind(member).bind(conversation).bind(seq).fetch_optional(c))?;
    found.ok_or_else(|| Error::not_found("message"))
}

/// Raises the `rev` of a message to the next number of its conversation, and answers it.
async fn renumber(tx: &mut Conn, conversation: ConversationId, id: MessageId) -> Result<i64> {
    const SQL: &str = "UPDATE messages SET rev = $2 WHERE id = $1";
    let rev = conversations::next_seq(tx, conversation).await?;
    run!(tx, sqlx::query(SQL).bind(id).bind(rev))?;
    Ok(rev)
}

/// Gives a message another text. Answers its `rev`.
pub async fn edit(
    tx: &mut Conn,
    conversation: ConversationId,
    id: MessageId,
    text: &Text,
    words: &Text,
    at: Micros,
) -> Result<i64> {
    const TEXT: &str = "UPDATE messages SET text = $2, edited_at = $3 WHERE id = $1";
    let rev = renumber(tx, conversation, id).await?;
    run!(tx, sqlx::query(TEXT).bind(id).bind(text).bind(at))?;
    forget_words(tx, id).await?;
    search::add(tx, id, words, conversation).await?;
    Ok(rev)
}

/// Makes a message a tombstone: its text, words, file and reactions go, its place stays. Answers its `rev`.
pub async fn delete(tx: &mut Conn, conversation: ConversationId, stored: &Stored, at: Micros) -> Result<i64> {
    const TEXT: &str = "UPDATE messages SET text = '', file_id = NULL, deleted_at = $2 WHERE id = $1";
    const REACTIONS: &str = "DELETE FROM reactions WHERE message_id = $1";
    let id = stored.id;
    let rev = renumber(tx, conversation, id).await?;
    run!(tx, sqlx::query(TEXT).bind(id).bind(at))?;
    run!(tx, sqlx::query(REACTIONS).bind(id))?;
    files::release(tx, stored.file_id.as_slice()).await?;
    forget_words(tx, id).await?;
    Ok(rev)
}

async fn forget_words(tx: &mut Conn, id: MessageId) -> Result<()> {
    const SQL: &str = "DELETE FROM message_search WHERE rowid = $1";
    run!(tx, sqlx::query(SQL).bind(id))?;
    Ok(())
}

/// Deletes a message for one member. Answers whether it was there for them.
pub async fn remove_for(tx: &mut Conn, user: UserId, conversation: ConversationId, seq: i64) -> Result<bool> {
    const SQL: &str = "INSERT INTO removals (user_id, conversation_id, seq) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let done = run!(tx, sqlx::query(SQL).bind(user).bind(conversation).bind(seq))?;
    Ok(done > 0)
}

/// How many different emojis are under a message, and whether this one is among them.
pub async fn emojis(tx: &mut Conn, id: MessageId, emoji: &Text) -> Result<(usize, bool)> {
    const SQL: &str = "SELECT DISTINCT emoji FROM reactions WHERE message_id = $1";
    let found: Vec<String> = on!(tx, c => sqlx::query_scalar(SQL).bind(id).fetch_all(c))?;
    Ok((found.len(), found.iter().any(|other| other == emoji)))
}

/// Puts an emoji under a message. Answers the `rev`; none if it was there.
pub async fn react(
    tx: &mut Conn,
    conversation: ConversationId,
    id: MessageId,
    user: UserId,
    emoji: &Text,
) -> Result<Option<i64>> {
    const SQL: &str = "INSERT INTO reactions (message_id, emoji, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let done = run!(tx, sqlx::query(SQL).bind(id).bind(emoji).bind(user))?;
    match done {
        0 => Ok(None),
        _ => renumber(tx, conversation, id).await.map(Some),
    }
}

/// Takes an emoji back. Answers the `rev`; none if it was not there.
pub async fn unreact(
    tx: &mut Conn,
    conversation: ConversationId,
    id: MessageId,
    user: UserId,
    emoji: &Text,
) -> Result<Option<i64>> {
    const SQL: &str = "DELETE FROM reactions WHERE message_id = $1 AND emoji = $2 AND user_id = $3";
    let done = run!(tx, sqlx::query(SQL).bind(id).bind(emoji).bind(user))?;
    match done {
        0 => Ok(None),
        _ => renumber(tx, conversation, id).await.map(Some),
    }
}
