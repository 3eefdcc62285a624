//! Who is there, and who types. Told at most once and never kept; told only to those who may know.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;

use crate::app::App;
use crate::auth::SECOND;
use crate::bus::{Notice, Whereabouts};
use crate::config::ms;
use crate::error::Result;
use crate::model::{Actor, Micros, PersonalKind, Presence, Status, UserId, UserPresence};
use crate::protocol::Event;
use crate::protocol::commands::{PresenceGet, StatusSet, TypingSet};
use crate::protocol::events::{PresenceChanged, Typing};
use crate::protocol::replies::{Done, Presences};
use crate::store::audience::Known;
use crate::store::{accounts, audience, conversations, streams};

/// How long an account counts as recently active before the next sign of life is written down again, in microseconds.
const ACTIVE_STEP: i64 = 3_600_000_000;

/// Users of a dead node whose acquaintances are looked up and told at once.
const TOLD_AT_ONCE: usize = 4;

/// Tells members who are there that somebody types, or stopped.
pub async fn typing(app: &App, actor: Actor, input: TypingSet) -> Result<Done> {
    let TypingSet { conversation, typing } = input;
    let mut conn = app.store.read(actor.user).await?;
    conversations::membership(&mut conn, conversation, actor.user).await?.may_write()?;
    let mut hidden_from = conversations::blocked_with(&mut conn, conversation, actor.user).await?;
    hidden_from.push(actor.user);
    let expires_ms = if typing { app.config.typing_ms as i64 } else { 0 };
    let frame = Event::Typing(Typing { conversation, user: actor.user, typing, expires_ms }).encode();
    app.tell(&mut conn, vec![Notice::EphemeralIn { conversation, frame, hidden_from }]).await?;
    Ok(Done {})
}

/// Who of some users is there, as far as the asker may know.
pub async fn get(app: &App, actor: Actor, input: PresenceGet) -> Result<Presences> {
    super::distinct(app, "users", &input.users)?;
    let mut conn = app.store.read(actor.user).await?;
    let known = audience::known_among(&mut conn, actor.user, &input.users).await?;
    drop(conn);
    let seen = seen(app, &known).await;
    let users = input.users.iter().map(|user| {
        let presence = seen.get(user).copied().unwrap_or(Presence::Offline);
        UserPresence { user: *user, presence }
    });
    Ok(Presences { users: users.collect() })
}

/// What may be told of some users.
pub(super) async fn seen(app: &App, known: &[Known]) -> HashMap<UserId, Presence> {
    // Whoever is invisible is not even looked for: an answer that cannot be had would tell them apart.
    let visible = known.iter().filter(|known| known.status != Status::Invisible).map(|known| known.user);
    let found = app.bus.whereabouts(&visible.collect::<Vec<_>>()).await;
    let seen = known.iter().map(|known| {
        let found = found.get(&known.user).copied().unwrap_or(Whereabouts::Unknown);
        (known.user, as_seen(found, known, app.now()))
    });
    seen.collect()
}

fn as_seen(found: Whereabouts, known: &Known, now: Micros) -> Presence {
    // Who has no socket may have said over REST that they are here.
    let found = if known.here_until > now { Whereabouts::Connected } else { found };
    match (known.status, found) {
        (Status::Invisible, _) | (_, Whereabouts::Absent) => Presence::Offline,
        (_, Whereabouts::Unknown) => Presence::Unknown,
        (Status::Online, Whereabouts::Connected) => Presence::Online,
        (Status::Away, Whereabouts::Connected) => Presence::Away,
        (Status::Busy, Whereabouts::Connected) => Presence::Busy,
    }
}

/// Chooses what to be seen as.
pub async fn set_status(app: &App, actor: Actor, input: StatusSet) -> Result<Done> {
    let mut tx = app.store.begin(actor.user).await?;
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
            tracing::debug!(%error, "a sign of life was not written down");
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

/// Tells of the users of other nodes that died, after the same moment. Runs as long as the server.
pub async fn tell_gone(app: Arc<App>) {
    let mut gone = app.gone.lock().await;
    while let Some(users) = gone.recv().await {
        tokio::time::sleep(ms(app.config.presence_linger_ms)).await;
        let found = app.bus.whereabouts(&users).await;
        // Whoever came back to another node was told of then, and most have: the few who did not must not wait for them.
        let users = users.into_iter().filter(|user| !matches!(found.get(user), Some(Whereabouts::Connected)));
        let telling = futures_util::stream::iter(users).for_each_concurrent(TOLD_AT_ONCE, |user| {
            let app = &app;
            async move { tell(app, user).await }
        });
        telling.await;
    }
}

/// Notes that a user is here who may have no socket: it holds for `rest_online_s`.
pub async fn here(app: &App, actor: Actor) -> Result<Done> {
    let now = app.now();
    let until = now + app.config.rest_online_s.saturating_mul(SECOND);
    note(app, actor.user, now, until).await
}

/// A user who has no socket is not here any more.
pub async fn not_here(app: &App, user: UserId) -> Result<Done> {
    note(app, user, app.now(), 0).await
}

async fn note(app: &App, user: UserId, now: Micros, until: Micros) -> Result<Done> {
    let mut tx = app.store.begin(user).await?;
    let (before, _) = audience::of(&mut tx, user).await?;
    accounts::touch(&mut tx, user, now).await?;
    accounts::set_here_until(&mut tx, user, until).await?;
    app.commit(tx, Vec::new()).await?;
    if (before.here_until > now) != (until > now) {
        tell(app, user).await;
    }
    Ok(Done {})
}

/// Tells those who may know.
async fn tell(app: &App, user: UserId) {
    let told = async {
        let mut conn = app.store.read(user).await?;
        let (known, users) = audience::of(&mut conn, user).await?;
        drop(conn);
        let presence = seen(app, &[known]).await.get(&user).copied().unwrap_or(Presence::Unknown);
        let presence = UserPresence { user, presence };
        let frame = Event::PresenceChanged(PresenceChanged { presence }).encode();
        app.bus.publish(vec![Notice::EphemeralTo { users, frame }]);
        Ok::<_, crate::error::Error>(())
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, "presence was not told");
    }
}
