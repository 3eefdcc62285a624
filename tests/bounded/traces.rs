//! What is left of a deleted account: places and ids. Nothing of what it told is in the rows, nor in the bytes of the file.

use std::collections::{BTreeMap, BTreeSet};

use duet::store::registry::TABLES;
use serde_json::{Value, json};

use crate::support::Server;
use crate::support::checker::Source;
use crate::support::server::PASSWORD;
use crate::support::setup::{Because, SetUp};

/// What ann tells; nobody else says anything like it.
const TOLD: [&str; 12] = [
    "wilhelmina",
    "+49170555777",
    "mina@sorrel.example",
    "Quillfeather",
    "Ravenscroft",
    "beekeeping in winter",
    "Thistledown",
    "ocarina",
    "marzipan",
    "zephyranthes",
    "kittiwake",
    "gooseberry",
];

/// Ann tells all of it, others talk too, and ann deletes her account.
async fn tell_and_delete(server: &Server) -> i64 {
    let (mut ann, mut bob) = (server.user("wilhelmina").await, server.user("bob").await);
    let profile = json!({ "phone": TOLD[1], "email": TOLD[2], "first_name": TOLD[3], "last_name": TOLD[4],
        "bio": format!("I like {} {}", TOLD[5], "and long walks ".repeat(100)), "location": TOLD[6],
        "interests": [TOLD[7], "chess"], "birth_date": "1987-03-21", "gender": "woman" });
    ann.command("profile.update", profile).await;
    bob.command("profile.update", json!({ "interests": ["chess"] })).await;
    ann.command("preferences.update", json!({ "age_min": 41, "age_max": 47, "distance_km": 77 })).await;
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    for number in 0..300 {
        let text = format!("{} {} number {number}", TOLD[8], TOLD[9]);
        let data =
            json!({ "conversation": conversation, "text": text, "client_key": format!("{}-{number}", TOLD[10]) });
        ann.command("message.send", data).await;
        bob.command("message.send", json!({ "conversation": conversation, "text": format!("mine, {number}") })).await;
    }
    let keyed = json!({ "title": "tea", "members": [bob.user], "client_key": TOLD[11] });
    ann.command("conversation.create", keyed).await;
    ann.command("message.delete", json!({ "conversation": conversation, "seq": 2 })).await;
    ann.command("conversation.mute", json!({ "conversation": conversation, "until": 4_102_444_800_000_000_i64 })).await;
    ann.say("account.delete", json!({ "password": PASSWORD })).await;
    ann.expect_close().await;
    server.at_rest().await;
    ann.user
}

#[tokio::test(flavor = "multi_thread")]
async fn d04_no_row_keeps_what_a_deleted_account_told() {
    let server = Server::start(&[]).await;
    let user = tell_and_delete(&server).await;
    let mut database = server.database().reader().await;
    let mut kept = Vec::new();
    for table in TABLES {
        let columns = database.columns(table.name).await;
        for row in database.rows(&columns.join(", "), &format!("FROM {}", table.name)).await {
            let text = Value::Array(row).to_string();
            kept.extend(TOLD.iter().filter(|told| text.contains(*told)).map(|told| format!("{}: {told}", table.name)));
        }
    }
    assert!(kept.is_empty(), "{kept:#?}");
    let columns = "birth_date, gender, age_min, age_max, distance_km, phone, seeks";
    let row = database.rows(columns, &format!("FROM users WHERE id = {user}")).await;
    assert_eq!(row[0], [json!(null), json!(null), json!(18), json!(99), json!(50), json!(""), json!("")]);
    assert_eq!(database.number("count(*)", &format!("FROM removals WHERE user_id = {user}")).await, 0);
    let names = database.rows("name", "FROM interest_names").await;
    assert_eq!(names, [[json!("chess")]], "an interest of somebody else keeps its number");
    let muted = format!("FROM members WHERE user_id = {user} AND muted_until <> 0");
    assert_eq!(database.number("count(*)", &muted).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn d04_no_byte_of_the_file_keeps_what_a_deleted_account_told() {
    let server = Server::start_alone(Because::OfTheFile, &[]).await;
    tell_and_delete(&server).await;
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(server.data_dir()).expect("a directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("duet.db") {
            continue;
        }
        let bytes = std::fs::read(entry.path()).expect("a file");
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let found = TOLD.iter().filter(|told| text.contains(&told.to_lowercase()));
        kept.extend(found.map(|told| format!("{name}: {told}")));
        // What others said is there, so this looked at the right file.
        assert!(name != "duet.db" || text.contains("mine, 299"), "{name} has {} bytes", bytes.len());
    }
    assert!(kept.is_empty(), "{kept:#?}");
}

/// The tables of a database and their columns, but for those of the libraries.
async fn schema(server: &Server) -> BTreeMap<String, BTreeSet<String>> {
    let from = match server.database() {
        Source::File(_) => "FROM sqlite_master WHERE type = 'table'",
        Source::Url(_) => {
            "FROM (SELECT table_name AS name FROM information_schema.tables \
            WHERE table_schema = current_schema()) AS t"
        }
    };
    let mut database = server.database().reader().await;
    let mut schema = BTreeMap::new();
    for row in database.rows("name", from).await {
        let name = row[0].as_str().expect("a name").to_owned();
        let of_library = ["sqlite_", "_sqlx_", "message_search_"].iter().any(|start| name.starts_with(start));
        if !of_library {
            let columns = database.columns(&name).await.into_iter().collect();
            schema.insert(name, columns);
        }
    }
    schema
}

#[tokio::test(flavor = "multi_thread")]
async fn d04_the_registry_names_every_table_and_column() {
    let server = Server::start(&[]).await;
    let schema = schema(&server).await;
    let names = |name: &(&str, _)| name.0.to_owned();
    let mut registry: BTreeMap<String, BTreeSet<String>> =
        TABLES.iter().map(|table| (table.name.to_owned(), table.columns.iter().map(names).collect())).collect();
    // The one table that differs: SQLite has an index of its own kind.
    let index = match SetUp::of_this_run() {
        SetUp::Alone => ["folded", "conversation"],
        SetUp::Cluster => ["rowid", "words"],
    };
    registry.insert("message_search".to_owned(), index.map(str::to_owned).into());
    let advice = "a new column needs its fate in src/store/registry.rs: what does the end of an account do with it?";
    assert_eq!(schema, registry, "{advice}");
}
