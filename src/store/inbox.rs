//! The entries of a personal stream that stand in the inbox.

use super::{Conn, on, run};
use crate::error::Result;
use crate::model::{PersonalEntry, UserId};

/// The kinds that [`crate::model::PersonalKind::is_notification`] names, as SQL.
macro_rules! notifications_of {
    ($columns:literal, $tail:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM personal WHERE user_id = $1 \
            AND kind IN ('like_received', 'matched', 'conversation_gained', 'session_started') ",
            $tail
        )
    };
}

/// How far the inbox was read, and how many entries were not, counting up to a cap.
pub async fn state(conn: &mut Conn, user: UserId, cap: i64) -> Result<(i64, i64)> {
    const READ: &str = "SELECT notifications_read FROM users WHERE id = $1";
    const UNREAD: &str =
        concat!("SELECT count(*) FROM (", notifications_of!("seq", "AND seq > $2 LIMIT $3"), ") AS unread");
    let read: i64 = on!(conn, c => sqlx::query_scalar(READ).bind(user).fetch_one(c))?;
    let unread = on!(conn, c => sqlx::query_scalar(UNREAD).bind(user).bind(read).bind(cap).fetch_one(c))?;
    Ok((read, unread))
}

/// A page of the inbox below a number, newest first.
pub async fn page(conn: &mut Conn, user: UserId, before: i64, limit: usize) -> Result<Vec<PersonalEntry>> {
    const SQL: &str = notifications_of!("seq, kind, subject, at", "AND seq < $2 ORDER BY seq DESC LIMIT $3");
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).bind(before).bind(limit as i64).fetch_all(c))?)
}

/// Raises how far the inbox was read. Answers whether that moved.
pub async fn mark_read(tx: &mut Conn, user: UserId, seq: i64) -> Result<bool> {
    const SQL: &str = "UPDATE users SET notifications_read = $2 WHERE id = $1 AND notifications_read < $2";
    Ok(run!(tx, sqlx::query(SQL).bind(user).bind(seq))? > 0)
}
