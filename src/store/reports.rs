//! What users tell the operator of each other.

use super::{Conn, on};
use crate::error::Result;
use crate::model::{Micros, ReportId, UserId};

/// A report to be kept.
#[derive(Debug)]
pub struct NewReport<'a> {
    /// Who tells.
    pub reporter: UserId,
    /// Of whom.
    pub subject: UserId,
    /// Why, in a word.
    pub reason: &'a str,
    /// Why, at length.
    pub text: &'a str,
    /// The messages meant, JSON.
    pub evidence: &'a str,
    /// When.
    pub at: Micros,
}

/// Keeps a report; none if there never was such a subject.
pub async fn add(tx: &mut Conn, report: &NewReport<'_>) -> Result<Option<ReportId>> {
    const SQL: &str = "INSERT INTO reports (reporter_id, subject_id, reason, text, evidence, created_at) \
        SELECT $1, u.id, $3, $4, $5, $6 FROM users u WHERE u.id = $2 RETURNING id";
    Ok(on!(tx, c => sqlx::query_scalar(SQL)
        .bind(report.reporter)
        .bind(report.subject)
        .bind(report.reason)
        .bind(report.text)
        .bind(report.evidence)
        .bind(report.at)
        .fetch_optional(c))?)
}
