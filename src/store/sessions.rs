//! Sessions: signed-in devices, each with the digest of its one refresh token.

use sqlx::FromRow;

use super::{Conn, on, run};
use crate::error::Result;
use crate::model::{Micros, Session, SessionId, Text, UserId};

/// A session as its tokens are judged by it.
#[derive(Debug, FromRow)]
pub struct Stored {
    /// Whose.
    pub user: UserId,
    /// The user's name.
    pub username: String,
    /// The user is switched off.
    pub disabled: bool,
    /// The user is deleted.
    pub deleted: bool,
    /// When it began.
    pub created_at: Micros,
    /// When it ends by itself.
    pub expires_at: Micros,
    /// When it was ended.
    pub ended_at: Option<Micros>,
    /// Of the name of its refresh token.
    pub refresh_hash: String,
    /// Of the one before.
    pub previous_hash: Option<String>,
    /// When that was replaced.
    pub rotated_at: Option<Micros>,
    /// When the current refresh token was first used, other than to be replaced.
    pub refresh_used_at: Option<Micros>,
}

/// A session to be opened.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Whose.
    pub user: UserId,
    /// What the client calls itself.
    pub label: &'a Text,
    /// Where it begins, as a digest.
    pub origin: &'a Text,
    /// Of the name of its refresh token.
    pub refresh_hash: &'a Text,
    /// When it ends by itself.
    pub expires_at: Micros,
}

/// Opens a session.
pub async fn insert(tx: &mut Conn, session: &NewSession<'_>, now: Micros) -> Result<SessionId> {
    const SQL: &str = "INSERT INTO sessions \
            (user_id, label, origin, refresh_hash, created_at, last_used_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $5, $6) RETURNING id";
    Ok(on!(tx, c => sqlx::query_scalar(SQL)
        .bind(session.user)
        .bind(session.label)
        .bind(session.origin)
        .bind(session.refresh_hash)
        .bind(now)
        .bind(session.expires_at)
        .fetch_one(c))?)
}

/// Whether a session of the account of a name began there since a time; asked alike for a name that nobody has.
pub async fn began_from(conn: &mut Conn, username_key: &Text, origin: &Text, since: Micros) -> Result<bool> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM users u JOIN sessions s ON s.user_id = u.id \
        WHERE u.username_key = $1 AND s.origin = $2 AND s.created_at > $3)";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(username_key).bind(origin).bind(since).fetch_one(c))?)
}

/// Opens the session of a token that the Django service signed. `None` where there is one, or where all sessions of the
/// user were ended before this one could begin; the caller holds the user's lock.
pub async fn insert_foreign(
    tx: &mut Conn,
    user: UserId,
    label: &Text,
    jti_hash: &Text,
    now: Micros,
    expires_at: Micros,
) -> Result<Option<SessionId>> {
    const SQL: &str = "INSERT INTO sessions \
        (user_id, label, refresh_hash, foreign_jti, created_at, last_used_at, expires_at) \
        SELECT id, $2, $3, $3, $4, $4, $5 FROM users WHERE id = $1 AND foreign_ended_at IS NULL \
        ON CONFLICT DO NOTHING RETURNING id";
    Ok(on!(tx, c => sqlx::query_scalar(SQL)
        .bind(user)
        .bind(label)
        .bind(jti_hash)
        .bind(now)
        .bind(expires_at)
        .fetch_optional(c))?)
}

/// The session of a token that the Django service signed, ended or not.
pub async fn of_foreign(conn: &mut Conn, jti_hash: &Text) -> Result<Option<SessionId>> {
    const SQL: &str = "SELECT id FROM sessions WHERE foreign_jti = $1";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(jti_hash).fetch_optional(c))?)
}

/// A session, ended or not.
pub async fn find(conn: &mut Conn, session: SessionId) -> Result<Option<Stored>> {
    const SQL: &str = "SELECT s.user_id AS user, u.username, u.disabled_at IS NOT NULL AS disabled, \
        u.deleted_at IS NOT NULL AS deleted, s.created_at, s.expires_at, s.ended_at, s.refresh_hash, \
        s.previous_hash, s.rotated_at, s.refresh_used_at FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(session).fetch_optional(c))?)
}

/// The open sessions of a user, the last used first.
pub async fn list(conn: &mut Conn, user: UserId, current: SessionId, now: Micros) -> Result<Vec<Session>> {
    const SQL: &str = "SELECT id, label, created_at, last_used_at, expires_at, id = $2 AS current FROM sessions \
        WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $3 ORDER BY last_used_at DESC, id DESC";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).bind(current).bind(now).fetch_all(c))?)
}

/// Ends a session of a user; false when it was not open.
pub async fn end(tx: &mut Conn, user: UserId, session: SessionId, now: Micros) -> Result<bool> {
    const SQL: &str =
        "UPDATE sessions SET ended_at = $3 WHERE user_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3";
    Ok(run!(tx, sqlx::query(SQL).bind(user).bind(session).bind(now))? > 0)
}

/// Ends all sessions of a user, or all but one, and answers which they were. Tokens of the Django service that were not
/// used so far have no session yet; they get none from here on.
pub async fn end_all(tx: &mut Conn, user: UserId, but: Option<SessionId>, now: Micros) -> Result<Vec<SessionId>> {
    const FOREIGN: &str = "UPDATE users SET foreign_ended_at = $2 WHERE id = $1 AND foreign_ended_at IS NULL";
    const SQL: &str = "UPDATE sessions SET ended_at = $3 \
        WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL AND expires_at > $3 RETURNING id";
    // No session has the id 0.
    let but = but.unwrap_or(SessionId(0));
    run!(tx, sqlx::query(FOREIGN).bind(user).bind(now))?;
    Ok(on!(tx, c => sqlx::query_scalar(SQL).bind(user).bind(but).bind(now).fetch_all(c))?)
}

/// Notes that the refresh token of a session was used, and stays.
pub async fn use_refresh(tx: &mut Conn, session: SessionId, now: Micros) -> Result<()> {
    const SQL: &str = "UPDATE sessions SET last_used_at = $2, refresh_used_at = coalesce(refresh_used_at, $2) \
        WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(session).bind(now))?;
    Ok(())
}

/// Replaces the refresh token of a session.
pub async fn rotate(
    tx: &mut Conn,
    session: SessionId,
    refresh_hash: &Text,
    now: Micros,
    expires_at: Micros,
) -> Result<()> {
    const SQL: &str = "UPDATE sessions SET previous_hash = refresh_hash, refresh_hash = $2, rotated_at = $3, \
        refresh_used_at = NULL, last_used_at = $3, expires_at = $4 WHERE id = $1";
    run!(tx, sqlx::query(SQL).bind(session).bind(refresh_hash).bind(now).bind(expires_at))?;
    Ok(())
}
