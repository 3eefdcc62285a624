//! Starting, stopping, and the operator's commands beside a running server.
#![expect(clippy::expect_used, reason = "a story that cannot go on fails")]

#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;

mod kept;
mod output;
mod settings;

use std::io::BufRead;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use sqlx::{ConnectOptions, Connection};
use support::process::Process;
use support::setup::Because;
use support::stopwatch::Stopwatch;
use support::{Client, Server, http, in_time};

/// Runs duet to its end.
fn duet(data_dir: &Path, args: &[&str]) -> Output {
    duet_hearing(data_dir, args, "")
}

/// Runs duet to its end, with something on its standard input.
fn duet_hearing(data_dir: &Path, args: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(args).arg("--data-dir").arg(data_dir).args(["--argon2-memory-kib", "8", "--argon2-passes", "1"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("start duet");
    // A command that reads nothing may be gone before it is told anything.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("wait for duet")
}

/// Starts a server whose standard error goes elsewhere, and waits until it says where it listens.
async fn serving(data_dir: &Path, args: &[&str], errors: Stdio) -> (Process, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.arg("serve");
    listening(command, data_dir, args, errors).await
}

/// The same, started by another command.
async fn listening(mut command: Command, data_dir: &Path, args: &[&str], errors: Stdio) -> (Process, SocketAddr) {
    command.args(["--argon2-memory-kib", "8", "--argon2-passes", "1"]).args(args);
    if !args.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.arg("--data-dir").arg(data_dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let mut process = Process::start(&mut command, "KILL", None);
    let output = process.output().expect("it is piped");
    let (tell, told) = tokio::sync::oneshot::channel();
    // Reads on to the end, so that the server never waits for this reader.
    std::thread::spawn(move || {
        let mut lines = std::io::BufReader::new(output).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.split_once("http://").and_then(|(_, rest)| rest.trim().parse().ok()));
        // Nobody waits any more after the deadline.
        let _ = tell.send(address);
        lines.for_each(drop);
    });
    let address: Option<SocketAddr> = in_time("the server to listen", told).await.expect("the reader answers");
    (process, address.expect("the server ended before it listened"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Starts duet where it must refuse to start, and answers its words.
fn refusal(data_dir: &Path, args: &[&str]) -> String {
    let output = duet(data_dir, args);
    assert!(!output.status.success(), "{args:?} was taken: {}", said(&output));
    said(&output)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_at_the_start_is_told_with_what_to_do() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start_alone(Because::OfTheFile, &[]).await;
    let port = server.next_address().to_string();

    let told = refusal(home.path(), &["--listen", &port]);
    assert!(told.contains(&port) && told.contains("--listen"), "{told}");
    let told = refusal(&server.data_dir(), &["--listen", "127.0.0.1:0"]);
    assert!(told.contains("another duet") && told.contains("--data-dir"), "{told}");
    let told = refusal(home.path(), &["--secret", "too short"]);
    assert!(told.contains("--secret") && told.contains("32"), "{told}");
    let told = refusal(home.path(), &["--text-max", "many"]);
    assert!(told.contains("--text-max") && told.contains("characters"), "{told}");
    let file = home.path().join("a file");
    std::fs::write(&file, "").expect("write");
    let told = refusal(&file, &["--listen", "127.0.0.1:0"]);
    assert!(told.contains("a file") && told.contains("--data-dir"), "{told}");
    let config = home.path().join("duet.toml");
    std::fs::write(&config, "text_maximum = 5").expect("write");
    let told = refusal(home.path(), &["--config", &config.to_string_lossy()]);
    assert!(told.contains("text_maximum") && told.contains("--help"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_newer_than_the_binary_is_refused() {
    let mut server = Server::start_alone(Because::OfTheFile, &[]).await;
    server.stop().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(server.file());
    let mut database = options.connect().await.expect("open");
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
        VALUES (9999, 'later', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut database).await.expect("write");
    database.close().await.expect("close");
    let told = refusal(&server.data_dir(), &["--listen", "127.0.0.1:0"]);
    assert!(told.contains("9999") && told.contains("newer"), "{told}");
}

#[test]
fn settings_come_from_flag_then_variable_then_file() {
    let home = tempfile::tempdir().expect("a directory");
    let config = home.path().join("duet.toml");
    std::fs::write(&config, "text_max = 5\nname_max = 6\nbio_max = 7\n").expect("write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
    command.args(["config", "--text-max", "11", "--config"]).arg(&config);
    command.env("DUET_TEXT_MAX", "12").env("DUET_NAME_MAX", "13");
    let shown = said(&command.output().expect("run duet"));
    for line in
        ["text_max = \"11\"", "name_max = \"13\"", "bio_max = \"7\"", "frame_max = \"32768\"", "secret = \"(none)\""]
    {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
}

#[test]
fn help_names_every_setting_with_unit_and_default() {
    let help = said(&Command::new(env!("CARGO_BIN_EXE_duet")).arg("--help").output().expect("run duet"));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in duet::config::SETTINGS {
        let flag = format!("--{}", setting.name.replace('_', "-"));
        assert!(help.contains(&flag), "{flag} is not in the help");
        assert!(help.contains(&format!("[{}; default:", setting.unit)), "{flag} lacks its unit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generated_secret_is_for_its_owner_only() {
    let server = Server::start_alone(Because::OfTheFile, &[]).await;
    let secret = server.data_dir().join("secret");
    let mode = std::fs::metadata(secret).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_acts_beside_the_running_server() {
    let server = Server::start_alone(Because::OfTheFile, &[]).await;
    let mut ann = server.user("ann").await;
    server.account("bob").await;
    let at = server.data_dir();

    let list = said(&duet(&at, &["user", "list"]));
    assert!(list.contains("ann") && list.contains("bob") && list.contains("2 accounts"), "{list}");
    let shown = said(&duet(&at, &["user", "show", "ANN"]));
    assert!(shown.contains("ann") && shown.contains("open sessions: 1"), "{shown}");
    assert!(said(&duet(&at, &["user", "show", "nobody"])).contains("duet user list"));

    let revoked = duet(&at, &["user", "revoke", "ann"]);
    assert!(revoked.status.success(), "{}", said(&revoked));
    assert_eq!(ann.expect_close().await.code, 4003);

    let mut ann = Client::connect(&server, server.login("ann").await).await;
    assert!(duet(&at, &["user", "disable", "ann"]).status.success());
    assert_eq!(ann.expect_close().await.code, 4003);
    let body = json!({ "username": "ann", "password": support::server::PASSWORD });
    let answer = http::call(server.next_address(), "POST", "/api/token/", None, Some(&body)).await;
    assert_eq!(answer.status, 401);
    assert!(duet(&at, &["user", "enable", "ann"]).status.success());
    server.login("ann").await;

    let told = duet_hearing(&at, &["user", "set-password", "ann"], "another good one\n");
    assert!(told.status.success(), "{}", said(&told));
    let body = json!({ "username": "ann", "password": "another good one" });
    let answer = http::call(server.next_address(), "POST", "/api/token/", None, Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_people_talk_and_put_back_with_a_new_epoch() {
    let mut server = Server::start_alone(Because::OfTheFile, &[]).await;
    let mut ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    let said_before = json!({ "conversation": conversation, "text": "before" });
    ann.command("message.send", said_before).await;
    let backup = server.data_dir().join("backup.db");
    let file = backup.to_string_lossy().into_owned();
    let done = duet(&server.data_dir(), &["backup", &file]);
    assert!(done.status.success(), "{}", said(&done));
    assert!(refusal(&server.data_dir(), &["backup", &file]).contains("new file"));
    ann.command("message.send", json!({ "conversation": conversation, "text": "after" })).await;
    assert!(refusal(&server.data_dir(), &["restored"]).contains("another duet"));

    server.stop().await;
    let database = server.file();
    for rest in ["db-wal", "db-shm"] {
        // A server that was stopped in order leaves neither.
        let _ = std::fs::remove_file(database.with_extension(rest));
    }
    std::fs::rename(&backup, &database).expect("put the backup back");
    let done = duet(&server.data_dir(), &["restored"]);
    assert!(done.status.success(), "{}", said(&done));
    server.restart().await;

    let (epoch, account) = (ann.hello["epoch"].clone(), ann.account.clone());
    let mut ann = Client::connect(&server, account).await;
    assert_ne!(ann.hello["epoch"], epoch);
    let cursors = json!({ "epoch": epoch, "conversations": { conversation.to_string(): 2 } });
    assert_eq!(ann.command("resume", cursors).await["reset"], "epoch");
    let history = ann.command("message.history", json!({ "conversation": conversation })).await;
    let texts: Vec<_> = history["messages"].as_array().expect("messages").iter().map(|one| &one["text"]).collect();
    assert_eq!(texts, [&json!("before")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_answers_what_was_begun_and_sends_its_sockets_on() {
    let mut server = Server::start_alone(Because::OfTheFile, &[]).await;
    let mut ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let conversation = ann.command("conversation.open", json!({ "user": bob.user })).await["id"].clone();
    let mut begun = Vec::new();
    for number in 0..50 {
        let data =
            json!({ "conversation": conversation, "text": number.to_string(), "client_key": number.to_string() });
        begun.push(ann.say("message.send", data).await);
    }
    let first = begun[0];
    ann.reply(first).await;
    let watch = Stopwatch::start();
    server.stop().await;
    watch.must_be_within(std::time::Duration::from_secs(15), "draining");
    let delay = ann.expect("server.draining").await["delay_ms"].as_i64().expect("a number");
    assert!((0..5_000).contains(&delay));
    assert_eq!(ann.expect_close().await.code, 1012);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_health_are_on_the_operators_port_only() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let server = Server::start_alone(Because::OfTheProcess, &[("operator-listen", &free.to_string())]).await;
    let mut ann = server.user("ann").await;
    ann.command("ping", json!({})).await;
    let numbers = http::call(free, "GET", "/metrics", None, None).await;
    assert_eq!(numbers.status, 200);
    assert!(numbers.body.contains("duet_sockets 1"), "{}", numbers.body);
    assert!(numbers.body.contains(r#"duet_commands_total{type="ping",outcome="ok"} 1"#), "{}", numbers.body);
    let health = http::call(free, "GET", "/health", None, None).await;
    assert_eq!((health.status, &health.json["sockets"]), (200, &json!(1)));
    for path in ["/metrics", "/health"] {
        assert_eq!(http::call(server.next_address(), "GET", path, None, None).await.status, 404, "{path}");
    }
}
