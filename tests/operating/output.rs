//! Readers of the log and of a command's output that stop reading, are gone, or have no room left.

use std::fs::File;
use std::io::{Read, pipe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;

use super::support::node::Addresses;
use super::support::private::free_address;
use super::support::process::Process;
use super::support::recorder::Recorder;
use super::support::server::{Account, PASSWORD};
use super::support::{Client, http, in_time};
use super::{duet, said, serving};

/// Where every write fails for want of room.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("a full device").into()
}

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    pipe().expect("a pipe").1.into()
}

/// Registers a user, signs in, refuses a wrong password and sends a message: each is logged.
async fn uses(address: std::net::SocketAddr, home: &Path) -> Client {
    let post = async |path: &str, body| http::call(address, "POST", path, None, Some(&body)).await;
    let body = json!({ "username": "ann", "password": PASSWORD, "password2": PASSWORD });
    assert_eq!(post("/api/v1/auth/register/", body).await.status, 201);
    assert_eq!(post("/api/token/", json!({ "username": "ann", "password": "wrong" })).await.status, 401);
    let tokens = post("/api/token/", json!({ "username": "ann", "password": PASSWORD })).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let token = |name: &str| tokens.json[name].as_str().expect("a token").to_owned();
    let account = Account { username: "ann".to_owned(), access: token("access"), refresh: token("refresh") };
    let recorder = Arc::new(Recorder::create(home.join("record.jsonl")));
    let mut ann = Client::connect_recorded(&Addresses::one(address), &recorder, account).await;
    let created = ann.command("conversation.create", json!({ "title": "Notes", "members": [] })).await;
    ann.command("message.send", json!({ "conversation": created["id"], "text": "kept" })).await;
    ann
}

/// Stops the server, which must send its socket away and end well.
async fn stops(mut server: Process, mut ann: Client) {
    server.signal("TERM");
    ann.expect("server.draining").await;
    assert_eq!(ann.expect_close().await.code, 1012);
    let status = server.end("the server to stop").await;
    assert!(status.success(), "it ended with {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn d01_a_log_that_cannot_be_written_harms_nothing() {
    for (name, errors) in [("full", full()), ("closed", closed())] {
        let home = tempfile::tempdir().expect("a directory");
        let (server, address) = serving(&home.path().join(name), &[], errors).await;
        let ann = uses(address, home.path()).await;
        stops(server, ann).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d01_a_log_that_nobody_reads_holds_up_nobody() {
    let home = tempfile::tempdir().expect("a directory");
    let (mut log, errors) = pipe().expect("a pipe");
    // What is traced of one request is more than a pipe takes.
    let args = ["--log", "trace"];
    let (server, address) = serving(&home.path().join("data"), &args, errors.into()).await;
    let mut ann = uses(address, home.path()).await;
    for number in 0..200 {
        ann.command("ping", json!({})).await;
        assert_eq!(http::call(address, "GET", "/healthz", None, None).await.status, 200, "{number}");
    }
    stops(server, ann).await;
    // What was written before the pipe was full is whole lines.
    let mut text = String::new();
    log.read_to_string(&mut text).expect("the log");
    assert!(text.len() > 10_000 && text.ends_with('\n'), "{} bytes", text.len());
    for line in text.lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "{line:?} is no whole line");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d01_a_server_that_cannot_say_where_it_listens_serves() {
    let home = tempfile::tempdir().expect("a directory");
    for (name, output) in [("full", full()), ("closed", closed())] {
        let address = free_address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        command.args(["serve", "--listen", &address.to_string(), "--data-dir"]).arg(home.path().join(name));
        command.args(["--argon2-memory-kib", "8"]).stdin(Stdio::null()).stdout(output).stderr(closed());
        let mut server = Process::start(&mut command, "KILL", None);
        in_time("the server to listen", async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                assert_eq!(server.ended(), None, "it ended");
                // Before the next look.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(http::call(address, "GET", "/healthz", None, None).await.status, 200);
        server.signal("TERM");
        assert!(server.end("the server to stop").await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d01_a_command_whose_reader_is_gone_ends_quietly() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    assert!(duet(&data, &["migrate"]).status.success());
    let backup = home.path().join("backup.db").display().to_string();
    let commands: [&[&str]; 8] = [
        &["--help"],
        &["--version"],
        &["user", "--help"],
        &["config"],
        &["migrate"],
        &["user", "list"],
        &["restored"],
        &["backup", &backup],
    ];
    for args in commands {
        let run = |output: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
            command.args(args).arg("--data-dir").arg(&data).stdin(Stdio::null()).stdout(output);
            command.stderr(Stdio::piped()).output().expect("run duet")
        };
        let gone = run(closed());
        assert!(gone.status.success() && gone.stderr.is_empty(), "{args:?}: {} {}", gone.status, said(&gone));
        let _ = std::fs::remove_file(&backup);
        let full = run(full());
        assert!(!said(&full).contains("panicked"), "{args:?}: {}", said(&full));
        let _ = std::fs::remove_file(&backup);
        let about_itself = args.iter().any(|arg| arg.starts_with("--"));
        assert!(about_itself || said(&full).contains("cannot write"), "{args:?}: {} {}", full.status, said(&full));
    }
    // Nor does it matter whether its complaints are heard.
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(["user", "show", "nobody", "--data-dir"]).arg(&data).stdin(Stdio::null()).stderr(closed());
    assert_eq!(command.status().expect("run duet").code(), Some(1));
}
