//! F29: the database is put back from a backup, and what was acknowledged since is gone. Nobody may take the restored
//! history for the one they know.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::Client;
use crate::support::checker::Source;
use crate::support::cluster::Cluster;

/// How often, one backup after another.
const TIMES: usize = 5;

async fn say(client: &mut Client, conversation: &Value, text: &str) -> i64 {
    let said = client.command("message.send", json!({ "conversation": conversation, "text": text })).await;
    said["seq"].as_i64().expect("a place")
}

async fn texts(client: &mut Client, conversation: &Value) -> Vec<String> {
    let history = client.command("message.history", json!({ "conversation": conversation })).await;
    let messages = history["messages"].as_array().expect("messages").iter();
    messages.map(|message| message["text"].as_str().unwrap_or_default().to_owned()).collect()
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|cause| panic!("run {program}: {cause}"));
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn f29_a_restored_backup_begins_a_new_epoch_and_nothing_is_merged() {
    let mut cluster = crate::cluster(None).await;
    let Source::Url(url) = cluster.server.database().clone() else { panic!("the nemesis stands on Postgres") };
    let (server, name) = url.rsplit_once('/').expect("the database is the last part");
    let dump = cluster.server.data_dir().with_file_name("backup.sql");
    let dump = dump.to_string_lossy();
    let mut ann = cluster.server.user("ann").await;
    let mut bob = cluster.server.user("bob").await;
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    let mut kept = Vec::new();
    for round in 0..TIMES {
        let text = format!("kept {round}");
        let head = say(&mut ann, &conversation, &text).await;
        kept.push(text);
        run("pg_dump", &["--file", &dump, &url]);
        say(&mut ann, &conversation, &format!("lost {round}")).await;
        say(&mut bob, &conversation, &format!("lost too {round}")).await;

        cluster.server.stop().await;
        run("psql", &["-c", &format!("DROP DATABASE {name} WITH (FORCE)"), &format!("{server}/postgres")]);
        run("psql", &["-c", &format!("CREATE DATABASE {name}"), &format!("{server}/postgres")]);
        run("psql", &["-q", "-v", "ON_ERROR_STOP=1", "-f", &dump, &url]);
        cluster.server.operate(&["restored"]);
        cluster.server.restart().await;

        let known = json!({ "epoch": ann.hello["epoch"], "conversations": { (conversation.to_string()): head + 2 } });
        let accounts = (ann.account.clone(), bob.account.clone());
        ann = Client::connect(&cluster.server, accounts.0).await;
        bob = Client::connect(&cluster.server, accounts.1).await;
        for client in [&mut ann, &mut bob] {
            assert_ne!(client.hello["epoch"], known["epoch"], "a restored database has an epoch of its own");
            assert_eq!(client.command("resume", known.clone()).await["reset"], "epoch");
            assert_eq!(texts(client, &conversation).await, kept);
        }
        // The next number is one that was given away before; under the new epoch it means what it says now.
        let text = format!("anew {round}");
        assert_eq!(say(&mut bob, &conversation, &text).await, head + 1);
        ann.expect_message(&text).await;
        kept.push(text);
    }
}
