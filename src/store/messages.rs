//! Messages as a reader may see them. One query shows a message to a reader, whoever asks for what reason, so that
//! membership, blocks, deletions and joining dates are judged in one place.

use std::collections::HashMap;

use sqlx::FromRow;

use super::visible::{author_gone, author_hidden, is_mine, pair_of};
use super::{Conn, files, json_list, on};
use crate::error::Result;
use crate::model::{ConversationId, FileId, Message, MessageId, MessageKind, Micros, Reaction, UserId};

/// The messages of the conversations that reader `$1` is in, with all that decides how the reader sees them.
macro_rules! messages_for_reader {
    ($($where:expr),+) => {
        concat!(
            "SELECT m.id, m.conversation_id, m.seq, m.rev, m.sender_id, m.kind, m.text, m.file_id, m.subject_id, m.reply_to, ",
            "m.client_key, m.sent_at, m.edited_at, m.deleted_at, ",
            $crate::store::visible::is_mine!(),
            " AS is_mine, ",
            $crate::store::visible::author_hidden!(),
            " AS author_hidden, ",
            $crate::store::visible::author_gone!(),
            " AS author_gone FROM messages m ",
            "JOIN members me ON me.conversation_id = m.conversation_id AND me.user_id = $1 ",
            "JOIN conversations c ON c.id = m.conversation_id ",
            $crate::store::visible::with_author!(),
            " ",
            $($where),+
        )
    };
}

/// Those of them whose ids a subquery answers, for SQLite and for Postgres. Postgres gets a list: it could join a subquery
/// from the wrong end, through all messages of the reader.
macro_rules! messages_named {
    ($ids:expr, $rest:expr) => {
        [
            $crate::store::messages::messages_for_reader!("WHERE m.id IN (", $ids, ")", $rest),
            $crate::store::messages::messages_for_reader!("WHERE m.id = ANY (ARRAY(", $ids, "))", $rest),
        ]
    };
}

/// In each of the conversations `$2`, the latest message of which something holds for the reader, if it is among the
/// last thousand.
macro_rules! last_of_each {
    ($holds:expr) => {
        $crate::store::messages::messages_named!(
            concat!(
                "SELECT (SELECT m.id FROM (SELECT x.* FROM messages x WHERE x.conversation_id = me.conversation_id \
                    AND x.seq > me.joined_seq ORDER BY x.seq DESC LIMIT 1000) m ",
                $crate::store::visible::with_author!(),
                " WHERE ",
                $holds,
                " ORDER BY m.seq DESC LIMIT 1) FROM json_each($2) j \
                    JOIN members me ON me.conversation_id = j.value AND me.user_id = $1 \
                    JOIN conversations c ON c.id = me.conversation_id"
            ),
            ""
        )
    };
}
pub(super) use {last_of_each, messages_for_reader, messages_named};

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
    is_mine: bool,
    author_hidden: bool,
    author_gone: bool,
}

impl MessageRow {
    /// The message as the reader sees it; none if it is not the reader's.
    fn render(self) -> Option<Message> {
        if !self.is_mine {
            return None;
        }
        let is_text = self.kind == MessageKind::Text;
        if is_text && self.author_hidden {
            return Some(Message::hidden(self.conversation_id, self.seq, self.rev));
        }
        let deleted = self.deleted_at.is_some() || (is_text && self.author_gone);
        // Messages of earlier versions name who left as their sender only.
        let leaver = (self.kind == MessageKind::MemberLeft).then_some(self.sender_id);
        Some(Message {
            conversation: self.conversation_id,
            seq: self.seq,
            rev: self.rev,
            id: Some(self.id),
            sender: (!self.author_hidden).then_some(self.sender_id),
            kind: Some(self.kind),
            text: (!deleted).then_some(self.text),
            attachment: None,
            subject: self.subject_id.or(leaver),
            reply_to: self.reply_to,
            // Erasing forgets the keys of a deleted account, and who blocks looks like one.
            client_key: self.client_key.filter(|_| !self.author_gone),
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

/// Reactions under some messages, without those of users whose messages the reader would not see there.
async fn reactions(conn: &mut Conn, reader: UserId, ids: &[i64]) -> Result<HashMap<MessageId, Vec<Reaction>>> {
    const SQL: &str = concat!(
        "SELECT r.message_id, r.emoji, r.user_id FROM json_each($2) j \
        JOIN reactions r ON r.message_id = j.value \
        JOIN messages m ON m.id = r.message_id JOIN conversations c ON c.id = m.conversation_id \
        JOIN users u ON u.id = r.user_id ",
        pair_of!("p", "$1", "r.user_id"),
        " WHERE NOT ",
        author_hidden!(),
        " AND NOT ",
        author_gone!(),
        " ORDER BY r.message_id, r.emoji, r.user_id"
    );
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
    const HEAD: &str = "SELECT c.seq, m.joined_seq FROM conversations c JOIN members m ON m.conversation_id = c.id AND m.user_id = $1 \
        WHERE c.id = $2";
    const RANGE: &str = messages_for_reader!(
        "WHERE m.conversation_id = $2 AND m.rev > $3 AND ",
        is_mine!(),
        " ORDER BY m.rev LIMIT $4"
    );
    let head: Option<(i64, i64)> =
        on!(conn, c => sqlx::query_as(HEAD).bind(reader).bind(conversation).fetch_optional(c))?;
    let Some((head, joined_seq)) = head else { return Ok(None) };
    // Nothing up to where the reader joined is theirs, so none of it is walked through.
    let rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(RANGE)
        .bind(reader).bind(conversation).bind(after.max(joined_seq)).bind(limit as i64).fetch_all(c))?;
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
        "WHERE m.conversation_id = $2 AND m.seq < $3 AND ",
        is_mine!(),
        " ORDER BY m.seq DESC LIMIT $4"
    );
    const AFTER: &str = messages_for_reader!(
        "WHERE m.conversation_id = $2 AND m.seq > $3 AND ",
        is_mine!(),
        " ORDER BY m.seq LIMIT $4"
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
    let unblocked = |row| MessageRow { author_hidden: false, author_gone: false, ..row };
    render(conn, reader, rows.into_iter().map(unblocked).collect()).await
}
