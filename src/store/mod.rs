//! What lasts. The only place with SQL. Knows no event and no socket.
//!
//! Every function takes a [`Conn`], so that it can run alone or as one step of a transaction. A transaction goes
//! *lock, judge, number, write*: see [`Store::begin`].

pub mod accounts;
pub mod audience;
pub mod candidates;
pub mod changes;
pub mod conversations;
pub mod inbox;
pub mod messages;
pub mod pairs;
pub mod reports;
pub mod search;
pub mod sessions;
pub mod sqlite;
pub mod streams;
pub mod supervision;
pub mod writer;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};

/// Runs the same SQL on whichever database the connection is to: `on!(conn, c => sqlx::query(SQL).execute(c))`.
macro_rules! on {
    ($conn:expr, $c:ident => $query:expr) => {
        match &mut *$conn {
            $crate::store::Conn::Sqlite(conn) => {
                let $c: &mut sqlx::SqliteConnection = &mut *conn;
                $query.await
            }
        }
    };
}
pub(crate) use on;

/// The database.
#[derive(Debug)]
pub enum Store {
    /// One file, one process, one writer.
    Sqlite(sqlite::Sqlite),
}

/// A connection, for reading or inside a transaction.
#[derive(Debug)]
pub enum Conn {
    /// To the file.
    Sqlite(sqlite::SqliteConn),
}

/// How a process uses the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// As its server, or instead of it.
    Alone,
    /// For a moment, beside a server that may be running.
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
        Err(format!("--database-url {}: duet speaks sqlite: URLs only", config.database_url))
    }

    /// A connection that only reads, on a snapshot of its own per statement.
    pub async fn read(&self) -> Result<Conn> {
        match self {
            Store::Sqlite(sqlite) => Ok(Conn::Sqlite(sqlite.reader().await?)),
        }
    }

    /// A number that changes when another process wrote.
    pub async fn foreign_writes(&self) -> Result<i64> {
        match self {
            Store::Sqlite(sqlite) => sqlite.foreign_writes().await,
        }
    }

    /// Copies the whole database, as it stands at one moment, into a new file.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub async fn backup(&self, file: &std::path::Path) -> std::result::Result<(), String> {
        match self {
            Store::Sqlite(sqlite) => sqlite.backup(file).await,
        }
    }

    /// Begins a transaction that will write. On SQLite it is alone from here on, in the order of asking, so that
    /// everything judged in it holds until its commit.
    pub async fn begin(&self) -> Result<Tx> {
        match self {
            Store::Sqlite(sqlite) => {
                // The guard goes into the Tx before BEGIN is sent: were this future dropped in between, the Tx still
                // rolls back whatever the connection got to.
                let mut tx = Tx { conn: Some(Conn::Sqlite(sqlite.writer().await)) };
                on!(&mut *tx, c => sqlx::query("BEGIN IMMEDIATE").execute(c))?;
                Ok(tx)
            }
        }
    }
}

impl Conn {
    /// Statements on this connection fail after a time, until [`Conn::never_stop`].
    pub async fn stop_after(&mut self, time: Duration) -> Result<()> {
        match self {
            Conn::Sqlite(conn) => Ok(sqlite::stop_after(conn, time).await?),
        }
    }

    /// Statements may take as long as they like again.
    pub async fn never_stop(&mut self) -> Result<()> {
        match self {
            Conn::Sqlite(conn) => Ok(sqlite::never_stop(conn).await?),
        }
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
        let task = tokio::spawn(async move {
            match on!(&mut conn, c => sqlx::query("COMMIT").execute(c)) {
                Ok(_) => {
                    then();
                    Ok(())
                }
                Err(cause) => match on!(&mut conn, c => sqlx::query("ROLLBACK").execute(c)) {
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
        if let Some(mut conn) = self.conn.take() {
            tokio::spawn(async move {
                // Fails where BEGIN had not been reached, which is as good.
                let _ = on!(&mut conn, c => sqlx::query("ROLLBACK").execute(c));
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
        let code = cause.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
        match (&cause, code.map(|code| code & 0xff)) {
            (sqlx::Error::PoolTimedOut, _) | (_, Some(5 | 6)) => Error::busy(),
            (_, Some(9)) => Error::new(ErrorCode::Busy, "The query took too long. Ask for less."),
            (_, Some(13)) => {
                tracing::error!("the disk of the database is full");
                Error::new(ErrorCode::Busy, "The server cannot write now: its disk is full. Nothing was changed.")
            }
            _ => Error::internal(cause),
        }
    }
}

/// The values of a list as one JSON parameter, for `json_each`.
pub(crate) fn json_list<T: serde::Serialize>(items: &[T]) -> String {
    // Lists of ids and plain rows have no failing Serialize.
    serde_json::to_string(items).unwrap_or_default()
}
