//! Pictures and files over real sockets: brought, used, fetched, and gone when nobody may see them or nobody refers to
//! them any more.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

mod access;
mod browser;
mod bucket;
mod collector;
mod fair;
mod hostile;
#[path = "../media_gate/make.rs"]
#[expect(dead_code, reason = "another story uses the rest")]
mod make;
mod uploads;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Client, Server, in_time};

/// Ann and Bob, and their direct conversation.
async fn two_who_talk(server: &Server) -> (Client, Client, i64) {
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let opened = ann.command("conversation.open", json!({ "user": bob.user })).await;
    (ann, bob, opened["id"].as_i64().expect("an id"))
}

/// Sends a file without a word.
async fn send(client: &mut Client, conversation: i64, file: &Value) -> i64 {
    let message = json!({ "conversation": conversation, "text": "", "attachment": file });
    client.command("message.send", message).await["seq"].as_i64().expect("a number")
}

/// Every file below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// What is kept: the names of files, each with its size. What is still coming is not.
fn objects(server: &Server) -> Vec<String> {
    let folders = std::fs::read_dir(server.media_dir()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let named: Vec<PathBuf> =
        folders.filter(|folder| !folder.ends_with("incoming")).flat_map(|path| walk(&path)).collect();
    named.iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

/// Waits until no file is on its way or over, each has its bytes, and there are no others.
async fn agree(server: &Server) {
    in_time("rows and bytes to agree", async {
        loop {
            let mut database = server.database().reader().await;
            let rows = database.rows("name, state", "FROM files").await;
            let ready = rows.iter().all(|row| row[1] == "ready");
            let named: BTreeSet<String> = rows.iter().filter_map(|row| row[0].as_str().map(str::to_owned)).collect();
            let kept = objects(server);
            let whole = kept.iter().filter_map(|object| object.strip_suffix(".whole").map(str::to_owned)).collect();
            let bare = |object: &String| object.split('.').next().unwrap_or_default().to_owned();
            if ready && named == whole && kept.iter().all(|object| named.contains(&bare(object))) {
                return;
            }
            // Before the next look.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}
