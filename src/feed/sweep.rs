//! The sweep: what other nodes changed and this one was not told, found in the database's table of changes.
//!
//! A sweep reads each row once, in slices of bounded size, and goes on from the last slice that it handled, whatever
//! fails in between. The end of sessions is handled at once. Of the rest nothing is done for a moment, since the notices
//! of it are under way: then what is known is dropped, by numbers where there are any, and by the number of the row where
//! there are none. On SQLite nobody else writes, and there is no sweep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Feed, sessions};
use crate::config::{Config, ms};
use crate::error::{CloseCode, Result};
use crate::hub::Rung;
use crate::metrics;
use crate::model::{Micros, Stream};
use crate::planted::{self, Fault};
use crate::store::sweep::{self, Change, Moment, Range};
use crate::store::{Conn, Purpose, Store};

/// How soon a sweep that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How often old rows are deleted.
const CLEAN_EVERY: Duration = Duration::from_secs(30);
/// Transactions whose changes are read at once; each notes a row for each stream that it moved.
const SLICE: u64 = 4_000;
/// Changes that may wait for their notices; with more, all are looked at.
const WAITING: usize = 50_000;

struct Sweep {
    feed: Arc<Feed>,
    store: Arc<Store>,
    config: Config,
    /// Up to where all was read.
    reached: Moment,
    /// What is being read.
    range: Option<Range>,
    /// What was read and may be under way to this node.
    waiting: Vec<(Change, Vec<i64>)>,
    cleaned: Instant,
}

/// Where a node begins to sweep, which must be read before the first socket.
///
/// # Errors
/// A sentence for the operator.
pub async fn begin(store: &Store) -> std::result::Result<Moment, String> {
    let read = async { sweep::now(&mut store.read(Purpose::Server).await?).await };
    read.await.map_err(|cause| format!("cannot read the table of changes: {cause}"))
}

/// Sweeps at once after any sign of trouble, and every so often besides. Runs as long as the server.
pub async fn run(feed: Arc<Feed>, store: Arc<Store>, config: Config, begin: Moment) {
    let cleaned = Instant::now();
    let mut sweep = Sweep { feed, store, config, reached: begin, range: None, waiting: Vec::new(), cleaned };
    let mut lost = false;
    loop {
        let began = Instant::now();
        let swept = sweep.once().await;
        if let Err(error) = &swept {
            tracing::debug!(%error, "a sweep failed");
        } else {
            metrics::swept(began.elapsed());
        }
        let away = sweep.feed.since_sweep() > ms(sweep.config.database_lost_ms);
        if away && !lost {
            tracing::error!("the database is lost to this node: its sockets are sent to other nodes");
        }
        if away {
            sweep.feed.hub.close_all(CloseCode::Restarted);
        }
        lost = away;
        let wait = if swept.is_ok() { ms(sweep.config.sweep_ms) } else { AGAIN };
        // While the node hears the others, what was read may still be under way.
        let grace = if sweep.feed.hears() { ms(sweep.config.sweep_grace_ms) } else { Duration::ZERO };
        let mut rung = false;
        if !sweep.waiting.is_empty() {
            rung = sweep.pause(grace).await;
            sweep.apply();
        }
        if !rung {
            sweep.pause((began + wait).saturating_duration_since(Instant::now())).await;
        }
    }
}

impl Sweep {
    /// Waits. Answers whether trouble cut that short.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.feed.trouble.notified() => true,
            () = tokio::time::sleep(time) => false,
        }
    }

    /// Reads all that was noted up to now.
    async fn once(&mut self) -> Result<()> {
        let mut conn = self.store.read(Purpose::Server).await?;
        let (asked_at, asked) = (self.feed.clock.now(), Instant::now());
        let now = sweep::now(&mut conn).await?;
        if let Some(off) = self.feed.clock.agree(now.at, asked_at, asked.elapsed()) {
            tracing::warn!(seconds = off / 1_000_000, "this machine's clock is not the database's, which is gone by");
        }
        self.feed.answered();
        if now.at - self.reached.at > micros(self.config.changes_kept_ms) {
            tracing::warn!("this node was away for longer than changes are kept: its sockets are to resume");
            self.feed.hub.close_all(CloseCode::Restarted);
            (self.reached, self.range) = (now, None);
            return Ok(());
        }
        let at = now.at;
        let overlap = micros(self.config.sweep_overlap_ms);
        let mut range = match self.range.take() {
            Some(range) => range,
            None => Range::between(&mut conn, &self.reached, now, overlap).await?,
        };
        loop {
            if let Err(error) = self.read(&mut conn, &range).await {
                // The next sweep goes on here.
                self.range = Some(range);
                return Err(error);
            }
            self.feed.answered();
            if let Some(reached) = range.done(SLICE) {
                self.reached = reached;
                break;
            }
        }
        drop(conn);
        self.clean(at).await
    }

    /// Reads a slice and handles what cannot wait: a slice is handled when this has succeeded.
    async fn read(&mut self, conn: &mut Conn, range: &Range) -> Result<()> {
        let mut slice = range.slice(conn, SLICE).await?;
        // Each user is named once in a slice.
        let ended = slice.iter().filter_map(|(change, _)| match change {
            Change::Sessions(user) => Some(*user),
            _ => None,
        });
        let actors: Vec<_> = ended.flat_map(|user| self.feed.hub.actors_of(user)).collect();
        if !actors.is_empty() && !planted::is(Fault::NoSweep) && !planted::is(Fault::UnseenSessionEnds) {
            planted::error_at("session_check")?;
            sessions::close_ended(&self.feed.hub, conn, &actors).await?;
        }
        self.waiting.append(&mut slice);
        if self.waiting.len() > WAITING {
            self.apply();
        }
        Ok(())
    }

    /// Compares what was read with what this node was told meanwhile.
    fn apply(&mut self) {
        let hub = &self.feed.hub;
        let mut repaired = 0;
        let mut rung = Rung::default();
        for (change, rows) in self.waiting.drain(..).filter(|_| !planted::is(Fault::NoSweep)) {
            match change {
                Change::Moved(stream, seq) => repaired += u64::from(hub.jump(stream, seq, &mut rung)),
                Change::Positions(conversation) => {
                    let unheard = rows.iter().filter(|row| !self.feed.found(**row)).count();
                    if unheard > 0 && hub.follows(Stream::Conversation(conversation)) {
                        repaired += 1;
                        hub.reread_watermarks(conversation, &mut rung);
                    }
                }
                Change::Sessions(_) => {}
            }
        }
        metrics::repaired(repaired);
    }

    async fn clean(&mut self, at: Micros) -> Result<()> {
        if self.cleaned.elapsed() < CLEAN_EVERY {
            return Ok(());
        }
        // What is left over is deleted the next time round.
        if !sweep::forget(&self.store, at - micros(self.config.changes_kept_ms)).await? {
            self.cleaned = Instant::now();
        }
        Ok(())
    }
}

fn micros(milliseconds: u64) -> Micros {
    i64::try_from(milliseconds).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000)
}
