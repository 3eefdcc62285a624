//! What users tell the operator of each other.

use super::{Conn, on};
use crate::error::Result;
use crate::model::{Micros, ReportId, Text, UserId};

/// A report to be kept.
#[derive(Debug)]
pub struct NewReport<'a> {
    /// Who tells.
    pub reporter: UserId,
    /// Of whom.
    pub subject: UserId,
    /// Why, in a word.
    pub reason: &'a Text,
    /// Why, at length.
    pub text: &'a Text,
    /// The messages meant, JSON.
    pub evidence: &'a Text,
    /// When.
    pub at: Micros,
}

/// Whether somebody can be told of: whoever was ever here.
pub async fn is_subject(conn: &mut Conn, user: UserId) -> Result<bool> {
    const SQL: &str = "SELECT COUNT(*) FROM users WHERE id = $1";
    let count: i64 = on!(conn, c => sqlx::query_scalar(SQL).bind(user).fetch_one(c))?;
    Ok(count > 0)
}

/// Keeps a report.
pub async fn add(tx: &mut Conn, report: &NewReport<'_>) -> Result<ReportId> {
    const SQL: &str = "INSERT INTO reports (reporter_id, subject_id, reason, text, evidence, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
    Ok(on!(tx, c => sqlx::query_scalar(SQL)
        .bind(report.reporter)
        .bind(report.subject)
        .bind(report.reason)
        .bind(report.text)
        .bind(report.evidence)
        .bind(report.at)
        .fetch_one(c))?)
}
