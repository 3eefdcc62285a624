//! The document of the API: what it says is what the server does, as a program sees it that knows nothing else.

use std::process::{Command, Stdio};

use crate::site::Person;
use crate::support::Server;
use crate::support::http::call;
use crate::support::python::programs;

/// What reads the document and calls whatever it allows, and what it does not.
const REQUIREMENTS: &str = "schemathesis==4.32.5\n";
/// How long it may go on, in seconds.
const SECONDS: &str = "20";
/// The API takes more than the document says (numbers as texts, what it does not know), and refuses some of what the
/// document cannot say (a user who is not there, a password that is too short): docs/django.md lists these. A conversation that
/// was left is out of the list and not gone: it can be read and written by its number (`rule_leave`), and only some walks
/// of the program come across that.
const NOT_ASKED: &str = "positive_data_acceptance,negative_data_rejection,use_after_free";
/// These end the token with which everything else is asked.
const ENDS_TOKENS: &str = "logout|change-password";

#[tokio::test]
async fn row_get_api_schema() {
    // It names the address of the server, which is another in each run.
    let server = Server::start(&[("public-url", "http://127.0.0.1:8080")]).await;
    let answer = call(server.next_address(), "GET", "/api/schema/", None, None).await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(answer.json["openapi"], "3.1.0");
    let now = serde_json::to_string_pretty(&answer.json).expect("it was JSON") + "\n";
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(golden, &now).expect("write the document");
    }
    let known = std::fs::read_to_string(golden).expect("the document");
    assert!(known == now, "docs/openapi.json is another; UPDATE=1 writes it anew");
}

/// Runs until its time is over. What it finds is a failure.
async fn explore(server: &Server, token: &str, paths: [&str; 2], seconds: &str) {
    let programs = tokio::task::spawn_blocking(|| programs("schemathesis", REQUIREMENTS)).await.expect("its programs");
    let folder = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(programs.join("schemathesis"));
    command
        .args(["run", &format!("http://{}/api/schema/", server.next_address())])
        .args(["--url", &format!("http://{}", server.next_address())])
        .args(["--header", &format!("Authorization: Bearer {token}"), "--exclude-checks", NOT_ASKED])
        .args(["--max-time", seconds, "--seed", "1", "--no-shrink", "--continue-on-failure", "--request-timeout", "60"])
        .args(paths)
        .env("NO_PROXY", "*")
        .current_dir(folder.path())
        .stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("it ran");
    let done = done.expect("run schemathesis");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("generated"), "it did nothing: {said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}: {said}{}", done.status, String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn form_document_is_kept_whatever_is_asked() {
    let fast = [("commands-per-s", "0"), ("direct-per-hour", "0"), ("likes-per-hour", "0")];
    let patient = [("login-account-burst", "100000"), ("login-prefix-burst", "100000")];
    let server = Server::start(&[fast.as_slice(), &patient].concat()).await;
    let (ann, bob) = (Person::new(&server, "ann").await, Person::new(&server, "bob").await);
    ann.talk_to(&bob, "hello").await;
    explore(&server, &ann.account.access, ["--exclude-path-regex", ENDS_TOKENS], SECONDS).await;
    explore(&server, &bob.account.access, ["--include-path-regex", ENDS_TOKENS], "3").await;
}
