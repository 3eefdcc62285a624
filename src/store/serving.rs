//! Who uses a Postgres database: an advisory lock, held on a connection of its own for as long as a process lives.
//! Servers share it; what must be alone takes it for itself, and is refused while a server runs.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::task::AbortHandle;

/// The name of the lock: "duet" and 1.
const KEY: i64 = 0x6475_6574_0000_0001;
/// How often a server looks whether it still holds the lock, which goes with the connection.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take before the connection counts as lost.
const ANSWER_WAIT: Duration = Duration::from_secs(3);

const SHARED: &str = "SELECT pg_try_advisory_lock_shared($1)";
const EXCLUSIVE: &str = "SELECT pg_try_advisory_lock($1)";

/// The lock, until it is dropped.
#[derive(Debug)]
pub(super) struct Serving {
    keeper: AbortHandle,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Serving {
    /// As one of several servers.
    pub(super) async fn among_others(options: PgConnectOptions, shown: &str) -> Result<Serving, String> {
        let conn = take(&options, SHARED).await.map_err(|cause| format!("cannot lock {shown}: {cause}"))?;
        let conn = conn.ok_or_else(|| format!("a command of the operator works alone on {shown}: wait for its end"))?;
        Ok(Serving { keeper: tokio::spawn(keep(conn, options)).abort_handle() })
    }

    /// As the only process.
    pub(super) async fn alone(options: PgConnectOptions, shown: &str) -> Result<Serving, String> {
        let conn = take(&options, EXCLUSIVE).await.map_err(|cause| format!("cannot lock {shown}: {cause}"))?;
        let conn = conn.ok_or_else(|| format!("another duet is using {shown}: stop all of them first"))?;
        let hold = async move {
            let _conn = conn;
            std::future::pending::<()>().await;
        };
        Ok(Serving { keeper: tokio::spawn(hold).abort_handle() })
    }
}

/// A connection that holds the lock; none where somebody else holds it otherwise.
async fn take(options: &PgConnectOptions, sql: &'static str) -> sqlx::Result<Option<PgConnection>> {
    let taking = async {
        let mut conn = options.connect().await?;
        let taken: bool = sqlx::query_scalar(sql).bind(KEY).fetch_one(&mut conn).await?;
        Ok(taken.then_some(conn))
    };
    let late = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(ANSWER_WAIT, taking).await.unwrap_or_else(late)
}

/// Holds the lock, and takes it again after the database restarted.
async fn keep(mut conn: PgConnection, options: PgConnectOptions) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if matches!(tokio::time::timeout(ANSWER_WAIT, conn.ping()).await, Ok(Ok(()))) {
            continue;
        }
        match take(&options, SHARED).await {
            Ok(Some(again)) => {
                tracing::info!("the database is told again that this server is there");
                conn = again;
            }
            Ok(None) => tracing::error!("a command of the operator works on the database while this server runs"),
            Err(cause) => tracing::warn!(%cause, "the database cannot be told that this server is there"),
        }
    }
}
