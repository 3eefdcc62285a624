//! The end of an account: its acceptance in one small transaction, and the erasure of what it left in slices. What
//! becomes of each column stands in `store::registry`; the statements here are made of that list.

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use super::jobs::{self, JobKind};
use super::registry::{self, Rows, TABLES};
use super::visible::{blocks, pair_of};
use super::{Conn, json_list, on, run};
use crate::error::{Error, Result};
use crate::model::{ConversationId, ConversationKind, Micros, Text, UserId};

/// Rows that are erased in one transaction: some milliseconds of work, so that nobody waits long for it.
const SLICE: i64 = 200;

/// The tables that are erased first, in this order. Conversations come first of all: their rows are locked, so whatever
/// the user was writing there when the deletion was accepted is committed before the messages are looked through. What
/// refers to files comes before the files.
const FIRST: [&str; 4] = ["members", "pairs", "messages", "pictures"];

/// How far an erasure is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The place in the order of tables.
    table: usize,
    /// The last id, or other number, that was dealt with in it.
    after: i64,
    /// The last text, where rows are found by a text; none before these begin.
    #[serde(default)]
    after_text: Option<String>,
}

impl Progress {
    /// As it was written down; an erasure that has not begun is at its start.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(text: &str) -> Result<Progress> {
        if text.is_empty() { Ok(Progress::default()) } else { serde_json::from_str(text).map_err(Error::internal) }
    }

    /// As it is written down.
    pub fn text(&self) -> Text {
        // Two numbers and a text have no failing Serialize.
        Text::without_nul(serde_json::to_string(self).unwrap_or_default())
    }

    /// The table that it is at; none at the end.
    pub fn table(&self) -> Option<&'static str> {
        let owned = |rows| !matches!(rows, Rows::Nobodys);
        let others = TABLES.iter().filter(|table| owned(table.rows)).map(|table| table.name);
        FIRST.into_iter().chain(others.filter(|name| !FIRST.contains(name))).nth(self.table)
    }

    fn at(&self, after: Option<i64>) -> Progress {
        match after {
            Some(after) => Progress { after, ..self.clone() },
            None => self.next_table(),
        }
    }

    fn next_table(&self) -> Progress {
        Progress { table: self.table + 1, after: 0, after_text: None }
    }
}

/// Accepts the end of an account, whose row the caller has locked: nobody sees or finds it from here on, and its name is
/// free. What it left is erased by a job.
pub async fn accept(tx: &mut Conn, user: UserId, now: Micros) -> Result<()> {
    // $1 is bound to the user and $2 to the time.
    let sql = format!("UPDATE users SET {} WHERE id = $1", registry::emptied("users"));
    run!(tx, sqlx::query(AssertSqlSafe(sql)).bind(user).bind(now))?;
    jobs::add(tx, JobKind::EraseAccount, user.0, now).await
}

/// What one slice left to be told and done.
#[derive(Debug)]
pub struct Slice {
    /// How far the erasure is after it.
    pub progress: Progress,
    /// Users for whom the account is gone now.
    pub told: Vec<UserId>,
    /// A group that the user is to leave before the erasure goes on.
    pub leaves: Option<ConversationId>,
}

/// Erases one slice.
pub async fn slice(tx: &mut Conn, user: UserId, progress: &Progress, now: Micros) -> Result<Slice> {
    let nothing = |progress| Slice { progress, told: Vec::new(), leaves: None };
    let Some(name) = progress.table() else { return Ok(nothing(progress.clone())) };
    Ok(nothing(match name {
        "members" => return conversations(tx, user, progress).await,
        "pairs" => return pairs(tx, user, progress, now).await,
        "messages" => messages(tx, user, progress).await?,
        "interests" => interests(tx, user, progress).await?,
        "imported_files" => imported_files(tx, user, progress).await?,
        _ => match registry::table(name).map(|table| table.rows) {
            Some(Rows::Deleted { owner, key }) => deleted(tx, user, progress, [name, owner, key]).await?,
            Some(Rows::Emptied(owner)) => emptied(tx, user, progress, [name, owner]).await?,
            // The account itself was emptied when its end was accepted, the index of words goes with the messages.
            Some(Rows::ByHand | Rows::Nobodys) | None => progress.next_table(),
        },
    }))
}

/// Deletes rows by their key.
async fn deleted(tx: &mut Conn, user: UserId, progress: &Progress, names: [&str; 3]) -> Result<Progress> {
    let [table, owner, key] = names;
    let sql = format!(
        "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {owner} = $1 ORDER BY {key} LIMIT $2)"
    );
    let done = run!(tx, sqlx::query(AssertSqlSafe(sql)).bind(user).bind(SLICE))?;
    Ok(if done < SLICE.unsigned_abs() { progress.next_table() } else { progress.clone() })
}

/// Empties rows by their id.
async fn emptied(tx: &mut Conn, user: UserId, progress: &Progress, [table, owner]: [&str; 2]) -> Result<Progress> {
    let found = format!("SELECT id FROM {table} WHERE {owner} = $1 AND id > $2 ORDER BY id LIMIT $3");
    let empty = format!(
        "UPDATE {table} SET {} WHERE {owner} = $1 AND id IN (SELECT j.value FROM json_each($2) j)",
        registry::emptied(table)
    );
    let ids: Vec<i64> = on!(tx, c => sqlx::query_scalar(AssertSqlSafe(found)).bind(user).bind(progress.after)
        .bind(SLICE).fetch_all(c))?;
    if !ids.is_empty() {
        run!(tx, sqlx::query(AssertSqlSafe(empty)).bind(user).bind(json_list(&ids)))?;
    }
    Ok(progress.at(ids.last().copied()))
}

/// Empties what the user set in direct conversations; a group is left, by the caller.
async fn conversations(tx: &mut Conn, user: UserId, progress: &Progress) -> Result<Slice> {
    const FOUND: &str = "SELECT c.id, c.kind FROM members m JOIN conversations c ON c.id = m.conversation_id \
        WHERE m.user_id = $1 AND m.conversation_id > $2 ORDER BY m.conversation_id LIMIT $3";
    const TOLD: &str = concat!(
        "SELECT o.other FROM (SELECT CASE WHEN c.low = $1 THEN c.high ELSE c.low END AS other FROM json_each($2) j \
            JOIN conversations c ON c.id = j.value) o ",
        pair_of!("p", "$1", "o.other"),
        " WHERE NOT ",
        blocks!("p", "$1"),
        " ORDER BY o.other"
    );
    let found: Vec<(ConversationId, ConversationKind)> =
        on!(tx, c => sqlx::query_as(FOUND).bind(user).bind(progress.after).bind(SLICE).fetch_all(c))?;
    if let Some((group, ConversationKind::Group)) = found.first() {
        let (progress, told) = (progress.at(Some(group.0)), Vec::new());
        return Ok(Slice { progress, told, leaves: Some(*group) });
    }
    let direct = found.iter().take_while(|(_, kind)| *kind == ConversationKind::Direct).map(|(id, _)| *id);
    let direct: Vec<ConversationId> = direct.collect();
    let progress = progress.at(direct.last().map(|id| id.0));
    if direct.is_empty() {
        return Ok(Slice { progress, told: Vec::new(), leaves: None });
    }
    super::conversations::lock(tx, &direct).await?;
    let ids = json_list(&direct);
    let empty = format!(
        "UPDATE members SET {} WHERE user_id = $1 AND conversation_id IN (SELECT j.value FROM json_each($2) j)",
        registry::emptied("members")
    );
    run!(tx, sqlx::query(AssertSqlSafe(empty)).bind(user).bind(&ids))?;
    let told = on!(tx, c => sqlx::query_scalar(TOLD).bind(user).bind(&ids).fetch_all(c))?;
    Ok(Slice { progress, told, leaves: None })
}

/// Takes back what the user did to others, and ends matches. Those with a direct conversation were told with it.
async fn pairs(tx: &mut Conn, user: UserId, progress: &Progress, now: Micros) -> Result<Slice> {
    const LOW: &str = "SELECT id, high FROM pairs WHERE low = $1 AND high > $2 ORDER BY high LIMIT $3";
    const HIGH: &str = "SELECT id, low FROM pairs WHERE high = $1 AND low > $2 ORDER BY low LIMIT $3";
    const LOCK: &str = "SELECT p.id FROM pairs p WHERE p.id IN (SELECT j.value FROM json_each($1) j) \
        ORDER BY p.id FOR NO KEY UPDATE";
    const TOLD: &str = concat!(
        "SELECT CASE WHEN p.low = $1 THEN p.high ELSE p.low END FROM json_each($2) j JOIN pairs p ON p.id = j.value \
            LEFT JOIN conversations c ON c.low = p.low AND c.high = p.high \
            WHERE p.matched_at IS NOT NULL AND p.match_ended_at IS NULL AND c.id IS NULL AND NOT ",
        blocks!("p", "$1")
    );
    // First those in which the user is the lower one, by the other; then the rest.
    let (sql, is_low) = if progress.after_text.is_none() { (LOW, true) } else { (HIGH, false) };
    let found: Vec<(i64, i64)> =
        on!(tx, c => sqlx::query_as(sql).bind(user).bind(progress.after).bind(SLICE).fetch_all(c))?;
    let progress = match found.last() {
        Some((_, other)) => Progress { after: *other, ..progress.clone() },
        None if is_low => Progress { after: 0, after_text: Some(String::new()), ..progress.clone() },
        None => progress.next_table(),
    };
    if found.is_empty() {
        return Ok(Slice { progress, told: Vec::new(), leaves: None });
    }
    let ids = json_list(&found.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    if tx.is_shared() {
        run!(tx, sqlx::query(LOCK).bind(&ids))?;
    }
    let told = on!(tx, c => sqlx::query_scalar(TOLD).bind(user).bind(&ids).fetch_all(c))?;
    let empty =
        format!("UPDATE pairs SET {} WHERE id IN (SELECT j.value FROM json_each($3) j)", registry::emptied("pairs"));
    run!(tx, sqlx::query(AssertSqlSafe(empty)).bind(user).bind(now).bind(&ids))?;
    Ok(Slice { progress, told, leaves: None })
}

/// Empties messages: first those without a key, by their ids, then the others, by their keys. Both orders are those of
/// an index that begins with the sender.
async fn messages(tx: &mut Conn, user: UserId, progress: &Progress) -> Result<Progress> {
    const BY_ID: &str = "SELECT id, '' FROM messages WHERE sender_id = $1 AND client_key IS NULL AND id > $2 \
        ORDER BY id LIMIT $3";
    const BY_KEY: &str = "SELECT id, client_key FROM messages WHERE sender_id = $1 AND client_key > $2 \
        ORDER BY client_key LIMIT $3";
    const WORDS: &str = "DELETE FROM message_search WHERE rowid IN (SELECT j.value FROM json_each($1) j)";
    const PATHS: &str =
        "DELETE FROM imported_files WHERE kind = 'message' AND subject IN (SELECT j.value FROM json_each($1) j)";
    let found: Vec<(i64, String)> = match &progress.after_text {
        None => on!(tx, c => sqlx::query_as(BY_ID).bind(user).bind(progress.after).bind(SLICE).fetch_all(c))?,
        Some(key) => on!(tx, c => sqlx::query_as(BY_KEY).bind(user).bind(key).bind(SLICE).fetch_all(c))?,
    };
    let Some((last, key)) = found.last().cloned() else {
        return Ok(match progress.after_text {
            None => Progress { after: 0, after_text: Some(String::new()), ..progress.clone() },
            Some(_) => progress.next_table(),
        });
    };
    let ids = json_list(&found.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    run!(tx, sqlx::query(WORDS).bind(&ids))?;
    run!(tx, sqlx::query(PATHS).bind(&ids))?;
    let empty = format!(
        "UPDATE messages SET {} WHERE sender_id = $1 AND id IN (SELECT j.value FROM json_each($2) j)",
        registry::emptied("messages")
    );
    run!(tx, sqlx::query(AssertSqlSafe(empty)).bind(user).bind(&ids))?;
    let after_text = progress.after_text.as_ref().map(|_| key);
    Ok(Progress { after: last, after_text, ..progress.clone() })
}

/// Deletes interests, and the names that nobody else uses.
async fn interests(tx: &mut Conn, user: UserId, progress: &Progress) -> Result<Progress> {
    const FOUND: &str = "SELECT name FROM interests WHERE user_id = $1 ORDER BY name LIMIT $2";
    const DELETE: &str = "DELETE FROM interests WHERE user_id = $1";
    const LOCK: &str = "SELECT n.name FROM interest_names n WHERE n.name IN (SELECT json_array_elements_text($1::JSON)) \
        ORDER BY n.name FOR UPDATE";
    const NAMES: [&str; 2] = [
        "DELETE FROM interest_names WHERE name IN (SELECT value FROM json_each($1)) \
            AND NOT EXISTS (SELECT 1 FROM interests i WHERE i.name = interest_names.name)",
        "DELETE FROM interest_names WHERE name IN (SELECT json_array_elements_text($1::JSON)) \
            AND NOT EXISTS (SELECT 1 FROM interests i WHERE i.name = interest_names.name)",
    ];
    // `interests_max` of them at most.
    let names: Vec<String> = on!(tx, c => sqlx::query_scalar(FOUND).bind(user).bind(SLICE).fetch_all(c))?;
    if !names.is_empty() {
        run!(tx, sqlx::query(DELETE).bind(user))?;
        // Whoever takes a name into use locks it, too; judged in a later statement.
        let (sql, names) = (tx.sql(NAMES), json_list(&names));
        if tx.is_shared() {
            run!(tx, sqlx::query(LOCK).bind(&names))?;
        }
        run!(tx, sqlx::query(sql).bind(&names))?;
    }
    Ok(progress.next_table())
}

/// Forgets where an imported profile had its picture; paths of messages go with these.
async fn imported_files(tx: &mut Conn, user: UserId, progress: &Progress) -> Result<Progress> {
    const SQL: &str = "DELETE FROM imported_files WHERE kind = 'profile' AND subject = $1";
    run!(tx, sqlx::query(SQL).bind(user))?;
    Ok(progress.next_table())
}
