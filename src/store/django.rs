//! A database of the Django service, read row by row and never written: SQLite or Postgres, all of it as of one moment.
//!
//! Either database answers each row as one JSON array, so that what is read is one type, whichever it is.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, SqliteConnection};

use crate::model::Micros;

/// Rows of one page.
const ROWS: usize = 2000;
/// A page ends when its rows are as long as this together, in bytes.
const BYTES: usize = 4 << 20;

/// What is read, by its names there.
pub const TABLES: [&str; 11] = [
    "accounts_user",
    "accounts_user_liked_users",
    "accounts_user_blocked_users",
    "matching_userpreference",
    "matching_userinterest",
    "matching_userinterestrelation",
    "matching_match",
    "conversations_conversation",
    "conversations_conversation_participants",
    "conversations_message",
    "conversations_messageread",
];

type Answer<T> = std::result::Result<T, String>;

/// The connection, in a transaction that only reads.
#[derive(Debug)]
pub enum Source {
    /// To a file.
    Sqlite(SqliteConnection),
    /// To a server.
    Postgres(PgConnection),
}

/// How full a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// How many rows it has.
    pub rows: i64,
    /// The highest id that was ever given, also to a row that is gone.
    pub last_id: i64,
}

/// Rows that come page by page, by ascending place.
pub struct Pages<'a, T> {
    rows: BoxStream<'a, sqlx::Result<String>>,
    what: &'static str,
    row: PhantomData<T>,
}

impl<T> std::fmt::Debug for Pages<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("what", &self.what).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Pages<'_, T> {
    /// The next page; empty at the end.
    ///
    /// # Errors
    /// A sentence that says what cannot be read.
    pub async fn next(&mut self) -> Answer<Vec<T>> {
        let what = self.what;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < ROWS && bytes < BYTES {
            let row = self.rows.try_next().await.map_err(|cause| format!("cannot read {what}: {cause}"))?;
            let Some(row) = row else { break };
            bytes += row.len();
            page.push(
                serde_json::from_str(&row).map_err(|cause| format!("{what} has a row that is no such: {cause}"))?,
            );
        }
        Ok(page)
    }
}

impl Source {
    /// Opens a database by its URL.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub async fn open(url: &str) -> Answer<Source> {
        let cannot = |cause: sqlx::Error| format!("--from: cannot read the database: {cause}");
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !std::path::Path::new(path).exists() {
                return Err(format!("--from: there is no database at {path}"));
            }
            let options = SqliteConnectOptions::new().filename(path).read_only(true);
            let mut conn = options.connect().await.map_err(cannot)?;
            sqlx::query("BEGIN").execute(&mut conn).await.map_err(cannot)?;
            return Ok(Source::Sqlite(conn));
        }
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let mut conn = super::postgres::parse(url).map_err(cannot)?.connect().await.map_err(cannot)?;
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            sqlx::query(begin).execute(&mut conn).await.map_err(cannot)?;
            return Ok(Source::Postgres(conn));
        }
        Err("--from: a URL begins with sqlite: or postgres:".to_owned())
    }

    /// How full every table is.
    ///
    /// # Errors
    /// A sentence: this is no database of the service.
    pub async fn filled(&mut self) -> Answer<BTreeMap<String, Filled>> {
        let mut all = BTreeMap::new();
        for table in TABLES {
            let filled = self.filled_table(table).await.map_err(|cause| {
                format!("--from: this is no database of the Django API: {table} cannot be read: {cause}")
            })?;
            all.insert(table.to_owned(), filled);
        }
        Ok(all)
    }

    async fn filled_table(&mut self, table: &str) -> sqlx::Result<Filled> {
        const GIVEN: &str = "SELECT COALESCE(max(seq), 0) FROM sqlite_sequence WHERE name = $1";
        const GIVEN_THERE: &str =
            "SELECT COALESCE(pg_sequence_last_value(pg_get_serial_sequence($1, 'id')::REGCLASS), 0)";
        let count = AssertSqlSafe(format!("SELECT count(*), COALESCE(max(id), 0) FROM {table}"));
        let ((rows, highest), given): ((i64, i64), i64) = match self {
            Source::Sqlite(conn) => (
                sqlx::query_as(count).fetch_one(&mut *conn).await?,
                sqlx::query_scalar(GIVEN).bind(table).fetch_one(&mut *conn).await?,
            ),
            Source::Postgres(conn) => (
                sqlx::query_as(count).fetch_one(&mut *conn).await?,
                sqlx::query_scalar(GIVEN_THERE).bind(table).fetch_one(&mut *conn).await?,
            ),
        };
        Ok(Filled { rows, last_id: highest.max(given) })
    }

    fn pages<T>(&mut self, what: &'static str, columns: &[String], from: &str) -> Pages<'_, T> {
        let columns = columns.join(", ");
        // Made of our own words and of numbers.
        let rows = match self {
            Source::Sqlite(conn) => {
                let sql = AssertSqlSafe(format!("SELECT json_array({columns}) {from}"));
                sqlx::query_scalar(sql).fetch(conn).boxed()
            }
            Source::Postgres(conn) => {
                let sql = AssertSqlSafe(format!("SELECT json_build_array({columns})::TEXT {from}"));
                sqlx::query_scalar(sql).fetch(conn).boxed()
            }
        };
        Pages { rows, what, row: PhantomData }
    }

    /// A time: as text on SQLite, where Django writes UTC, and as microseconds on Postgres.
    fn time(&self, column: &str) -> String {
        match self {
            Source::Sqlite(_) => column.to_owned(),
            Source::Postgres(_) => format!("(EXTRACT(EPOCH FROM {column}) * 1000000)::BIGINT"),
        }
    }

    fn day(&self, column: &str) -> String {
        match self {
            Source::Sqlite(_) => column.to_owned(),
            Source::Postgres(_) => format!("to_char({column}, 'YYYY-MM-DD')"),
        }
    }

    /// Users with their preferences, those above an id.
    pub fn users(&mut self, after: i64) -> Pages<'_, UserRow> {
        let mut columns = texts(&["u.id", "u.username", "u.password", "u.email", "u.first_name", "u.last_name"]);
        columns.extend(texts(&["u.bio", "u.phone_number", "u.location", "u.profile_picture"]));
        columns.push(self.day("u.date_of_birth"));
        columns.extend(texts(&["CAST(u.latitude AS TEXT)", "CAST(u.longitude AS TEXT)", &truth("u.is_active")]));
        columns.extend(["u.date_joined", "u.last_login", "u.last_activity"].map(|column| self.time(column)));
        columns.extend(texts(&["p.min_age", "p.max_age", "p.max_distance", "p.gender_preference"]));
        let from = format!(
            "FROM accounts_user u LEFT JOIN matching_userpreference p ON p.user_id = u.id WHERE u.id > {after} \
             ORDER BY u.id"
        );
        self.pages("accounts_user", &columns, &from)
    }

    /// The dictionary of interests above an id.
    pub fn interest_names(&mut self, after: i64) -> Pages<'_, InterestName> {
        let from = format!("FROM matching_userinterest WHERE id > {after} ORDER BY id");
        self.pages("matching_userinterest", &texts(&["id", "name"]), &from)
    }

    /// Who is interested in what, above the id of the row.
    pub fn interests(&mut self, after: i64) -> Pages<'_, InterestRow> {
        let from = format!(
            "FROM matching_userinterestrelation r LEFT JOIN matching_userinterest i ON i.id = r.interest_id \
             LEFT JOIN accounts_user u ON u.id = r.user_id WHERE r.id > {after} ORDER BY r.id"
        );
        self.pages("matching_userinterestrelation", &texts(&["r.id", "u.id", "i.name"]), &from)
    }

    /// What stands between each two users: likes, blocks and their match in one row, above a pair.
    pub fn pairs(&mut self, after: (i64, i64)) -> Pages<'_, PairRow> {
        let mut columns = texts(&["g.low", "g.high", "g.low_likes", "g.high_likes", "g.low_blocks", "g.high_blocks"]);
        columns.extend(texts(&["g.match_id", "g.matches", &truth("m.is_active")]));
        columns.extend(["m.created_at", "l.date_joined", "h.date_joined"].map(|column| self.time(column)));
        let directed = |table: &str, likes: i64, blocks: i64| {
            format!(
                "SELECT CASE WHEN from_user_id < to_user_id THEN from_user_id ELSE to_user_id END AS low, \
                 CASE WHEN from_user_id < to_user_id THEN to_user_id ELSE from_user_id END AS high, \
                 CASE WHEN from_user_id < to_user_id THEN {likes} ELSE 0 END AS low_likes, \
                 CASE WHEN from_user_id > to_user_id THEN {likes} ELSE 0 END AS high_likes, \
                 CASE WHEN from_user_id < to_user_id THEN {blocks} ELSE 0 END AS low_blocks, \
                 CASE WHEN from_user_id > to_user_id THEN {blocks} ELSE 0 END AS high_blocks, \
                 CAST(NULL AS BIGINT) AS match_id FROM {table}"
            )
        };
        let (likes, blocks) =
            (directed("accounts_user_liked_users", 1, 0), directed("accounts_user_blocked_users", 0, 1));
        let matches = "SELECT CASE WHEN user1_id < user2_id THEN user1_id ELSE user2_id END, \
            CASE WHEN user1_id < user2_id THEN user2_id ELSE user1_id END, 0, 0, 0, 0, id FROM matching_match";
        let from = format!(
            "FROM (SELECT low, high, max(low_likes) AS low_likes, max(high_likes) AS high_likes, \
                 max(low_blocks) AS low_blocks, max(high_blocks) AS high_blocks, min(match_id) AS match_id, \
                 count(match_id) AS matches FROM ({likes} UNION ALL {blocks} UNION ALL {matches}) AS sides \
                 GROUP BY low, high) AS g \
             LEFT JOIN matching_match m ON m.id = g.match_id \
             LEFT JOIN accounts_user l ON l.id = g.low LEFT JOIN accounts_user h ON h.id = g.high \
             WHERE g.low > {low} OR (g.low = {low} AND g.high > {high}) ORDER BY g.low, g.high",
            low = after.0,
            high = after.1
        );
        self.pages("accounts_user_liked_users, accounts_user_blocked_users and matching_match", &columns, &from)
    }

    /// Conversations with their participants, above an id.
    pub fn conversations(&mut self, after: i64) -> Pages<'_, ConversationRow> {
        let participants = match self {
            Source::Sqlite(_) => {
                "json((SELECT json_group_array(json_array(x.id, x.username)) FROM (SELECT u.id, u.username \
                 FROM conversations_conversation_participants r JOIN accounts_user u ON u.id = r.user_id \
                 WHERE r.conversation_id = c.id ORDER BY r.id) AS x))"
            }
            Source::Postgres(_) => {
                "COALESCE((SELECT json_agg(json_build_array(u.id, u.username) ORDER BY r.id) \
                 FROM conversations_conversation_participants r JOIN accounts_user u ON u.id = r.user_id \
                 WHERE r.conversation_id = c.id), '[]'::JSON)"
            }
        };
        let first_sender = "CASE WHEN c.count IS NULL THEN (SELECT m.sender_id FROM conversations_message m \
            JOIN accounts_user u ON u.id = m.sender_id \
            WHERE m.conversation_id = c.id ORDER BY m.created_at, m.id LIMIT 1) END";
        let mut columns = texts(&["c.id", &truth("c.is_active"), "c.place", participants, first_sender]);
        columns.extend(["c.created_at", "c.updated_at"].map(|column| self.time(column)));
        // Of several conversations of the same two, the first place is that of the one which Django would have gone on
        // with: the latest, but one that was left comes behind the others.
        let from = format!(
            "FROM (SELECT c.*, p.count, row_number() OVER (PARTITION BY p.count, p.low, p.high \
                 ORDER BY {active} DESC, c.updated_at DESC, c.id) AS place FROM conversations_conversation c \
                 LEFT JOIN (SELECT r.conversation_id, count(*) AS count, min(r.user_id) AS low, max(r.user_id) AS high \
                     FROM conversations_conversation_participants r JOIN accounts_user u ON u.id = r.user_id \
                     GROUP BY r.conversation_id) AS p ON p.conversation_id = c.id) AS c \
             WHERE c.id > {after} ORDER BY c.id",
            active = truth("c.is_active")
        );
        self.pages("conversations_conversation", &columns, &from)
    }

    /// Messages of one conversation after the other, each in its order, with who read them; behind a message.
    pub fn messages(&mut self, after: Option<i64>) -> Pages<'_, MessageRow> {
        let readers = match self {
            Source::Sqlite(_) => "group_concat(r.user_id)",
            Source::Postgres(_) => "string_agg(r.user_id::TEXT, ',')",
        };
        let readers = format!("(SELECT {readers} FROM conversations_messageread r WHERE r.message_id = m.id)");
        let mut columns = texts(&["m.id", "m.conversation_id", "m.sender_id", "m.content", "m.attachment", &readers]);
        columns.push(self.time("m.created_at"));
        let behind = after.map_or_else(String::new, |id| {
            format!(
                "WHERE (m.conversation_id, m.created_at, m.id) > \
                 (SELECT a.conversation_id, a.created_at, a.id FROM conversations_message a WHERE a.id = {id})"
            )
        });
        let from = format!("FROM conversations_message m {behind} ORDER BY m.conversation_id, m.created_at, m.id");
        self.pages("conversations_message", &columns, &from)
    }
}

fn texts(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}

/// A condition as 0 or 1, which both databases write alike.
fn truth(column: &str) -> String {
    format!("CASE WHEN {column} THEN 1 ELSE 0 END")
}

/// A time there: text in UTC, or microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Micros);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Moment, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<'a> {
            Micros(Micros),
            Text(std::borrow::Cow<'a, str>),
        }
        match Written::deserialize(deserializer)? {
            Written::Micros(micros) => Ok(Moment(micros)),
            Written::Text(text) => moment(&text).map_err(serde::de::Error::custom),
        }
    }
}

fn moment(text: &str) -> std::result::Result<Moment, jiff::Error> {
    // With an offset, or in UTC without one.
    let with_offset = text.parse::<jiff::Timestamp>();
    let instant = match with_offset {
        Ok(instant) => instant,
        Err(_) => jiff::tz::Offset::UTC.to_timestamp(text.parse::<jiff::civil::DateTime>()?)?,
    };
    Ok(Moment(instant.as_microsecond()))
}

/// A user, and whom they look for.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the columns")]
pub struct UserRow {
    pub id: i64,
    pub username: String,
    pub password: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub bio: String,
    pub phone_number: String,
    pub location: String,
    pub profile_picture: Option<String>,
    pub date_of_birth: Option<String>,
    pub latitude: Option<String>,
    pub longitude: Option<String>,
    pub is_active: i64,
    pub date_joined: Moment,
    pub last_login: Option<Moment>,
    pub last_activity: Option<Moment>,
    /// This and what follows are none where the user has no preferences.
    pub min_age: Option<i64>,
    pub max_age: Option<i64>,
    pub max_distance: Option<i64>,
    pub gender_preference: Option<String>,
}

/// An interest that users may share.
#[derive(Debug, Serialize, Deserialize)]
pub struct InterestName {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// An interest of a user.
#[derive(Debug, Deserialize)]
pub struct InterestRow {
    /// Of the row.
    pub id: i64,
    /// None where there is no such user.
    pub user: Option<i64>,
    /// None where there is no such interest.
    pub name: Option<String>,
}

/// What stands between two users.
#[derive(Debug, Deserialize)]
pub struct PairRow {
    /// The lower id.
    pub low: i64,
    /// The higher id, or the same.
    pub high: i64,
    /// 0 or 1, as the next three.
    pub low_likes: i64,
    /// Likes the lower one.
    pub high_likes: i64,
    /// Blocks the higher one.
    pub low_blocks: i64,
    /// Blocks the lower one.
    pub high_blocks: i64,
    /// Their match.
    pub match_id: Option<i64>,
    /// How many rows of matches they have.
    pub matches: i64,
    /// Whether the match stands.
    pub is_active: i64,
    /// When the match was made.
    pub created_at: Option<Moment>,
    /// When the lower one registered; none where there is no such user.
    pub low_joined: Option<Moment>,
    /// When the higher one registered; none where there is no such user.
    pub high_joined: Option<Moment>,
}

/// A conversation and who is in it.
#[derive(Debug, Deserialize)]
pub struct ConversationRow {
    /// Its id.
    pub id: i64,
    /// 0 where somebody left it.
    pub is_active: i64,
    /// Among the conversations of the same people, from 1.
    pub place: i64,
    /// Ids and names, those who came first before the others.
    pub participants: Vec<(i64, String)>,
    /// Who wrote first, where nobody is in it.
    pub first_sender: Option<i64>,
    /// When it was made.
    pub created_at: Moment,
    /// When it last got something new.
    pub updated_at: Moment,
}

/// A message and who read it.
#[derive(Debug, Deserialize)]
pub struct MessageRow {
    /// Its id.
    pub id: i64,
    /// Where it stands.
    pub conversation: i64,
    /// Who wrote it.
    pub sender: i64,
    /// Its text.
    pub content: String,
    /// A file, below the media directory.
    pub attachment: Option<String>,
    /// Ids of users, comma-separated.
    pub readers: Option<String>,
    /// When it was written.
    pub created_at: Moment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_either_database_writes_them() {
        let moment = |json: &str| serde_json::from_str::<Moment>(json).expect(json).0;
        let micros = 1_684_161_045_123_456;
        assert_eq!(moment("1684161045123456"), micros);
        assert_eq!(moment(r#""2023-05-15 14:30:45.123456""#), micros);
        assert_eq!(moment(r#""2023-05-15 14:30:45""#), micros - 123_456);
        assert_eq!(moment(r#""2023-05-15 16:30:45.123456+02:00""#), micros);
        assert_eq!(moment(r#""1969-12-31 23:59:59""#), -1_000_000);
        assert!(serde_json::from_str::<Moment>(r#""yesterday""#).is_err());
    }
}
