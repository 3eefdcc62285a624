//! Moves everything from a SQLite file to an empty Postgres database: the same ids, numbers, epoch and installation, so
//! that clients go on from their cursors.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::registry::{self, TABLES};
use super::{Purpose, Store, Tx, json_list, on, run, search};
use crate::catalogue::Language;
use crate::error::{Error, Result};
use crate::model::{ConversationId, MessageId};
use crate::text;

/// Rows in one statement.
const ROWS: usize = 1000;

type Copied = std::result::Result<(), String>;

/// Copies everything in one transaction, and checks the count of every table before it commits. Nobody else may use
/// either database meanwhile.
///
/// # Errors
/// A sentence that says why nothing was copied.
pub async fn copy(from: &Store, to: &Store, progress: impl Fn(String)) -> Copied {
    let (Store::Sqlite(file), Store::Postgres(_)) = (from, to) else {
        return Err("copy-store goes --from sqlite://... --to postgres://...".to_owned());
    };
    // Made now where no server has ever made them, so that they are copied.
    from.epoch().await?;
    from.installation().await?;
    let cannot = |error: Error| format!("nothing was copied: {}", error.message.told_in(Language::English));
    let mut tx = to.begin(Purpose::Server).await.map_err(cannot)?;
    let users = count(&mut tx, "users").await.map_err(cannot)?;
    if users > 0 {
        return Err(format!("the target has {users} users already: name an empty database"));
    }
    let mut reader = file.reader(Purpose::Server).await.map_err(cannot)?;
    run!(&mut *tx, sqlx::query("DELETE FROM meta")).map_err(Error::from).map_err(cannot)?;
    for table in TABLES.iter().filter(|table| table.copied).map(|table| table.name) {
        let read = copy_table(&mut reader, &mut tx, table).await.map_err(cannot)?;
        let written = count(&mut tx, table).await.map_err(cannot)?;
        if read != written {
            return Err(format!("nothing was copied: {table} has {read} rows, and the copy would have {written}"));
        }
        progress(format!("{table}: {written} rows"));
    }
    let indexed = index_words(&mut reader, &mut tx).await.map_err(cannot)?;
    progress(format!("index of words: {indexed} messages"));
    continue_ids(&mut reader, &mut tx).await.map_err(cannot)?;
    // Without its statistics the database would choose its first plans as for empty tables.
    run!(&mut *tx, sqlx::query("ANALYZE")).map_err(Error::from).map_err(cannot)?;
    tx.commit(|| ()).await.map_err(|error| error.message.told_in(Language::English))
}

async fn count(tx: &mut Tx, table: &str) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM {table}");
    Ok(on!(&mut **tx, c => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(c))?)
}

/// Copies the rows of a table as JSON objects, which Postgres takes apart by the names of its own columns. Answers how
/// many there were.
async fn copy_table(reader: &mut SqliteConnection, tx: &mut Tx, table: &str) -> Result<i64> {
    const COLUMNS: &str = "SELECT name FROM pragma_table_info($1)";
    let columns: Vec<String> = sqlx::query_scalar(COLUMNS).bind(table).fetch_all(&mut *reader).await?;
    let fields: Vec<String> = columns.iter().map(|name| format!("'{name}', {name}")).collect();
    // The names come from our own migrations.
    let read = AssertSqlSafe(format!("SELECT json_object({}) FROM {table}", fields.join(", ")));
    let write = format!("INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, $1::JSON)");
    let mut rows = sqlx::query_scalar::<_, String>(read).fetch(reader);
    let (mut batch, mut count) = (Vec::with_capacity(ROWS), 0);
    loop {
        let row = rows.try_next().await?;
        let last = row.is_none();
        batch.extend(row);
        if batch.len() == ROWS || (last && !batch.is_empty()) {
            count += batch.len() as i64;
            let objects = format!("[{}]", batch.join(","));
            run!(&mut **tx, sqlx::query(AssertSqlSafe(write.clone())).bind(&objects))?;
            batch.clear();
        }
        if last {
            return Ok(count);
        }
    }
}

/// Indexes the words of all texts that have any.
async fn index_words(reader: &mut SqliteConnection, tx: &mut Tx) -> Result<i64> {
    const READ: &str = "SELECT id, conversation_id, text FROM messages \
        WHERE kind = 'text' AND deleted_at IS NULL AND text <> ''";
    const WRITE: &str = "INSERT INTO message_search (rowid, words) \
        SELECT (item ->> 0)::BIGINT, array_to_tsvector(string_to_array(item ->> 1, ' ')) \
        FROM json_array_elements($1::JSON) AS items (item)";
    let mut rows = sqlx::query_as::<_, (MessageId, ConversationId, String)>(READ).fetch(reader);
    let (mut batch, mut count) = (Vec::with_capacity(ROWS), 0);
    loop {
        let row = rows.try_next().await?;
        let last = row.is_none();
        batch.extend(row.map(|(id, place, text)| (id, search::lexemes(&text::index_words(&text), place))));
        if batch.len() == ROWS || (last && !batch.is_empty()) {
            count += batch.len() as i64;
            run!(&mut **tx, sqlx::query(WRITE).bind(json_list(&batch)))?;
            batch.clear();
        }
        if last {
            return Ok(count);
        }
    }
}

/// New rows get ids after all that were ever given.
async fn continue_ids(reader: &mut SqliteConnection, tx: &mut Tx) -> Result<()> {
    const GIVEN: &str = "SELECT name, seq FROM sqlite_sequence WHERE seq > 0";
    const CONTINUE: &str = "SELECT setval(pg_get_serial_sequence($1, 'id'), $2)";
    let given: Vec<(String, i64)> = sqlx::query_as(GIVEN).fetch_all(reader).await?;
    for (table, last) in given.iter().filter(|(table, _)| registry::table(table).is_some_and(|table| table.copied)) {
        run!(&mut **tx, sqlx::query(CONTINUE).bind(table).bind(last))?;
    }
    Ok(())
}
