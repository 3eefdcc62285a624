//! A server process of one's own: the real binary, a port and a directory that nobody else has.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tempfile::TempDir;

use super::checker::Verdict;
use super::recorder::Recorder;
use super::{Client, DEADLINE, http};

/// Hashing must not dominate the tests.
const PLAIN: &[(&str, &str)] =
    &[("argon2-memory-kib", "8"), ("argon2-passes", "1"), ("hash-queue", "1000"), ("log", "warn")];

/// Load is no abuse where a story is not about abuse. A story's own settings come after these.
const DEFAULTS: &[(&str, &str)] = &[
    ("commands-per-s", "0"),
    ("direct-per-hour", "0"),
    ("likes-per-hour", "0"),
    ("sockets-per-address", "0"),
    ("unauthenticated-per-address", "0"),
];

/// Everybody's password, as none of the stories is about choosing one.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, also after a restart.
    pub address: SocketAddr,
    /// What clients of this server record; stories that want a record of their own make another.
    pub recorder: Arc<Recorder>,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    home: TempDir,
    process: Child,
    records: AtomicU64,
}

/// A user who is registered and signed in, without a socket yet.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user name.
    pub username: String,
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

impl Server {
    /// Starts one with these settings, named as flags without the dashes.
    pub async fn start(settings: &[(&str, &str)]) -> Server {
        Server::start_with(settings, &[]).await
    }

    /// Starts one with the limits that users get, except for these settings.
    pub async fn start_plain(settings: &[(&str, &str)]) -> Server {
        Server::begin(PLAIN.to_vec(), settings, &[]).await
    }

    /// Starts one with these settings and variables of the environment.
    pub async fn start_with(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Server {
        Server::begin([PLAIN, DEFAULTS].concat(), settings, environment).await
    }

    async fn begin(mut all: Vec<(&str, &str)>, settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Server {
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        // A flag may stand once: the story's own value replaces the default.
        all.retain(|(name, _)| !settings.iter().any(|(own, _)| own == name));
        all.extend(settings);
        let (settings, environment) = (owned(&all), owned(environment));
        let home = tempfile::Builder::new().prefix("duet-test-").tempdir().expect("a temporary directory");
        let recorder = Arc::new(Recorder::create(home.path().join("record.jsonl")));
        let (process, address) = launch(&home, "127.0.0.1:0", &settings, &environment).await;
        Server { address, recorder, settings, environment, home, process, records: AtomicU64::new(0) }
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.recorder.server("killed");
        self.process.kill().expect("kill the server");
        self.process.wait().expect("wait for the server");
    }

    /// Asks it to stop, as an operator does, and waits until the process is gone.
    pub async fn stop(&mut self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("run kill");
        assert!(sent.success(), "kill -TERM {id}: {sent}");
        super::in_time("the server to stop", async {
            while self.process.try_wait().expect("look at the server").is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Starts it again after `kill` or `stop`, on the same directory and port.
    pub async fn restart(&mut self) {
        let listen = self.address.to_string();
        (self.process, self.address) = launch(&self.home, &listen, &self.settings, &self.environment).await;
        self.recorder.server("started");
    }

    /// The process, to look at what it uses.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How many KiB of memory it has.
    pub fn memory_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("read its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// How many connections it has open, and the like.
    pub fn open_connections(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("its files");
        // What was closed meanwhile is none.
        let opened = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        opened.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Gives an operator's command beside the running server, and answers what it said.
    pub fn operate(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        command.args(arguments).arg("--data-dir").arg(self.home.path().join("data"));
        let output = command.stdin(Stdio::null()).output().expect("run the command");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Replaces the variables of the environment that the next start gets.
    pub fn environment(&mut self, environment: &[(&str, &str)]) {
        let owned = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.environment = owned.collect();
    }

    /// The file that the checker reads.
    pub fn database(&self) -> PathBuf {
        self.home.path().join("data").join("duet.db")
    }

    /// A record apart from the server's own, for one of several stories on one server.
    pub fn another_record(&self) -> Arc<Recorder> {
        let number = self.records.fetch_add(1, Ordering::Relaxed);
        Arc::new(Recorder::create(self.home.path().join(format!("record-{number}.jsonl"))))
    }

    /// Registers a user and signs in.
    pub async fn account(&self, username: &str) -> Account {
        let body = json!({ "username": username, "password": PASSWORD, "password2": PASSWORD });
        let answer = http::call(self.address, "POST", "/api/v1/auth/register/", None, Some(&body)).await;
        assert_eq!(answer.status, 201, "registering {username}: {}", answer.body);
        self.login(username).await
    }

    /// Signs in once more: another session of the same user.
    pub async fn login(&self, username: &str) -> Account {
        let body = json!({ "username": username, "password": PASSWORD });
        let answer = http::call(self.address, "POST", "/api/token/", None, Some(&body)).await;
        assert_eq!(answer.status, 200, "signing {username} in: {}", answer.body);
        let token = |name: &str| answer.json[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        Account { username: username.to_owned(), access: token("access"), refresh: token("refresh") }
    }

    /// Registers, signs in, connects and says who it is.
    pub async fn user(&self, username: &str) -> Client {
        Client::connect(self, self.account(username).await).await
    }

    /// What the checker says to all that was recorded so far.
    pub async fn verdict(&self) -> Verdict {
        self.recorder.verdict(&self.database()).await
    }

    /// The same, once these clients have taken all that they are due.
    pub async fn verdict_after(&self, clients: &mut [Client]) -> Verdict {
        // What waits for a socket leaves together with the answer to a ping, or before that to the next one. Pages of
        // a socket that fell behind may take a few more.
        for round in 1.. {
            for client in &mut *clients {
                client.command("ping", json!({})).await;
            }
            let verdict = if round < 2 { continue } else { self.verdict().await };
            if verdict.findings.is_empty() || round == 5 {
                assert_eq!(verdict.statistics.complete_devices, clients.len(), "every open socket was looked at");
                return verdict;
            }
        }
        unreachable!("the rounds end with the fifth")
    }

    /// Fails the story if the checker found anything. A server of a failed story keeps its record and database.
    pub fn must_be_clean(&self, verdict: &Verdict) {
        if !verdict.findings.is_empty() {
            let (count, first) = (verdict.findings.len(), verdict.findings.iter().take(20));
            let first: Vec<&str> = first.map(String::as_str).collect();
            panic!("{count} findings:\n{}", first.join("\n"));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already, which is all that is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            self.home.disable_cleanup(true);
            println!("record and database are in {}", self.home.path().display());
        }
    }
}

/// Starts the binary until it listens. A port that was free a moment ago may have been lent to another process's
/// outgoing connection, so a server that exits at once is started again until the deadline.
async fn launch(
    home: &TempDir,
    listen: &str,
    settings: &[(String, String)],
    environment: &[(String, String)],
) -> (Child, SocketAddr) {
    let begun = std::time::Instant::now();
    loop {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        command.arg("serve").arg("--listen").arg(listen).arg("--data-dir").arg(home.path().join("data"));
        command.args(settings.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]));
        command.envs(environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("start the server");
        let output = process.stdout.take().expect("it is piped");
        let (found, listening) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || drain(output, found));
        match super::in_time("the server to listen", listening).await {
            Ok(address) => return (process, address),
            Err(_) => {
                let status = process.wait().expect("wait for the server");
                assert!(begun.elapsed() < DEADLINE, "the server ended before it listened: {status}");
            }
        }
    }
}

/// Reads the server's output to its end, so that it never waits for us, and tells the address when it is printed.
fn drain(output: impl std::io::Read, found: tokio::sync::oneshot::Sender<SocketAddr>) {
    let mut found = Some(found);
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let address = line.split_once("http://").map(|(_, rest)| rest);
        let address = address.and_then(|rest| rest.split(|c: char| c != ':' && c != '.' && !c.is_ascii_digit()).next());
        if let Some(address) = address.and_then(|text| text.parse().ok())
            && let Some(found) = found.take()
        {
            // Nobody waits any more once the deadline has passed.
            let _ = found.send(address);
        } else if !line.contains("http://") {
            println!("server: {line}");
        }
    }
}
