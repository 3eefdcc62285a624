//! What nobody refers to goes, and a crash in the middle leaves neither a file without a row nor a row without a file.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::files::{get, jpeg, try_put};
use super::support::{Client, Server, in_time};
use super::{agree, objects};

/// What nobody uses goes soon. An upload has all the time it needs.
const QUICK: &[(&str, &str)] = &[("media-collect-ms", "100"), ("media-unused-s", "2"), ("media-orphan-s", "1")];
/// And uploads that a crash cut off are given up. A machine with much to do may need more than that for a whole one: then
/// it is refused, and tried again.
const GIVEN_UP: &[(&str, &str)] =
    &[("media-collect-ms", "100"), ("media-unused-s", "2"), ("media-orphan-s", "1"), ("upload-ms", "2000")];

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_uses_goes_and_one_that_is_used_stays() {
    let server = Server::start(QUICK).await;
    let mut ann = server.user("ann").await;
    let used = bring(&mut ann, "used", &jpeg(400, 300)).await;
    let idle = ann.upload("idle", b"nobody's").await["id"].clone();
    in_time("the file that nobody uses to go", async { while ann.link(&idle).await.is_some() {} }).await;
    agree(&server).await;
    let path = ann.path(&used).await;
    assert_eq!(get(server.next_address(), &path, &[]).await.status, 200);
    // The key is free, and brings another file.
    assert_ne!(ann.upload("idle", b"again").await["id"], idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_came_from_nowhere_go() {
    // No upload could still be under way by then.
    let server = Server::start(&[("media-collect-ms", "100"), ("media-orphan-s", "1"), ("upload-ms", "1000")]).await;
    let stray = server.media_dir().join("zz");
    std::fs::create_dir_all(&stray).expect("a folder");
    for name in ["zzzzzzzzzzzzzzzzzzzzzz.whole", "zzzzzzzzzzzzzzzzzzzzzz.small#1"] {
        std::fs::write(stray.join(name), b"stray").expect("written");
    }
    in_time("bytes that no file has to go", async {
        while std::fs::read_dir(&stray).expect("a folder").count() > 0 {
            // Before the next look.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// It is collected as soon as nothing refers to it, and sent at the same moment, on whichever node.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_sent_as_it_is_about_to_go_stays_or_was_refused() {
    let server = Server::start(&[("media-collect-ms", "1"), ("media-unused-s", "0")]).await;
    let (mut ann, mut bob, id) = super::two_who_talk(&server).await;
    let (mut sent, mut refused) = (Vec::new(), 0);
    for round in 0..1000 {
        if sent.len() == 10 {
            break;
        }
        let file = ann.upload(&format!("r{round}"), b"quick").await["id"].clone();
        let message = ann.say("message.send", json!({ "conversation": id, "text": "", "attachment": file })).await;
        let reply = ann.reply(message).await;
        if reply["ok"] == true {
            sent.push(file);
        } else {
            assert_eq!(reply["error"]["code"], "not_found", "{reply}");
            refused += 1;
        }
    }
    assert!(!sent.is_empty(), "all {refused} were collected before they were sent, so nothing was shown");
    // Rounds go by.
    let last = ann.upload("last", b"nobody's").await["id"].clone();
    in_time("a round", async { while ann.link(&last).await.is_some() {} }).await;
    for file in &sent {
        let path = bob.path(file).await;
        let answer = get(server.next_address(), &path, &[]).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"quick"[..]), "{file} was sent, and went");
    }
    agree(&server).await;
    assert_eq!(objects(&server).len(), sent.len());
}

/// Brings a picture and uses it, however often it takes: on a machine with much to do, it may be collected in between.
async fn bring(client: &mut Client, key: &str, bytes: &[u8]) -> Value {
    in_time(&format!("the file {key} to be taken"), async {
        loop {
            let answer = client.try_upload(key, bytes).await;
            if let Some(answer) = answer.filter(|answer| [200, 201].contains(&answer.status)) {
                let file = answer.json()["id"].clone();
                let id = client.say("profile.update", json!({ "pictures": [file] })).await;
                if client.reply(id).await["ok"] == true {
                    return file;
                }
            }
            // Before the next try.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_middle_of_uploads_leave_nothing_behind() {
    let mut server = Server::start(GIVEN_UP).await;
    let ann = server.user("ann").await;
    let mut account = ann.account.clone();
    let picture = jpeg(900, 700);
    for round in 0..4_u64 {
        let uploads: Vec<_> = (0..6)
            .map(|number| {
                let (address, token, bytes) = (server.next_address(), account.access.clone(), picture.clone());
                tokio::spawn(async move { try_put(address, &token, &format!("r{round}-{number}"), &bytes).await })
            })
            .collect();
        // Somewhere in the middle of them.
        tokio::time::sleep(Duration::from_millis(40 + 60 * round)).await;
        server.kill();
        for upload in uploads {
            let _ = upload.await;
        }
        server.restart().await;
        account = server.login("ann").await;
    }
    agree(&server).await;
    let mut ann = Client::connect(&server, account).await;
    bring(&mut ann, "after", &picture).await;
    let own = ann.command("profile.me", json!({})).await;
    let path = ann.path(&own["pictures"][0]["id"]).await;
    assert_eq!(get(server.next_address(), &path, &[]).await.status, 200);
}

#[cfg(feature = "planted-faults")]
mod planted {
    use super::*;

    /// Waits until a node has died of what it was asked to, and starts it again.
    async fn died(server: &mut Server) {
        in_time("a node to die", async {
            loop {
                for node in &mut server.nodes {
                    if node.process().ended().is_some() {
                        return node.restart().await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_at_any_step_leaves_rows_and_bytes_in_agreement() {
        for place in
            ["upload_came", "upload_kept_a_size", "upload_kept", "upload_ready", "collect_ended", "collect_removed"]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let environment = [("DUET_FAILPOINTS", folder.path().to_str().expect("a path"))];
            let mut server = Server::start_with(GIVEN_UP, &environment).await;
            let account = server.account("ann").await;
            let picture = jpeg(600, 400);
            if place.starts_with("collect") {
                try_put(server.next_address(), &account.access, "k", &picture).await.expect("an answer");
                std::fs::write(folder.path().join(place), "").expect("asked");
            } else {
                std::fs::write(folder.path().join(place), "").expect("asked");
                let cut = try_put(server.next_address(), &account.access, "k", &picture).await;
                assert!(cut.is_none(), "{place}: {cut:?}");
            }
            died(&mut server).await;
            let mut ann = Client::connect(&server, server.login("ann").await).await;
            bring(&mut ann, "k", &picture).await;
            agree(&server).await;
            let own = ann.command("profile.me", json!({})).await;
            let link = ann.link(&own["pictures"][0]["id"]).await.expect("a link");
            for size in ["url", "small"] {
                let path = super::super::support::files::path_of(&link[size]);
                assert_eq!(get(server.next_address(), &path, &[]).await.status, 200, "{place} {size}");
            }
            assert_eq!(objects(&server).len(), 2, "{place}: one picture in two sizes");
        }
    }
}
