//! What lasts. The only place with SQL. Knows no event and no socket.
//!
//! Every function takes a [`Conn`], so that it can run alone or as one step of a transaction. A transaction goes
//! *lock, judge, number, write*: see [`Store::begin`].

pub mod accounts;
pub mod audience;
mod batch;
pub mod candidates;
pub mod changes;
pub mod conversations;
pub mod copy;
pub mod django;
pub mod ending;
pub mod files;
pub mod imported;
pub mod inbox;
pub mod jobs;
pub mod lists;
pub mod messages;
pub mod old_key;
mod outage;
pub mod pairs;
pub mod postgres;
mod private;
pub mod registry;
pub mod reindex;
pub mod reports;
pub mod search;
mod serving;
pub mod sessions;
pub mod sqlite;
pub mod streams;
pub mod supervision;
pub mod sweep;
mod turns;
mod visible;
pub mod watermarks;
pub mod writer;

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::UserId;
use crate::planted::{self, Fault};

/// Runs the same SQL on whichever database the connection is to: `run!(conn, sqlx::query(SQL))`. On
/// Postgres no answer is waited for without end.
macro_rules! on {
    ($conn:expr, $c:ident => $query:expr) => {{
        $crate::metrics::statement();
        match &mut *$conn {
            $crate::store::Conn::Sqlite(conn) => {
                let $c: &mut sqlx::SqliteConnection = &mut *conn;
                $query.await
            }
            $crate::store::Conn::Postgres(conn) => {
                let (conn, watch) = conn.parts();
                let $c: &mut sqlx::PgConnection = conn;
                watch.over($query).await
            }
        }
    }};
}
pub(crate) use on;

/// Executes a statement and answers how many rows it changed: `run!(conn, sqlx::query(SQL))`.
macro_rules! run {
    ($conn:expr, $query:expr) => {
        $crate::store::on!($conn, c => async { $query.execute(c).await.map(|done| done.rows_affected()) })
    };
}
pub(crate) use run;

/// The database.
#[derive(Debug)]
pub enum Store {
    /// One file, one process, one writer.
    Sqlite(sqlite::Sqlite),
    /// A server that several processes share.
    Postgres(postgres::Postgres),
}

/// A connection, for reading or inside a transaction.
#[derive(Debug)]
pub enum Conn {
    /// To the file.
    Sqlite(sqlite::SqliteConn),
    /// To the server.
    Postgres(postgres::PgConn),
}

/// What a connection is for. Each purpose has connections of its own, so that no number of queries of users takes those
/// that the server needs to keep its sockets, and of those that users share nobody takes more than a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A command or a request of a user.
    Command(UserId),
    /// What keeps a socket or a session of a user: its check, the greeting, resume, the pages of a socket that is behind.
    Session(UserId),
    /// Signing in, by somebody who is not known yet.
    SignIn,
    /// The group commit of sends.
    Lane,
    /// What the server does by itself: the sweep, checks of sessions after a sleep, collecting files; and the operator.
    Server,
}

/// What a user asks for is a command unless it says otherwise.
impl From<UserId> for Purpose {
    fn from(user: UserId) -> Purpose {
        Purpose::Command(user)
    }
}

/// How a process uses the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// As a server: on SQLite the only one, on Postgres one of several.
    Serving,
    /// Instead of all servers.
    Alone,
    /// For a moment, beside servers that may be running.
    Beside,
}

impl Store {
    /// Opens the database that the settings name, brings its tables up to date and checks its durability settings.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub async fn open(config: &Config, how: Use) -> std::result::Result<Store, String> {
        if config.database_url.is_empty() || config.database_url.starts_with("sqlite:") {
            return sqlite::Sqlite::open(config, how).await.map(Store::Sqlite);
        }
        if config.database_url.starts_with("postgres:") || config.database_url.starts_with("postgresql:") {
            return postgres::Postgres::open(config, how).await.map(Store::Postgres);
        }
        Err("--database-url: a URL begins with sqlite: or postgres:".to_owned())
    }

    /// A database that is gone with this value, to see what something would do.
    ///
    /// # Errors
    /// A sentence that says why there can be none.
    pub async fn scratch() -> std::result::Result<Store, String> {
        sqlite::Sqlite::scratch().await.map(Store::Sqlite)
    }

    /// Whether other processes serve from the same database.
    pub fn is_shared(&self) -> bool {
        matches!(self, Store::Postgres(_))
    }

    /// A connection that only reads, on a snapshot of its own per statement.
    pub async fn read(&self, purpose: impl Into<Purpose>) -> Result<Conn> {
        let purpose = purpose.into();
        match self {
            Store::Sqlite(sqlite) => Ok(Conn::Sqlite(sqlite.reader(purpose).await?)),
            Store::Postgres(postgres) => Ok(Conn::Postgres(postgres.reader(purpose).await?)),
        }
    }

    /// A number that changes when another process wrote; none on a shared database, where they do so all the time.
    pub async fn foreign_writes(&self) -> Result<Option<i64>> {
        match self {
            Store::Sqlite(sqlite) => sqlite.foreign_writes().await.map(Some),
            Store::Postgres(_) => Ok(None),
        }
    }

    /// Copies the whole database, as it stands at one moment, into a new file.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub async fn backup(&self, file: &std::path::Path) -> std::result::Result<(), String> {
        match self {
            Store::Sqlite(sqlite) => sqlite.backup(file).await,
            Store::Postgres(_) => {
                Err("a Postgres database is copied with pg_dump; then run duet restored once".to_owned())
            }
        }
    }

    /// Closes all connections, once nobody works with them any more. The last one to close a SQLite file folds its log
    /// into it and leaves nothing beside it.
    pub async fn close(&self) {
        match self {
            Store::Sqlite(sqlite) => sqlite.close().await,
            Store::Postgres(postgres) => postgres.close().await,
        }
    }

    /// Moves what SQLite's log holds into the file and overwrites the log. False where a reader is in the way.
    pub async fn fold_log(&self) -> Result<bool> {
        match self {
            Store::Sqlite(sqlite) => sqlite.fold_log().await,
            Store::Postgres(_) => Ok(true),
        }
    }

    /// Begins a transaction that will write. On SQLite it is alone from here on, in the order of asking, so that
    /// everything judged in it holds until its commit. On Postgres only what it locks is its own: it locks first, and
    /// judges in a later statement, which sees all that was committed while it waited.
    pub async fn begin(&self, purpose: impl Into<Purpose>) -> Result<Tx> {
        let purpose = purpose.into();
        let (conn, begin) = match self {
            Store::Sqlite(sqlite) => (Conn::Sqlite(sqlite.writer(purpose).await?), "BEGIN IMMEDIATE"),
            Store::Postgres(postgres) => {
                (Conn::Postgres(postgres.writer(purpose).await?), "BEGIN ISOLATION LEVEL READ COMMITTED")
            }
        };
        // The guard goes into the Tx before BEGIN is sent: were this future dropped in between, the Tx still rolls back
        // whatever the connection got to.
        let mut tx = Tx { conn: Some(conn) };
        run!(&mut *tx, sqlx::query(begin))?;
        Ok(tx)
    }
}

impl Conn {
    /// Whether other processes write too. Then what is judged must be locked first; else the transaction is alone.
    pub fn is_shared(&self) -> bool {
        matches!(self, Conn::Postgres(_))
    }

    /// The one that this database understands of a statement for SQLite and one for Postgres.
    fn sql(&self, [sqlite, postgres]: [&'static str; 2]) -> &'static str {
        if self.is_shared() { postgres } else { sqlite }
    }
}

/// A writing transaction. Dropped without a commit, it rolls back before anybody else gets the connection.
#[derive(Debug)]
pub struct Tx {
    conn: Option<Conn>,
}

impl Tx {
    /// Commits, and calls `then` before anybody else gets the connection, so that what is told goes out in the order
    /// of the commits. Runs in a task of its own: a caller that goes away cannot stop it half-way.
    ///
    /// # Errors
    /// `unknown_outcome` where the commit may have happened, else what was wrong; then nothing was changed.
    pub async fn commit(mut self, then: impl FnOnce() + Send + 'static) -> Result<()> {
        let Some(mut conn) = self.conn.take() else {
            return Err(Error::internal("a transaction without a connection"));
        };
        if matches!(&conn, Conn::Postgres(conn) if !conn.is_sound()) {
            // It would be answered well, and roll back.
            return Err(Error::internal("a transaction was to be committed after one of its statements had failed"));
        }
        let task = tokio::spawn(async move {
            planted::fail_at("before_commit");
            match run!(&mut conn, sqlx::query("COMMIT")) {
                Ok(_) => {
                    planted::fail_at("after_commit");
                    then();
                    planted::fail_at("after_publish");
                    Ok(())
                }
                Err(cause) => match run!(&mut conn, sqlx::query("ROLLBACK")) {
                    Ok(_) => Err(Error::from(cause)),
                    Err(_) => Err(Error::unknown_outcome()),
                },
            }
        });
        task.await.unwrap_or_else(|_| Err(Error::unknown_outcome()))
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if planted::is(Fault::NoRollbackGuard) {
            return;
        }
        if let Some(mut conn) = self.conn.take() {
            tokio::spawn(async move {
                // Fails where BEGIN had not been reached, which is as good.
                let _ = run!(&mut conn, sqlx::query("ROLLBACK"));
            });
        }
    }
}

impl Deref for Tx {
    type Target = Conn;

    #[expect(clippy::expect_used, reason = "only commit takes the connection, and it takes the Tx with it")]
    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("a transaction holds its connection until its end")
    }
}

impl DerefMut for Tx {
    #[expect(clippy::expect_used, reason = "only commit takes the connection, and it takes the Tx with it")]
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("a transaction holds its connection until its end")
    }
}

/// What a database error means to the one who asked; the text of it goes to the log only.
impl From<sqlx::Error> for Error {
    fn from(cause: sqlx::Error) -> Error {
        let known = match &cause {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Some(Error::busy()),
            sqlx::Error::Io(error) => {
                outage::complain(|left_out| tracing::warn!(%error, left_out, "the database does not answer"));
                Some(Error::busy())
            }
            sqlx::Error::Database(error) => match error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                Some(error) => postgres::meaning(error),
                None => sqlite::meaning(&**error),
            },
            _ => None,
        };
        known.unwrap_or_else(|| Error::internal(cause))
    }
}

/// How often what was overtaken is run in all.
const TRIES: u32 = 4;
/// The longest pause before the third try, in milliseconds; it doubles with each. The second comes at once, as whoever
/// was faster is done.
const PAUSE_MS: u64 = 20;

/// Runs something that begins a transaction of its own, and runs it again where another transaction was faster.
///
/// # Errors
/// What the last try came to.
pub async fn retried<T, F: Future<Output = Result<T>>>(mut run: impl FnMut() -> F) -> Result<T> {
    for before in 1..TRIES {
        match run().await {
            Err(error) if error.overtaken => {
                if before == 1 {
                    continue;
                }
                let mut byte = [0];
                // Those who met once should not meet again; without randomness they only might.
                let _ = getrandom::fill(&mut byte);
                let pause = (PAUSE_MS << before) * u64::from(byte[0]) / 1024;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            done => return done,
        }
    }
    run().await
}

/// The values of a list as one JSON parameter, for `json_each`.
pub(crate) fn json_list<T: serde::Serialize>(items: &[T]) -> String {
    // Lists of ids and plain rows have no failing Serialize.
    serde_json::to_string(items).unwrap_or_default()
}
