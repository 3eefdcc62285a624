//! The inbox: those entries of the personal stream that a user should see, and how far they were read.

use crate::app::App;
use crate::bus::Notice;
use crate::error::{Error, Result};
use crate::model::{Actor, PersonalKind};
use crate::protocol::commands::{NotificationList, NotificationRead};
use crate::protocol::replies::{Done, Notifications};
use crate::sentence;
use crate::store::{inbox, streams};

/// A page of the inbox, newest first.
pub async fn list(app: &App, actor: Actor, input: NotificationList) -> Result<Notifications> {
    let limit = super::page_size(app, input.limit)?;
    let mut conn = app.store.read(actor.user).await?;
    let (read, unread) = inbox::state(&mut conn, actor.user, app.config.unread_cap).await?;
    let before = input.before.unwrap_or(i64::MAX);
    let notifications = inbox::page(&mut conn, actor.user, before, limit).await?;
    Ok(Notifications { notifications, read, unread })
}

/// Marks the inbox as read up to a number.
pub async fn read(app: &App, actor: Actor, input: NotificationRead) -> Result<Done> {
    let mut tx = app.store.begin(actor.user).await?;
    if input.seq < 0 || input.seq > streams::personal_head(&mut tx, actor.user).await? {
        return Err(Error::field("seq", sentence!("no-such-personal-number")));
    }
    if !inbox::mark_read(&mut tx, actor.user, input.seq).await? {
        return Ok(Done {});
    }
    let (kind, at) = (PersonalKind::NotificationsRead, app.now());
    let entry = streams::append_personal(&mut tx, actor.user, kind, input.seq, at).await?;
    app.commit(tx, vec![Notice::Personal { user: actor.user, entry }]).await?;
    Ok(Done {})
}
