//! One batch of sends in one transaction: *lock, judge, number, write*.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::sweep::{self, Change};
use super::visible::{blocks, is_blocked, is_pair, pair_of};
use super::writer::{NewMessage, Placed, Told, Written};
use super::{Conn, Tx, conversations, files, json_list, on, run, search};
use crate::error::{Error, ErrorCode, Result};
use crate::metrics;
use crate::model::{
    Attachment, ConversationId, ConversationKind, FileId, Message, MessageId, MessageKind, Micros, Stream, Text, UserId,
};
use crate::planted::{self, Fault};
use crate::sentence;

/// Writes a batch in one transaction. Answers what became of each message, in order. Conversations of at most
/// `audience_max` members are told with who they are.
pub(super) async fn commit(
    mut tx: Tx,
    batch: &[&NewMessage],
    audience_max: usize,
    told: Told,
) -> Result<Vec<Result<Placed>>> {
    let began = Instant::now();
    let rows: Vec<JudgeRow<'_>> = batch.iter().enumerate().map(|(at, message)| JudgeRow::new(at, message)).collect();
    let rows = json_list(&rows);
    // Locked first, so that no block, no deletion and no other writer comes between what is judged and what is written.
    let places: Vec<ConversationId> = batch.iter().map(|message| message.conversation).collect();
    conversations::lock(&mut tx, &places).await?;
    let known = known(&mut tx, &rows).await?;
    let rights = rights(&mut tx, &rows).await?;
    let files = claim(&mut tx, batch).await?;
    let (outcomes, numbered) = number(tx.is_shared(), batch, &known, &rights, &files);
    tell_repeats(&mut tx, batch, &outcomes).await?;
    if numbered.is_empty() {
        if tx.is_shared() {
            tx.commit(|| ()).await?;
        }
        return settle(batch.len(), outcomes, &HashMap::new());
    }
    let rows = json_list(&numbered);
    let ids = insert(&mut tx, &rows).await?;
    let mut hidden = hidden(&mut tx, &numbered).await?;
    let audience = note(&mut tx, &numbered, audience_max).await?;
    let written = numbered.iter().filter_map(|row| {
        let id = *ids.get(&(row.conversation, row.seq))?;
        let hidden_from = hidden.remove(&row.at).unwrap_or_default();
        let audience = audience.as_ref().and_then(|audience| audience.get(&row.conversation)).cloned();
        Some(Written { message: row.message(id, batch[row.at]), hidden_from, audience })
    });
    let written: Vec<Written> = written.collect();
    let placed = written.iter().zip(&numbered).filter_map(|(written, row)| {
        Some((row.at, Placed { id: written.message.id?, seq: row.seq, sent_at: row.sent_at }))
    });
    let placed: HashMap<usize, Placed> = placed.collect();
    let committed = tx.commit(move || told(written));
    if planted::is(Fault::AckBeforeCommit) {
        // As a server that syncs by a timer would: what is lost is what came since the last time.
        let later = tokio::time::sleep(std::time::Duration::from_millis(20));
        drop(tokio::spawn(async move {
            later.await;
            committed.await
        }));
    } else {
        committed.await?;
    }
    metrics::commit(numbered.len(), began.elapsed());
    settle(batch.len(), outcomes, &placed)
}

/// What was decided of a send before anything was written.
enum Outcome {
    Refused(Error),
    Repeat(Placed),
    /// Takes a number, as the numbered row of the given place in the batch.
    Numbered(usize),
}

fn settle(count: usize, outcomes: Vec<Outcome>, placed: &HashMap<usize, Placed>) -> Result<Vec<Result<Placed>>> {
    let lost = || Error::internal("a written message was not returned by its insert");
    let settled = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Refused(error) => Err(error),
        Outcome::Repeat(first) => Ok(first),
        Outcome::Numbered(_) if planted::is(Fault::AnswerLost) => Err(Error::unknown_outcome()),
        Outcome::Numbered(at) => placed.get(&at).copied().ok_or_else(lost),
    });
    let settled: Vec<_> = settled.collect();
    debug_assert_eq!(settled.len(), count);
    Ok(settled)
}

/// What the judging statements need to know of a send.
#[derive(Serialize)]
struct JudgeRow<'a> {
    at: usize,
    sender: UserId,
    conversation: ConversationId,
    client_key: Option<&'a Text>,
    reply_to: Option<i64>,
}

impl<'a> JudgeRow<'a> {
    fn new(at: usize, message: &'a NewMessage) -> Self {
        let client_key = message.client_key.as_ref();
        JudgeRow {
            at,
            sender: message.sender,
            conversation: message.conversation,
            client_key,
            reply_to: message.reply_to,
        }
    }
}

/// An earlier message under the same key.
#[derive(FromRow)]
struct Known {
    at: i64,
    id: MessageId,
    seq: i64,
    sent_at: Micros,
    content_hash: Option<String>,
}

/// A statement over the rows of a batch, which come as one JSON parameter, for SQLite and for Postgres: `j` has a column
/// for each field that a row may have.
macro_rules! over_rows {
    ($head:expr, $tail:expr) => {
        [
            concat!(
                $head,
                " FROM (SELECT value ->> 'at' AS at, value ->> 'sender' AS sender, \
                    value ->> 'conversation' AS conversation, value ->> 'client_key' AS client_key, \
                    value ->> 'reply_to' AS reply_to, value ->> 'seq' AS seq, value ->> 'text' AS text, \
                    value ->> 'content_hash' AS content_hash, value ->> 'sent_at' AS sent_at, \
                    value ->> 'words' AS words, value ->> 'file' AS file FROM json_each($1)) j ",
                $tail
            ),
            concat!(
                $head,
                " FROM json_to_recordset($1::JSON) AS j (at BIGINT, sender BIGINT, conversation BIGINT, \
                    client_key TEXT, reply_to BIGINT, seq BIGINT, text TEXT, content_hash TEXT, sent_at BIGINT, \
                    words TEXT, file BIGINT) ",
                $tail
            ),
        ]
    };
}

async fn known(tx: &mut Conn, rows: &str) -> Result<HashMap<usize, Known>> {
    const SQL: [&str; 2] = over_rows!(
        "SELECT j.at, m.id, m.seq, m.sent_at, m.content_hash",
        "JOIN messages m ON m.sender_id = j.sender AND m.client_key = j.client_key"
    );
    if planted::is(Fault::NoIdempotency) {
        return Ok(HashMap::new());
    }
    let sql = tx.sql(SQL);
    let known: Vec<Known> = on!(tx, c => sqlx::query_as(sql).bind(rows).fetch_all(c))?;
    Ok(known.into_iter().map(|row| (row.at as usize, row)).collect())
}

/// What a member may do in a conversation now.
#[derive(FromRow)]
struct Rights {
    at: i64,
    kind: ConversationKind,
    head: i64,
    /// The sender blocks the other one.
    blocks_other: bool,
    /// The other one blocks the sender.
    is_blocked: bool,
    other_deleted_at: Option<Micros>,
    /// The message answered is there for this member; null where nothing is answered.
    answers_seq: Option<i64>,
}

async fn rights(tx: &mut Conn, rows: &str) -> Result<HashMap<usize, Rights>> {
    const SQL: [&str; 2] = over_rows!(
        concat!(
            "SELECT j.at, c.kind, c.seq AS head, ",
            blocks!("p", "m.user_id"),
            " AS blocks_other, ",
            is_blocked!("p", "m.user_id"),
            " AS is_blocked, o.deleted_at AS other_deleted_at, \
            CASE WHEN j.reply_to IS NOT NULL THEN (SELECT a.seq FROM messages a ",
            pair_of!("ap", "m.user_id", "a.sender_id"),
            " WHERE a.conversation_id = c.id AND a.seq = j.reply_to AND a.seq > m.joined_seq \
                AND NOT (c.kind = 'group' AND a.kind = 'text' AND ",
            blocks!("ap", "m.user_id"),
            ")) END AS answers_seq"
        ),
        // The message answered is looked up only where there is one. Joined, a database without statistics of the table
        // may read all messages for it.
        "JOIN members m ON m.conversation_id = j.conversation AND m.user_id = j.sender \
        JOIN users s ON s.id = m.user_id AND s.deleted_at IS NULL AND s.disabled_at IS NULL \
        JOIN conversations c ON c.id = m.conversation_id \
        LEFT JOIN pairs p ON p.low = c.low AND p.high = c.high \
        LEFT JOIN users o ON o.id = CASE WHEN c.low = m.user_id THEN c.high ELSE c.low END"
    );
    let sql = tx.sql(SQL);
    let rights: Vec<Rights> = on!(tx, c => sqlx::query_as(sql).bind(rows).fetch_all(c))?;
    Ok(rights.into_iter().map(|row| (row.at as usize, row)).collect())
}

/// Files by owner and name.
type Files = HashMap<(UserId, Text), (FileId, Attachment)>;

/// The files that the messages name, where their authors have them. They are there until the commit, and then for as
/// long as the messages refer to them.
async fn claim(tx: &mut Conn, batch: &[&NewMessage]) -> Result<Files> {
    let naming = batch.iter().filter_map(|message| Some((message, message.attachment.as_ref()?)));
    let Some(at) = naming.clone().map(|(message, _)| message.at).max() else { return Ok(HashMap::new()) };
    let wanted: Vec<(UserId, &Text)> = naming.map(|(message, name)| (message.sender, name)).collect();
    let found = files::claim(tx, &wanted, at).await?;
    let by_name =
        |kept: files::Kept| ((kept.owner_id, Text::without_nul(&kept.attachment.id)), (kept.file, kept.attachment));
    Ok(found.into_iter().map(by_name).collect())
}

impl Rights {
    fn judge(&self, message: &NewMessage) -> Result<()> {
        if self.kind == ConversationKind::Direct && !planted::is(Fault::BlockOutsideLock) {
            if self.is_blocked || self.other_deleted_at.is_some() {
                return Err(Error::not_found("conversation"));
            }
            if self.blocks_other {
                return Err(Error::new(ErrorCode::Blocked, sentence!("you-blocked")));
            }
        }
        if message.reply_to.is_some() && self.answers_seq.is_none() {
            return Err(Error::field("reply_to", sentence!("no-such-reply")));
        }
        Ok(())
    }
}

/// A message with its number, as it is written.
#[derive(Serialize)]
struct NumberedRow<'a> {
    at: usize,
    conversation: ConversationId,
    seq: i64,
    sender: UserId,
    text: &'a Text,
    reply_to: Option<i64>,
    client_key: Option<&'a Text>,
    content_hash: Option<String>,
    sent_at: Micros,
    words: Cow<'a, Text>,
    file: Option<FileId>,
    group: bool,
    #[serde(skip)]
    attachment: Option<&'a Attachment>,
}

impl NumberedRow<'_> {
    fn message(&self, id: MessageId, new: &NewMessage) -> Message {
        Message {
            id: Some(id),
            sender: Some(self.sender),
            kind: Some(MessageKind::Text),
            text: Some(new.text.to_string()),
            attachment: self.attachment.cloned().map(Box::new),
            reply_to: self.reply_to,
            client_key: new.client_key.as_ref().map(Text::to_string),
            sent_at: Some(self.sent_at),
            hidden: false,
            ..Message::hidden(self.conversation, self.seq, self.seq)
        }
    }
}

/// Numbers what passes, in the order of the batch. A refusal and a repeat take no number. On a shared store the words
/// for the index are those of Postgres.
fn number<'a>(
    shared: bool,
    batch: &[&'a NewMessage],
    known: &HashMap<usize, Known>,
    rights: &HashMap<usize, Rights>,
    files: &'a Files,
) -> (Vec<Outcome>, Vec<NumberedRow<'a>>) {
    let mut heads: HashMap<ConversationId, i64> = HashMap::new();
    let mut keys: HashMap<(UserId, &Text), usize> = HashMap::new();
    let mut numbered: Vec<NumberedRow<'a>> = Vec::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    for (at, message) in batch.iter().enumerate() {
        let key = message.client_key.as_ref();
        let hash = key.map(|_| content_hash(message));
        let reused = || Outcome::Refused(Error::new(ErrorCode::KeyReused, sentence!("key-reused")));
        if let Some(first) = known.get(&at) {
            let same = first.content_hash == hash;
            let placed = Placed { id: first.id, seq: first.seq, sent_at: first.sent_at };
            outcomes.push(if same { Outcome::Repeat(placed) } else { reused() });
            continue;
        }
        if let Some(row) = key.and_then(|key| keys.get(&(message.sender, key))).and_then(|place| numbered.get(*place)) {
            outcomes.push(if row.content_hash == hash { Outcome::Numbered(row.at) } else { reused() });
            continue;
        }
        let judged = rights.get(&at).ok_or_else(|| Error::not_found("conversation"));
        let judged = judged.and_then(|rights| rights.judge(message).and_then(|()| Ok((rights, file(files, message)?))));
        let (rights, file) = match judged {
            Ok(judged) => judged,
            Err(error) => {
                outcomes.push(Outcome::Refused(error));
                continue;
            }
        };
        let seq = heads.entry(message.conversation).or_insert(rights.head);
        *seq += 1;
        if let Some(key) = key {
            keys.insert((message.sender, key), numbered.len());
        }
        numbered.push(NumberedRow {
            at,
            conversation: message.conversation,
            seq: *seq,
            sender: planted_sender(message),
            text: &message.text,
            reply_to: message.reply_to,
            client_key: key.filter(|_| !planted::is(Fault::NoIdempotency)),
            content_hash: hash,
            sent_at: message.at,
            words: match shared {
                true => Cow::Owned(search::lexemes(&message.words, message.conversation)),
                false => Cow::Borrowed(&message.words),
            },
            file: file.map(|(file, _)| *file),
            group: rights.kind == ConversationKind::Group,
            attachment: file.map(|(_, attachment)| attachment),
        });
        outcomes.push(Outcome::Numbered(at));
    }
    (outcomes, numbered)
}

/// The sender as it is written. With a planted fault, one that the database refuses where the text asks for it.
fn planted_sender(message: &NewMessage) -> UserId {
    if planted::is(Fault::RowRefused) && message.text.contains("refuse this row") { UserId(-1) } else { message.sender }
}

/// The file that a message names; not found where its author has none of this name.
fn file<'a>(files: &'a Files, message: &NewMessage) -> Result<Option<&'a (FileId, Attachment)>> {
    let Some(name) = &message.attachment else { return Ok(None) };
    let none = || Error { field: Some("attachment".to_owned()), ..Error::not_found("file") };
    files.get(&(message.sender, name.clone())).ok_or_else(none).map(Some)
}

/// What makes a repeat the same message: where, what, with which file, and in answer to what.
fn content_hash(message: &NewMessage) -> String {
    let mut hash = Sha256::new();
    hash.update(message.conversation.0.to_be_bytes());
    hash.update(message.reply_to.unwrap_or(0).to_be_bytes());
    hash.update(message.text.as_bytes());
    // No text has this sign, so no other text and file look the same together.
    if let Some(file) = &message.attachment {
        hash.update([0]);
        hash.update(file.as_bytes());
    }
    HEXLOWER.encode(&hash.finalize()[..16])
}

async fn insert(tx: &mut Conn, rows: &str) -> Result<HashMap<(ConversationId, i64), MessageId>> {
    // Postgres writes the rows in the order of their unique keys. Two lanes that write the same keys of a sender then wait
    // for each other in one direction only; in the order of the batches they would wait in a circle. The ids still
    // ascend in the order of the batch.
    const MESSAGES: [&str; 2] = [
        over_rows!(
            "INSERT INTO messages \
                (conversation_id, seq, rev, sender_id, kind, text, reply_to, client_key, content_hash, sent_at, \
                file_id) \
            SELECT j.conversation, j.seq, j.seq, j.sender, 'text', j.text, j.reply_to, j.client_key, j.content_hash, \
                j.sent_at, j.file",
            "ORDER BY j.at RETURNING conversation_id, seq, id"
        )[0],
        over_rows!(
            "INSERT INTO messages \
                (id, conversation_id, seq, rev, sender_id, kind, text, reply_to, client_key, content_hash, sent_at, \
                file_id) \
            SELECT n.id, n.conversation, n.seq, n.seq, n.sender, 'text', n.text, n.reply_to, n.client_key, \
                n.content_hash, n.sent_at, n.file FROM (SELECT nextval('messages_id_seq') AS id, j.*",
            "ORDER BY j.at) AS n ORDER BY n.sender, n.client_key COLLATE \"C\" RETURNING conversation_id, seq, id"
        )[1],
    ];
    const HEADS: [&str; 2] = over_rows!(
        "UPDATE conversations SET seq = n.seq, updated_at = n.at \
            FROM (SELECT j.conversation AS id, max(j.seq) AS seq, max(j.sent_at) AS at",
        "GROUP BY j.conversation) AS n WHERE conversations.id = n.id"
    );
    const SEARCH: [&str; 2] = [
        over_rows!(
            "INSERT INTO message_search (rowid, folded, conversation) SELECT m.id, j.words, m.conversation_id",
            "JOIN messages m ON m.conversation_id = j.conversation AND m.seq = j.seq"
        )[0],
        over_rows!(
            "INSERT INTO message_search (rowid, words) \
                SELECT m.id, array_to_tsvector(string_to_array(j.words, ' '))",
            "JOIN messages m ON m.conversation_id = j.conversation AND m.seq = j.seq"
        )[1],
    ];
    let (messages, heads, search) = (tx.sql(MESSAGES), tx.sql(HEADS), tx.sql(SEARCH));
    let placed: Vec<(ConversationId, i64, MessageId)> = on!(tx, c => sqlx::query_as(messages).bind(rows).fetch_all(c))?;
    run!(tx, sqlx::query(heads).bind(rows))?;
    run!(tx, sqlx::query(search).bind(rows))?;
    Ok(placed.into_iter().map(|(conversation, seq, id)| ((conversation, seq), id)).collect())
}

/// The members of groups who have blocked the author, by place in the batch.
async fn hidden(tx: &mut Conn, numbered: &[NumberedRow<'_>]) -> Result<HashMap<usize, Vec<UserId>>> {
    const SQL: [&str; 2] = over_rows!(
        "SELECT j.at, m.user_id",
        // From the members, who are a bounded number, and not from the pairs of the author.
        concat!(
            "JOIN members m ON m.conversation_id = j.conversation JOIN pairs p ON ",
            is_pair!("p", "m.user_id", "j.sender"),
            " WHERE ",
            is_blocked!("p", "j.sender")
        )
    );
    // Asked once for each author in each group.
    let mut first: HashMap<(ConversationId, UserId), usize> = HashMap::new();
    let in_groups = || numbered.iter().filter(|row| row.group);
    let groups: Vec<&NumberedRow<'_>> =
        in_groups().filter(|row| *first.entry((row.conversation, row.sender)).or_insert(row.at) == row.at).collect();
    if groups.is_empty() {
        return Ok(HashMap::new());
    }
    let (sql, rows) = (tx.sql(SQL), json_list(&groups));
    let found: Vec<(i64, UserId)> = on!(tx, c => sqlx::query_as(sql).bind(&rows).fetch_all(c))?;
    let mut hidden: HashMap<usize, Vec<UserId>> = HashMap::new();
    for (at, user) in found {
        hidden.entry(at as usize).or_default().push(user);
    }
    let of_first = |row: &NumberedRow<'_>| hidden.get(first.get(&(row.conversation, row.sender))?).cloned();
    Ok(in_groups().filter_map(|row| Some((row.at, of_first(row)?))).collect())
}

/// Notes again where a repeat had found its place. Its first commit may have come to light so late, with an answer that
/// was lost, that nobody was told and no sweep looked so far back.
async fn tell_repeats(tx: &mut Conn, batch: &[&NewMessage], outcomes: &[Outcome]) -> Result<()> {
    let repeats = batch.iter().zip(outcomes).filter_map(|(message, outcome)| match outcome {
        Outcome::Repeat(first) => Some(Change::Moved(Stream::Conversation(message.conversation), first.seq)),
        _ => None,
    });
    let repeats: Vec<Change> = repeats.collect();
    if tx.is_shared() && !repeats.is_empty() {
        sweep::note(tx, &repeats).await?;
    }
    Ok(())
}

/// Notes which conversations moved, and answers who is in the small ones, for other processes; none on a store that is
/// not shared.
async fn note(
    tx: &mut Conn,
    numbered: &[NumberedRow<'_>],
    audience_max: usize,
) -> Result<Option<HashMap<ConversationId, Vec<UserId>>>> {
    if !tx.is_shared() {
        return Ok(None);
    }
    // Later rows of a conversation have greater numbers.
    let heads: BTreeMap<ConversationId, i64> = numbered.iter().map(|row| (row.conversation, row.seq)).collect();
    let conversations: Vec<ConversationId> = heads.keys().copied().collect();
    let audience = sweep::members_of(tx, &conversations, audience_max).await?;
    let moved = heads.into_iter().map(|(conversation, seq)| Change::Moved(Stream::Conversation(conversation), seq));
    sweep::note(tx, &moved.collect::<Vec<_>>()).await?;
    Ok(Some(audience))
}
