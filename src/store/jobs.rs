//! Jobs: work that a transaction leaves to be done afterwards, in small transactions that survive a restart.

use sqlx::FromRow;

use super::{Conn, json_list, on, run};
use crate::error::Result;
use crate::model::{Micros, Text};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum JobKind {
    /// Erase what a deleted account left, by the user's id.
    EraseAccount,
    /// Remove the words of erased texts from the pages of SQLite's index.
    PurgeIndex,
}

/// The kinds that this version does. Those of a newer one are left to it.
const KNOWN: [&str; 2] = ["erase_account", "purge_index"];

/// A job.
#[derive(Debug, Clone, FromRow)]
pub struct Job {
    /// Its number.
    pub id: i64,
    /// What is to be done.
    pub kind: JobKind,
    /// To whom or what.
    pub subject: i64,
    /// How far it is, in the words of its kind; empty before it begins.
    pub progress: String,
    /// Failures in a row.
    pub attempts: i64,
}

/// Adds a job, in the transaction of its cause.
pub async fn add(tx: &mut Conn, kind: JobKind, subject: i64, now: Micros) -> Result<()> {
    const SQL: &str = "INSERT INTO jobs (kind, subject, due_at, created_at) VALUES ($1, $2, $3, $3)";
    run!(tx, sqlx::query(SQL).bind(kind).bind(subject).bind(now))?;
    Ok(())
}

/// Adds a job unless there is one of its kind and subject that has not begun.
pub async fn add_once(tx: &mut Conn, kind: JobKind, subject: i64, now: Micros) -> Result<()> {
    const WAITING: &str = "SELECT count(*) FROM jobs WHERE kind = $1 AND subject = $2 AND progress = ''";
    let waiting: i64 = on!(tx, c => sqlx::query_scalar(WAITING).bind(kind).bind(subject).fetch_one(c))?;
    if waiting == 0 { add(tx, kind, subject, now).await } else { Ok(()) }
}

/// The job that is due for the longest time; none where none is due.
pub async fn due(conn: &mut Conn, now: Micros) -> Result<Option<Job>> {
    const SQL: [&str; 2] = [
        "SELECT id, kind, subject, progress, attempts FROM jobs \
            WHERE due_at <= $1 AND kind IN (SELECT value FROM json_each($2)) ORDER BY due_at, id LIMIT 1",
        "SELECT id, kind, subject, progress, attempts FROM jobs \
            WHERE due_at <= $1 AND kind IN (SELECT json_array_elements_text($2::JSON)) ORDER BY due_at, id LIMIT 1",
    ];
    let sql = conn.sql(SQL);
    Ok(on!(conn, c => sqlx::query_as(sql).bind(now).bind(json_list(&KNOWN)).fetch_optional(c))?)
}

/// Takes a job: until the end of the transaction it is nobody else's. None where it is done, or somebody has it.
pub async fn take(tx: &mut Conn, job: i64) -> Result<Option<Job>> {
    const SQL: [&str; 2] = [
        "SELECT id, kind, subject, progress, attempts FROM jobs WHERE id = $1",
        "SELECT id, kind, subject, progress, attempts FROM jobs WHERE id = $1 FOR UPDATE SKIP LOCKED",
    ];
    let sql = tx.sql(SQL);
    Ok(on!(tx, c => sqlx::query_as(sql).bind(job).fetch_optional(c))?)
}

/// Writes down how far a job is. It goes on at `due_at`, behind the others that are due.
pub async fn advance(tx: &mut Conn, job: i64, progress: &Text, due_at: Micros) -> Result<()> {
    const SQL: &str = "UPDATE jobs SET progress = $2, due_at = $3, attempts = 0 WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(job).bind(progress).bind(due_at))?;
    Ok(())
}

/// A slice of a job failed: it is tried again at `due_at`.
pub async fn failed(tx: &mut Conn, job: i64, due_at: Micros) -> Result<()> {
    const SQL: &str = "UPDATE jobs SET attempts = attempts + 1, due_at = $2 WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(job).bind(due_at))?;
    Ok(())
}

/// A job is done.
pub async fn done(tx: &mut Conn, job: i64) -> Result<()> {
    const SQL: &str = "DELETE FROM jobs WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(job))?;
    Ok(())
}
