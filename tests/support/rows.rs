//! Every row that the server keeps, to see that nothing changed, or that two stories ended alike.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Server;

/// The tables with what users did. Sessions and the doorbell of the nodes are left out: they move with every sign of
/// life.
const TABLES: &[&str] = &[
    "users",
    "interests",
    "interest_names",
    "personal",
    "pairs",
    "conversations",
    "members",
    "files",
    "pictures",
    "messages",
    "reactions",
    "removals",
    "reports",
];

/// All rows, each as an object under its table, in an order of their own, once no work is left to be done in the
/// background.
pub async fn all(server: &Server) -> BTreeMap<&'static str, Vec<Map<String, Value>>> {
    of(server, TABLES).await
}

async fn of(server: &Server, names: &[&'static str]) -> BTreeMap<&'static str, Vec<Map<String, Value>>> {
    server.at_rest().await;
    let mut database = server.database().snapshot().await;
    let mut tables = BTreeMap::new();
    for table in names {
        let columns = database.columns(table).await;
        let rows = database.rows(&columns.join(", "), &format!("FROM {table}")).await;
        let named = rows.into_iter().map(|row| columns.iter().cloned().zip(row).collect());
        let mut named: Vec<Map<String, Value>> = named.collect();
        named.sort_by_key(|row| Value::Object(row.clone()).to_string());
        tables.insert(*table, named);
    }
    tables
}

/// All rows as lines, but for what the server writes when it gets to it: when somebody was last seen, since calling is a
/// sign of life, and uploads that come to nothing, which go.
pub async fn lines(server: &Server) -> Vec<String> {
    settled(all(server).await)
}

/// The same with the sessions, for stories in which nobody signs in or renews a token.
pub async fn lines_with_sessions(server: &Server) -> Vec<String> {
    settled(of(server, &[TABLES, &["sessions"]].concat()).await)
}

fn settled(tables: BTreeMap<&'static str, Vec<Map<String, Value>>>) -> Vec<String> {
    let mut lines = Vec::new();
    for (table, rows) in tables {
        for mut row in rows.into_iter().filter(|row| table != "files" || row["state"] == "ready") {
            row.remove("last_active_at");
            lines.push(format!("{table} {}", Value::Object(row)));
        }
    }
    lines
}

/// Fails when rows came, went or changed, and shows those.
#[track_caller]
pub fn must_be_unchanged(before: &[String], after: &[String]) {
    let (old, new): (BTreeSet<&String>, BTreeSet<&String>) = (before.iter().collect(), after.iter().collect());
    let (gone, came): (Vec<_>, Vec<_>) = (old.difference(&new).collect(), new.difference(&old).collect());
    let same = gone.is_empty() && came.is_empty() && before.len() == after.len();
    assert!(same, "rows changed.\nbefore: {gone:#?}\nafter: {came:#?}");
}
