//! What nobody refers to goes: rows first become `gone`, then their bytes are removed, then the rows. Each step can be
//! cut short and is done again, by this node or another.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::config::ms;
use crate::error::Result;
use crate::media::collect::{Old, leftovers};
use crate::model::{FileId, Micros, Text};
use crate::planted;
use crate::store::{Purpose, files, retried};

/// Files that end together.
const TOGETHER: i64 = 500;
/// Microseconds in a second.
const SECOND: Micros = 1_000_000;

/// Goes round for as long as the server runs: at its start, by the clock, and soon after something was given up.
pub async fn run(app: Arc<App>) {
    let mut orphans_at: Option<Instant> = None;
    let between = Duration::from_secs(u64::try_from(app.config.media_orphan_s).unwrap_or_default().max(1));
    loop {
        if let Err(error) = round(&app).await {
            tracing::warn!(%error, "a round after files that are over was cut short");
        }
        if orphans_at.is_none_or(|at| at.elapsed() >= between) {
            orphans_at = Some(Instant::now());
            if let Err(error) = orphans(&app).await {
                tracing::warn!(%error, "a round after bytes that no file has was cut short");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ms(app.config.media_collect_ms)) => {}
            () = app.media.over() => {}
        }
    }
}

/// Ends what is over, and removes it.
async fn round(app: &App) -> Result<()> {
    let now = app.now();
    let stale = now - micros(app.config.upload_ms).saturating_mul(2);
    let unused = now - app.config.media_unused_s.saturating_mul(SECOND);
    retried(|| async {
        let mut tx = app.store.begin(Purpose::Server).await?;
        files::end_stale(&mut tx, stale).await?;
        app.commit(tx, Vec::new()).await
    })
    .await?;
    loop {
        let ended = retried(|| async {
            let mut tx = app.store.begin(Purpose::Server).await?;
            let ended = files::end_unused(&mut tx, unused, TOGETHER).await?;
            app.commit(tx, Vec::new()).await?;
            Ok(ended)
        });
        if ended.await? == 0 {
            break;
        }
    }
    planted::fail_at("collect_ended");
    remove(app).await
}

/// Removes the bytes of what is over, and then the rows.
async fn remove(app: &App) -> Result<()> {
    loop {
        let gone = files::gone(&mut app.store.read(Purpose::Server).await?, TOGETHER).await?;
        if gone.is_empty() {
            return Ok(());
        }
        for (_, name) in &gone {
            app.media.shelf.remove(name).await?;
        }
        planted::fail_at("collect_removed");
        let ids: Vec<FileId> = gone.iter().map(|(file, _)| *file).collect();
        retried(|| async {
            let mut tx = app.store.begin(Purpose::Server).await?;
            files::forget(&mut tx, &ids).await?;
            app.commit(tx, Vec::new()).await
        })
        .await?;
        tracing::debug!(files = gone.len(), "files were removed");
    }
}

/// Removes bytes that no file has: what an upload kept after it had been given up, and what a database that was
/// restored from a backup does not know.
async fn orphans(app: &App) -> Result<()> {
    let age = app.config.media_orphan_s.saturating_mul(SECOND);
    // What is being written now is younger than that.
    let idle = age.max(micros(app.config.upload_ms).saturating_mul(2));
    leftovers(&app.media.shelf, &app.media.spool, Duration::from_micros(u64::try_from(idle).unwrap_or_default())).await;
    let mut old = Old::on(&app.media.shelf, app.now() - age);
    loop {
        let names = old.next().await?;
        if names.is_empty() {
            return Ok(());
        }
        let asked: Vec<Text> = names.iter().map(Text::without_nul).collect();
        let known = files::known(&mut app.store.read(Purpose::Server).await?, &asked).await?;
        let known: HashSet<String> = known.into_iter().collect();
        for name in names.iter().filter(|name| !known.contains(*name)) {
            app.media.shelf.remove(name).await?;
            tracing::info!("bytes were removed that no file had");
        }
    }
}

fn micros(milliseconds: u64) -> Micros {
    i64::try_from(milliseconds).unwrap_or(i64::MAX).saturating_mul(1000)
}
