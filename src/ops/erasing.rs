//! What a deleted account left goes slice by slice, and those who knew it are told.

use crate::app::App;
use crate::bus::Notice;
use crate::error::Result;
use crate::model::{PersonalKind, Text, UserId};
use crate::ops::{groups, personal};
use crate::store::ending::{self, Progress};
use crate::store::jobs::{self, JobKind};
use crate::store::{Tx, streams};

/// Erases one slice, and writes what is to be told of it. Answers how far the erasure is; none at its end.
pub async fn slice(app: &App, tx: &mut Tx, user: UserId, progress: &str) -> Result<(Vec<Notice>, Option<Text>)> {
    let now = app.now();
    let done = ending::slice(tx, user, &Progress::read(progress)?, now).await?;
    let entries: Vec<_> = done.told.iter().map(|other| (*other, PersonalKind::UserGone, user.0)).collect();
    let mut notices = personal(streams::append_each(tx, &entries, now).await?);
    if let Some(group) = done.leaves {
        notices.extend(groups::leave_for_good(app, tx, user, group).await?);
    }
    if done.progress.table().is_some() {
        return Ok((notices, Some(done.progress.text())));
    }
    if !tx.is_shared() {
        jobs::add_once(tx, JobKind::PurgeIndex, 0, now).await?;
    }
    app.media.collect_soon();
    tracing::info!(%user, "a deleted account is erased");
    Ok((notices, None))
}
