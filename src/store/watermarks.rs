//! How far members have received and read: state, merged by maximum. Written in batches: while one is under way the next
//! gathers, and between two lies a pause, so that they leave the database to the messages.
//!
//! A mark is answered after its batch is committed. A batch locks the rows of its members and nothing else: no message
//! waits for it but for the one writer of SQLite, for one batch at most.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::FromRow;
use tokio::sync::{mpsc, oneshot};

use super::sweep::{self, Change};
use super::visible::{is_pair, no_block, pair_of};
use super::{Conn, Purpose, Store, json_list, on, retried, run};
use crate::config::{Config, ms};
use crate::error::{Error, Result};
use crate::model::{ConversationId, PlacedWatermark, UserId, Watermark};
use crate::sentence;

/// Marks in one batch.
const BATCH: usize = 1000;

/// What a member says of themselves.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Where.
    pub conversation: ConversationId,
    /// Who, and how far.
    pub watermark: Watermark,
}

/// Positions of a conversation that moved in one batch.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Which.
    pub conversation: ConversationId,
    /// The members who moved, each with those who must not be told.
    pub watermarks: Vec<(Watermark, Vec<UserId>)>,
    /// Whether all members are told. Else the conversation is a large one, and each is told of themselves.
    pub to_all: bool,
    /// All members, where the store is shared and they are at most `lookup_max`.
    pub audience: Option<Vec<UserId>>,
    /// The row of the table of changes; 0 where the store is not shared.
    pub change: i64,
}

struct Job {
    mark: Mark,
    answer: oneshot::Sender<Result<()>>,
}

/// The way to the task that writes. Its queue holds one entry for each command that is at work, of which a socket has a
/// bounded number; so it has no bound of its own, and refuses nobody.
pub struct Watermarks {
    jobs: mpsc::UnboundedSender<Job>,
}

impl fmt::Debug for Watermarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watermarks").finish_non_exhaustive()
    }
}

/// The limits of a batch.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Members of a conversation who are told of each other.
    members: usize,
    /// Members of a conversation who are read along; a larger one names none.
    audience: usize,
    /// From the beginning of a batch to that of the next, at least.
    every: Duration,
}

impl Watermarks {
    /// Starts the task. `told` is called after each commit, and must not wait.
    pub fn start(store: Arc<Store>, config: &Config, told: impl Fn(Vec<Moved>) + Send + Sync + 'static) -> Watermarks {
        let (jobs, queue) = mpsc::unbounded_channel();
        let limits = Limits {
            members: config.watermark_members_max,
            audience: config.lookup_max,
            every: ms(config.watermark_ms),
        };
        tokio::spawn(write(store, queue, limits, Arc::new(told)));
        Watermarks { jobs }
    }

    /// Raises a member's positions. Returns after the commit; at once where they are as high already.
    pub async fn raise(&self, mark: Mark) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job { mark, answer }).map_err(|_| Error::busy())?;
        answered.await.unwrap_or_else(|_| Err(Error::unknown_outcome()))
    }
}

type Told = Arc<dyn Fn(Vec<Moved>) + Send + Sync>;

async fn write(store: Arc<Store>, mut queue: mpsc::UnboundedReceiver<Job>, limits: Limits, told: Told) {
    let mut jobs = Vec::new();
    while queue.recv_many(&mut jobs, BATCH).await > 0 {
        let began = Instant::now();
        let (marks, answers): (Vec<Mark>, Vec<_>) = jobs.drain(..).map(|job| (job.mark, job.answer)).unzip();
        let (outcomes, wrote) = match retried(|| commit(&store, &marks, limits, &told)).await {
            Ok(done) => done,
            Err(error) => (vec![Err(error); marks.len()], true),
        };
        // Whoever waited may be gone.
        answers.into_iter().zip(outcomes).for_each(|(answer, outcome)| drop(answer.send(outcome)));
        if wrote {
            // At least as long as it took, so that messages have half of the writer's time whatever is marked.
            let took = began.elapsed();
            tokio::time::sleep(limits.every.saturating_sub(took).max(took)).await;
        }
    }
}

/// Where a member stands before a batch.
#[derive(FromRow)]
struct Standing {
    at: i64,
    head: i64,
    member_count: i64,
    delivered: i64,
    read: i64,
}

/// A statement over marks, which come as one JSON parameter, for SQLite and for Postgres.
macro_rules! over_marks {
    ($head:literal, $($tail:tt)*) => {
        [
            concat!(
                $head,
                " (SELECT key AS at, value ->> 0 AS conversation, value ->> 1 AS member, value ->> 2 AS received, \
                    value ->> 3 AS seen FROM json_each($1)) j ",
                $($tail)*
            ),
            concat!(
                $head,
                " (SELECT place - 1 AS at, (item ->> 0)::BIGINT AS conversation, (item ->> 1)::BIGINT AS member, \
                    (item ->> 2)::BIGINT AS received, (item ->> 3)::BIGINT AS seen \
                    FROM json_array_elements($1::JSON) WITH ORDINALITY AS items (item, place)) j ",
                $($tail)*
            ),
        ]
    };
}

fn encoded<'a>(marks: impl Iterator<Item = &'a Mark>) -> String {
    let row = |mark: &Mark| (mark.conversation, mark.watermark.user, mark.watermark.delivered, mark.watermark.read);
    json_list(&marks.map(row).collect::<Vec<_>>())
}

/// Judges each mark by itself, then writes what is left of them, one for each member. Answers what became of each, and
/// whether anything was written.
async fn commit(store: &Store, marks: &[Mark], limits: Limits, told: &Told) -> Result<(Vec<Result<()>>, bool)> {
    let mut conn = store.read(Purpose::Server).await?;
    let standings = standings(&mut conn, marks).await?;
    let mut rising: BTreeMap<(ConversationId, UserId), Mark> = BTreeMap::new();
    let mut sizes: HashMap<ConversationId, i64> = HashMap::new();
    let judge = |(at, mark): (usize, &Mark)| {
        let Watermark { user, delivered, read } = mark.watermark;
        let standing = standings.get(&at).ok_or_else(|| Error::not_found("conversation"))?;
        if standing.head < delivered.max(read) {
            return Err(Error::field("seq", sentence!("no-such-number")));
        }
        if standing.delivered < delivered || standing.read < read {
            let risen = rising.entry((mark.conversation, user)).or_insert(*mark);
            risen.watermark.delivered = risen.watermark.delivered.max(delivered);
            risen.watermark.read = risen.watermark.read.max(read);
            sizes.insert(mark.conversation, standing.member_count);
        }
        Ok(())
    };
    let outcomes: Vec<Result<()>> = marks.iter().enumerate().map(judge).collect();
    if rising.is_empty() {
        return Ok((outcomes, false));
    }
    let small =
        |conversation: &ConversationId| sizes.get(conversation).is_some_and(|size| *size <= limits.members as i64);
    let among_few: Vec<Mark> = rising.values().filter(|mark| small(&mark.conversation)).copied().collect();
    let mut hidden_from = hidden_from(&mut conn, &among_few).await?;
    let mut audience = match store.is_shared() {
        true => sweep::members_of(&mut conn, &sizes.keys().copied().collect::<Vec<_>>(), limits.audience).await?,
        false => HashMap::new(),
    };
    drop(conn);

    let mut tx = store.begin(Purpose::Server).await?;
    let mut moved: BTreeMap<ConversationId, Moved> = BTreeMap::new();
    for PlacedWatermark { conversation, watermark } in raise(&mut tx, &rising).await? {
        let hidden_from = hidden_from.remove(&(conversation, watermark.user)).unwrap_or_default();
        let moved = moved.entry(conversation).or_insert_with(|| Moved {
            conversation,
            watermarks: Vec::new(),
            to_all: small(&conversation),
            audience: audience.remove(&conversation),
            change: 0,
        });
        moved.watermarks.push((watermark, hidden_from));
    }
    let mut moved: Vec<Moved> = moved.into_values().collect();
    let changes: Vec<Change> = moved.iter().map(|moved| Change::Positions(moved.conversation)).collect();
    let rows = sweep::note(&mut tx, &changes).await?;
    moved.iter_mut().zip(rows).for_each(|(moved, row)| moved.change = row);
    let told = Arc::clone(told);
    tx.commit(move || told(moved)).await?;
    Ok((outcomes, true))
}

async fn standings(conn: &mut Conn, marks: &[Mark]) -> Result<HashMap<usize, Standing>> {
    const SQL: [&str; 2] = over_marks!(
        "SELECT j.at, c.seq AS head, c.member_count, m.delivered, m.read FROM",
        "JOIN members m ON m.conversation_id = j.conversation AND m.user_id = j.member \
        JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL AND u.disabled_at IS NULL \
        JOIN conversations c ON c.id = m.conversation_id"
    );
    let (sql, rows) = (conn.sql(SQL), encoded(marks.iter()));
    let found: Vec<Standing> = on!(conn, c => sqlx::query_as(sql).bind(&rows).fetch_all(c))?;
    Ok(found.into_iter().map(|row| (row.at as usize, row)).collect())
}

/// Members with whom there is a block, either way, for each of some members of small conversations.
async fn hidden_from(conn: &mut Conn, marks: &[Mark]) -> Result<HashMap<(ConversationId, UserId), Vec<UserId>>> {
    const SQL: [&str; 2] = over_marks!(
        "SELECT j.conversation, j.member, m.user_id FROM",
        "JOIN members m ON m.conversation_id = j.conversation JOIN pairs p ON ",
        is_pair!("p", "j.member", "m.user_id"),
        " WHERE NOT ",
        no_block!("p")
    );
    let (sql, rows) = (conn.sql(SQL), encoded(marks.iter()));
    let found: Vec<(ConversationId, UserId, UserId)> = on!(conn, c => sqlx::query_as(sql).bind(&rows).fetch_all(c))?;
    let mut hidden: HashMap<(ConversationId, UserId), Vec<UserId>> = HashMap::new();
    for (conversation, user, other) in found {
        hidden.entry((conversation, user)).or_default().push(other);
    }
    Ok(hidden)
}

/// Raises the positions of members. Answers where those stand who moved.
async fn raise(tx: &mut Conn, rising: &BTreeMap<(ConversationId, UserId), Mark>) -> Result<Vec<PlacedWatermark>> {
    // In one order, since a member may be marked on two nodes at once.
    const LOCK: &str = over_marks!(
        "SELECT m.user_id FROM",
        "JOIN members m ON m.conversation_id = j.conversation AND m.user_id = j.member \
        ORDER BY m.conversation_id, m.user_id FOR NO KEY UPDATE OF m"
    )[1];
    const RAISE: [&str; 2] = over_marks!(
        "UPDATE members SET delivered = CASE WHEN delivered < j.received THEN j.received ELSE delivered END, \
            read = CASE WHEN read < j.seen THEN j.seen ELSE read END FROM",
        "WHERE members.conversation_id = j.conversation AND members.user_id = j.member \
            AND (delivered < j.received OR read < j.seen) \
        RETURNING conversation_id AS conversation, user_id AS user, delivered, read"
    );
    let rows = encoded(rising.values());
    if tx.is_shared() {
        run!(tx, sqlx::query(LOCK).bind(&rows))?;
    }
    let sql = tx.sql(RAISE);
    Ok(on!(tx, c => sqlx::query_as(sql).bind(&rows).fetch_all(c))?)
}

/// The positions that a reader is told of in some of their conversations, and the conversations that did not fit.
/// Large ones tell the reader's own; those of at most `members_max` members tell all, together at most `rows_max`,
/// whatever the first of them has.
pub async fn told(
    conn: &mut Conn,
    reader: UserId,
    conversations: &[ConversationId],
    members_max: usize,
    rows_max: usize,
) -> Result<(Vec<PlacedWatermark>, Vec<ConversationId>)> {
    const OWN: &str = "SELECT m.conversation_id AS conversation, m.user_id AS user, m.delivered, m.read, c.member_count \
        FROM json_each($2) j JOIN members m ON m.conversation_id = j.value AND m.user_id = $1 \
        JOIN conversations c ON c.id = m.conversation_id ORDER BY m.conversation_id";
    #[derive(FromRow)]
    struct Own {
        #[sqlx(flatten)]
        own: PlacedWatermark,
        member_count: i64,
    }
    let ids = json_list(conversations);
    let own: Vec<Own> = on!(conn, c => sqlx::query_as(OWN).bind(reader).bind(&ids).fetch_all(c))?;
    let (mut watermarks, mut small, mut later, mut rows) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for Own { own, member_count } in own {
        let count = usize::try_from(member_count).unwrap_or(usize::MAX);
        let tells_all = count <= members_max;
        let cost = if tells_all { count } else { 1 };
        if rows > 0 && rows + cost > rows_max {
            later.push(own.conversation);
            continue;
        }
        rows += cost;
        match tells_all {
            true => small.push(own.conversation),
            false => watermarks.push(own),
        }
    }
    watermarks.extend(of_all(conn, reader, &small).await?);
    watermarks.retain(|at| at.watermark.delivered > 0 || at.watermark.read > 0);
    Ok((watermarks, later))
}

/// How far everybody whom a reader may see has received and read, in some conversations of the reader. As many rows as
/// they have members.
pub async fn of_all(conn: &mut Conn, reader: UserId, conversations: &[ConversationId]) -> Result<Vec<PlacedWatermark>> {
    const SQL: &str = concat!(
        "SELECT m.conversation_id AS conversation, m.user_id AS user, m.delivered, m.read \
        FROM json_each($2) j \
        JOIN members me ON me.conversation_id = j.value AND me.user_id = $1 \
        JOIN members m ON m.conversation_id = me.conversation_id \
        JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL ",
        pair_of!("p", "$1", "m.user_id"),
        " WHERE ",
        no_block!("p"),
        " AND (m.delivered > 0 OR m.read > 0) ORDER BY m.conversation_id, m.user_id"
    );
    if conversations.is_empty() {
        return Ok(Vec::new());
    }
    let ids = json_list(conversations);
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(&ids).fetch_all(c))?)
}
