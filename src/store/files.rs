//! Pictures, voice notes and other files: whose they are, what refers to them, and who may see them. Their bytes lie
//! elsewhere, under their names.
//!
//! A row is `uploading` from before its first byte is kept until the last one is, then `ready`, then `gone` until its
//! bytes are away. So whatever is cut short leaves a row that says what is to be done.

use std::collections::HashMap;

use sqlx::FromRow;

use super::visible::{is_readable, no_block, pair_of, with_author};
use super::{Conn, json_list, on, run};
use crate::error::Result;
use crate::model::{Attachment, FileId, FileKind, Micros, Text, UserId};

/// What clients are shown of a file `f`.
macro_rules! shown {
    () => {
        "f.name AS id, f.kind, f.content_type, NULLIF(f.file_name, '') AS name, f.size, f.width, f.height, \
         f.duration_ms, f.placeholder"
    };
}

/// Those of the files named in a table `j` that reader `$1` may see now.
macro_rules! readable_of {
    ($names:literal) => {
        concat!(
            "SELECT f.id AS file, f.owner_id, f.hash, ",
            shown!(),
            " FROM ",
            $names,
            " JOIN files f ON f.name = j.value AND f.state = 'ready' \
                JOIN users reader ON reader.id = $1 AND reader.deleted_at IS NULL AND reader.disabled_at IS NULL \
                JOIN users o ON o.id = f.owner_id AND o.deleted_at IS NULL ",
            pair_of!("op", "$1", "f.owner_id"),
            " WHERE f.owner_id = $1 OR (o.disabled_at IS NULL AND ",
            no_block!("op"),
            " AND EXISTS (SELECT 1 FROM pictures x WHERE x.file_id = f.id)) \
                OR EXISTS (SELECT 1 FROM messages m \
                JOIN members me ON me.conversation_id = m.conversation_id AND me.user_id = $1 \
                JOIN conversations c ON c.id = m.conversation_id ",
            with_author!(),
            " WHERE m.file_id = f.id AND ",
            is_readable!(),
            ")"
        )
    };
}

/// An upload that begins.
#[derive(Debug)]
pub struct NewFile<'a> {
    /// Whose.
    pub owner: UserId,
    /// Random.
    pub name: &'a Text,
    /// Its owner's name for the upload.
    pub client_key: Option<&'a Text>,
    /// As its owner calls it; may be empty.
    pub file_name: &'a Text,
    /// What is to be kept free for it.
    pub bytes: i64,
    /// When.
    pub at: Micros,
}

/// What an upload turned out to be.
#[derive(Debug)]
pub struct Ready {
    /// What.
    pub kind: FileKind,
    /// Media type of the whole.
    pub content_type: &'static str,
    /// Of all sizes together.
    pub bytes: i64,
    /// Of the whole.
    pub size: i64,
    /// SHA-256 of the whole.
    pub hash: String,
    /// Of a picture.
    pub width: Option<i64>,
    /// Of a picture.
    pub height: Option<i64>,
    /// Of a voice note.
    pub duration_ms: Option<i64>,
    /// Of a picture.
    pub placeholder: Option<String>,
}

/// A file that is there, for whoever looks after it.
#[derive(Debug, Clone, FromRow)]
pub struct Kept {
    /// Its number.
    pub file: FileId,
    /// Whose.
    pub owner_id: UserId,
    /// SHA-256 of the whole.
    pub hash: String,
    /// What clients are shown.
    #[sqlx(flatten)]
    pub attachment: Attachment,
}

/// What a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Usage {
    /// Files.
    pub files: i64,
    /// Bytes of all of them, with what is kept free for those that come.
    pub bytes: i64,
    /// Files that are coming at this moment.
    pub coming: i64,
}

/// The file that came under a key.
pub async fn under_key(conn: &mut Conn, owner: UserId, key: &Text) -> Result<Option<Attachment>> {
    const SQL: &str =
        concat!("SELECT ", shown!(), " FROM files f WHERE f.owner_id = $1 AND f.client_key = $2 AND f.state = 'ready'");
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(owner).bind(key).fetch_optional(c))?)
}

/// What a user has, besides one file.
pub async fn usage(tx: &mut Conn, owner: UserId, besides: FileId) -> Result<Usage> {
    const SQL: &str = "SELECT count(*) AS files, CAST(COALESCE(sum(bytes), 0) AS BIGINT) AS bytes, \
        CAST(COALESCE(sum(CASE WHEN state = 'uploading' THEN 1 ELSE 0 END), 0) AS BIGINT) AS coming \
        FROM files WHERE owner_id = $1 AND state <> 'gone' AND id <> $2";
    Ok(on!(tx, c => sqlx::query_as(SQL).bind(owner).bind(besides).fetch_one(c))?)
}

/// Begins an upload. One that came under the same key and did not end is over.
pub async fn begin(tx: &mut Conn, new: &NewFile<'_>) -> Result<FileId> {
    const BEFORE: &str = "UPDATE files SET state = 'gone', client_key = NULL \
        WHERE owner_id = $1 AND client_key = $2 AND state <> 'ready'";
    const SQL: &str = "INSERT INTO files (name, owner_id, client_key, state, file_name, bytes, created_at, used_at) \
        VALUES ($1, $2, $3, 'uploading', $4, $5, $6, $6) RETURNING id";
    if new.client_key.is_some() {
        run!(tx, sqlx::query(BEFORE).bind(new.owner).bind(new.client_key))?;
    }
    Ok(on!(tx, c => sqlx::query_scalar(SQL)
        .bind(new.name)
        .bind(new.owner)
        .bind(new.client_key)
        .bind(new.file_name)
        .bind(new.bytes)
        .bind(new.at)
        .fetch_one(c))?)
}

/// An upload came to its end, and its bytes are kept. None where it had been given up meanwhile.
pub async fn finish(tx: &mut Conn, file: FileId, ready: &Ready, at: Micros) -> Result<Option<Attachment>> {
    const SQL: &str = concat!(
        "UPDATE files AS f SET state = 'ready', kind = $2, content_type = $3, bytes = $4, size = $5, hash = $6, \
         width = $7, height = $8, duration_ms = $9, placeholder = $10, used_at = $11 \
         WHERE f.id = $1 AND f.state = 'uploading' RETURNING ",
        shown!()
    );
    const SQLITE: &str = "UPDATE files SET state = 'ready', kind = $2, content_type = $3, bytes = $4, size = $5, \
         hash = $6, width = $7, height = $8, duration_ms = $9, placeholder = $10, used_at = $11 \
         WHERE id = $1 AND state = 'uploading' RETURNING name AS id, kind, content_type, \
         NULLIF(file_name, '') AS name, size, width, height, duration_ms, placeholder";
    let sql = tx.sql([SQLITE, SQL]);
    Ok(on!(tx, c => sqlx::query_as(sql)
        .bind(file)
        .bind(ready.kind)
        .bind(ready.content_type)
        .bind(ready.bytes)
        .bind(ready.size)
        .bind(&ready.hash)
        .bind(ready.width)
        .bind(ready.height)
        .bind(ready.duration_ms)
        .bind(&ready.placeholder)
        .bind(at)
        .fetch_optional(c))?)
}

/// An upload comes to nothing.
pub async fn give_up(tx: &mut Conn, file: FileId) -> Result<()> {
    const SQL: &str = "UPDATE files SET state = 'gone', client_key = NULL WHERE id = $1 AND state = 'uploading'";
    run!(tx, sqlx::query(SQL).bind(file))?;
    Ok(())
}

/// Takes files for use by their owners, each named by owner and name: they are there until the end of the transaction,
/// and for as long as something refers to them. What is not there, or another's, is not in the answer.
pub async fn claim(tx: &mut Conn, wanted: &[(UserId, &Text)], at: Micros) -> Result<Vec<Kept>> {
    const SQLITE: &str = "UPDATE files SET used_at = $2 WHERE state = 'ready' AND id IN (SELECT g.id FROM json_each($1) j \
            JOIN files g ON g.name = j.value ->> 1 AND g.owner_id = j.value ->> 0) \
        RETURNING id AS file, owner_id, hash, name AS id, kind, content_type, NULLIF(file_name, '') AS name, size, \
            width, height, duration_ms, placeholder";
    // Locked by ascending id, so that two who claim the same do not wait for each other in a circle.
    const POSTGRES: &str = concat!(
        "UPDATE files AS f SET used_at = $2 FROM (SELECT g.id FROM files g \
            WHERE g.id IN (SELECT h.id FROM json_array_elements($1::JSON) AS items (item) \
                JOIN files h ON h.name = item ->> 1 AND h.owner_id = (item ->> 0)::BIGINT) \
            ORDER BY g.id FOR NO KEY UPDATE) AS held \
        WHERE f.id = held.id AND f.state = 'ready' RETURNING f.id AS file, f.owner_id, f.hash, ",
        shown!()
    );
    let (sql, wanted) = (tx.sql([SQLITE, POSTGRES]), json_list(wanted));
    Ok(on!(tx, c => sqlx::query_as(sql).bind(&wanted).bind(at).fetch_all(c))?)
}

/// Something does not refer to these files any more. Where nothing else does, they go at the next round.
pub async fn release(tx: &mut Conn, files: &[FileId]) -> Result<()> {
    const SQL: &str = "UPDATE files SET used_at = 0 WHERE id IN (SELECT j.value FROM json_each($1) j)";
    if !files.is_empty() {
        run!(tx, sqlx::query(SQL).bind(json_list(files)))?;
    }
    Ok(())
}

/// What clients are shown of some files.
pub(super) async fn attachments(conn: &mut Conn, files: &[FileId]) -> Result<HashMap<FileId, Attachment>> {
    const SQL: &str = concat!(
        "SELECT f.id AS file, f.owner_id, f.hash, ",
        shown!(),
        " FROM files f WHERE f.id IN (SELECT j.value FROM json_each($1) j) AND f.state = 'ready'"
    );
    let kept: Vec<Kept> = on!(conn, c => sqlx::query_as(SQL).bind(json_list(files)).fetch_all(c))?;
    Ok(kept.into_iter().map(|kept| (kept.file, kept.attachment)).collect())
}

/// A picture of a profile.
#[derive(FromRow)]
struct PictureRow {
    user_id: UserId,
    #[sqlx(flatten)]
    kept: Kept,
}

/// The pictures of some users, each list in its order.
pub async fn pictures(conn: &mut Conn, users: &[UserId]) -> Result<HashMap<UserId, Vec<Kept>>> {
    const SQL: &str = concat!(
        "SELECT p.user_id, f.id AS file, f.owner_id, f.hash, ",
        shown!(),
        " FROM pictures p JOIN files f ON f.id = p.file_id \
         WHERE p.user_id IN (SELECT j.value FROM json_each($1) j) ORDER BY p.user_id, p.place"
    );
    let rows: Vec<PictureRow> = on!(conn, c => sqlx::query_as(SQL).bind(json_list(users)).fetch_all(c))?;
    let mut found: HashMap<UserId, Vec<Kept>> = HashMap::new();
    for row in rows {
        found.entry(row.user_id).or_default().push(row.kept);
    }
    Ok(found)
}

/// The pictures of a user as clients are shown them, in their order.
pub async fn pictures_of(conn: &mut Conn, user: UserId) -> Result<Vec<Attachment>> {
    let found = pictures(conn, &[user]).await?.remove(&user);
    Ok(found.into_iter().flatten().map(|kept| kept.attachment).collect())
}

/// The first pictures of those of some users whose profiles a reader may see.
pub async fn first_pictures(conn: &mut Conn, reader: UserId, users: &[UserId]) -> Result<HashMap<UserId, Attachment>> {
    const SQL: &str = concat!(
        "SELECT x.user_id, f.id AS file, f.owner_id, f.hash, ",
        shown!(),
        " FROM json_each($2) j JOIN pictures x ON x.user_id = j.value AND x.place = 0 JOIN files f ON f.id = x.file_id \
            JOIN users u ON u.id = x.user_id AND u.deleted_at IS NULL AND u.disabled_at IS NULL ",
        pair_of!("p", "$1", "u.id"),
        " WHERE ",
        no_block!("p")
    );
    let users = json_list(users);
    let rows: Vec<PictureRow> = on!(conn, c => sqlx::query_as(SQL).bind(reader).bind(&users).fetch_all(c))?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.kept.attachment)).collect())
}

/// Replaces the pictures of a user by files that were claimed in this transaction.
pub async fn set_pictures(tx: &mut Conn, user: UserId, files: &[FileId]) -> Result<()> {
    const CLEAR: &str = "DELETE FROM pictures WHERE user_id = $1";
    const ADD: &str = "INSERT INTO pictures (user_id, place, file_id) SELECT $1, j.key, j.value FROM json_each($2) j";
    let before: Vec<FileId> =
        pictures(tx, &[user]).await?.remove(&user).into_iter().flatten().map(|kept| kept.file).collect();
    run!(tx, sqlx::query(CLEAR).bind(user))?;
    run!(tx, sqlx::query(ADD).bind(user).bind(json_list(files)))?;
    let over: Vec<FileId> = before.into_iter().filter(|file| !files.contains(file)).collect();
    release(tx, &over).await
}

/// Those of some files that a reader may see now: their own, the pictures of profiles that they may see, and what came
/// with messages that they may see. The same rules as for the profile and the message themselves.
pub async fn readable(conn: &mut Conn, reader: UserId, names: &[&Text]) -> Result<Vec<Kept>> {
    const SQLITE: &str = readable_of!("json_each($2) j");
    const POSTGRES: &str = readable_of!("json_array_elements_text($2::JSON) AS j (value)");
    let (sql, names) = (conn.sql([SQLITE, POSTGRES]), json_list(names));
    Ok(on!(conn, c => sqlx::query_as(sql).bind(reader).bind(&names).fetch_all(c))?)
}

/// Uploads that began before a time and did not end are over.
pub async fn end_stale(tx: &mut Conn, before: Micros) -> Result<u64> {
    const SQL: &str =
        "UPDATE files SET state = 'gone', client_key = NULL WHERE state = 'uploading' AND created_at < $1";
    run!(tx, sqlx::query(SQL).bind(before)).map_err(Into::into)
}

/// The time of use of files that something was found to refer to. They are not looked at again before that is released.
const IN_USE: Micros = Micros::MAX;

/// Files that nothing refers to, and that nobody began to use since a time, are over. Looks at so many at once, each
/// once, and answers how many there were.
pub async fn end_unused(tx: &mut Conn, before: Micros, most: i64) -> Result<usize> {
    const FOUND: [&str; 2] = [
        "SELECT f.id FROM files f WHERE f.state = 'ready' AND f.used_at < $1 ORDER BY f.used_at LIMIT $2",
        "SELECT f.id FROM files f WHERE f.state = 'ready' AND f.used_at < $1 ORDER BY f.used_at LIMIT $2 \
            FOR NO KEY UPDATE OF f SKIP LOCKED",
    ];
    // Whoever takes a file for use locks its row. Judged in a later statement, which sees what was committed before this
    // lock was had.
    const END: &str = "UPDATE files SET state = 'gone', client_key = NULL \
        WHERE id IN (SELECT j.value FROM json_each($1) j) AND state = 'ready' AND used_at < $2 \
            AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.file_id = files.id) \
            AND NOT EXISTS (SELECT 1 FROM pictures p WHERE p.file_id = files.id)";
    // What is left is in use. Whoever releases it waits for this lock, and their time comes after this one.
    const KEEP: &str = "UPDATE files SET used_at = $2 \
        WHERE id IN (SELECT j.value FROM json_each($1) j) AND state = 'ready'";
    let sql = tx.sql(FOUND);
    let found: Vec<FileId> = on!(tx, c => sqlx::query_scalar(sql).bind(before).bind(most).fetch_all(c))?;
    if !found.is_empty() {
        let list = json_list(&found);
        run!(tx, sqlx::query(END).bind(&list).bind(before))?;
        run!(tx, sqlx::query(KEEP).bind(&list).bind(IN_USE))?;
    }
    Ok(found.len())
}

/// Files whose bytes are to go, with their names.
pub async fn gone(conn: &mut Conn, most: i64) -> Result<Vec<(FileId, String)>> {
    const SQL: &str = "SELECT id, name FROM files WHERE state = 'gone' ORDER BY used_at LIMIT $1";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(most).fetch_all(c))?)
}

/// The bytes of these files are away, and so are their rows now.
pub async fn forget(tx: &mut Conn, files: &[FileId]) -> Result<()> {
    const SQL: &str = "DELETE FROM files WHERE id IN (SELECT j.value FROM json_each($1) j) AND state = 'gone'";
    run!(tx, sqlx::query(SQL).bind(json_list(files)))?;
    Ok(())
}

/// Those of some names that have a row.
pub async fn known(conn: &mut Conn, names: &[Text]) -> Result<Vec<String>> {
    const SQLITE: &str = "SELECT f.name FROM json_each($1) j JOIN files f ON f.name = j.value";
    const POSTGRES: &str =
        "SELECT f.name FROM json_array_elements_text($1::JSON) AS j (value) JOIN files f ON f.name = j.value";
    let (sql, names) = (conn.sql([SQLITE, POSTGRES]), json_list(names));
    Ok(on!(conn, c => sqlx::query_scalar(sql).bind(&names).fetch_all(c))?)
}
