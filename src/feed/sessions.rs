//! Which sessions stand: read again after this process slept, and after somebody else wrote.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{CloseCode, Result};
use crate::hub::currency::{ASLEEP, BEAT};
use crate::hub::{Hub, Which};
use crate::model::Actor;
use crate::planted::{self, Fault};
use crate::store::{Conn, Purpose, Store, supervision};

/// How often a single node looks whether another process, such as an operator's command, wrote to its file.
const WATCH_EVERY: Duration = Duration::from_millis(300);
/// Sessions in one question.
const SESSIONS: usize = 1_000;

/// Closes the sockets of those of some sessions that ended.
pub(super) async fn close_ended(hub: &Hub, conn: &mut Conn, actors: &[Actor]) -> Result<()> {
    for some in actors.chunks(SESSIONS) {
        for actor in supervision::ended_among(conn, some).await? {
            hub.end_sessions(actor.user, Which::Only(actor.session), CloseCode::Revoked);
        }
    }
    Ok(())
}

/// Closes the sockets here whose sessions ended.
async fn close_all_ended(hub: &Hub, store: &Store) -> Result<()> {
    close_ended(hub, &mut store.read(Purpose::Server).await?, &hub.actors()).await
}

/// Keeps the hub current: says that this process is awake, and after a sleep not before it is known which sessions
/// ended meanwhile. Runs as long as the server.
pub async fn pulse(hub: Arc<Hub>, store: Arc<Store>) {
    let mut beat = Instant::now();
    loop {
        hub.currency.renew();
        tokio::time::sleep(BEAT).await;
        if beat.elapsed() > ASLEEP {
            read_again(&hub, &store).await;
        }
        beat = Instant::now();
    }
}

async fn read_again(hub: &Hub, store: &Store) {
    loop {
        match close_all_ended(hub, store).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "after a sleep the sessions could not be read; nothing is written"),
        }
        tokio::time::sleep(BEAT).await;
    }
}

async fn check(hub: &Hub, store: &Store) -> Result<()> {
    planted::error_at("session_check")?;
    close_all_ended(hub, store).await
}

/// Closes the sockets of sessions that another process ended in the file of a single node. Runs as long as the server.
pub async fn watch(hub: Arc<Hub>, store: Arc<Store>) {
    // The version of the file up to which all was handled.
    let mut handled = None;
    loop {
        match store.foreign_writes().await {
            Ok(None) => return,
            Ok(version) if version == handled || planted::is(Fault::UnseenSessionEnds) => {}
            Ok(version) => match check(&hub, &store).await {
                Ok(()) => handled = version,
                Err(error) => tracing::warn!(%error, "sessions could not be checked; they are checked again"),
            },
            Err(error) => tracing::warn!(%error, "the database could not be watched"),
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}
