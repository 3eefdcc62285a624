//! What the operator looks at and does, and which sessions are over.

use sqlx::FromRow;

use super::{Conn, json_list, on, run};
use crate::error::Result;
use crate::model::{Actor, Micros, SessionId, UserId};

/// An account as the operator sees it.
#[derive(Debug, Clone, FromRow)]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// Its name.
    pub username: String,
    /// Its name, folded; none once deleted.
    pub username_key: Option<String>,
    /// When it was made.
    pub created_at: Micros,
    /// When it was last seen, to the hour.
    pub last_active_at: Micros,
    /// Sessions that have not ended.
    pub sessions: i64,
    disabled_at: Option<Micros>,
    deleted_at: Option<Micros>,
}

impl Account {
    /// Open, disabled or deleted.
    pub fn state(&self) -> &'static str {
        match (self.deleted_at, self.disabled_at) {
            (Some(_), _) => "deleted",
            (None, Some(_)) => "disabled",
            (None, None) => "open",
        }
    }
}

/// All accounts by id.
pub async fn accounts(conn: &mut Conn) -> Result<Vec<Account>> {
    const SQL: &str = "SELECT u.id, u.username, u.username_key, u.created_at, u.last_active_at, u.disabled_at, \
            u.deleted_at, count(s.id) AS sessions \
        FROM users u LEFT JOIN sessions s ON s.user_id = u.id AND s.ended_at IS NULL GROUP BY u.id ORDER BY u.id";
    Ok(on!(conn, c => sqlx::query_as(SQL).fetch_all(c))?)
}

/// Closes an account from a time on, or opens it.
pub async fn set_disabled(tx: &mut Conn, user: UserId, at: Option<Micros>) -> Result<()> {
    const SQL: &str = "UPDATE users SET disabled_at = $2 WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(user).bind(at))?;
    Ok(())
}

/// Those of some sessions that are over, or not there any more.
pub async fn ended_among(conn: &mut Conn, actors: &[Actor]) -> Result<Vec<Actor>> {
    const SQL: &str = "SELECT j.value FROM json_each($1) j LEFT JOIN sessions s ON s.id = j.value \
        LEFT JOIN users u ON u.id = s.user_id \
        WHERE u.id IS NULL OR s.ended_at IS NOT NULL OR u.disabled_at IS NOT NULL OR u.deleted_at IS NOT NULL";
    let sessions: Vec<SessionId> = actors.iter().map(|actor| actor.session).collect();
    let sessions = json_list(&sessions);
    let ended: Vec<SessionId> = on!(conn, c => sqlx::query_scalar(SQL).bind(&sessions).fetch_all(c))?;
    Ok(actors.iter().filter(|actor| ended.contains(&actor.session)).copied().collect())
}
