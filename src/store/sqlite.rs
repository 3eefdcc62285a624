//! The SQLite file: one writer, several readers, one process.

use std::fs::{File, TryLockError};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::turns::{Turn, Turns};
use super::{Purpose, Use, outage, private};
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::sentence;

/// Connections that read for the commands of users; more would only wait for the same two or four cores.
const COMMAND_READERS: u32 = 4;
/// Connections that greet sockets, check sessions and read on for sockets that are behind.
const SESSION_READERS: u32 = 2;
/// Connections that read for the server itself.
const SERVER_READERS: u32 = 1;
/// How long a reader may be waited for before the caller is told that the server is busy.
const READER_WAIT: Duration = Duration::from_secs(2);
/// How long the writer may be waited for. Where somebody else holds the file, all who wait for the writer are refused
/// after this time, and not one after the other.
const WRITER_WAIT: Duration = Duration::from_secs(4);
/// How long another process (a backup, somebody's shell) may hold the file before a statement fails.
const BUSY_WAIT: Duration = Duration::from_secs(4);

/// The file and the connections to it.
#[derive(Debug)]
pub struct Sqlite {
    writer: Arc<Mutex<SqliteConnection>>,
    readers: Readers,
    reading: Turns,
    writing: Turns,
    /// Held for as long as this process serves from the file.
    _lock: Option<File>,
}

/// Connections that read, by what they are for.
#[derive(Debug)]
struct Readers {
    commands: SqlitePool,
    sessions: SqlitePool,
    server: SqlitePool,
}

/// The writer, or one of the readers.
#[derive(Debug)]
pub struct SqliteConn {
    inner: Inner,
    /// Held for as long as the connection is.
    _turn: Option<Turn>,
}

#[derive(Debug)]
enum Inner {
    /// One of several.
    Reader(PoolConnection<sqlx::Sqlite>),
    /// The only one.
    Writer(OwnedMutexGuard<SqliteConnection>),
}

impl Deref for SqliteConn {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match &self.inner {
            Inner::Reader(conn) => conn,
            Inner::Writer(conn) => conn,
        }
    }
}

impl DerefMut for SqliteConn {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match &mut self.inner {
            Inner::Reader(conn) => conn,
            Inner::Writer(conn) => conn,
        }
    }
}

/// Where the file is.
pub fn path(config: &Config) -> PathBuf {
    match config.database_url.strip_prefix("sqlite:") {
        Some(rest) => PathBuf::from(rest.strip_prefix("//").unwrap_or(rest)),
        None => config.data_dir.join("duet.db"),
    }
}

impl Sqlite {
    pub(super) async fn open(config: &Config, how: Use) -> std::result::Result<Sqlite, String> {
        let path = path(config);
        let shown = path.display();
        let beside = path.with_extension("lock");
        let lock = match how {
            Use::Serving | Use::Alone => Some(lock(&path, &beside)?),
            Use::Beside if path.exists() => None,
            Use::Beside => return Err(format!("there is no database at {shown}: name the server's --data-dir")),
        };
        private::close_to_others(&path, &beside);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What a user deletes is overwritten in the file, too.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY_WAIT)
            .statement_cache_capacity(256);
        let mut writer = options.connect().await.map_err(|cause| format!("cannot open {shown}: {cause}"))?;
        sqlx::migrate!("migrations/sqlite").run_direct(None, &mut writer, false).await.map_err(
            |cause| match cause {
                sqlx::migrate::MigrateError::VersionMissing(version) => {
                    format!("{shown} has table version {version}, which this duet does not know: start a newer duet")
                }
                other => format!("cannot bring the tables of {shown} up to date: {other}"),
            },
        )?;
        check_durable(&mut writer, &shown.to_string()).await?;
        if how != Use::Beside {
            forget_statistics(&mut writer).await.map_err(|cause| format!("cannot write {shown}: {cause}"))?;
        }
        let options = options.read_only(true).create_if_missing(false);
        let readers = async |size| {
            let pool = SqlitePoolOptions::new().max_connections(size).min_connections(1);
            let pool = pool.acquire_timeout(READER_WAIT).test_before_acquire(false).connect_with(options.clone());
            pool.await.map_err(|cause| format!("cannot read {shown}: {cause}"))
        };
        let readers = Readers {
            commands: readers(COMMAND_READERS).await?,
            sessions: readers(SESSION_READERS).await?,
            server: readers(SERVER_READERS).await?,
        };
        let turns = || Turns::new(config.user_connections);
        let (reading, writing) = (turns(), turns());
        Ok(Sqlite { writer: Arc::new(Mutex::new(writer)), readers, reading, writing, _lock: lock })
    }

    /// A database without a name: SQLite keeps it in memory and in temporary files, and removes it in the end. Only its
    /// writer sees it.
    pub(super) async fn scratch() -> std::result::Result<Sqlite, String> {
        let options = SqliteConnectOptions::new().filename("").foreign_keys(true).statement_cache_capacity(256);
        let cannot = |cause: &dyn std::fmt::Display| format!("cannot make a temporary database: {cause}");
        let mut writer = options.connect().await.map_err(|cause| cannot(&cause))?;
        let made = sqlx::migrate!("migrations/sqlite").run_direct(None, &mut writer, false).await;
        made.map_err(|cause| cannot(&cause))?;
        let readers = || SqlitePoolOptions::new().connect_lazy_with(options.clone());
        let readers = Readers { commands: readers(), sessions: readers(), server: readers() };
        let (reading, writing) = (Turns::new(1), Turns::new(1));
        Ok(Sqlite { writer: Arc::new(Mutex::new(writer)), readers, reading, writing, _lock: None })
    }

    pub(super) async fn reader(&self, purpose: Purpose) -> Result<SqliteConn> {
        let pool = match purpose {
            Purpose::Command(_) => &self.readers.commands,
            Purpose::Session(_) | Purpose::SignIn => &self.readers.sessions,
            Purpose::Lane | Purpose::Server => &self.readers.server,
        };
        let turn = self.reading.take(purpose).await?;
        Ok(SqliteConn { inner: Inner::Reader(pool.acquire().await?), _turn: turn })
    }

    /// SQLite counts, for the writer's connection, the commits of all others.
    pub(super) async fn foreign_writes(&self) -> Result<i64> {
        let mut writer = self.writer.lock().await;
        Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *writer).await?)
    }

    pub(super) async fn backup(&self, file: &std::path::Path) -> std::result::Result<(), String> {
        let cannot = |cause: sqlx::Error| format!("cannot write {}: {cause}", file.display());
        let mut reader = self.readers.server.acquire().await.map_err(cannot)?;
        let target = file.to_string_lossy().into_owned();
        sqlx::query("VACUUM INTO $1").bind(target).execute(&mut *reader).await.map_err(cannot)?;
        Ok(())
    }

    pub(super) async fn close(&self) {
        let Readers { commands, sessions, server } = &self.readers;
        tokio::join!(commands.close(), sessions.close(), server.close());
        // Whoever still writes is not waited for for ever; what is written is safe in the log beside the file.
        let Ok(writer) = self.writer(Purpose::Server).await else { return };
        let nothing = SqliteConnectOptions::new().in_memory(true).connect().await;
        if let (Inner::Writer(mut writer), Ok(nothing)) = (writer.inner, nothing)
            && let Err(cause) = std::mem::replace(&mut *writer, nothing).close().await
        {
            tracing::warn!(%cause, "the database was not closed in order");
        }
    }

    /// Moves what the log holds into the file, and empties the log. Waits for no reader: false where one needs the log.
    pub(super) async fn fold_log(&self) -> Result<bool> {
        let mut writer = self.writer(Purpose::Server).await?;
        sqlx::query("PRAGMA busy_timeout = 0").execute(&mut *writer).await?;
        let folded = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *writer).await;
        let wait = format!("PRAGMA busy_timeout = {}", BUSY_WAIT.as_millis());
        sqlx::query(AssertSqlSafe(wait)).execute(&mut *writer).await?;
        match folded {
            Ok(blocked) => Ok(blocked == 0),
            Err(cause) if cause.as_database_error().and_then(meaning).is_some() => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }

    /// All who write wait in the order of asking, but one user with no more than a few at once.
    pub(super) async fn writer(&self, purpose: Purpose) -> Result<SqliteConn> {
        let turn = self.writing.take(purpose).await?;
        let writer = tokio::time::timeout(WRITER_WAIT, Arc::clone(&self.writer).lock_owned()).await;
        let inner = writer.map(Inner::Writer).map_err(|_| Error::busy())?;
        Ok(SqliteConn { inner, _turn: turn })
    }
}

/// Two processes on one file would each think that they tell their sockets everything.
fn lock(path: &Path, beside: &Path) -> std::result::Result<File, String> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(|cause| format!("cannot make {}: {cause}; choose another --data-dir", directory.display()))?;
    }
    let cannot = |cause: &dyn std::fmt::Display| format!("cannot write {}: {cause}", beside.display());
    let file = File::options().create(true).truncate(false).write(true).open(beside).map_err(|cause| cannot(&cause))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(format!("another duet is using {}: stop it, or give this one another --data-dir", path.display()))
        }
        Err(TryLockError::Error(cause)) => Err(cannot(&cause)),
    }
}

/// Without statistics SQLite goes by the indexes, which are made for our statements. With those that somebody made while
/// the tables were nearly empty it reads whole tables ever after.
async fn forget_statistics(conn: &mut SqliteConnection) -> sqlx::Result<()> {
    for sql in ["DROP TABLE IF EXISTS sqlite_stat1", "DROP TABLE IF EXISTS sqlite_stat4"] {
        sqlx::query(sql).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Settings are read back: an acknowledged message must survive a power cut.
async fn check_durable(conn: &mut SqliteConnection, shown: &str) -> std::result::Result<(), String> {
    let cannot = |cause: sqlx::Error| format!("cannot read the settings of {shown}: {cause}");
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *conn).await.map_err(cannot)?;
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *conn).await.map_err(cannot)?;
    if journal != "wal" || synchronous != 2 {
        return Err(format!("{shown} does not keep its data safe: journal_mode={journal}, synchronous={synchronous}"));
    }
    Ok(())
}

/// Somebody read before they wrote, and what they read is old. Every transaction of ours takes the file first, so this is
/// no busy file but a fault.
const BUSY_SNAPSHOT: u32 = 517;

/// What an error of the database means, by its primary result code; none where it means a fault of ours.
pub(super) fn meaning(error: &dyn DatabaseError) -> Option<Error> {
    let code = error.code()?.parse::<u32>().ok()?;
    if code == BUSY_SNAPSHOT {
        return None;
    }
    match code & 0xff {
        // Busy, locked.
        5 | 6 => Some(Error::busy()),
        // Interrupted.
        9 => Some(Error::new(ErrorCode::Busy, sentence!("query-too-long"))),
        // Out of memory, read only, a disk that fails, a file that is damaged, cannot be opened or is no database: the
        // same for whatever is written.
        7 | 8 | 10 | 11 | 14 | 26 => {
            let message = error.message();
            outage::complain(|left_out| tracing::error!(code, message, left_out, "the database cannot be used"));
            Some(Error::busy())
        }
        // Full.
        13 => {
            outage::complain(|left_out| tracing::error!(left_out, "the disk of the database is full"));
            Some(Error::new(ErrorCode::Busy, sentence!("disk-full")))
        }
        _ => None,
    }
}
