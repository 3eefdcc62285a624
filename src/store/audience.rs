//! Who may know of whose presence: a match or a shared conversation, and no block either way.

use sqlx::FromRow;

use super::visible::{no_block, pair_of};
use super::{Conn, Store, json_list, on, run};
use crate::error::Result;
use crate::model::{Micros, Status, UserId};

/// Groups with more members do not make their members known to each other.
const GROUP_MAX: i64 = 100;

/// A user whose presence the reader may know.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct Known {
    /// Who.
    pub user: UserId,
    /// What they chose to be seen as.
    pub status: Status,
    /// Until when they count as here without a socket.
    pub here_until: Micros,
}

/// All who share an active match or a conversation with user `$1`, without blocks and deleted accounts. Nobody is left
/// to a deleted user: the end of an account is told once, in the same words as a block.
macro_rules! acquaintances {
    ($columns:literal, $tail:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM (SELECT p.high AS id FROM pairs p \
                WHERE p.low = $1 AND p.matched_at IS NOT NULL AND p.match_ended_at IS NULL \
            UNION SELECT p.low FROM pairs p \
                WHERE p.high = $1 AND p.matched_at IS NOT NULL AND p.match_ended_at IS NULL \
            UNION SELECT m.user_id FROM members me JOIN conversations c ON c.id = me.conversation_id \
                JOIN members m ON m.conversation_id = c.id \
                WHERE me.user_id = $1 AND m.user_id <> $1 AND c.member_count <= $2) AS a \
            JOIN users u ON u.id = a.id \
            JOIN users one ON one.id = $1 AND one.deleted_at IS NULL \
            ",
            pair_of!("p", "$1", "a.id"),
            " WHERE u.deleted_at IS NULL AND u.disabled_at IS NULL AND ",
            no_block!("p"),
            " ",
            $tail
        )
    };
}

/// What decides how a user is seen, and who may know of it.
pub async fn of(conn: &mut Conn, user: UserId) -> Result<(Known, Vec<UserId>)> {
    const STATUS: &str = "SELECT id AS user, status, here_until FROM users WHERE id = $1";
    const AUDIENCE: &str = acquaintances!("u.id", "");
    let known = on!(conn, c => sqlx::query_as(STATUS).bind(user).fetch_one(c))?;
    let audience = on!(conn, c => sqlx::query_scalar(AUDIENCE).bind(user).bind(GROUP_MAX).fetch_all(c))?;
    Ok((known, audience))
}

/// Those of some users whose presence a reader may know.
pub async fn known_among(conn: &mut Conn, reader: UserId, users: &[UserId]) -> Result<Vec<Known>> {
    const SQL: &str =
        acquaintances!("u.id AS user, u.status, u.here_until", "AND u.id IN (SELECT j.value FROM json_each($3) j)");
    let users = json_list(users);
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(GROUP_MAX).bind(&users).fetch_all(c))?)
}

/// Chooses what a user is seen as. Answers whether that changed.
pub async fn set_status(tx: &mut Conn, user: UserId, status: Status) -> Result<bool> {
    const SQL: &str = "UPDATE users SET status = $2 WHERE id = $1 AND status <> $2";
    Ok(run!(tx, sqlx::query(SQL).bind(user).bind(status))? > 0)
}

/// Notes that a user was there, unless that was noted less than `step` microseconds ago.
pub async fn was_active(store: &Store, user: UserId, at: Micros, step: i64) -> Result<()> {
    const KNOWN: &str = "SELECT last_active_at FROM users WHERE id = $1";
    const SQL: &str = "UPDATE users SET last_active_at = $2 WHERE id = $1";
    let mut conn = store.read(user).await?;
    let known: Micros = on!(&mut conn, c => sqlx::query_scalar(KNOWN).bind(user).fetch_one(c))?;
    if at - known < step {
        return Ok(());
    }
    let mut tx = store.begin(user).await?;
    run!(&mut *tx, sqlx::query(SQL).bind(user).bind(at))?;
    tx.commit(|| ()).await
}
