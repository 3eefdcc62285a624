//! Every row that the server keeps, to see that nothing changed, or that two stories ended alike.

use std::collections::BTreeMap;

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

/// All rows, each as an object under its table, in an order of their own.
pub async fn all(server: &Server) -> BTreeMap<&'static str, Vec<Map<String, Value>>> {
    let mut database = server.database().snapshot().await;
    let mut tables = BTreeMap::new();
    for table in TABLES {
        let columns = database.columns(table).await;
        let rows = database.rows(&columns.join(", "), &format!("FROM {table}")).await;
        let named = rows.into_iter().map(|row| columns.iter().cloned().zip(row).collect());
        let mut named: Vec<Map<String, Value>> = named.collect();
        named.sort_by_key(|row| Value::Object(row.clone()).to_string());
        tables.insert(*table, named);
    }
    tables
}

/// All rows as lines, but for when somebody was last seen, since calling is a sign of life, and for uploads that come to
/// nothing, which go when the server gets to it.
pub async fn lines(server: &Server) -> Vec<String> {
    let mut lines = Vec::new();
    for (table, rows) in all(server).await {
        for mut row in rows.into_iter().filter(|row| table != "files" || row["state"] == "ready") {
            row.remove("last_active_at");
            lines.push(format!("{table} {}", Value::Object(row)));
        }
    }
    lines
}
