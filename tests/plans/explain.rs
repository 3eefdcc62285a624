//! No statement of the store reads a whole table (row 10). Each one is planned on a large database: by Postgres with
//! statistics as they should be and with those of an empty database, by SQLite with statistics and without. A statement
//! that reads more than it should is on the list below, with the reason, or fails the test.

use std::fmt::Write as _;
use std::path::Path;

use duet::config::Config;
use duet::store::postgres::PLANNER;
use duet::store::{Store, Use};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use super::statements::{self, Database, Statement};
use super::support::setup::shared;

/// Tables that are large in a large installation. The others have a few rows.
const LARGE: &[&str] = &[
    "users",
    "interests",
    "interest_names",
    "sessions",
    "personal",
    "pairs",
    "conversations",
    "members",
    "messages",
    "reactions",
    "removals",
    "reports",
    "message_search",
    "changes",
    "files",
    "pictures",
    "imported_files",
];

/// Statements that may read a whole table, by how they begin, and why.
const MAY_READ_ALL: &[(&str, &str)] = &[
    ("SELECT u.id, u.username, u.username_key, u.created_at", "the operator asks for a list of all accounts"),
    ("DELETE FROM changes WHERE at < $1", "deletes what is older than minutes: about as much as it reads"),
    ("INSERT INTO users (", "SQLite shows what it would do if foreign keys were violated, which new ids never are"),
];

/// Statements that Postgres plans badly only by the statistics of empty tables, which last until its autovacuum comes
/// round: by what they hold, and why.
const WITH_STATISTICS_ONLY: &[(&str, &str)] = &[
    (
        "row_number() OVER (PARTITION BY m.conversation_id",
        "the members of named conversations: may begin at the wrong end",
    ),
    (
        "WHERE (p.low_blocked_at IS NULL AND p.high_blocked_at IS NULL) AND (m.delivered > 0",
        "positions of members: the same",
    ),
];

/// Parts of plans on SQLite that walk an index in its order and stop at a limit.
const WALKS: &[&str] = &["SCAN x USING INDEX users_by_activity"];

/// How many rows the tables have on Postgres, in units of users.
const USERS: i64 = 60_000;

/// What is wrong with the plan of a statement.
fn complaint(statement: &Statement, how: &str, plan: &str, wrong: &str) -> String {
    format!("{} ({how}): {wrong}\n{}\n{plan}", statement.file, statement.sql)
}

fn is_listed(statement: &Statement) -> bool {
    MAY_READ_ALL.iter().any(|(begin, _)| statement.sql.trim_start().starts_with(begin))
}

fn must_be_none(complaints: &[String]) {
    let mut all = String::new();
    for complaint in complaints {
        let _ = writeln!(all, "{complaint}\n");
    }
    assert!(complaints.is_empty(), "{} plans read too much:\n{all}", complaints.len());
}

#[test]
fn n10_every_statement_is_found_in_the_sources() {
    let all = statements::all();
    println!("{} statements", all.len());
    for (file, words) in [
        ("batch.rs", "json_to_recordset"),
        ("files.rs", "SKIP LOCKED"),
        ("lists.rs", "LIMIT $3 OFFSET $4"),
        ("candidates.rs", "CROSS JOIN LATERAL"),
        ("messages.rs", "ORDER BY m.rev"),
        ("ending.rs", "FROM pairs"),
    ] {
        assert!(all.iter().any(|one| one.file.ends_with(file) && one.sql.contains(words)), "{words} of {file}");
    }
}

/// A new database with all tables in a file.
async fn sqlite() -> (tempfile::TempDir, SqliteConnection) {
    let home = tempfile::tempdir().expect("a directory");
    drop(open(home.path()).await);
    let database = connect(home.path()).await;
    (home, database)
}

async fn open(home: &Path) -> Store {
    let config = Config { data_dir: home.to_owned(), ..Config::default() };
    Store::open(&config, Use::Serving).await.expect("a database")
}

async fn connect(home: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(home.join("duet.db"));
    options.connect().await.expect("open the file")
}

/// The plan of a statement; none where it is not for SQLite.
async fn sqlite_plan(database: &mut SqliteConnection, statement: &Statement) -> Option<String> {
    if statement.only == Some(Database::Postgres) {
        return None;
    }
    let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.sql));
    let rows = sqlx::query(sql).fetch_all(database).await.ok()?;
    Some(rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n"))
}

/// Lines of a plan that read a whole table or a whole index, or that would first build one.
fn reads_all_in_sqlite(statement: &Statement, plan: &str) -> Vec<String> {
    let is_large = |line: &str| {
        let name = line.split_whitespace().nth(1).unwrap_or_default();
        // A table goes by its alias where it has one.
        let table = LARGE.iter().find(|table| {
            let sql = statement.sql.replace(['(', ')', ',', '\n'], " ");
            let words: Vec<&str> = sql.split_whitespace().collect();
            **table == name
                || words
                    .windows(3)
                    .any(|three| three[0] == **table && (three[1] == name || (three[1] == "AS" && three[2] == name)))
        });
        table.is_some()
    };
    // A subquery may go by the alias of a table elsewhere in the statement.
    let is_subquery = |line: &str| {
        let name = line.split_whitespace().nth(1).unwrap_or_default();
        line == format!("SCAN {name}") && plan.contains(&format!("CO-ROUTINE {name}\n"))
    };
    let bad = |line: &&str| {
        // The index of words is asked for words, or for one row.
        let reads = line.starts_with("SCAN ") && (!line.contains("VIRTUAL TABLE INDEX") || line.ends_with(" 0:"));
        (reads || line.contains("AUTOMATIC")) && is_large(line) && !is_subquery(line) && !WALKS.contains(line)
    };
    plan.lines().map(str::trim).filter(bad).map(str::to_owned).collect()
}

/// Statistics as `ANALYZE` would have them for so many rows in every index, of which few share a key.
const STATISTICS: &str = "ANALYZE sqlite_schema; \
    INSERT INTO sqlite_stat1 (tbl, idx, stat) \
    SELECT m.name, i.name, '1000000' || (SELECT group_concat(CASE WHEN c.seqno + 1 = \
            (SELECT count(*) FROM pragma_index_info(i.name)) THEN ' 2' ELSE ' 50' END, '') \
        FROM pragma_index_info(i.name) c) \
    FROM sqlite_schema m JOIN pragma_index_list(m.name) i WHERE m.type = 'table' AND m.name NOT LIKE 'message_search%'; \
    UPDATE sqlite_stat1 SET stat = '1000000 300000 1' WHERE idx = 'files_by_use'; \
    ANALYZE sqlite_schema;";

/// The same of tables with one row each, as when somebody ran `ANALYZE` on the first day.
const FIRST_DAY: &str = "UPDATE sqlite_stat1 SET stat = '1 1 1 1'; ANALYZE sqlite_schema;";

#[tokio::test]
async fn n10_no_statement_reads_a_whole_table_on_sqlite() {
    let (home, mut database) = sqlite().await;
    let all = statements::all();
    let mut complaints = Vec::new();
    for (how, statistics) in [("without statistics", ""), ("with statistics", STATISTICS)] {
        if !statistics.is_empty() {
            sqlx::raw_sql(statistics).execute(&mut database).await.expect("statistics");
        }
        for statement in all.iter().filter(|statement| !is_listed(statement)) {
            let Some(plan) = sqlite_plan(&mut database, statement).await else { continue };
            let bad = reads_all_in_sqlite(statement, &plan);
            if !bad.is_empty() {
                complaints.push(complaint(statement, how, &plan, &bad.join("; ")));
            }
        }
    }
    must_be_none(&complaints);
    // By the statistics of nearly empty tables every statement reads whole tables. So a server begins without any.
    sqlx::raw_sql(FIRST_DAY).execute(&mut database).await.expect("statistics");
    database.close().await.expect("close the file");
    drop(open(home.path()).await);
    let mut database = connect(home.path()).await;
    let known = "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'";
    let known: i64 = sqlx::query_scalar(known).fetch_one(&mut database).await.expect("a number");
    assert_eq!(known, 0, "statistics that somebody made are forgotten");
}

/// Prepares a statement as `one`; none where it is not for Postgres. A parameter whose type the statement leaves open is
/// a number, or else a text.
async fn prepare(database: &mut PgConnection, sql: &str) -> Option<()> {
    let mut types = ["unknown"; 16];
    let mut last = None;
    loop {
        let run = AssertSqlSafe(format!("PREPARE one ({}) AS {sql}", types.join(", ")));
        let refused = match sqlx::raw_sql(run).execute(&mut *database).await {
            Ok(_) => return Some(()),
            Err(sqlx::Error::Database(refused)) => refused.message().to_owned(),
            Err(cause) => panic!("{sql}: {cause}"),
        };
        let open = refused.strip_prefix("could not determine data type of parameter $");
        match (open.map(|open| open.parse::<usize>().expect("the number of a parameter") - 1), last) {
            (Some(open), _) if types[open] == "unknown" => (types[open], last) = ("bigint", Some(open)),
            (None, Some(last)) if types[last] == "bigint" => types[last] = "text",
            _ => {
                println!("not for Postgres ({refused}): {sql}");
                return None;
            }
        }
    }
}

/// The plans of a statement that Postgres would use: for the values of one call, and for any values where that is not
/// dearer. None where the statement is not for Postgres.
async fn postgres_plans(database: &mut PgConnection, statement: &Statement) -> Option<Vec<Value>> {
    const TYPES: &str = "SELECT parameter_types::TEXT[] FROM pg_prepared_statements WHERE name = 'one'";
    if statement.only == Some(Database::Sqlite) {
        return None;
    }
    prepare(database, &statement.sql).await?;
    let types: Vec<String> = sqlx::query_scalar(TYPES).fetch_one(&mut *database).await.expect("its parameters");
    let values = types.iter().map(|kind| match kind.as_str() {
        "text" | "json" => "'1'",
        "tsquery" => "'word'",
        "text[]" => "'{}'",
        _ => "500",
    });
    let listed = |values: Vec<&str>| match values.is_empty() {
        true => String::new(),
        false => format!("({})", values.join(", ")),
    };
    let (values, unknown) = (listed(values.collect()), listed(vec!["NULL"; types.len()]));
    let mut plans = Vec::new();
    for (mode, values) in [("force_custom_plan", values), ("force_generic_plan", unknown)] {
        let explain = format!("SET plan_cache_mode = {mode}; EXPLAIN (FORMAT JSON) EXECUTE one{values}");
        let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *database).await;
        // A text that must be of a certain form: there is only the plan for any values.
        let Ok(rows) = rows else { continue };
        let plan: Value = rows.last().expect("a plan").get(0);
        plans.push(plan[0]["Plan"].clone());
    }
    sqlx::raw_sql("DEALLOCATE one").execute(database).await.expect("the end of the statement");
    let cost = |plan: &Value| plan["Total Cost"].as_f64().unwrap_or_default();
    // What planning costs is counted against plans for the values of a call.
    if plans.len() == 2 && cost(&plans[1]) > cost(&plans[0]) + 50.0 {
        plans.pop();
    }
    assert!(!plans.is_empty(), "no plan of {}", statement.sql);
    Some(plans)
}

/// Goes through a plan: what reads a whole large table or a whole index of one, without a limit above it.
fn reads_all_in_postgres(plan: &Value, limited: bool, found: &mut Vec<String>) {
    let text = |name: &str| plan[name].as_str().unwrap_or_default();
    let kind = text("Node Type");
    let large = LARGE.contains(&text("Relation Name"));
    let ordered = kind.starts_with("Index") && limited;
    let has_condition = !plan["Index Cond"].is_null() || !plan["Recheck Cond"].is_null() || !plan["TID Cond"].is_null();
    if large && (kind.contains("Seq Scan") || (kind.contains("Scan") && !has_condition && !ordered)) {
        found.push(format!("{kind} of {}", text("Relation Name")));
    }
    // What must be read whole before the first row comes is not limited by how many are wanted.
    let limited = kind == "Limit" || (limited && !["Sort", "Aggregate", "Hash", "HashAggregate"].contains(&kind));
    for child in plan["Plans"].as_array().into_iter().flatten() {
        reads_all_in_postgres(child, limited, found);
    }
}

/// Large tables, as set-based statements; foreign keys hold by how the numbers are made.
fn seed() -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plans/seed.sql"));
    text.expect("the seed").replace(":users", &USERS.to_string())
}

async fn judge(database: &mut PgConnection, stale: bool, complaints: &mut Vec<String>) -> usize {
    let how = if stale { "with the statistics of empty tables" } else { "with fresh statistics" };
    let mut planned = 0;
    for statement in statements::all().iter().filter(|statement| !is_listed(statement)) {
        if stale && WITH_STATISTICS_ONLY.iter().any(|(held, _)| statement.sql.contains(held)) {
            continue;
        }
        let Some(plans) = postgres_plans(database, statement).await else { continue };
        planned += 1;
        for plan in plans {
            let mut bad = Vec::new();
            reads_all_in_postgres(&plan, false, &mut bad);
            if !bad.is_empty() {
                let shown = serde_json::to_string_pretty(&slim(&plan)).expect("a plan");
                complaints.push(complaint(statement, how, &shown, &bad.join("; ")));
            }
        }
    }
    planned
}

/// The parts of a plan that tell what it reads.
fn slim(plan: &Value) -> Value {
    let mut kept = serde_json::Map::new();
    let names =
        ["Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Hash Cond", "Plan Rows", "Total Cost"];
    for name in names.iter().filter(|name| !plan[**name].is_null()) {
        kept.insert((*name).to_owned(), plan[*name].clone());
    }
    let children: Vec<Value> = plan["Plans"].as_array().into_iter().flatten().map(slim).collect();
    if !children.is_empty() {
        kept.insert("Plans".to_owned(), children.into());
    }
    kept.into()
}

#[tokio::test]
async fn n10_no_statement_reads_a_whole_table_on_postgres() {
    let postgres = &shared().await.postgres;
    let url = postgres.url(&postgres.create().await);
    let config = Config { database_url: url.clone().into(), ..Config::default() };
    drop(Store::open(&config, Use::Beside).await.expect("a database"));
    let mut database = PgConnection::connect(&url).await.expect("connect to the database");
    let began = std::time::Instant::now();
    for alone in ["ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(alone).execute(&mut database).await.expect("statistics are made by the test alone");
    }
    // What is known of the tables is what was true while they were empty.
    sqlx::raw_sql("ANALYZE").execute(&mut database).await.expect("statistics of empty tables");
    sqlx::raw_sql(AssertSqlSafe(seed())).execute(&mut database).await.expect("the seed");
    println!("seeded after {:?}", began.elapsed());
    for (name, value) in PLANNER {
        let set = format!("SET {name} = {value}");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut database).await.expect("a setting");
    }
    let mut complaints = Vec::new();
    judge(&mut database, true, &mut complaints).await;
    sqlx::raw_sql("VACUUM").execute(&mut database).await.expect("a map of what is visible");
    sqlx::raw_sql("ANALYZE").execute(&mut database).await.expect("statistics");
    println!("analysed after {:?}", began.elapsed());
    let planned = judge(&mut database, false, &mut complaints).await;
    println!("{planned} statements planned twice after {:?}", began.elapsed());
    must_be_none(&complaints);
}

#[tokio::test]
async fn n10_every_statement_is_planned_on_one_of_the_databases() {
    let (_home, mut file) = sqlite().await;
    let postgres = &shared().await.postgres;
    let url = postgres.url(&postgres.create().await);
    let config = Config { database_url: url.clone().into(), ..Config::default() };
    drop(Store::open(&config, Use::Beside).await.expect("a database"));
    let mut server = PgConnection::connect(&url).await.expect("connect to the database");
    for statement in statements::all() {
        let planned = sqlite_plan(&mut file, &statement).await.is_some()
            || postgres_plans(&mut server, &statement).await.is_some();
        assert!(planned, "{}: neither database knows this statement: {}", statement.file, statement.sql);
    }
}
