//! What stays on the disk: who may read it, and what of it is left after a clean stop.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::support::setup::Because;
use super::support::{Client, Server};
use super::{duet, said, serving};

/// Every file and folder at and below a place.
fn all(place: &Path) -> Vec<PathBuf> {
    let mut found = vec![place.to_owned()];
    if place.is_dir() {
        let entries = fs::read_dir(place).expect("a folder").map(|entry| entry.expect("an entry").path());
        found.extend(entries.flat_map(|path| all(&path)));
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[track_caller]
fn is_private(place: &Path) {
    let open: Vec<String> = all(place)
        .iter()
        .filter(|path| mode(path) & 0o077 != 0)
        .map(|path| format!("{} {:o}", path.display(), mode(path)))
        .collect();
    assert!(open.is_empty(), "others may read {open:#?}");
}

/// Names beside the database that belong to it.
fn beside(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("duet.db"));
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn d11_what_is_kept_is_readable_by_nobody_else() {
    let mut server = Server::start_alone(Because::OfTheFile, &[]).await;
    let ann = server.user("ann").await;
    ann.upload("1", b"a secret").await;
    let data = server.data_dir();
    let backup = data.join("backup.db");
    let done = duet(&data, &["backup", &backup.display().to_string()]);
    assert!(done.status.success(), "{}", said(&done));
    assert!(beside(&data).contains(&"duet.db-wal".to_owned()), "it runs");
    is_private(&data);

    // A directory that an older server made is closed at the next start.
    server.kill();
    let opened: Vec<PathBuf> =
        beside(&data).iter().map(|name| data.join(name)).chain([data.join("duet.lock")]).collect();
    for path in &opened {
        fs::set_permissions(path, Permissions::from_mode(0o644)).expect("opened");
    }
    fs::set_permissions(&data, Permissions::from_mode(0o755)).expect("opened");
    server.restart().await;
    let account = server.login("ann").await;
    let _ann = Client::connect(&server, account).await;
    is_private(&data);
}

#[tokio::test(flavor = "multi_thread")]
async fn d11_a_directory_with_files_of_others_is_left_as_it_is() {
    let home = tempfile::tempdir().expect("a directory");
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).expect("opened");
    fs::write(home.path().join("index.html"), "not of duet").expect("written");
    fs::set_permissions(home.path().join("index.html"), Permissions::from_mode(0o644)).expect("opened");
    assert!(duet(home.path(), &["migrate"]).status.success());
    assert_eq!((mode(home.path()), mode(&home.path().join("index.html"))), (0o755, 0o644));
    assert_eq!(mode(&home.path().join("duet.db")), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn d11_a_clean_stop_leaves_one_file_whatever_asked_for_it() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut server = Server::start_alone(Because::OfTheFile, &[]).await;
        let mut ann = server.user("ann").await;
        server.nodes[0].process().signal(signal);
        ann.expect("server.draining").await;
        assert_eq!(ann.expect_close().await.code, 1012, "{signal}");
        let status = server.nodes[0].process().end("the server to stop").await;
        assert!(status.success(), "{signal}: {status}");
        assert_eq!(beside(&server.data_dir()), ["duet.db"], "{signal}");
        // Nor do commands leave more.
        for args in [&["user", "list"][..], &["user", "show", "ann"], &["user", "revoke", "ann"], &["restored"]] {
            let done = duet(&server.data_dir(), args);
            assert!(done.status.success(), "{args:?}: {}", said(&done));
            assert_eq!(beside(&server.data_dir()), ["duet.db"], "{args:?}");
        }
        server.restart().await;
        server.login("ann").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d11_a_hangup_that_is_ignored_stays_ignored() {
    let home = tempfile::tempdir().expect("a directory");
    // As nohup starts a program.
    let (server, address) = {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_duet"), "serve"]);
        super::listening(command, &home.path().join("data"), &[], Stdio::null()).await
    };
    server.signal("HUP");
    for _ in 0..20 {
        assert_eq!(super::http::call(address, "GET", "/readyz", None, None).await.status, 200);
    }
    let (mut other, _) = serving(&home.path().join("other"), &[], Stdio::null()).await;
    other.signal("HUP");
    assert!(other.end("the server to stop").await.success(), "one that does not ignore it stops");
}
