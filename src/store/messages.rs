//! Messages as a reader may see them. One query shows a message to a reader, whoever asks for what reason, so that
//! membership, blocks, deletions and joining dates are judged in one place.

use std::collections::HashMap;

use sqlx::FromRow;

use super::{Conn, files, json_list, on};
use crate::error::Result;
use crate::model::{
    ConversationId, ConversationKind, FileId, Message, MessageId, MessageKind, Micros, Reaction, UserId,
};

/// The messages of the conversations that reader `$1` is in, with all that decides how the reader sees them.
macro_rules! messages_for_reader {
    ($($where:literal),+) => {
        concat!(
            "SELECT m.id, m.conversation_id, m.seq, m.rev, m.sender_id, m.kind, m.text, m.file_id, m.subject_id, m.reply_to, ",
            "m.client_key, m.sent_at, m.edited_at, m.deleted_at, ",
            "c.kind AS conversation_kind, me.joined_seq, u.deleted_at AS sender_deleted_at, r.seq AS removed_seq, ",
            "CASE WHEN p.low = $1 THEN p.low_blocked_at ELSE p.high_blocked_at END AS blocked_at, ",
            "CASE WHEN p.low = $1 THEN p.high_blocked_at ELSE p.low_blocked_at END AS blocks_me_at ",
            "FROM messages m ",
            "JOIN members me ON me.conversation_id = m.conversation_id AND me.user_id = $1 ",
            "JOIN conversations c ON c.id = m.conversation_id ",
            "JOIN users u ON u.id = m.sender_id ",
            "LEFT JOIN pairs p ON p.low = CASE WHEN $1 < m.sender_id THEN $1 ELSE m.sender_id END ",
            "AND p.high = CASE WHEN $1 < m.sender_id THEN m.sender_id ELSE $1 END ",
            "LEFT JOIN removals r ON r.user_id = $1 AND r.conversation_id = m.conversation_id AND r.seq = m.seq ",
            $($where),+
        )
    };
}
pub(super) use messages_for_reader;

#[derive(Debug, FromRow)]
pub(super) struct MessageRow {
    id: MessageId,
    conversation_id: ConversationId,
    seq: i64,
    rev: i64,
    sender_id: UserId,
    kind: MessageKind,
    text: String,
    file_id: Option<FileId>,
    subject_id: Option<UserId>,
    reply_to: Option<i64>,
    client_key: Option<String>,
    sent_at: Micros,
    edited_at: Option<Micros>,
    deleted_at: Option<Micros>,
    conversation_kind: ConversationKind,
    joined_seq: i64,
    sender_deleted_at: Option<Micros>,
    removed_seq: Option<i64>,
    blocked_at: Option<Micros>,
    blocks_me_at: Option<Micros>,
}

impl MessageRow {
    /// The message as the reader sees it; none if the reader deleted it for themselves.
    fn render(self) -> Option<Message> {
        if self.removed_seq.is_some() {
            return None;
        }
        let in_group = self.conversation_kind == ConversationKind::Group;
        if self.seq <= self.joined_seq || (in_group && self.blocked_at.is_some()) {
            return Some(Message::hidden(self.conversation_id, self.seq, self.rev));
        }
        // To the blocked side the blocker's messages look as a deleted account's do.
        let gone = self.sender_deleted_at.is_some() || (!in_group && self.blocks_me_at.is_some());
        let deleted = self.deleted_at.is_some() || (gone && self.kind == MessageKind::Text);
        Some(Message {
            conversation: self.conversation_id,
            seq: self.seq,
            rev: self.rev,
            id: Some(self.id),
            sender: Some(self.sender_id),
            kind: Some(self.kind),
            text: (!deleted).then_some(self.text),
            attachment: None,
            subject: self.subject_id,
            reply_to: self.reply_to,
            client_key: self.client_key,
            sent_at: Some(self.sent_at),
            edited_at: self.edited_at.filter(|_| !deleted),
            deleted,
            hidden: false,
            reactions: Vec::new(),
        })
    }
}

/// Rows to messages, with what came with them and their reactions.
pub(super) async fn render(conn: &mut Conn, reader: UserId, rows: Vec<MessageRow>) -> Result<Vec<Message>> {
    let files: HashMap<MessageId, FileId> = rows.iter().filter_map(|row| Some((row.id, row.file_id?))).collect();
    let mut messages: Vec<Message> = rows.into_iter().filter_map(MessageRow::render).collect();
    if !files.is_empty() {
        attach(conn, &mut messages, &files).await?;
    }
    let shown = |message: &&mut Message| !message.deleted && !message.hidden;
    let ids: Vec<i64> = messages.iter_mut().filter(shown).filter_map(|message| message.id).map(|id| id.0).collect();
    if ids.is_empty() {
        return Ok(messages);
    }
    let mut reactions = reactions(conn, reader, &ids).await?;
    for message in messages.iter_mut().filter(shown) {
        message.reactions = message.id.and_then(|id| reactions.remove(&id)).unwrap_or_default();
    }
    Ok(messages)
}

/// Shows files with the messages that they came with, where the reader sees more of these than their place.
async fn attach(conn: &mut Conn, messages: &mut [Message], files: &HashMap<MessageId, FileId>) -> Result<()> {
    let wanted: Vec<FileId> = files.values().copied().collect();
    let found = files::attachments(conn, &wanted).await?;
    for message in messages.iter_mut().filter(|message| !message.deleted && !message.hidden) {
        let file = message.id.and_then(|id| files.get(&id)).and_then(|file| found.get(file));
        message.attachment = file.cloned().map(Box::new);
    }
    Ok(())
}

/// Reactions under some messages, without those of users whom the reader has blocked, of deleted accounts and, where
/// the conversation is direct, of the one who blocks the reader and so looks like one.
async fn reactions(conn: &mut Conn, reader: UserId, ids: &[i64]) -> Result<HashMap<MessageId, Vec<Reaction>>> {
    const SQL: &str = "SELECT r.message_id, r.emoji, r.user_id FROM json_each($2) j \
        JOIN reactions r ON r.message_id = j.value \
        JOIN messages m ON m.id = r.message_id JOIN conversations c ON c.id = m.conversation_id \
        JOIN users u ON u.id = r.user_id \
        LEFT JOIN pairs p ON p.low = CASE WHEN $1 < r.user_id THEN $1 ELSE r.user_id END \
            AND p.high = CASE WHEN $1 < r.user_id THEN r.user_id ELSE $1 END \
        WHERE u.deleted_at IS NULL \
            AND CASE WHEN p.low = $1 THEN p.low_blocked_at ELSE p.high_blocked_at END IS NULL \
            AND (c.kind = 'group' OR CASE WHEN p.low = $1 THEN p.high_blocked_at ELSE p.low_blocked_at END IS NULL) \
        ORDER BY r.message_id, r.emoji, r.user_id";
    let ids = json_list(ids);
    let rows: Vec<(MessageId, String, UserId)> =
        on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(&ids).fetch_all(c))?;
    let mut found: HashMap<MessageId, Vec<Reaction>> = HashMap::new();
    for (message, emoji, user) in rows {
        let under = found.entry(message).or_default();
        match under.last_mut() {
            Some(last) if last.emoji == emoji => last.users.push(user),
            _ => under.push(Reaction { emoji, users: vec![user] }),
        }
    }
    Ok(found)
}

/// Everything of a conversation with `rev` in (after, upto].
#[derive(Debug)]
pub struct Changes {
    /// By `rev`, as the reader sees them.
    pub messages: Vec<Message>,
    /// How far the page reaches.
    pub upto: i64,
    /// Whether more was there when it was read.
    pub more: bool,
}

/// What changed after a cursor, ascending by `rev`, at most `limit` messages; none if the reader is not a member.
pub async fn changes_after(
    conn: &mut Conn,
    reader: UserId,
    conversation: ConversationId,
    after: i64,
    limit: usize,
) -> Result<Option<Changes>> {
    // The head first, then the range: what commits in between has a rev above this head, and comes with its event.
    const HEAD: &str = "SELECT c.seq FROM conversations c JOIN members m ON m.conversation_id = c.id AND m.user_id = $1 \
        WHERE c.id = $2";
    const RANGE: &str = messages_for_reader!("WHERE m.conversation_id = $2 AND m.rev > $3 ORDER BY m.rev LIMIT $4");
    let head: Option<i64> = on!(conn, c => sqlx::query_scalar(HEAD).bind(reader).bind(conversation).fetch_optional(c))?;
    let Some(head) = head else { return Ok(None) };
    let rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(RANGE)
        .bind(reader).bind(conversation).bind(after).bind(limit as i64).fetch_all(c))?;
    let last = rows.last().map_or(after, |row| row.rev);
    let full = rows.len() == limit;
    let upto = if full { last } else { head.max(last) };
    Ok(Some(Changes { messages: render(conn, reader, rows).await?, upto, more: full && upto < head }))
}

/// Which messages by number a page of history holds.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// Those below a `seq`, the nearest.
    Before(i64),
    /// Those above a `seq`, the nearest.
    After(i64),
}

/// A page of history, ascending by `seq`, and whether there is more on that side. Numbers that are not the reader's
/// are left out, or bare where they are hidden by a block.
pub async fn history(
    conn: &mut Conn,
    reader: UserId,
    conversation: ConversationId,
    side: Side,
    limit: usize,
) -> Result<(Vec<Message>, bool)> {
    const BEFORE: &str = messages_for_reader!(
        "WHERE m.conversation_id = $2 AND m.seq < $3 AND m.seq > me.joined_seq AND r.seq IS NULL \
         ORDER BY m.seq DESC LIMIT $4"
    );
    const AFTER: &str = messages_for_reader!(
        "WHERE m.conversation_id = $2 AND m.seq > $3 AND m.seq > me.joined_seq AND r.seq IS NULL \
         ORDER BY m.seq LIMIT $4"
    );
    let (sql, place) = match side {
        Side::Before(seq) => (BEFORE, seq),
        Side::After(seq) => (AFTER, seq),
    };
    // One more than asked for tells whether there is more.
    let mut rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(sql)
        .bind(reader).bind(conversation).bind(place).bind(limit as i64 + 1).fetch_all(c))?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    if matches!(side, Side::Before(_)) {
        rows.reverse();
    }
    Ok((render(conn, reader, rows).await?, more))
}

/// One message as the reader sees it.
pub async fn by_place(
    conn: &mut Conn,
    reader: UserId,
    conversation: ConversationId,
    seq: i64,
) -> Result<Option<Message>> {
    const SQL: &str = messages_for_reader!("WHERE m.conversation_id = $2 AND m.seq = $3");
    let row: Option<MessageRow> = on!(conn, c => sqlx::query_as(SQL)
        .bind(reader).bind(conversation).bind(seq).fetch_optional(c))?;
    Ok(render(conn, reader, row.into_iter().collect()).await?.pop())
}

/// Those of some messages that a reader may name as evidence: as the operator must see them, whoever blocked whom
/// since then. Nobody else may be shown what this answers.
pub async fn evidence(conn: &mut Conn, reader: UserId, places: &[(ConversationId, i64)]) -> Result<Vec<Message>> {
    const SQLITE: &str = messages_for_reader!(
        "JOIN json_each($2) j ON m.conversation_id = j.value ->> 0 AND m.seq = j.value ->> 1 ORDER BY j.key"
    );
    const POSTGRES: &str = messages_for_reader!(
        "JOIN json_array_elements($2::JSON) WITH ORDINALITY AS j (value, key) \
            ON m.conversation_id = (j.value ->> 0)::BIGINT AND m.seq = (j.value ->> 1)::BIGINT ORDER BY j.key"
    );
    let places = json_list(places);
    let sql = conn.sql([SQLITE, POSTGRES]);
    let rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(sql).bind(reader).bind(&places).fetch_all(c))?;
    let unblocked = |row| MessageRow { blocked_at: None, blocks_me_at: None, ..row };
    render(conn, reader, rows.into_iter().map(unblocked).collect()).await
}
