//! Who is there, and who types. Told at most once and never kept; told only to those who may know.

use std::sync::Arc;

use crate::app::App;
use crate::bus::Notice;
use crate::config::ms;
use crate::error::Result;
use crate::model::{Actor, PersonalKind, Presence, Status, UserId, UserPresence};
use crate::protocol::Event;
use crate::protocol::commands::{PresenceGet, StatusSet, TypingSet};
use crate::protocol::events::{PresenceChanged, Typing};
use crate::protocol::replies::{Done, Presences};
use crate::store::{audience, conversations, streams};

/// How long an account counts as recently active before the next sign of life is written down again, in microseconds.
const ACTIVE_STEP: i64 = 3_600_000_000;

/// Tells members who are there that somebody types, or stopped.
pub async fn typing(app: &App, actor: Actor, input: TypingSet) -> Result<Done> {
    let TypingSet { conversation, typing } = input;
    let mut conn = app.store.read().await?;
    conversations::membership(&mut conn, conversation, actor.user).await?.may_write()?;
    let mut hidden_from = conversations::blocked_with(&mut conn, conversation, actor.user).await?;
    hidden_from.push(actor.user);
    let expires_ms = if typing { app.config.typing_ms as i64 } else { 0 };
    let event = Event::Typing(Typing { conversation, user: actor.user, typing, expires_ms });
    app.bus.publish(&[Notice::EphemeralIn { conversation, event, hidden_from }]);
    Ok(Done {})
}

/// Who of some users is there, as far as the asker may know.
pub async fn get(app: &App, actor: Actor, input: PresenceGet) -> Result<Presences> {
    super::distinct(app, "users", &input.users)?;
    let mut conn = app.store.read().await?;
    let known = audience::known_among(&mut conn, actor.user, &input.users).await?;
    let users = input.users.iter().map(|user| {
        let status = known.iter().find(|known| known.user == *user).map(|known| known.status);
        UserPresence { user: *user, presence: status.map_or(Presence::Offline, |status| seen(app, *user, status)) }
    });
    Ok(Presences { users: users.collect() })
}

/// What may be told of a user with a status.
pub(super) fn seen(app: &App, user: UserId, status: Status) -> Presence {
    match status {
        _ if !app.hub.is_here(user) => Presence::Offline,
        Status::Online => Presence::Online,
        Status::Away => Presence::Away,
        Status::Busy => Presence::Busy,
        Status::Invisible => Presence::Offline,
    }
}

/// Chooses what to be seen as.
pub async fn set_status(app: &App, actor: Actor, input: StatusSet) -> Result<Done> {
    let mut tx = app.store.begin().await?;
    if !audience::set_status(&mut tx, actor.user, input.status).await? {
        return Ok(Done {});
    }
    let at = app.now();
    let entry = streams::append_personal(&mut tx, actor.user, PersonalKind::ProfileChanged, actor.user.0, at).await?;
    app.commit(tx, vec![Notice::Personal { user: actor.user, entry }]).await?;
    tell(app, actor.user).await;
    Ok(Done {})
}

/// A user's socket opened.
pub fn came(app: &Arc<App>, actor: Actor) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        tell(&app, actor.user).await;
        if let Err(error) = audience::was_active(&app.store, actor.user, app.now(), ACTIVE_STEP).await {
            tracing::warn!(%error, "a sign of life was not written down");
        }
    });
}

/// A user's last socket here closed. Told after a moment, since most come back at once.
pub fn went(app: &Arc<App>, actor: Actor) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        tokio::time::sleep(ms(app.config.presence_linger_ms)).await;
        if !app.hub.is_here(actor.user) {
            tell(&app, actor.user).await;
        }
    });
}

/// Tells those who may know and are there.
async fn tell(app: &App, user: UserId) {
    let told = async {
        let mut conn = app.store.read().await?;
        let (status, audience) = audience::of(&mut conn, user).await?;
        Ok::<_, crate::error::Error>((status, audience))
    };
    match told.await {
        Ok((status, audience)) => {
            let users: Vec<UserId> = audience.into_iter().filter(|user| app.hub.is_here(*user)).collect();
            let presence = UserPresence { user, presence: seen(app, user, status) };
            let event = Event::PresenceChanged(PresenceChanged { presence });
            app.bus.publish(&[Notice::EphemeralTo { users, event }]);
        }
        Err(error) => tracing::warn!(%error, "presence was not told"),
    }
}
