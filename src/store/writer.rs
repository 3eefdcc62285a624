//! The group commit of sends. While one transaction is in flight the next batch gathers; nothing waits for a timer.
//!
//! A bad send fails alone. Where the database refuses a whole batch because of one row, the batch is split until that
//! row's send is alone; only an outage fails the batch.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::{Purpose, Store, Tx, batch, retried};
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::metrics;
use crate::model::{ConversationId, Message, MessageId, Micros, Text, UserId};

/// A message to be written.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The author.
    pub sender: UserId,
    /// The socket that it came on, if it came on one.
    pub socket: Option<u64>,
    /// Where to.
    pub conversation: ConversationId,
    /// What.
    pub text: Text,
    /// The name of a file of the author's that comes with it.
    pub attachment: Option<Text>,
    /// The `seq` it answers.
    pub reply_to: Option<i64>,
    /// The author's name for it.
    pub client_key: Option<Text>,
    /// The text as search sees it.
    pub words: Text,
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
    /// All members, where the store is shared and they are at most `lookup_max`.
    pub audience: Option<Vec<UserId>>,
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

/// Longer than a socket that must close goes on.
const BROKEN_FOR: Duration = Duration::from_secs(60);

struct Job {
    message: NewMessage,
    answer: oneshot::Sender<Result<Placed>>,
}

/// The queues to the tasks that commit. On SQLite there is one; on Postgres a few lanes commit side by side, each the
/// sends into its own conversations, so that those of one conversation keep their order.
pub struct Writer {
    lanes: Vec<mpsc::Sender<Job>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free: Vec<usize> = self.lanes.iter().map(mpsc::Sender::capacity).collect();
        f.debug_struct("Writer").field("free", &free).finish()
    }
}

impl Writer {
    /// Starts the tasks. `told` is called after each commit, before the same lane can commit again; it must not wait.
    pub fn start(store: Arc<Store>, config: &Config, told: impl Fn(Vec<Written>) + Send + Sync + 'static) -> Writer {
        let count = if store.is_shared() { config.write_lanes.max(1) } else { 1 };
        let told: Told = Arc::new(told);
        let lane = |_| {
            let (queue, jobs) = mpsc::channel((config.write_queue / count).max(1));
            let most = Most { batch: config.write_batch.max(1), audience: config.lookup_max };
            tokio::spawn(write(Arc::clone(&store), jobs, most, Arc::clone(&told)));
            queue
        };
        Writer { lanes: (0..count).map(lane).collect() }
    }

    /// Queues a message and waits for its commit. Whoever stops waiting does not stop the message.
    pub async fn send(&self, message: NewMessage) -> Result<Placed> {
        let (answer, answered) = oneshot::channel();
        let lane = message.conversation.0.unsigned_abs() as usize % self.lanes.len();
        self.lanes[lane].try_send(Job { message, answer }).map_err(|_| Error::busy())?;
        answered.await.unwrap_or_else(|_| Err(Error::unknown_outcome()))
    }
}

pub(super) type Told = Arc<dyn Fn(Vec<Written>) + Send + Sync>;

/// The limits of a lane.
#[derive(Clone, Copy)]
struct Most {
    /// Sends in one transaction.
    batch: usize,
    /// Members that are read along with a commit; a larger conversation names none.
    audience: usize,
}

async fn write(store: Arc<Store>, mut jobs: mpsc::Receiver<Job>, most: Most, told: Told) {
    let mut waiting = Vec::new();
    let mut broken = Broken::default();
    // The first is taken before the writer is asked for, the others once it is there: they gathered meanwhile. Where it
    // does not come they are refused together, or each would wait as long again.
    while jobs.recv_many(&mut waiting, 1).await > 0 {
        let began = store.begin(Purpose::Lane).await;
        while waiting.len() < most.batch
            && let Ok(job) = jobs.try_recv()
        {
            waiting.push(job);
        }
        write_batch(&store, Some(began), std::mem::take(&mut waiting), &mut broken, most.audience, &told).await;
    }
}

/// Writes a batch, and answers each of its sends.
///
/// Where the database refuses it for the sake of a row, its halves are written one after the other, and so on until the
/// guilty send is alone: it is refused, and all others are written in their order. What failed on the way has changed
/// nothing.
async fn write_batch(
    store: &Store,
    began: Option<Result<Tx>>,
    batch: Vec<Job>,
    broken: &mut Broken,
    audience: usize,
    told: &Told,
) {
    let mut began = began;
    // The next part is the last of the list.
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        // What came on a socket after a send that failed must not overtake it.
        broken.refuse(&mut part);
        if part.is_empty() {
            continue;
        }
        let messages: Vec<&NewMessage> = part.iter().map(|job| &job.message).collect();
        let outcome = retried(|| {
            let began = began.take();
            async {
                let tx = match began {
                    Some(began) => began?,
                    None => store.begin(Purpose::Lane).await?,
                };
                batch::commit(tx, &messages, audience, Arc::clone(told)).await
            }
        });
        match outcome.await {
            Ok(outcomes) => part.into_iter().zip(outcomes).for_each(|(job, outcome)| drop(job.answer.send(outcome))),
            Err(error) if part.len() > 1 && blames_a_row(&error) => {
                metrics::batch_split();
                let second = part.split_off(part.len() / 2);
                parts.extend([second, part]);
            }
            Err(error) => {
                broken.add(&messages);
                // Not to be run again from outside: it would come behind what was sent after it.
                let error = Error { overtaken: false, ..error };
                part.into_iter().for_each(|job| drop(job.answer.send(Err(error.clone()))));
            }
        }
    }
}

/// Whether a batch failed for something that is in it: a fault, or a row that others are faster with each time. A
/// database that cannot be reached, is busy, full or too slow would refuse the halves as well.
fn blames_a_row(error: &Error) -> bool {
    error.code == ErrorCode::Internal || error.overtaken
}

/// Sockets on which a send failed. What a client sent after it, before it knew, must not overtake it; so nothing more is
/// taken from such a socket. It is closed, and the client repeats all that was not answered in its order.
#[derive(Default)]
struct Broken(HashMap<u64, Instant>);

impl Broken {
    fn add(&mut self, failed: &[&NewMessage]) {
        self.0.retain(|_, since| since.elapsed() < BROKEN_FOR);
        self.0.extend(failed.iter().filter_map(|message| Some((message.socket?, Instant::now()))));
    }

    fn refuse(&self, waiting: &mut Vec<Job>) {
        if self.0.is_empty() {
            return;
        }
        let is_broken = |job: &mut Job| job.message.socket.is_some_and(|socket| self.0.contains_key(&socket));
        for job in waiting.extract_if(.., is_broken) {
            // Whoever waited may be gone.
            let _ = job.answer.send(Err(Error::busy()));
        }
    }
}
