//! A session that ended is looked for until its sockets are closed, whatever fails meanwhile.

use std::path::Path;

use serde_json::json;

use crate::support::cluster::{Cluster, Parts};
use crate::support::{Client, Server};

/// The next question which sessions stand fails.
fn fail_once(failpoints: &Path) {
    std::fs::write(failpoints.join("session_check"), "").expect("ask for an error");
}

async fn is_closed(client: &mut Client) {
    assert_eq!(client.expect_close().await.code, 4003);
}

#[tokio::test(flavor = "multi_thread")]
async fn n17_a_logout_is_found_though_the_first_question_fails() {
    let mut cluster = Cluster::of(2, Parts::default()).await;
    let account = cluster.server.account("ann").await;
    let (here, mut there) = (cluster.on_node(0, account.clone()).await, cluster.on_node(1, account).await);
    cluster.redis.process().kill();
    cluster.until(1, "node 1 to notice", false).await;
    fail_once(&cluster.failpoints[1]);
    let answer = here.http("POST", "/api/v1/auth/logout/", Some(&json!({}))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    is_closed(&mut there).await;
    assert!(!cluster.failpoints[1].join("session_check").exists(), "no question failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn n17_what_the_operator_revokes_is_found_though_the_first_question_fails() {
    let folder = tempfile::tempdir().expect("a directory");
    let environment = [("DUET_FAILPOINTS", folder.path().to_str().expect("a path"))];
    let server = Server::start_with(&[], &environment).await;
    let mut ann = server.user("ann").await;
    fail_once(folder.path());
    server.operate(&["user", "revoke", "ann"]);
    is_closed(&mut ann).await;
    assert!(!folder.path().join("session_check").exists(), "no question failed");
}

/// Whatever is wrong with all that is quicker.
#[tokio::test(flavor = "multi_thread")]
async fn n17_no_socket_outlives_its_session_for_ever() {
    let server = Server::start_with(&[], &[("DUET_PLANTED_FAULT", "unseen_session_ends")]).await;
    let mut bob = server.user("bob").await;
    let mut ann = server.user("ann").await;
    server.operate(&["user", "revoke", "ann"]);
    is_closed(&mut ann).await;
    bob.command("ping", json!({})).await;
}
