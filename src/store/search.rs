//! Full-text search within what a reader may see.

use super::messages::{MessageRow, messages_for_reader, render};
use super::visible::is_readable;
use super::{Conn, on, run, streams};
use crate::error::Result;
use crate::model::{ConversationId, Message, MessageId, Text, UserId};

/// Conversations of a reader that are named to the index; a reader with more is filtered after the index alone.
const CONVERSATIONS_NAMED: usize = 500;

/// The words of a text as Postgres indexes them, with the name of its conversation as one more that no text has.
pub(super) fn lexemes(words: &Text, conversation: ConversationId) -> Text {
    Text::without_nul(format!("{words} {}", place_word(conversation)))
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

/// What a reader may find below the id `$3`, in conversation `$4` unless that is null, newest first.
macro_rules! found_by {
    ($matches:literal) => {
        messages_for_reader!(
            "JOIN message_search s ON s.rowid = m.id WHERE ",
            $matches,
            " AND m.id < $3 AND ($4 IS NULL OR m.conversation_id = $4) AND ",
            is_readable!(),
            " ORDER BY m.id DESC LIMIT $5"
        )
    };
}

/// Messages that hold all `words`, as `text::query` makes them, newest first, at most `limit`, below the id `before`.
pub async fn find(
    conn: &mut Conn,
    reader: UserId,
    words: &[Text],
    conversation: Option<ConversationId>,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Vec<Message>> {
    const SQL: [&str; 2] = [found_by!("message_search MATCH $2"), found_by!("s.words @@ $2::TSQUERY")];
    let conversations = match conversation {
        Some(id) => vec![id],
        None => streams::heads(conn, reader).await?.into_iter().map(|head| head.conversation).collect(),
    };
    let query = index_query(conn.is_shared(), words, &conversations);
    let before = before.map_or(i64::MAX, |id| id.0);
    let sql = conn.sql(SQL);
    let rows: Vec<MessageRow> = on!(conn, c => sqlx::query_as(sql)
        .bind(reader).bind(&query).bind(before).bind(conversation).bind(limit as i64).fetch_all(c))?;
    render(conn, reader, rows).await
}

/// Every word quoted, so that nothing in it is an operator; narrowed to the reader's conversations inside the index.
/// For the full-text index of Postgres or of SQLite.
fn index_query(postgres: bool, words: &[Text], conversations: &[ConversationId]) -> Text {
    let quoted = |quote: char, word: &str| format!("{quote}{}{quote}", word.replace(quote, &format!("{quote}{quote}")));
    let all = |quote: char, and: &str| words.iter().map(|word| quoted(quote, word)).collect::<Vec<_>>().join(and);
    let (mut query, quote, and, or) = match postgres {
        true => (all('\'', " & "), '\'', " & (", " | "),
        false => (format!("folded : ({})", all('"', " AND ")), '"', " AND conversation : (", " OR "),
    };
    if !conversations.is_empty() && conversations.len() <= CONVERSATIONS_NAMED {
        let name = |id: &ConversationId| if postgres { place_word(*id) } else { id.to_string() };
        let names: Vec<String> = conversations.iter().map(|id| quoted(quote, &name(id))).collect();
        query.push_str(&format!("{and}{})", names.join(or)));
    }
    Text::without_nul(query)
}
