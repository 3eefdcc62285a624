//! What a power cut would leave. `kill -9` cannot show it, since what a process wrote survives it in the system's memory;
//! the order of the system calls does: a text is written to the log, the log is synced, and only then the reply leaves.

use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::support::cluster::{Cluster, open};
use crate::support::process::Process;
use crate::support::setup::Because;
use crate::support::{Client, Server, in_time};

/// Messages whose way is followed.
const MESSAGES: usize = 50;
/// The calls that write or sync.
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fdatasync,fsync";

/// Follows the system calls of these processes and of all their threads.
struct Trace {
    strace: Process,
    folder: TempDir,
}

impl Trace {
    async fn of(pids: &[u32]) -> Trace {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-s", "300000", "-e", CALLS, "-o"]).arg(folder.path().join("trace"));
        command.args(pids.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]));
        let strace = Process::start(command.stdin(Stdio::null()).stderr(Stdio::null()), "KILL", None);
        in_time("strace to be attached", async {
            while !pids.iter().all(|pid| is_traced(*pid)) {
                // Before the next look.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        Trace { strace, folder }
    }

    async fn lines(mut self) -> Vec<String> {
        self.strace.signal("INT");
        self.strace.end("strace to let go").await;
        // Binary parts of what was written are escaped, so the file is text.
        std::fs::read_to_string(self.folder.path().join("trace"))
            .expect("the trace")
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// Whether each thread of a process is traced.
fn is_traced(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
}

/// Sends one message after the other, and answers the ids of the commands.
async fn talk(client: &mut Client, conversation: i64) -> Vec<i64> {
    let mut ids = Vec::new();
    for number in 0..MESSAGES {
        // Said twice, since once may lie across the edge of a page of the log, which is written with a head between.
        let data = json!({ "conversation": conversation, "text": text(number).repeat(2) });
        let id = client.say("message.send", data).await;
        assert_eq!(client.reply(id).await["ok"], true);
        ids.push(id);
    }
    ids
}

fn text(number: usize) -> String {
    format!("a text for the log, number {number}.")
}

/// Shows for each message: its text went into the log, then a sync of the log came to its end, then the reply left.
fn must_be_in_order(lines: &[String], log: &str, ids: &[i64]) {
    let mut from = 0;
    for (number, id) in ids.iter().enumerate() {
        let find = |from: usize, what: &str, fits: &dyn Fn(&str) -> bool| {
            let found = lines[from..].iter().position(|line| fits(line)).map(|place| from + place);
            found.unwrap_or_else(|| panic!("message {number}: no {what} after line {from} of the trace"))
        };
        let said = text(number);
        let written = find(from, "write of its text", &|line| line.contains(log) && line.contains(&said));
        let synced = ended_sync(lines, written, log).unwrap_or_else(|| panic!("message {number}: no sync of the log"));
        let reply = format!(r#"{{\"id\":{id},\"ok\":true"#);
        let replied = find(from, "reply", &|line| line.contains(&reply));
        assert!(written < synced && synced < replied, "message {number}: {written}, {synced}, {replied}");
        from = replied;
    }
}

/// The line on which the first sync of the log that began after a line came to its end.
fn ended_sync(lines: &[String], after: usize, log: &str) -> Option<usize> {
    let is_sync = |line: &str| line.contains("sync(") && line.contains(log);
    let begun = (after..lines.len()).find(|at| is_sync(&lines[*at]))?;
    if lines[begun].ends_with("= 0") {
        return Some(begun);
    }
    let thread = lines[begun].split_whitespace().next()?;
    let ended = |line: &str| line.starts_with(thread) && line.contains("sync resumed") && line.ends_with("= 0");
    (begun..lines.len()).find(|at| ended(&lines[*at]))
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_sqlite_has_synced_its_log_before_a_reply_leaves() {
    let server = Server::start_alone(Because::OfTheFile, &[]).await;
    let (mut ann, bob) = (server.user("ann").await, server.user("bob").await);
    let conversation = open(&mut ann, &bob).await;
    let trace = Trace::of(&[server.nodes[0].pid()]).await;
    let ids = talk(&mut ann, conversation).await;
    must_be_in_order(&trace.lines().await, "duet.db-wal", &ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_postgres_has_synced_its_log_before_a_reply_leaves() {
    let mut cluster = Cluster::with_postgres(1, &[]).await;
    let (mut ann, bob) = (cluster.user(0, "ann").await, cluster.user(0, "bob").await);
    let conversation = open(&mut ann, &bob).await;
    let mut pids = cluster.postgres().pids();
    pids.push(cluster.server.nodes[0].pid());
    let trace = Trace::of(&pids).await;
    let ids = talk(&mut ann, conversation).await;
    must_be_in_order(&trace.lines().await, "/wal/", &ids);
}
