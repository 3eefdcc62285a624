//! The end of an account.

use super::visible::{blocks, pair_of};
use super::{Conn, accounts, files, on, run};
use crate::error::{Error, Result};
use crate::model::{ConversationId, Micros, UserId};

/// Locks all that the end of an account changes: the pairs of the user, the conversations, the user and those who are
/// told. So the end waits for whatever is being written there, and nothing comes after it.
///
/// # Errors
/// `overtaken` where something new came up while it waited.
pub async fn lock(tx: &mut Conn, user: UserId) -> Result<()> {
    const PAIRS: &str = "SELECT id FROM pairs WHERE low = $1 OR high = $1 ORDER BY id FOR NO KEY UPDATE";
    const CONVERSATIONS: &str = "SELECT c.id FROM conversations c \
        WHERE c.id IN (SELECT m.conversation_id FROM members m WHERE m.user_id = $1) ORDER BY c.id FOR NO KEY UPDATE";
    const MEMBERSHIPS: &str = "SELECT m.conversation_id FROM members m WHERE m.user_id = $1";
    if !tx.is_shared() {
        return Ok(());
    }
    run!(tx, sqlx::query(PAIRS).bind(user))?;
    let conversations: Vec<ConversationId> = on!(tx, c => sqlx::query_scalar(CONVERSATIONS).bind(user).fetch_all(c))?;
    let mut users = acquaintances(tx, user).await?;
    users.push(user);
    accounts::lock(tx, &users).await?;
    // Whoever opens a conversation with the user or brings them into a group locks the user, too: from here on nothing
    // new comes up, and what came up before is seen now.
    let memberships: Vec<ConversationId> = on!(tx, c => sqlx::query_scalar(MEMBERSHIPS).bind(user).fetch_all(c))?;
    let told = acquaintances(tx, user).await?;
    let nothing_new =
        memberships.iter().all(|id| conversations.contains(id)) && told.iter().all(|id| users.contains(id));
    if nothing_new { Ok(()) } else { Err(Error::overtaken()) }
}

/// Everybody who has a match or a direct conversation with a user and was not blocked by them.
pub async fn acquaintances(conn: &mut Conn, user: UserId) -> Result<Vec<UserId>> {
    const SQL: &str = concat!(
        "SELECT o.other FROM ( \
            SELECT high AS other FROM pairs WHERE low = $1 AND matched_at IS NOT NULL AND match_ended_at IS NULL \
            UNION SELECT low FROM pairs WHERE high = $1 AND matched_at IS NOT NULL AND match_ended_at IS NULL \
            UNION SELECT CASE WHEN c.low = $1 THEN c.high ELSE c.low END FROM members m \
                JOIN conversations c ON c.id = m.conversation_id WHERE m.user_id = $1 AND c.kind = 'direct') o ",
        pair_of!("p", "$1", "o.other"),
        " WHERE NOT ",
        blocks!("p", "$1"),
        " ORDER BY o.other"
    );
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(user).fetch_all(c))?)
}

/// Empties an account: what the user told, wrote, liked and passed is gone; ids and places of messages stay.
pub async fn empty(tx: &mut Conn, user: UserId, now: Micros) -> Result<()> {
    const USER: &str = "UPDATE users SET username = '', username_key = NULL, password_hash = '!', email = '', \
        first_name = '', last_name = '', bio = '', birth_date = NULL, gender = NULL, location = '', cell_lat = NULL, \
        cell_lon = NULL, lone_latitude = NULL, lone_longitude = NULL, status = 'invisible', deleted_at = $2 WHERE id = $1";
    const STEPS: &[&str] = &[
        "DELETE FROM interests WHERE user_id = $1",
        "DELETE FROM personal WHERE user_id = $1",
        "DELETE FROM reactions WHERE user_id = $1",
        // One statement on its own table in either database; only the way the index is built differs.
        "DELETE FROM message_search WHERE rowid IN (SELECT id FROM messages WHERE sender_id = $1)",
        "UPDATE messages SET text = '', content_hash = NULL WHERE sender_id = $1 AND kind = 'text'",
        "UPDATE sessions SET label = '' WHERE user_id = $1",
        "UPDATE pairs SET low_liked_at = NULL, low_passed_at = NULL WHERE low = $1",
        "UPDATE pairs SET high_liked_at = NULL, high_passed_at = NULL WHERE high = $1",
    ];
    const MATCHES: &str = "UPDATE pairs SET match_ended_at = $2 WHERE (low = $1 OR high = $1) \
        AND matched_at IS NOT NULL AND match_ended_at IS NULL";
    run!(tx, sqlx::query(USER).bind(user).bind(now))?;
    run!(tx, sqlx::query(MATCHES).bind(user).bind(now))?;
    for step in STEPS {
        run!(tx, sqlx::query(*step).bind(user))?;
    }
    files::end_all(tx, user).await
}
