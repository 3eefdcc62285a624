//! Plain SQL on whichever database the server keeps, with rows as lists of JSON values.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _};

/// Longest that a statement waits for a server that is writing its file.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where the server keeps what lasts.
#[derive(Debug, Clone)]
pub enum Source {
    /// In a file of SQLite.
    File(PathBuf),
    /// On a server of Postgres.
    Url(String),
}

/// A connection of our own, beside those of the server.
#[derive(Debug)]
pub enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Source {
    /// Connects, to read.
    pub async fn reader(&self) -> Connection {
        self.connect(true).await
    }

    /// Connects, to do what no server does.
    pub async fn writer(&self) -> Connection {
        self.connect(false).await
    }

    async fn connect(&self, read_only: bool) -> Connection {
        match self {
            Source::File(file) => {
                let options = SqliteConnectOptions::new().filename(file).read_only(read_only).busy_timeout(DEADLINE);
                Connection::Sqlite(options.connect().await.expect("open the database"))
            }
            Source::Url(url) => {
                Connection::Postgres(PgConnection::connect(url).await.expect("connect to the database"))
            }
        }
    }

    /// Connects, and sees everything as it stands at one moment: the server may be at work.
    pub async fn snapshot(&self) -> Connection {
        let mut reader = self.reader().await;
        let begin = match &reader {
            Connection::Sqlite(_) => "BEGIN",
            Connection::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        reader.execute(begin).await;
        reader
    }
}

impl Connection {
    /// `SELECT columns rest`, one list of values per row.
    pub async fn rows(&mut self, columns: &str, rest: &str) -> Vec<Vec<Value>> {
        let texts: Result<Vec<String>, sqlx::Error> = match self {
            Connection::Sqlite(connection) => {
                let sql = format!("SELECT json_array({columns}) {rest}");
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await
            }
            Connection::Postgres(connection) => {
                let sql = format!("SELECT json_build_array({columns})::text {rest}");
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await
            }
        };
        let texts = texts.unwrap_or_else(|cause| panic!("{columns} {rest}: {cause}"));
        texts.iter().map(|text| serde_json::from_str(text).expect("a row is a list")).collect()
    }

    /// Runs statements that answer no rows.
    pub async fn execute(&mut self, sql: &str) {
        let done = match self {
            Connection::Sqlite(connection) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop),
            Connection::Postgres(connection) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop),
        };
        done.unwrap_or_else(|cause| panic!("{sql}: {cause}"));
    }

    /// Lets nobody else write a message or change an account, until this connection is dropped.
    pub async fn hold(&mut self) {
        let sql = match self {
            Connection::Sqlite(_) => "BEGIN IMMEDIATE",
            Connection::Postgres(_) => "BEGIN; LOCK TABLE messages, users IN EXCLUSIVE MODE",
        };
        self.execute(sql).await;
    }

    /// The one number that a statement answers: `number("count(*)", "FROM users")`.
    pub async fn number(&mut self, column: &str, rest: &str) -> i64 {
        let rows = self.rows(column, rest).await;
        rows[0][0].as_i64().unwrap_or_else(|| panic!("{column} {rest}: {rows:?}"))
    }

    /// The columns of a table, in their order.
    pub async fn columns(&mut self, table: &str) -> Vec<String> {
        let from = match self {
            Connection::Sqlite(_) => format!("FROM pragma_table_info('{table}')"),
            Connection::Postgres(_) => {
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
