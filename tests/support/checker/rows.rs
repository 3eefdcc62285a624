//! Plain SQL on whichever database the server keeps, with rows as lists of JSON values.

use std::path::PathBuf;

use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Where the server keeps what lasts.
#[derive(Debug, Clone)]
pub enum Source {
    /// In a file of SQLite.
    File(PathBuf),
    /// On a server of Postgres.
    Url(String),
}

/// A connection of our own, for reading.
#[derive(Debug)]
pub enum Reader {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Source {
    /// Connects.
    pub async fn reader(&self) -> Reader {
        match self {
            Source::File(file) => {
                let options = SqliteConnectOptions::new().filename(file).read_only(true);
                Reader::Sqlite(options.connect().await.expect("open the database"))
            }
            Source::Url(url) => Reader::Postgres(PgConnection::connect(url).await.expect("connect to the database")),
        }
    }

    /// Connects, and sees everything as it stands at one moment: the server may be at work.
    pub async fn snapshot(&self) -> Reader {
        let mut reader = self.reader().await;
        let begun = match &mut reader {
            Reader::Sqlite(connection) => sqlx::query("BEGIN").execute(connection).await.map(drop),
            Reader::Postgres(connection) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                sqlx::query(begin).execute(connection).await.map(drop)
            }
        };
        begun.expect("begin to read");
        reader
    }
}

impl Reader {
    /// `SELECT columns rest`, one list of values per row.
    pub async fn rows(&mut self, columns: &str, rest: &str) -> Vec<Vec<Value>> {
        let texts: Result<Vec<String>, sqlx::Error> = match self {
            Reader::Sqlite(connection) => {
                let sql = format!("SELECT json_array({columns}) {rest}");
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await
            }
            Reader::Postgres(connection) => {
                let sql = format!("SELECT json_build_array({columns})::text {rest}");
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await
            }
        };
        let texts = texts.unwrap_or_else(|cause| panic!("{columns} {rest}: {cause}"));
        texts.iter().map(|text| serde_json::from_str(text).expect("a row is a list")).collect()
    }

    /// The one number that a statement answers: `number("count(*)", "FROM users")`.
    pub async fn number(&mut self, column: &str, rest: &str) -> i64 {
        let rows = self.rows(column, rest).await;
        rows[0][0].as_i64().unwrap_or_else(|| panic!("{column} {rest}: {rows:?}"))
    }

    /// The columns of a table, in their order.
    pub async fn columns(&mut self, table: &str) -> Vec<String> {
        let from = match self {
            Reader::Sqlite(_) => format!("FROM pragma_table_info('{table}')"),
            Reader::Postgres(_) => {
                // Under the name that SQLite has for it.
                format!(
                    "FROM (SELECT column_name AS name FROM information_schema.columns \
                     WHERE table_schema = current_schema() AND table_name = '{table}' ORDER BY ordinal_position) AS c"
                )
            }
        };
        let rows = self.rows("name", &from).await;
        rows.iter().map(|row| row[0].as_str().expect("a name").to_owned()).collect()
    }
}
