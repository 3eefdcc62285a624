//! Full-text search within what a reader may see.

use super::messages::{MessageRow, messages_named, render};
use super::visible::is_readable;
use super::{Conn, json_list, on, run};
use crate::error::Result;
use crate::model::{ConversationId, Message, MessageId, Text, UserId};

/// Conversations of a reader that are named to the index of SQLite in one query.
const CONVERSATIONS_NAMED: usize = 500;

/// The words of a text as Postgres indexes them, with the name of its conversation as one more that no text has.
pub(super) fn lexemes(words: &Text, conversation: ConversationId) -> Text {
    // A text of signs alone has no words, and Postgres refuses an empty one.
    let between = if words.is_empty() { "" } else { " " };
    Text::without_nul(format!("{words}{between}{}", place_word(conversation)))
}

fn place_word(conversation: ConversationId) -> String {
    format!("#{conversation}")
}

/// Puts the words of a message into the index.
pub(super) async fn add(tx: &mut Conn, id: MessageId, words: &Text, conversation: ConversationId) -> Result<()> {
    const SQLITE: &str = "INSERT INTO message_search (rowid, folded, conversation) VALUES ($1, $2, $3)";
    const POSTGRES: &str =
        "INSERT INTO message_search (rowid, words) VALUES ($1, array_to_tsvector(string_to_array($2, ' ')))";
    match tx.is_shared() {
        true => run!(tx, sqlx::query(POSTGRES).bind(id).bind(lexemes(words, conversation)))?,
        false => run!(tx, sqlx::query(SQLITE).bind(id).bind(words).bind(conversation))?,
    };
    Ok(())
}

/// Pages of the index that one slice of a purge rewrites.
const PURGE_PAGES: i64 = 64;
/// How far a purge is when no page holds erased words any more.
pub const PURGED: &str = "purged";

/// Rewrites some pages of SQLite's index without the words of messages that left it: the index itself would keep them
/// until it merges these pages for other reasons. Answers how far that is.
pub async fn purge(tx: &mut Conn, begins: bool) -> Result<Text> {
    const MERGE: &str = "INSERT INTO message_search (message_search, rank) VALUES ('merge', $1)";
    const CHANGES: &str = "SELECT total_changes()";
    // A negative number begins to merge everything into one segment; positive ones go on with that.
    let before: i64 = on!(tx, c => sqlx::query_scalar(CHANGES).fetch_one(c))?;
    run!(tx, sqlx::query(MERGE).bind(if begins { -PURGE_PAGES } else { PURGE_PAGES }))?;
    let after: i64 = on!(tx, c => sqlx::query_scalar(CHANGES).fetch_one(c))?;
    // The command itself counts as one change.
    Ok(Text::without_nul(if after - before < 2 && !begins { PURGED } else { "merging" }))
}

/// What one call of [`find`] answers.
#[derive(Debug)]
pub struct Page {
    /// Newest first.
    pub messages: Vec<Message>,
    /// Below which id the next call looks; none where nothing is left to look at.
    pub next: Option<MessageId>,
}

/// Finds messages that hold all `words` (as `text::query` makes them), newest first, below the id `before`. Looks at no more than
/// `scanned` messages of the reader's conversations and answers at most `limit`, so a page can hold fewer, even none, and
/// the next one goes on below it.
pub async fn find(
    conn: &mut Conn,
    reader: UserId,
    words: &[Text],
    conversation: Option<ConversationId>,
    before: Option<MessageId>,
    (scanned, limit): (usize, usize),
) -> Result<Page> {
    const LAST: &str = "SELECT coalesce(max(id), 0) FROM messages";
    const SHOWN: [&str; 2] =
        messages_named!("SELECT j.value FROM json_each($2) j", concat!(" AND ", is_readable!(), " ORDER BY m.id DESC"));
    let none = Page { messages: Vec::new(), next: None };
    let last: i64 = on!(conn, c => sqlx::query_scalar(LAST).fetch_one(c))?;
    let before = before.map_or(i64::MAX, |id| id.0).min(last.saturating_add(1));
    if before <= 1 {
        return Ok(none);
    }
    let window = Window { reader, conversation, above: 0, before };
    let window = window.narrowed(conn, scanned).await?;
    let found = window.matches(conn, words, limit).await?;
    let next = match found.last() {
        Some(last) if found.len() == limit => Some(*last),
        _ => (window.above > 0).then_some(MessageId(window.above + 1)),
    };
    let shown = conn.sql(SHOWN);
    let rows: Vec<MessageRow> =
        on!(conn, c => sqlx::query_as(shown).bind(reader).bind(json_list(&found)).fetch_all(c))?;
    Ok(Page { messages: render(conn, reader, rows).await?, next })
}

/// The messages of a reader's conversations, or of one of them, with ids between two others.
#[derive(Debug, Clone, Copy)]
struct Window {
    reader: UserId,
    conversation: Option<ConversationId>,
    above: i64,
    before: i64,
}

/// How much smaller a window becomes that holds too many messages.
const SMALLER: i64 = 4;

impl Window {
    /// The upper part of the window, so that it holds no more than so many messages.
    async fn narrowed(self, conn: &mut Conn, most: usize) -> Result<Window> {
        let most = i64::try_from(most.max(1)).unwrap_or(i64::MAX);
        let mut window = self;
        // As many ids hold no more messages.
        while window.before - window.above - 1 > most && window.count(conn, most + 1).await? > most {
            window.above = window.before - ((window.before - window.above) / SMALLER).max(2);
        }
        Ok(window)
    }

    /// How many messages it holds; counting stops at `cap`.
    async fn count(&self, conn: &mut Conn, cap: i64) -> Result<i64> {
        // The conversation comes first in either join: whatever the statistics say, each one's range of ids is read.
        const SQL: [&str; 2] = [
            "SELECT count(*) FROM (SELECT 1 FROM members me \
                CROSS JOIN messages m ON m.conversation_id = me.conversation_id AND m.id > $3 AND m.id < $4 \
                WHERE me.user_id = $1 AND ($2 IS NULL OR me.conversation_id = $2) LIMIT $5) AS counted",
            "SELECT count(*) FROM (SELECT 1 FROM members me \
                CROSS JOIN LATERAL (SELECT m.id FROM messages m WHERE m.conversation_id = me.conversation_id \
                    AND m.id > $3 AND m.id < $4 OFFSET 0) AS m \
                WHERE me.user_id = $1 AND ($2::BIGINT IS NULL OR me.conversation_id = $2) LIMIT $5) AS counted",
        ];
        let sql = conn.sql(SQL);
        Ok(on!(conn, c => sqlx::query_scalar(sql).bind(self.reader).bind(self.conversation).bind(self.above)
            .bind(self.before).bind(cap).fetch_one(c))?)
    }

    /// The newest messages in it that hold all words, whether or not the reader may see them.
    async fn matches(&self, conn: &mut Conn, words: &[Text], limit: usize) -> Result<Vec<MessageId>> {
        // From the newest one on, each message is looked up in the index of words.
        const SQL: &str = "SELECT w.id FROM (SELECT m.id FROM members me \
                CROSS JOIN LATERAL (SELECT m.id FROM messages m WHERE m.conversation_id = me.conversation_id \
                    AND m.id > $3 AND m.id < $4 OFFSET 0) AS m \
                WHERE me.user_id = $1 AND ($2::BIGINT IS NULL OR me.conversation_id = $2) ORDER BY m.id DESC) AS w \
            CROSS JOIN LATERAL (SELECT s.words FROM message_search s WHERE s.rowid = w.id OFFSET 0) AS s \
            WHERE s.words @@ $5::TSQUERY ORDER BY w.id DESC LIMIT $6";
        if !conn.is_shared() {
            return self.matches_in_sqlite(conn, words, limit).await;
        }
        let query: Vec<String> = words.iter().map(|word| quoted('\'', word)).collect();
        let query = Text::without_nul(query.join(" & "));
        Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(self.reader).bind(self.conversation).bind(self.above)
            .bind(self.before).bind(&query).bind(limit as i64).fetch_all(c))?)
    }

    /// The index of SQLite walks down from an id by itself, through the conversations that are named to it.
    async fn matches_in_sqlite(&self, conn: &mut Conn, words: &[Text], limit: usize) -> Result<Vec<MessageId>> {
        const CONVERSATIONS: &str = "SELECT conversation_id FROM members \
            WHERE user_id = $1 AND ($2 IS NULL OR conversation_id = $2) ORDER BY conversation_id";
        const SQLITE: &str = "SELECT rowid FROM message_search \
            WHERE message_search MATCH $1 AND rowid > $2 AND rowid < $3 ORDER BY rowid DESC LIMIT $4";
        let conversations: Vec<ConversationId> = on!(conn, c => sqlx::query_scalar(CONVERSATIONS).bind(self.reader)
            .bind(self.conversation).fetch_all(c))?;
        let all: Vec<String> = words.iter().map(|word| quoted('"', word)).collect();
        let mut found: Vec<MessageId> = Vec::new();
        for some in conversations.chunks(CONVERSATIONS_NAMED) {
            let names: Vec<String> = some.iter().map(|id| quoted('"', &id.to_string())).collect();
            let query = format!("folded : ({}) AND conversation : ({})", all.join(" AND "), names.join(" OR "));
            let query = Text::without_nul(query);
            let newest: Vec<MessageId> = on!(conn, c => sqlx::query_scalar(SQLITE).bind(&query).bind(self.above)
                .bind(self.before).bind(limit as i64).fetch_all(c))?;
            found.extend(newest);
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.truncate(limit);
        Ok(found)
    }
}

/// A word in quotes, so that nothing in it is an operator.
fn quoted(quote: char, word: &str) -> String {
    format!("{quote}{}{quote}", word.replace(quote, &format!("{quote}{quote}")))
}
