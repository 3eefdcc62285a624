//! The group commit of sends. While one transaction is in flight the next batch gathers; nothing waits for a timer.
//!
//! One batch: *lock, judge, number, write*. A bad send fails alone; a failing database fails the batch.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::FromRow;
use tokio::sync::{mpsc, oneshot};

use super::{Conn, Store, json_list, on};
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::metrics;
use crate::model::{ConversationId, ConversationKind, Message, MessageId, MessageKind, Micros, UserId};
use crate::planted::{self, Fault};

/// A message to be written.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The author.
    pub sender: UserId,
    /// Where to.
    pub conversation: ConversationId,
    /// What.
    pub text: String,
    /// The `seq` it answers.
    pub reply_to: Option<i64>,
    /// The author's name for it.
    pub client_key: Option<String>,
    /// The text as search sees it.
    pub folded: String,
    /// When.
    pub at: Micros,
}

/// A message that was committed, or had been before under the same key.
#[derive(Debug, Clone)]
pub struct Written {
    /// As members see it.
    pub message: Message,
    /// Members who blocked the author.
    pub hidden_from: Vec<UserId>,
}

/// Where a send found its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its global id.
    pub id: MessageId,
    /// Its place.
    pub seq: i64,
    /// When it was committed.
    pub sent_at: Micros,
}

struct Job {
    message: NewMessage,
    answer: oneshot::Sender<Result<Placed>>,
}

/// The queue to the task that commits.
pub struct Writer {
    queue: mpsc::Sender<Job>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("free", &self.queue.capacity()).finish()
    }
}

impl Writer {
    /// Starts the task. `told` is called after each commit, before anybody else can commit; it must not wait.
    pub fn start(store: Arc<Store>, config: &Config, told: impl Fn(Vec<Written>) + Send + Sync + 'static) -> Writer {
        let (queue, jobs) = mpsc::channel(config.write_queue.max(1));
        tokio::spawn(write(store, jobs, config.write_batch.max(1), Arc::new(told)));
        Writer { queue }
    }

    /// Queues a message and waits for its commit. Whoever stops waiting does not stop the message.
    pub async fn send(&self, message: NewMessage) -> Result<Placed> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Job { message, answer }).map_err(|_| Error::busy())?;
        answered.await.unwrap_or_else(|_| Err(Error::unknown_outcome()))
    }
}

type Told = Arc<dyn Fn(Vec<Written>) + Send + Sync>;

async fn write(store: Arc<Store>, mut jobs: mpsc::Receiver<Job>, batch_max: usize, told: Told) {
    let mut batch = Vec::new();
    // The first is taken before the writer is asked for, the others once it is there: they gathered meanwhile.
    while jobs.recv_many(&mut batch, 1).await > 0 {
        let (messages, answers) = match store.begin().await {
            Ok(tx) => {
                while batch.len() < batch_max
                    && let Ok(job) = jobs.try_recv()
                {
                    batch.push(job);
                }
                let (messages, answers) = split(&mut batch);
                (commit(tx, &messages, Arc::clone(&told)).await, answers)
            }
            Err(error) => {
                let (_, answers) = split(&mut batch);
                (Err(error), answers)
            }
        };
        match messages {
            Ok(outcomes) => answers.into_iter().zip(outcomes).for_each(|(answer, outcome)| drop(answer.send(outcome))),
            Err(error) => answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone())))),
        }
    }
}

fn split(batch: &mut Vec<Job>) -> (Vec<NewMessage>, Vec<oneshot::Sender<Result<Placed>>>) {
    batch.drain(..).map(|job| (job.message, job.answer)).unzip()
}

/// Writes a batch in one transaction. Answers what became of each message, in order.
async fn commit(mut tx: super::Tx, batch: &[NewMessage], told: Told) -> Result<Vec<Result<Placed>>> {
    let began = Instant::now();
    let rows: Vec<JudgeRow<'_>> = batch.iter().enumerate().map(|(at, message)| JudgeRow::new(at, message)).collect();
    let rows = json_list(&rows);
    let known = known(&mut tx, &rows).await?;
    let rights = rights(&mut tx, &rows).await?;
    let (outcomes, numbered) = number(batch, &known, &rights);
    if numbered.is_empty() {
        return settle(batch.len(), outcomes, &HashMap::new());
    }
    let rows = json_list(&numbered);
    let ids = insert(&mut tx, &rows).await?;
    let mut hidden = hidden(&mut tx, &numbered).await?;
    let written = numbered.iter().filter_map(|row| {
        let id = *ids.get(&(row.conversation, row.seq))?;
        let hidden_from = hidden.remove(&row.at).unwrap_or_default();
        Some(Written { message: row.message(id, &batch[row.at]), hidden_from })
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
    client_key: Option<&'a str>,
    reply_to: Option<i64>,
}

impl<'a> JudgeRow<'a> {
    fn new(at: usize, message: &'a NewMessage) -> Self {
        let client_key = message.client_key.as_deref();
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

async fn known(tx: &mut Conn, rows: &str) -> Result<HashMap<usize, Known>> {
    const SQL: &str = "SELECT j.value ->> 'at' AS at, m.id, m.seq, m.sent_at, m.content_hash FROM json_each($1) j \
        JOIN messages m ON m.sender_id = j.value ->> 'sender' AND m.client_key = j.value ->> 'client_key'";
    if planted::is(Fault::NoIdempotency) {
        return Ok(HashMap::new());
    }
    let known: Vec<Known> = on!(tx, c => sqlx::query_as(SQL).bind(rows).fetch_all(c))?;
    Ok(known.into_iter().map(|row| (row.at as usize, row)).collect())
}

/// What a member may do in a conversation now.
#[derive(FromRow)]
struct Rights {
    at: i64,
    kind: ConversationKind,
    head: i64,
    /// The sender has blocked the other one.
    blocked_at: Option<Micros>,
    /// The other one has blocked the sender.
    blocks_sender_at: Option<Micros>,
    other_deleted_at: Option<Micros>,
    /// The message answered is there for this member; null where nothing is answered.
    answers_seq: Option<i64>,
}

async fn rights(tx: &mut Conn, rows: &str) -> Result<HashMap<usize, Rights>> {
    const SQL: &str = "SELECT j.value ->> 'at' AS at, c.kind, c.seq AS head, \
            CASE WHEN c.low = m.user_id THEN p.low_blocked_at ELSE p.high_blocked_at END AS blocked_at, \
            CASE WHEN c.low = m.user_id THEN p.high_blocked_at ELSE p.low_blocked_at END AS blocks_sender_at, \
            o.deleted_at AS other_deleted_at, a.seq AS answers_seq \
        FROM json_each($1) j \
        JOIN members m ON m.conversation_id = j.value ->> 'conversation' AND m.user_id = j.value ->> 'sender' \
        JOIN users s ON s.id = m.user_id AND s.deleted_at IS NULL AND s.disabled_at IS NULL \
        JOIN conversations c ON c.id = m.conversation_id \
        LEFT JOIN pairs p ON p.low = c.low AND p.high = c.high \
        LEFT JOIN users o ON o.id = CASE WHEN c.low = m.user_id THEN c.high ELSE c.low END \
        LEFT JOIN messages a ON a.conversation_id = c.id AND a.seq = j.value ->> 'reply_to' AND a.seq > m.joined_seq";
    let rights: Vec<Rights> = on!(tx, c => sqlx::query_as(SQL).bind(rows).fetch_all(c))?;
    Ok(rights.into_iter().map(|row| (row.at as usize, row)).collect())
}

impl Rights {
    fn judge(&self, message: &NewMessage) -> Result<()> {
        if self.kind == ConversationKind::Direct && !planted::is(Fault::BlockOutsideLock) {
            if self.blocks_sender_at.is_some() || self.other_deleted_at.is_some() {
                return Err(Error::not_found("conversation"));
            }
            if self.blocked_at.is_some() {
                return Err(Error::new(ErrorCode::Blocked, "You have blocked this user. Unblock first."));
            }
        }
        if message.reply_to.is_some() && self.answers_seq.is_none() {
            return Err(Error::field("reply_to", "There is no such message in this conversation."));
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
    text: &'a str,
    reply_to: Option<i64>,
    client_key: Option<&'a str>,
    content_hash: Option<String>,
    sent_at: Micros,
    folded: &'a str,
    group: bool,
}

impl NumberedRow<'_> {
    fn message(&self, id: MessageId, new: &NewMessage) -> Message {
        Message {
            id: Some(id),
            sender: Some(self.sender),
            kind: Some(MessageKind::Text),
            text: Some(new.text.clone()),
            reply_to: self.reply_to,
            client_key: new.client_key.clone(),
            sent_at: Some(self.sent_at),
            hidden: false,
            ..Message::hidden(self.conversation, self.seq, self.seq)
        }
    }
}

/// Numbers what passes, in the order of the batch. A refusal and a repeat take no number.
fn number<'a>(
    batch: &'a [NewMessage],
    known: &HashMap<usize, Known>,
    rights: &HashMap<usize, Rights>,
) -> (Vec<Outcome>, Vec<NumberedRow<'a>>) {
    let mut heads: HashMap<ConversationId, i64> = HashMap::new();
    let mut keys: HashMap<(UserId, &str), usize> = HashMap::new();
    let mut numbered: Vec<NumberedRow<'a>> = Vec::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    for (at, message) in batch.iter().enumerate() {
        let key = message.client_key.as_deref();
        let hash = key.map(|_| content_hash(message));
        let reused =
            || Outcome::Refused(Error::new(ErrorCode::KeyReused, "This client_key was used with other content."));
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
        let judged = judged.and_then(|rights| rights.judge(message).map(|()| rights));
        let rights = match judged {
            Ok(rights) => rights,
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
            sender: message.sender,
            text: &message.text,
            reply_to: message.reply_to,
            client_key: key.filter(|_| !planted::is(Fault::NoIdempotency)),
            content_hash: hash,
            sent_at: message.at,
            folded: &message.folded,
            group: rights.kind == ConversationKind::Group,
        });
        outcomes.push(Outcome::Numbered(at));
    }
    (outcomes, numbered)
}

/// What makes a repeat the same message: where, what, and in answer to what.
fn content_hash(message: &NewMessage) -> String {
    let mut hash = Sha256::new();
    hash.update(message.conversation.0.to_be_bytes());
    hash.update(message.reply_to.unwrap_or(0).to_be_bytes());
    hash.update(message.text.as_bytes());
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

async fn insert(tx: &mut Conn, rows: &str) -> Result<HashMap<(ConversationId, i64), MessageId>> {
    const MESSAGES: &str = "INSERT INTO messages \
        (conversation_id, seq, rev, sender_id, kind, text, reply_to, client_key, content_hash, sent_at) \
        SELECT j.value ->> 'conversation', j.value ->> 'seq', j.value ->> 'seq', j.value ->> 'sender', 'text', \
            j.value ->> 'text', j.value ->> 'reply_to', j.value ->> 'client_key', j.value ->> 'content_hash', \
            j.value ->> 'sent_at' \
        FROM json_each($1) j ORDER BY j.key RETURNING conversation_id, seq, id";
    const HEADS: &str = "UPDATE conversations SET seq = n.seq, updated_at = n.at \
        FROM (SELECT j.value ->> 'conversation' AS id, max(j.value ->> 'seq') AS seq, max(j.value ->> 'sent_at') AS at \
            FROM json_each($1) j GROUP BY 1) AS n \
        WHERE conversations.id = n.id";
    const SEARCH: &str = "INSERT INTO message_search (rowid, folded, conversation) \
        SELECT m.id, j.value ->> 'folded', m.conversation_id FROM json_each($1) j \
        JOIN messages m ON m.conversation_id = j.value ->> 'conversation' AND m.seq = j.value ->> 'seq'";
    let placed: Vec<(ConversationId, i64, MessageId)> = on!(tx, c => sqlx::query_as(MESSAGES).bind(rows).fetch_all(c))?;
    on!(tx, c => sqlx::query(HEADS).bind(rows).execute(c))?;
    on!(tx, c => sqlx::query(SEARCH).bind(rows).execute(c))?;
    Ok(placed.into_iter().map(|(conversation, seq, id)| ((conversation, seq), id)).collect())
}

/// The members of groups who have blocked the author, by place in the batch.
async fn hidden(tx: &mut Conn, numbered: &[NumberedRow<'_>]) -> Result<HashMap<usize, Vec<UserId>>> {
    const SQL: &str = "SELECT j.value ->> 'at' AS at, m.user_id FROM json_each($1) j \
        JOIN pairs p ON p.low = j.value ->> 'sender' AND p.high_blocked_at IS NOT NULL \
        JOIN members m ON m.conversation_id = j.value ->> 'conversation' AND m.user_id = p.high \
        UNION ALL SELECT j.value ->> 'at' AS at, m.user_id FROM json_each($1) j \
        JOIN pairs p ON p.high = j.value ->> 'sender' AND p.low_blocked_at IS NOT NULL \
        JOIN members m ON m.conversation_id = j.value ->> 'conversation' AND m.user_id = p.low";
    let groups: Vec<&NumberedRow<'_>> = numbered.iter().filter(|row| row.group).collect();
    if groups.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = json_list(&groups);
    let found: Vec<(i64, UserId)> = on!(tx, c => sqlx::query_as(SQL).bind(&rows).fetch_all(c))?;
    let mut hidden: HashMap<usize, Vec<UserId>> = HashMap::new();
    for (at, user) in found {
        hidden.entry(at as usize).or_default().push(user);
    }
    Ok(hidden)
}
