//! Files in a bucket of an S3 service instead of a directory.

use std::time::Duration;

use serde_json::json;

use super::support::bucket::Bucket;
use super::support::files::{get, jpeg, path_of, put};
use super::support::{Server, in_time};

#[tokio::test(flavor = "multi_thread")]
async fn files_are_kept_in_a_bucket_and_leave_it_again() {
    let bucket = Bucket::start().await;
    let url = bucket.url();
    let server = Server::start(&[("media-url", &url), ("media-collect-ms", "100")]).await;
    let (mut ann, _bob, conversation) = super::two_who_talk(&server).await;
    let picture = ann.upload("picture", &jpeg(600, 400)).await;
    ann.command("profile.update", json!({ "pictures": [picture["id"]] })).await;
    // More than goes in one part.
    let bytes: Vec<u8> = (0..12_000_000_u32).map(|number| (number % 251) as u8).collect();
    let file = ann.upload("long", &bytes).await;
    let sent = super::send(&mut ann, conversation, &file["id"]).await;
    let mut sizes: Vec<String> = bucket.keys();
    sizes.iter_mut().for_each(|key| *key = key.rsplit('.').next().expect("a size").to_owned());
    sizes.sort();
    assert_eq!(sizes, ["small", "whole", "whole"], "{:?}", bucket.keys());
    assert!(bucket.keys().iter().all(|key| key.starts_with("of-duet/")), "{:?}", bucket.keys());
    let path = ann.path(&file["id"]).await;
    let whole = get(server.next_address(), &path, &[]).await;
    assert!(whole.status == 200 && whole.body == bytes);
    let part = get(server.next_address(), &path, &[("Range", "bytes=7000000-7000009")]).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[7_000_000..7_000_010]));
    let small = ann.link(&picture["id"]).await.expect("a link")["small"].clone();
    let last = get(server.next_address(), &path_of(&small), &[("Range", "bytes=-2")]).await;
    assert_eq!((last.status, last.body.as_slice()), (206, &[0xff, 0xd9][..]));
    let message = json!({ "conversation": conversation, "seq": sent, "for_all": true });
    ann.command("message.delete", message).await;
    in_time("what was deleted to leave the bucket", async {
        while bucket.keys().len() > 2 {
            // Before the next look.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // What the bucket has that the database does not know, as after a restore, is a matter of its age.
    assert_eq!(get(server.next_address(), &path_of(&small), &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_fails_is_said_and_the_upload_can_be_tried_again() {
    let bucket = Bucket::start().await;
    let url = bucket.url();
    let server = Server::start(&[("media-url", &url), ("media-collect-ms", "100")]).await;
    let mut ann = server.user("ann").await;
    bucket.break_down(true);
    let answer = put(server.next_address(), &ann.account.access, "k", &[], b"notes").await;
    assert_eq!((answer.status, &answer.json()["error"]["retryable"]), (503, &json!(true)), "{}", answer.json());
    ann.command("ping", json!({})).await;
    bucket.break_down(false);
    let file = ann.upload("k", b"notes").await;
    let path = ann.path(&file["id"]).await;
    bucket.break_down(true);
    let answer = get(server.next_address(), &path, &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "busy"));
    bucket.break_down(false);
    assert_eq!(get(server.next_address(), &path, &[]).await.body, b"notes");
}
