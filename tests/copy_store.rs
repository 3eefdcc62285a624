//! A server that outgrew its file moves to Postgres, and its clients go on from their cursors.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::checker::Source;
use support::setup::{Because, shared};
use support::{Client, Server};

/// Copies a file to a database.
fn copy(from: &str, to: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(["copy-store", "--from", from, "--to", to]).stdin(Stdio::null()).output().expect("run duet")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Talk of all kinds. Answers the conversation that Ann and Bob have.
async fn talk(ann: &mut Client, bob: &mut Client, eve: &mut Client) -> i64 {
    let user = |client: &Client| json!({ "user": client.user });
    ann.command("like.add", user(bob)).await;
    bob.command("like.add", user(ann)).await;
    let direct = ann.command("conversation.open", user(bob)).await["id"].as_i64().expect("an id");
    let group = json!({ "title": "Zoë's", "members": [bob.user, eve.user], "client_key": "g" });
    let group = ann.command("conversation.create", group).await["id"].clone();
    for (number, text) in
        ["Crème brûlée", "see example.com/a-b", "😀", "it's \\ \"quoted\"\n\ttwice"].iter().enumerate()
    {
        for place in [json!(direct), group.clone()] {
            let key = format!("k{number}-{place}");
            ann.command("message.send", json!({ "conversation": place, "text": text, "client_key": key })).await;
        }
    }
    let second = json!({ "conversation": direct, "seq": 2 });
    bob.command("message.react", json!({ "conversation": direct, "seq": 1, "emoji": "🎉" })).await;
    ann.command("message.edit", json!({ "conversation": direct, "seq": 2, "text": "see example.org" })).await;
    bob.command("message.delete", second).await;
    ann.command("message.delete", json!({ "conversation": direct, "seq": 3, "for_all": true })).await;
    bob.command("message.read", json!({ "conversation": direct, "seq": 2 })).await;
    bob.command("conversation.mute", json!({ "conversation": direct, "until": 5 })).await;
    bob.command("block.add", user(eve)).await;
    let profile = json!({ "bio": "", "interests": ["tea"], "birth_date": "1990-01-02", "place": { "latitude": 52.5, "longitude": 13.4 } });
    ann.command("profile.update", profile).await;
    let picture = ann.upload("picture", &support::files::jpeg(30, 20)).await["id"].clone();
    ann.command("profile.update", json!({ "pictures": [picture] })).await;
    let notes = ann.upload("notes", b"notes").await["id"].clone();
    ann.command("message.send", json!({ "conversation": direct, "text": "", "attachment": notes })).await;
    let report = json!({ "user": ann.user, "reason": "spam", "messages": [{ "conversation": group, "seq": 2 }] });
    eve.command("report.send", report).await;
    eve.command("account.delete", json!({ "password": support::server::PASSWORD })).await;
    direct
}

/// Every row of every table as text, so that nothing is forgotten; what is about the tables themselves is left out.
async fn everything(source: &Source, tables: &[String]) -> Vec<(String, Vec<Vec<Value>>)> {
    let mut all = Vec::new();
    let mut reader = source.reader().await;
    for table in tables {
        let columns = reader.columns(table).await.join(", ");
        let mut rows = reader.rows(&columns, &format!("FROM {table}")).await;
        rows.sort_by_key(|row| json!(row).to_string());
        all.push((table.clone(), rows));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_moves_to_postgres_and_its_clients_go_on_from_their_cursors() {
    let mut old = Server::start_alone(Because::OfTheFile, &[]).await;
    let (mut ann, mut bob, mut eve) = (old.user("ann").await, old.user("bob").await, old.user("eve").await);
    let direct = talk(&mut ann, &mut bob, &mut eve).await;
    let (from, shared) = (format!("sqlite://{}", old.file().display()), shared().await);
    let to = shared.postgres.url(&shared.postgres.create().await);
    let told = copy(&from, &to);
    assert!(!told.status.success() && said(&told).contains("another duet"), "{}", said(&told));
    // The last thing that Ann sees before the move, and what she misses of it.
    let cursor = ann.command("message.history", json!({ "conversation": direct })).await["head"].clone();
    let missed = json!({ "conversation": direct, "text": "before the move", "client_key": "m" });
    let missed_at = bob.command("message.send", missed.clone()).await;
    old.stop().await;
    // As an import from the Django service leaves it.
    let imported = "INSERT INTO imported_files VALUES ('profile', 1, 'a/b.jpg'); \
        INSERT INTO interest_names (name) VALUES ('tea') ON CONFLICT DO NOTHING; \
        INSERT INTO jobs (kind, subject, due_at, created_at) VALUES ('of_a_newer_version', 1, 1, 1)";
    old.database().writer().await.execute(imported).await;

    let told = said(&copy(&from, &to));
    assert!(told.contains("users: 3 rows") && told.contains("--secret"), "{told}");
    let named = "FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%sqlx%' \
        AND name NOT LIKE 'message_search%' AND name <> 'changes'";
    let tables = old.database().reader().await.rows("name", named).await;
    let tables: Vec<String> = tables.iter().map(|row| row[0].as_str().expect("a name").to_owned()).collect();
    assert!(tables.len() >= 12, "{tables:?}");
    let (there, here) =
        (everything(old.database(), &tables).await, everything(&Source::Url(to.clone()), &tables).await);
    // Files come with an import, and this installation has none.
    let shows = |(table, rows): &(String, Vec<Vec<Value>>)| !rows.is_empty() || table == "imported_files";
    assert!(there.iter().all(shows), "a table without rows shows nothing");
    assert_eq!(there, here);
    let told = copy(&from, &to);
    assert!(!told.status.success() && said(&told).contains("3 users already"), "{}", said(&told));

    // The same directory, and with it the same secret.
    let mut launch = old.nodes[0].launch.clone();
    launch.settings.push(("database-url".to_owned(), to.clone()));
    let home = tempfile::tempdir().expect("a directory");
    let new = Server::assemble(home, Source::Url(to), vec![launch]).await;
    let (epoch, account) = (ann.hello["epoch"].clone(), ann.account.clone());
    let mut ann = Client::connect(&new, account).await;
    let cursors = json!({ "epoch": epoch, "conversations": { direct.to_string(): cursor } });
    assert!(ann.command("resume", cursors).await["reset"].is_null(), "the epoch is the same");
    let page = ann.expect("conversation.page").await;
    assert_eq!(page["messages"][0]["text"], "before the move", "{page}");
    let mut bob = Client::connect(&new, bob.account.clone()).await;
    assert_eq!(bob.command("message.send", missed).await["id"], missed_at["id"], "a repeat is the same message");
    for (query, found) in [("creme", 2), ("EXAMPLE org", 1), ("example.com", 1), ("com", 1), ("moved", 0)] {
        let data = json!({ "query": query });
        let messages = ann.command("message.search", data).await["messages"].as_array().expect("messages").len();
        assert_eq!(messages, found, "{query}");
    }
    // Files are where they were, and new ones get new ids.
    let pictures = ann.command("profile.me", json!({})).await["pictures"].clone();
    let path = bob.path(&pictures[0]["id"]).await;
    assert_eq!(support::files::get(new.next_address(), &path, &[]).await.status, 200);
    ann.upload("another", b"more").await;
    let fay = new.user("fay").await;
    assert_eq!(fay.user, 4);
    ann.command("conversation.open", json!({ "user": fay.user })).await;
}
