//! The sweep: what other nodes changed and this one was not told, found in the database's table of changes.
//!
//! A look at the table reads again what it may have missed before: a row is stamped before its commit, so it can become
//! visible late, but not later than a transaction may last. What is known already is dropped, by numbers where there are
//! any, and by the number of the row where there are none. On SQLite nobody else writes, and there is no sweep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Feed, sessions};
use crate::config::{Config, ms};
use crate::error::{CloseCode, Result};
use crate::hub::Rung;
use crate::metrics;
use crate::model::{Micros, Stream};
use crate::planted::{self, Fault};
use crate::store::sweep::{self, Change};
use crate::store::{Conn, Purpose, Store};

/// How soon a sweep that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// How often old rows are deleted.
const CLEAN_EVERY: Duration = Duration::from_secs(30);

struct Sweep {
    feed: Arc<Feed>,
    store: Arc<Store>,
    config: Config,
    /// From where the next look reads, by the database's clock; none before the first.
    from: Option<Micros>,
    cleaned: Instant,
}

/// Sweeps at once after any sign of trouble, and every so often besides. Runs as long as the server.
pub async fn run(feed: Arc<Feed>, store: Arc<Store>, config: Config) {
    let mut sweep = Sweep { feed, store, config, from: None, cleaned: Instant::now() };
    let mut lost = false;
    loop {
        let began = Instant::now();
        let swept = sweep.once().await;
        let wait = match &swept {
            Ok(()) => {
                metrics::swept(began.elapsed());
                sweep.feed.swept_ms.store(sweep.feed.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
                ms(sweep.config.sweep_ms)
            }
            Err(error) => {
                tracing::debug!(%error, "a sweep failed");
                AGAIN
            }
        };
        let away = sweep.feed.since_sweep() > ms(sweep.config.database_lost_ms);
        if away && !lost {
            tracing::error!("the database is lost to this node: its sockets are sent to other nodes");
        }
        if away {
            sweep.feed.hub.close_all(CloseCode::Restarted);
        }
        lost = away;
        tokio::select! {
            () = sweep.feed.trouble.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Sweep {
    async fn once(&mut self) -> Result<()> {
        // While the node hears the others, what is younger than this may still be under way.
        let grace_ms = if self.feed.hears() { self.config.sweep_grace_ms } else { 0 };
        let mut conn = self.store.read(Purpose::Server).await?;
        // The first look only learns what time it is: no socket was here before it.
        let swept = sweep::since(&mut conn, self.from.unwrap_or(Micros::MAX), micros(grace_ms)).await?;
        if let Some(off) = self.feed.clock.agree(swept.at) {
            tracing::warn!(seconds = off / 1_000_000, "this machine's clock is not the database's, which is gone by");
        }
        // What was left for the next time because it was young must be read then.
        let overlap = micros(self.config.sweep_overlap_ms.max(self.config.sweep_grace_ms));
        if self.from.is_some_and(|from| swept.at - from > micros(self.config.changes_kept_ms) - overlap) {
            tracing::warn!("this node was away for longer than changes are kept: its sockets are to resume");
            self.feed.hub.close_all(CloseCode::Restarted);
        } else if !planted::is(Fault::NoSweep) {
            self.apply(&mut conn, &swept.changes).await?;
        }
        // Only what was applied is behind us; a failure above reads it again.
        self.from = Some(swept.at - overlap);
        self.feed.forget(ms(self.config.sweep_overlap_ms.max(self.config.sweep_grace_ms)));
        drop(conn);
        self.clean(swept.at).await
    }

    async fn apply(&self, conn: &mut Conn, changes: &[(i64, Change)]) -> Result<()> {
        let hub = &self.feed.hub;
        let mut repaired = 0;
        let mut ended = BTreeSet::new();
        {
            let mut rung = Rung::default();
            for (row, change) in changes {
                match *change {
                    Change::Moved(stream, seq) => {
                        repaired += u64::from(hub.jump(stream, seq, &mut rung));
                    }
                    Change::Positions(conversation) => {
                        let stream = Stream::Conversation(conversation);
                        if self.feed.hear(*row) && hub.follows(stream) {
                            repaired += 1;
                            hub.refresh(stream, &mut rung);
                        }
                    }
                    Change::Sessions(user) => {
                        if self.feed.hear(*row) && hub.is_here(user) {
                            ended.insert(user);
                        }
                    }
                }
            }
        }
        metrics::repaired(repaired);
        if !ended.is_empty() {
            sessions::close_ended(&self.feed.hub, conn).await?;
        }
        Ok(())
    }

    async fn clean(&mut self, at: Micros) -> Result<()> {
        if self.cleaned.elapsed() < CLEAN_EVERY {
            return Ok(());
        }
        self.cleaned = Instant::now();
        sweep::forget(&self.store, at - micros(self.config.changes_kept_ms)).await
    }
}

fn micros(milliseconds: u64) -> Micros {
    i64::try_from(milliseconds).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000)
}
