//! Postgres: any number of processes; for each purpose a pool that reads and one that writes.
//!
//! A connection is handed out only after a `ROLLBACK` on it was answered. That is the sign of life, and it is the guard
//! against an open transaction that somebody left behind: in sqlx 0.9 a `begin` that is dropped half-way returns its
//! connection so, and the next insert on it would be answered and lost.

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection};

use super::serving::Serving;
use super::turns::{Turn, Turns};
use super::{Purpose, Use, outage};
use crate::config::{Config, ms};
use crate::error::Result;
use crate::planted::{self, Fault};
use crate::sentence;

/// How long a transaction may lie idle before the database ends it. Ours never do; this is for a process that stopped or
/// was cut off, whose locks others wait for.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(1);
/// Connections of each pool that are kept ready.
const READY: u32 = 4;
/// Connections that greet sockets, check sessions and read on for sockets that are behind.
const SESSION_READERS: u32 = 6;
/// Connections for what the server does by itself, for reading and for writing each.
const SERVER: u32 = 2;
/// How long the start waits for the first connection.
const START_WAIT: Duration = Duration::from_secs(10);
/// How long the start waits while another process brings the tables up to date.
const MIGRATE_WAIT: Duration = Duration::from_secs(60);
/// A connection is replaced after this time, so that none keeps what its server side gathered for ever.
const LIFETIME: Duration = Duration::from_secs(3600);

/// What the planner is told on every connection. Each statement of ours looks rows up by an index. Without statistics of a
/// table, or with those from when it was empty, the planner would read whole tables to join them.
pub const PLANNER: [(&str, &str); 3] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];

/// The pools.
#[derive(Debug)]
pub struct Postgres {
    writers: Pools,
    readers: Pools,
    /// How long one statement may be waited for.
    patience: Duration,
    /// Tells other processes, for as long as this one lives, that it is there.
    _serving: Option<Serving>,
}

/// Connections of one kind, those that read or those that write, by what they are for.
#[derive(Debug)]
struct Pools {
    /// For the commands of users, who share it fairly.
    commands: PgPool,
    /// Of those that read, for sockets and sessions; of those that write, for the lanes.
    sockets: PgPool,
    /// For the server itself.
    server: PgPool,
    turns: Turns,
}

impl Pools {
    fn new(options: &PgConnectOptions, config: &Config, commands: u32, sockets: u32) -> Pools {
        let pool = |size| pool(size, ms(config.postgres_wait_ms)).connect_lazy_with(options.clone());
        let (commands, sockets, server) = (pool(commands), pool(sockets), pool(SERVER));
        Pools { commands, sockets, server, turns: Turns::new(config.user_connections) }
    }

    async fn close(&self) {
        tokio::join!(self.commands.close(), self.sockets.close(), self.server.close());
    }
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Every statement was answered well.
    Sound,
    /// A statement was refused: its transaction can only be rolled back.
    Refused,
    /// A statement was not answered: nobody knows what the server still does.
    Lost,
}

/// A connection of one of the pools.
#[derive(Debug)]
pub struct PgConn {
    inner: PoolConnection<sqlx::Postgres>,
    state: State,
    patience: Duration,
    /// Held for as long as the connection is.
    _turn: Option<Turn>,
}

impl PgConn {
    /// The connection, and who watches over its statements.
    pub(super) fn parts(&mut self) -> (&mut PgConnection, Watch<'_>) {
        (&mut self.inner, Watch { state: &mut self.state, patience: self.patience })
    }

    /// Whether every statement so far was answered well. A COMMIT after one that was refused is answered well and rolls
    /// back.
    pub(super) fn is_sound(&self) -> bool {
        self.state == State::Sound
    }
}

impl Drop for PgConn {
    fn drop(&mut self) {
        if self.state == State::Lost {
            self.inner.close_on_drop();
            return;
        }
        // The pool asks for a sign of life before it takes a connection back, and would wait for it without end.
        drop(tokio::spawn(tokio::time::timeout(self.patience, self.inner.return_to_pool())));
    }
}

/// Watches over the statements of one connection.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    state: &'a mut State,
    patience: Duration,
}

impl Watch<'_> {
    /// Waits for an answer, but not for ever: a server that is stopped or cut off sends no error.
    pub(super) async fn over<T>(self, statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        if *self.state == State::Lost {
            return Err(sqlx::Error::Io(std::io::ErrorKind::NotConnected.into()));
        }
        let answer = tokio::time::timeout(self.patience, statement).await;
        let answer = answer.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        if let Err(cause) = &answer {
            *self.state = match cause {
                sqlx::Error::Database(error) if !error.code().is_some_and(|code| ends_connection(&code)) => {
                    State::Refused
                }
                sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                    State::Refused
                }
                _ => State::Lost,
            };
        }
        answer
    }
}

/// Whether a connection is over after an error: the server shuts down, the connection itself is what failed, or its
/// transaction did nothing for too long (this process slept), so that the server rolled it back.
fn ends_connection(code: &str) -> bool {
    code.starts_with("57P") || code.starts_with("08") || code == "25P03"
}

impl Postgres {
    pub(super) async fn open(config: &Config, how: Use) -> std::result::Result<Postgres, String> {
        let options = options(config)?;
        let shown = shown(&options);
        let patient = options.clone().options([("lock_timeout", millis(MIGRATE_WAIT))]);
        let mut first = tokio::time::timeout(START_WAIT, patient.connect())
            .await
            .map_err(|_| format!("no answer from {shown} within {} s", START_WAIT.as_secs()))?
            .map_err(|cause| format!("cannot open {shown}: {cause}{}", advice(&cause)))?;
        check(&mut first, &shown, config.allow_unsafe_durability).await?;
        let serving = match how {
            Use::Beside => None,
            Use::Serving => Some(Serving::among_others(options.clone(), &shown).await?),
            Use::Alone => Some(Serving::alone(options.clone(), &shown).await?),
        };
        migrate(&mut first, &shown).await?;
        let patience = ms(config.postgres_statement_ms);
        let wait = ms(config.postgres_wait_ms);
        let lanes = u32::try_from(config.write_lanes).unwrap_or(u32::MAX);
        let writing = options
            .clone()
            .options([("statement_timeout", millis(patience)), ("lock_timeout", millis(wait))])
            .options([("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION))]);
        let reading = options.options([
            // Postgres takes 0 for no limit at all.
            ("statement_timeout", millis(ms(config.query_ms.max(1)))),
            ("default_transaction_read_only", "on".into()),
        ]);
        Ok(Postgres {
            // A lane begins its next transaction while the last one may still be rolling back.
            writers: Pools::new(&writing, config, config.postgres_writers, lanes.saturating_add(1)),
            readers: Pools::new(&reading, config, config.postgres_readers, SESSION_READERS),
            patience,
            _serving: serving,
        })
    }

    pub(super) async fn reader(&self, purpose: Purpose) -> Result<PgConn> {
        let readers = &self.readers;
        let pool = match purpose {
            Purpose::Command(_) => &readers.commands,
            Purpose::Session(_) | Purpose::SignIn => &readers.sockets,
            Purpose::Lane | Purpose::Server => &readers.server,
        };
        self.from(pool, readers.turns.take(purpose).await?).await
    }

    pub(super) async fn writer(&self, purpose: Purpose) -> Result<PgConn> {
        let writers = &self.writers;
        let pool = match purpose {
            Purpose::Command(_) | Purpose::Session(_) | Purpose::SignIn => &writers.commands,
            Purpose::Lane => &writers.sockets,
            Purpose::Server => &writers.server,
        };
        self.from(pool, writers.turns.take(purpose).await?).await
    }

    pub(super) async fn close(&self) {
        let closing = async { tokio::join!(self.writers.close(), self.readers.close()) };
        // Whoever still works with one is not waited for longer than for an answer.
        let _ = tokio::time::timeout(self.patience, closing).await;
    }

    async fn from(&self, pool: &PgPool, turn: Option<Turn>) -> Result<PgConn> {
        Ok(PgConn { inner: pool.acquire().await?, state: State::Sound, patience: self.patience, _turn: turn })
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// What every connection has. Nothing here weakens what the server does to keep data.
fn options(config: &Config) -> std::result::Result<PgConnectOptions, String> {
    // The cause may quote the URL, and with it the password.
    let options = parse(&config.database_url)
        .map_err(|_| "--database-url: not a URL like postgres://user:password@host:5432/name")?;
    Ok(options
        .application_name("duet")
        .statement_cache_capacity(256)
        .options([("client_min_messages", "error"), ("TimeZone", "UTC")])
        .options(PLANNER))
}

/// Reads a URL as `psql` does: one that names a user and no host, which is then the socket of this machine or the host
/// among its parameters, is a URL too. The library takes a user without a host only as a parameter.
pub(super) fn parse(url: &str) -> sqlx::Result<PgConnectOptions> {
    let Some((scheme, rest)) = url.split_once("://") else { return PgConnectOptions::from_str(url) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some(credentials) = rest[..end].strip_suffix('@') else { return PgConnectOptions::from_str(url) };
    let (place, query) = rest[end..].split_once('?').unwrap_or((&rest[end..], ""));
    let (user, password) = credentials.split_once(':').map_or((credentials, None), |(user, word)| (user, Some(word)));
    // Both stand percent-encoded in a URL, before the host as in its parameters; there a + is a space besides.
    let plain = |text: &str| text.replace('+', "%2B").replace('&', "%26");
    let mut moved = format!("{scheme}://{place}?{query}&user={}", plain(user));
    if let Some(password) = password {
        moved.push_str(&format!("&password={}", plain(password)));
    }
    PgConnectOptions::from_str(&moved)
}

/// A database for people: without its password.
fn shown(options: &PgConnectOptions) -> String {
    let name = options.get_database().unwrap_or_else(|| options.get_username());
    format!("postgres://{}:{}/{name}", options.get_host(), options.get_port())
}

/// What to do about a connection that was not made.
fn advice(cause: &sqlx::Error) -> &'static str {
    // The libraries tell what is wrong with a certificate in words only.
    match cause.to_string().contains("certificate") {
        true => "; name the file of the authority that you trust as sslrootcert in --database-url",
        false => "",
    }
}

fn pool(size: u32, wait: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size.max(1))
        // Made at the start, so that the first who come do not wait for them all at once.
        .min_connections(size.clamp(1, READY))
        .acquire_timeout(wait)
        .max_lifetime(LIFETIME)
        .test_before_acquire(false)
        .before_acquire(|conn, _| {
            Box::pin(async move {
                if !planted::is(Fault::NoRollbackGuard) {
                    sqlx::query("ROLLBACK").execute(conn).await?;
                }
                Ok(true)
            })
        })
}

/// An acknowledged message must survive a power cut, and text must be kept as it is.
async fn check(conn: &mut PgConnection, shown: &str, unsafe_allowed: bool) -> std::result::Result<(), String> {
    const SAFE: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];
    const SQL: &str = "SELECT name, setting FROM pg_settings WHERE setting = 'off' AND name = ANY($1)";
    let cannot = |cause: sqlx::Error| format!("cannot read the settings of {shown}: {cause}");
    let off: Vec<(String, String)> = sqlx::query_as(SQL).bind(SAFE).fetch_all(&mut *conn).await.map_err(cannot)?;
    if !off.is_empty() && !unsafe_allowed {
        let off: Vec<String> = off.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let off = off.join(", ");
        return Err(format!(
            "{shown} does not keep its data safe: {off}. Turn it on, or lose messages with --allow-unsafe-durability true"
        ));
    }
    let encoding: String = sqlx::query_scalar("SHOW server_encoding").fetch_one(&mut *conn).await.map_err(cannot)?;
    if encoding != "UTF8" {
        return Err(format!("{shown} keeps text as {encoding}: make a database with ENCODING 'UTF8'"));
    }
    let standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(conn).await.map_err(cannot)?;
    match standby {
        true => Err(format!("{shown} is a standby, which takes no writes: name the primary")),
        false => Ok(()),
    }
}

/// Brings the tables up to date. Of several processes one does it and the others wait, by a lock that sqlx takes.
async fn migrate(conn: &mut PgConnection, shown: &str) -> std::result::Result<(), String> {
    let migrated = sqlx::migrate!("migrations/postgres").run_direct(None, conn, false).await;
    migrated.map_err(|cause| match cause {
        sqlx::migrate::MigrateError::VersionMissing(version) => {
            format!("{shown} has table version {version}, which this duet does not know: start a newer duet")
        }
        other => format!("cannot bring the tables of {shown} up to date: {other}"),
    })
}

/// What an error of the database means, by its SQLSTATE; none where it means a fault of ours.
pub(super) fn meaning(error: &PgDatabaseError) -> Option<crate::error::Error> {
    use crate::error::{Error, ErrorCode};
    let busy = |text| Some(Error::new(ErrorCode::Busy, text));
    match error.code() {
        // Not serialisable, deadlock, unique violation: somebody else was faster. Or this process slept, and the server
        // rolled back what it had begun.
        "40001" | "40P01" | "23505" | "25P03" => Some(Error::overtaken()),
        "53100" => {
            outage::complain(|left_out| tracing::error!(left_out, "the disk of the database is full"));
            busy(sentence!("disk-full"))
        }
        // A lock was waited for in vain.
        "55P03" => Some(Error::busy()),
        "57014" => busy(sentence!("query-too-long")),
        // Too many connections, out of memory and the like; a disk that fails; or the connection is over.
        code if code.starts_with("53") || code.starts_with("58") || ends_connection(code) => {
            let message = error.message();
            outage::complain(|left_out| tracing::warn!(code, message, left_out, "the database refuses"));
            Some(Error::busy())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d12_a_url_may_name_a_user_and_no_host() {
        let of = |url: &str| parse(url).map(|found| (found.get_username().to_owned(), found.get_host().to_owned()));
        let told = |user: &str, host: &str| (user.to_owned(), host.to_owned());
        for (url, wanted) in [
            ("postgres://u@h/db", told("u", "h")),
            ("postgres://u@/db?host=h", told("u", "h")),
            ("postgres://u%2B1:p%40ss@/db?host=h&sslmode=disable", told("u+1", "h")),
            ("postgres://u+1@/db?host=h", told("u+1", "h")),
            ("postgresql://u:p@?host=h", told("u", "h")),
        ] {
            assert_eq!(of(url).expect(url), wanted, "{url}");
        }
        let by_socket = parse("postgres://u:p@/db?host=/var/run/postgresql").expect("options");
        assert_eq!(
            by_socket.get_socket().map(|path| path.as_path()),
            Some(std::path::Path::new("/var/run/postgresql"))
        );
        assert_eq!(by_socket.get_database(), Some("db"));
    }
}
