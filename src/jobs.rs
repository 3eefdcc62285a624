//! Works off the jobs that lie in the database, one slice after the other: each is one short transaction, and between two
//! of them everybody else goes first. Any node may do the next slice; a process that dies loses the slice in hand, which
//! is rolled back and done again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::error::Result;
use crate::model::{Micros, Text, UserId};
use crate::ops::erasing;
use crate::planted;
use crate::store::jobs::{self, Job, JobKind};
use crate::store::{Purpose, retried, search};

/// How often a node looks for jobs that others made.
const LOOK: Duration = Duration::from_secs(1);
/// The pause after the first failure in a row, in microseconds; it doubles with each.
const AGAIN: Micros = 1_000_000;
/// The pause stops doubling here: about an hour.
const DOUBLINGS: u32 = 12;

/// Works for as long as the server runs.
pub async fn run(app: Arc<App>) {
    loop {
        let begun = Instant::now();
        match slice(&app).await {
            Ok(true) => tokio::time::sleep(rest(begun.elapsed(), app.config.jobs_share)).await,
            Ok(false) => wait(&app, LOOK).await,
            Err(error) => {
                tracing::warn!(%error, "work in the background was cut short");
                wait(&app, LOOK).await;
            }
        }
    }
}

/// How long to do nothing after some work, so that work has no more than its share of the time.
fn rest(worked: Duration, share: u32) -> Duration {
    let share = share.clamp(1, 100);
    worked * (100 - share) / share
}

async fn wait(app: &App, longest: Duration) {
    tokio::select! {
        () = tokio::time::sleep(longest) => {}
        () = app.jobs.notified() => {}
    }
}

/// Does a slice of the job that is due for the longest time. Answers whether there was one to do.
async fn slice(app: &App) -> Result<bool> {
    // Asked of a reader, so that nobody waits for a writer that has nothing to do.
    let Some(job) = jobs::due(&mut app.store.read(Purpose::Server).await?, app.now()).await? else { return Ok(false) };
    let done = match job.kind {
        JobKind::PurgeIndex if job.progress == search::PURGED => fold(app, &job).await,
        _ => retried(|| advance(app, job.id)).await,
    };
    planted::fail_at("job_slice");
    let Err(error) = done else { return done };
    tracing::error!(%error, kind = ?job.kind, subject = job.subject, "a job failed and will be tried again");
    let doublings = u32::try_from(job.attempts).unwrap_or(DOUBLINGS).min(DOUBLINGS);
    let mut tx = app.store.begin(Purpose::Server).await?;
    jobs::failed(&mut tx, job.id, app.now() + (AGAIN << doublings)).await?;
    app.commit(tx, Vec::new()).await?;
    Ok(true)
}

/// Does the next slice of a job and writes down how far it is. Nothing where another node has the job in hand.
async fn advance(app: &App, id: i64) -> Result<bool> {
    let mut tx = app.store.begin(Purpose::Server).await?;
    let Some(job) = jobs::take(&mut tx, id).await? else { return Ok(false) };
    let (notices, progress) = match job.kind {
        JobKind::EraseAccount => erasing::slice(app, &mut tx, UserId(job.subject), &job.progress).await?,
        JobKind::PurgeIndex => (Vec::new(), Some(search::purge(&mut tx, job.progress.is_empty()).await?)),
    };
    match progress {
        Some(progress) => jobs::advance(&mut tx, job.id, &progress, app.now()).await?,
        None => jobs::done(&mut tx, job.id).await?,
    }
    app.commit(tx, notices).await?;
    Ok(true)
}

/// Overwrites what SQLite's log still holds of erased rows, which is the end of a purge. Tried again where a reader is in
/// the way.
async fn fold(app: &App, job: &Job) -> Result<bool> {
    let folded = app.store.fold_log().await?;
    let mut tx = app.store.begin(Purpose::Server).await?;
    match folded {
        true => jobs::done(&mut tx, job.id).await?,
        false => jobs::advance(&mut tx, job.id, &Text::without_nul(job.progress.as_str()), app.now() + AGAIN).await?,
    }
    app.commit(tx, Vec::new()).await?;
    Ok(true)
}
