//! Which sessions stand: read again after this process slept, and after somebody else wrote.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{CloseCode, Result};
use crate::hub::currency::{ASLEEP, BEAT};
use crate::hub::{Hub, Which};
use crate::store::{Conn, Purpose, Store, supervision};

/// How often a single node looks whether another process, such as an operator's command, wrote to its file.
const WATCH_EVERY: Duration = Duration::from_millis(300);

/// Closes the sockets here whose sessions ended.
pub(super) async fn close_ended(hub: &Hub, conn: &mut Conn) -> Result<()> {
    for actor in supervision::ended_among(conn, &hub.actors()).await? {
        hub.end_sessions(actor.user, Which::Only(actor.session), CloseCode::Revoked);
    }
    Ok(())
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
        let read = async { close_ended(hub, &mut store.read(Purpose::Server).await?).await };
        match read.await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "after a sleep the sessions could not be read; nothing is written"),
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// Closes the sockets of sessions that another process ended in the file of a single node. Runs as long as the server.
pub async fn watch(hub: Arc<Hub>, store: Arc<Store>) {
    let mut seen = None;
    loop {
        match store.foreign_writes().await {
            Ok(Some(version)) if seen.replace(version).is_some_and(|before| before != version) => {
                let closed = async { close_ended(&hub, &mut store.read(Purpose::Server).await?).await };
                if let Err(error) = closed.await {
                    // Looked at again the next time round.
                    seen = None;
                    tracing::warn!(%error, "sessions could not be checked");
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "the database could not be watched"),
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}
