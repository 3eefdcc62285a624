//! What stands between two users: likes, passes, blocks, their match. One row per pair, made when it is first needed.
//!
//! Whoever changes anything here locks the row first ([`lock`]), judges what it then holds, and saves it whole: the
//! rules are written once, over both sides, instead of once per column.

use sqlx::FromRow;

use super::visible::no_block;
use super::{Conn, conversations, on, run};
use crate::error::Result;
use crate::model::{ConversationId, MatchId, Micros, UserId};
use crate::protocol::replies::Blocked;

/// Most groups that a block locks. In a group beyond, a text that is being written while its author is blocked may
/// still be told to the blocker live; pages and history hide it.
const GROUPS_LOCKED: i64 = 100;

/// What one of the two has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Side {
    /// Likes the other since then.
    pub liked_at: Option<Micros>,
    /// Passed the other then.
    pub passed_at: Option<Micros>,
    /// Blocks the other since then.
    pub blocked_at: Option<Micros>,
    /// The other was told then of a like; once between two matches, however often it is taken back and given.
    pub told_at: Option<Micros>,
}

/// The row of two users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The id of the row; from their first match on, that of the match ([`number_match`]).
    pub id: MatchId,
    low: UserId,
    high: UserId,
    low_side: Side,
    high_side: Side,
    /// When they first matched.
    pub matched_at: Option<Micros>,
    /// When their match ended.
    pub match_ended_at: Option<Micros>,
}

#[derive(FromRow)]
struct PairRow {
    id: MatchId,
    low: UserId,
    high: UserId,
    low_liked_at: Option<Micros>,
    high_liked_at: Option<Micros>,
    low_passed_at: Option<Micros>,
    high_passed_at: Option<Micros>,
    low_blocked_at: Option<Micros>,
    high_blocked_at: Option<Micros>,
    low_told_at: Option<Micros>,
    high_told_at: Option<Micros>,
    matched_at: Option<Micros>,
    match_ended_at: Option<Micros>,
}

impl From<PairRow> for Pair {
    fn from(row: PairRow) -> Pair {
        let side = |liked_at, passed_at, blocked_at, told_at| Side { liked_at, passed_at, blocked_at, told_at };
        Pair {
            id: row.id,
            low: row.low,
            high: row.high,
            low_side: side(row.low_liked_at, row.low_passed_at, row.low_blocked_at, row.low_told_at),
            high_side: side(row.high_liked_at, row.high_passed_at, row.high_blocked_at, row.high_told_at),
            matched_at: row.matched_at,
            match_ended_at: row.match_ended_at,
        }
    }
}

impl Pair {
    /// What a user of the pair has done.
    pub fn side(&self, user: UserId) -> &Side {
        if user == self.low { &self.low_side } else { &self.high_side }
    }

    /// The same, to be changed.
    pub fn side_mut(&mut self, user: UserId) -> &mut Side {
        if user == self.low { &mut self.low_side } else { &mut self.high_side }
    }

    /// Whether the two are matched now.
    pub fn is_matched(&self) -> bool {
        self.matched_at.is_some() && self.match_ended_at.is_none()
    }

    /// The two are matched from now on; again under the same id, if they were before.
    pub fn make_match(&mut self, at: Micros) {
        self.matched_at.get_or_insert(at);
        self.match_ended_at = None;
    }

    /// Whether the block by `user` ended the match of the two.
    pub fn block_ended_match(&self, user: UserId) -> bool {
        self.match_ended_at.is_some() && self.match_ended_at == self.side(user).blocked_at
    }

    /// Ends the match. Answers whether there was one.
    pub fn end_match(&mut self, at: Micros) -> bool {
        let was_matched = self.is_matched();
        if was_matched {
            self.match_ended_at = Some(at);
            (self.low_side.told_at, self.high_side.told_at) = (None, None);
        }
        was_matched
    }
}

/// Locks the row of two users, whichever comes first, and makes it where there is none; none if one of them never
/// existed. What it holds is what every later statement of this transaction sees.
pub async fn lock(tx: &mut Conn, one: UserId, other: UserId) -> Result<Option<Pair>> {
    const MAKE: &str = make!("");
    find(tx, MAKE, one, other).await
}

/// The same for two who are to meet: makes a row only where both accounts are there. So nothing is written, and no time
/// taken for it, whatever the reason why the other one is not there for the caller.
pub async fn lock_live(tx: &mut Conn, one: UserId, other: UserId) -> Result<Option<Pair>> {
    const MAKE: &str =
        make!("AND l.deleted_at IS NULL AND l.disabled_at IS NULL AND h.deleted_at IS NULL AND h.disabled_at IS NULL ");
    find(tx, MAKE, one, other).await
}

/// Makes the row `($1, $2)`. Looks for it first: an insert that finds it in its way has taken an id already, which is a
/// write.
macro_rules! make {
    ($where:literal) => {
        concat!(
            "INSERT INTO pairs (low, high) SELECT l.id, h.id FROM users l JOIN users h ON h.id = $2 WHERE l.id = $1 ",
            $where,
            "AND NOT EXISTS (SELECT 1 FROM pairs p WHERE p.low = $1 AND p.high = $2) ON CONFLICT (low, high) DO NOTHING"
        )
    };
}
use make;

async fn find(tx: &mut Conn, make: &'static str, one: UserId, other: UserId) -> Result<Option<Pair>> {
    macro_rules! find {
        ($lock:literal) => {
            concat!(
                "SELECT id, low, high, low_liked_at, high_liked_at, low_passed_at, high_passed_at, low_blocked_at, ",
                "high_blocked_at, low_told_at, high_told_at, matched_at, match_ended_at FROM pairs ",
                "WHERE low = $1 AND high = $2",
                $lock
            )
        };
    }
    const FIND: [&str; 2] = [find!(""), find!(" FOR NO KEY UPDATE")];
    let find = tx.sql(FIND);
    let (low, high) = (one.min(other), one.max(other));
    run!(tx, sqlx::query(make).bind(low).bind(high))?;
    let row: Option<PairRow> = on!(tx, c => sqlx::query_as(find).bind(low).bind(high).fetch_optional(c))?;
    Ok(row.map(Pair::from))
}

/// Locks the conversations that a locked pair shares, so that a block waits for what is being written there and what is
/// written later is judged by it. Answers the direct one; none if the two have none.
pub async fn lock_conversations(tx: &mut Conn, pair: &Pair) -> Result<Option<ConversationId>> {
    const GROUPS: &str = "SELECT c.id FROM conversations c WHERE c.id IN ( \
            SELECT d.id FROM conversations d WHERE d.low = $1 AND d.high = $2 \
            UNION (SELECT a.conversation_id FROM members a JOIN members b \
                ON b.conversation_id = a.conversation_id AND b.user_id = $2 WHERE a.user_id = $1 LIMIT $3)) \
        ORDER BY c.id FOR NO KEY UPDATE";
    if tx.is_shared() {
        run!(tx, sqlx::query(GROUPS).bind(pair.low).bind(pair.high).bind(GROUPS_LOCKED))?;
    }
    conversations::direct(tx, pair.low, pair.high).await
}

/// Writes a locked pair back.
pub async fn save(tx: &mut Conn, pair: &Pair) -> Result<()> {
    const SQL: &str = "UPDATE pairs SET low_liked_at = $2, high_liked_at = $3, low_passed_at = $4, high_passed_at = $5, \
        low_blocked_at = $6, high_blocked_at = $7, matched_at = $8, match_ended_at = $9, low_told_at = $10, \
        high_told_at = $11 WHERE id = $1";
    let (low, high) = (&pair.low_side, &pair.high_side);
    run!(
        tx,
        sqlx::query(SQL)
            .bind(pair.id)
            .bind(low.liked_at)
            .bind(high.liked_at)
            .bind(low.passed_at)
            .bind(high.passed_at)
            .bind(low.blocked_at)
            .bind(high.blocked_at)
            .bind(pair.matched_at)
            .bind(pair.match_ended_at)
            .bind(low.told_at)
            .bind(high.told_at)
    )?;
    Ok(())
}

/// Gives the row of a locked pair the next id, so that ids of matches rise in the order in which they are made: the row
/// itself may be much older, as it comes with the first like.
pub async fn number_match(tx: &mut Conn, pair: &mut Pair) -> Result<()> {
    const SQL: [&str; 2] = [
        "UPDATE pairs SET id = (SELECT max(id) + 1 FROM pairs) WHERE id = $1 RETURNING id",
        "UPDATE pairs SET id = DEFAULT WHERE id = $1 RETURNING id",
    ];
    let sql = tx.sql(SQL);
    pair.id = on!(tx, c => sqlx::query_scalar(sql).bind(pair.id).fetch_one(c))?;
    Ok(())
}

/// Whether both accounts are there: neither deleted nor disabled.
pub async fn both_live(conn: &mut Conn, one: UserId, other: UserId) -> Result<bool> {
    const SQL: &str = "SELECT COUNT(*) FROM users WHERE id IN ($1, $2) AND deleted_at IS NULL AND disabled_at IS NULL";
    let live: i64 = on!(conn, c => sqlx::query_scalar(SQL).bind(one).bind(other).fetch_one(c))?;
    Ok(live == 2)
}

/// How many people like a user who has not answered them; counting stops at `cap`.
pub async fn likes_received(conn: &mut Conn, user: UserId, cap: i64) -> Result<i64> {
    // Each half has an index of its own. Some of those who like may be gone; no more than ten for each that is counted are
    // looked at.
    const SQL: &str = concat!(
        "SELECT COUNT(*) FROM (SELECT u.id FROM (SELECT p.high AS other FROM pairs p WHERE p.low = $1 \
                AND p.high_liked_at IS NOT NULL AND p.low_liked_at IS NULL AND p.low_passed_at IS NULL AND ",
        no_block!("p"),
        " UNION ALL SELECT p.low FROM pairs p WHERE p.high = $1 \
                AND p.low_liked_at IS NOT NULL AND p.high_liked_at IS NULL AND p.high_passed_at IS NULL AND ",
        no_block!("p"),
        " LIMIT $2 * 10) AS o JOIN users u ON u.id = o.other \
            WHERE u.deleted_at IS NULL AND u.disabled_at IS NULL LIMIT $2) AS likes"
    );
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(user).bind(cap).fetch_one(c))?)
}

/// A match of a reader.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct MatchRow {
    /// Its id.
    pub id: MatchId,
    /// The other one.
    pub user: UserId,
    /// When it came to be.
    pub created_at: Micros,
    /// The direct conversation of the two.
    pub conversation: Option<ConversationId>,
}

/// The matches of a reader, with whoever is still there for the reader.
macro_rules! matches_of {
    ($where:literal) => {
        concat!(
            "SELECT p.id, u.id AS user, p.matched_at AS created_at, c.id AS conversation FROM ",
            // Each half has an index of its own.
            "(SELECT x.* FROM pairs x WHERE x.low = $1 AND x.matched_at IS NOT NULL AND x.match_ended_at IS NULL ",
            "UNION ALL ",
            "SELECT x.* FROM pairs x WHERE x.high = $1 AND x.matched_at IS NOT NULL AND x.match_ended_at IS NULL) AS p ",
            "JOIN users u ON u.id = CASE WHEN p.low = $1 THEN p.high ELSE p.low END ",
            "LEFT JOIN conversations c ON c.low = p.low AND c.high = p.high ",
            "WHERE p.low_blocked_at IS NULL AND p.high_blocked_at IS NULL ",
            "AND u.deleted_at IS NULL AND u.disabled_at IS NULL ",
            $where
        )
    };
}
pub(super) use matches_of;

/// One match of a reader.
pub async fn match_of(conn: &mut Conn, reader: UserId, id: MatchId) -> Result<Option<MatchRow>> {
    const SQL: &str = matches_of!("AND p.id = $2");
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(id).fetch_optional(c))?)
}

/// A place in the list of matches: when, and which.
pub type MatchPlace = (Micros, MatchId);

/// Where a match of a reader stands in the list, also after it ended.
pub async fn match_place(conn: &mut Conn, reader: UserId, id: MatchId) -> Result<Option<MatchPlace>> {
    const SQL: &str = "SELECT matched_at, id FROM pairs \
        WHERE id = $2 AND (low = $1 OR high = $1) AND matched_at IS NOT NULL";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(id).fetch_optional(c))?)
}

/// The matches of a reader below a place, newest first.
pub async fn matches(
    conn: &mut Conn,
    reader: UserId,
    before: Option<MatchPlace>,
    limit: usize,
) -> Result<Vec<MatchRow>> {
    const SQL: &str = matches_of!("AND (p.matched_at, p.id) < ($2, $3) ORDER BY p.matched_at DESC, p.id DESC LIMIT $4");
    let (at, id) = before.unwrap_or((Micros::MAX, MatchId(i64::MAX)));
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(at).bind(id).bind(limit as i64).fetch_all(c))?)
}

/// Whom a user blocks, the latest block first. The name of an account that is gone for this reader is empty.
pub async fn blocks(conn: &mut Conn, user: UserId, limit: usize) -> Result<Vec<Blocked>> {
    const SQL: &str = "SELECT u.id AS user, \
            CASE WHEN u.deleted_at IS NOT NULL OR p.low_blocked_at IS NOT NULL AND p.high_blocked_at IS NOT NULL \
                THEN '' ELSE u.username END AS username, \
            CASE WHEN p.low = $1 THEN p.low_blocked_at ELSE p.high_blocked_at END AS at \
        FROM pairs p JOIN users u ON u.id = CASE WHEN p.low = $1 THEN p.high ELSE p.low END \
        WHERE (p.low = $1 AND p.low_blocked_at IS NOT NULL) OR (p.high = $1 AND p.high_blocked_at IS NOT NULL) \
        ORDER BY at DESC, p.id DESC LIMIT $2";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(user).bind(limit as i64).fetch_all(c))?)
}

/// How many users a user blocks.
pub async fn block_count(conn: &mut Conn, user: UserId) -> Result<i64> {
    const SQL: &str = "SELECT COUNT(*) FROM pairs \
        WHERE (low = $1 AND low_blocked_at IS NOT NULL) OR (high = $1 AND high_blocked_at IS NOT NULL)";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(user).fetch_one(c))?)
}
