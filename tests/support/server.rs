//! A server of one's own: one process with SQLite, or a cluster of nodes, as the set-up of the run has it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use super::checker::{Source, Verdict};
use super::node::{Addresses, Launch, Node, Pairs};
use super::recorder::Recorder;
use super::setup::{Because, SetUp, shared};
use super::{Client, http};

/// Hashing must not dominate the tests.
const PLAIN: &[(&str, &str)] =
    &[("argon2-memory-kib", "8"), ("argon2-passes", "1"), ("hash-queue", "1000"), ("log", "warn")];

/// A machine with much to do is no reason to refuse or to close. Stories about a deadline set their own; stories about
/// several nodes in trouble have those of users (`Cluster`).
const PATIENT: &[(&str, &str)] = &[
    ("header-ms", "60000"),
    ("auth-ms", "60000"),
    // Nobody reads from a client that waits for its turn, so it answers no ping.
    ("silent-ms", "600000"),
    ("write-ms", "60000"),
    ("upload-idle-ms", "60000"),
    ("query-ms", "10000"),
    ("postgres-wait-ms", "10000"),
    ("postgres-statement-ms", "15000"),
    ("redis-wait-ms", "5000"),
    ("deaf-ms", "10000"),
    ("rotation-retry-s", "60"),
];

/// Load is no abuse where a story is not about abuse. A story's own settings come after these.
const DEFAULTS: &[(&str, &str)] = &[
    ("commands-per-s", "0"),
    ("direct-per-hour", "0"),
    ("likes-per-hour", "0"),
    ("sockets-per-address", "0"),
    ("unauthenticated-per-address", "0"),
];

/// The key of all nodes of a cluster, so that a token is good on each; a story's own comes before it.
const KEY: &str = "Zr8-one-key-for-all-nodes-of-a-cluster";

/// How many frames a story that failed shows.
const TAIL: usize = 40;

/// Everybody's password, as none of the stories is about choosing one.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where clients reach it.
    pub addresses: Arc<Addresses>,
    /// What clients of this server record; stories that want a record of their own make another.
    pub recorder: Arc<Recorder>,
    /// Its processes.
    pub nodes: Vec<Node>,
    database: Source,
    home: TempDir,
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
        Server::begin(SetUp::of_this_run(), replaced(&[PLAIN, PATIENT].concat(), settings), &[]).await
    }

    /// Starts one with these settings and variables of the environment.
    pub async fn start_with(own: &[(&str, &str)], environment: &[(&str, &str)]) -> Server {
        Server::begin(SetUp::of_this_run(), patient(own), environment).await
    }

    /// Starts one process with SQLite in both set-ups, for the reason given.
    pub async fn start_alone(_: Because, own: &[(&str, &str)]) -> Server {
        Server::begin(SetUp::Alone, patient(own), &[]).await
    }

    async fn begin(set_up: SetUp, mut all: Pairs, given: &[(&str, &str)]) -> Server {
        let home = home();
        let mut database = Source::File(home.path().join("data").join("duet.db"));
        if set_up == SetUp::Cluster {
            let shared = shared().await;
            let url = shared.postgres.url(&shared.postgres.create().await);
            all.push(("database-url".to_owned(), url.clone()));
            all.push(("redis-url".to_owned(), shared.redis.url()));
            // One place for the bytes of files, as for their rows.
            if !all.iter().any(|(name, _)| name == "media-url") {
                all.push(("media-url".to_owned(), format!("file://{}", home.path().join("media").display())));
            }
            database = Source::Url(url);
        }
        let launches = (0..set_up.nodes()).map(|node| {
            let data = home.path().join(if node == 0 { "data".to_owned() } else { format!("data-{node}") });
            let listen = SocketAddr::from(([127, 0, 0, 1], 0));
            Launch { data, listen, settings: all.clone(), environment: environment(set_up, given) }
        });
        let launches = launches.collect();
        Server::assemble(home, database, launches).await
    }

    /// Starts these nodes at once, as one server.
    pub async fn assemble(home: TempDir, database: Source, launches: Vec<Launch>) -> Server {
        let nodes = join_all(launches.into_iter().map(Node::start)).await;
        let addresses = Addresses::new(nodes.iter().map(|node| node.address).collect());
        let recorder = Arc::new(Recorder::create(home.path().join("record.jsonl")));
        let server = Server { addresses, recorder, nodes, database, home, records: AtomicU64::new(0) };
        server.ready().await;
        server
    }

    /// Waits until all nodes are ready, and so know of each other.
    async fn ready(&self) {
        for node in &self.nodes {
            super::in_time("a node to be ready", async {
                while http::call(node.address, "GET", "/readyz", None, None).await.status != 200 {
                    // Before the next look.
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            })
            .await;
        }
    }

    /// Where the next node in turn listens.
    pub fn next_address(&self) -> SocketAddr {
        self.addresses.next()
    }

    /// `kill -9` of all processes, and waits until they are gone.
    pub fn kill(&mut self) {
        self.recorder.server("killed");
        self.nodes.iter_mut().for_each(|node| node.process().kill());
    }

    /// Asks all processes to stop, as an operator does, and waits until they are gone.
    pub async fn stop(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process().signal("TERM"));
        for node in &mut self.nodes {
            node.process().end("the server to stop").await;
        }
    }

    /// Starts it again after `kill` or `stop`, on the same directories and ports.
    pub async fn restart(&mut self) {
        join_all(self.nodes.iter_mut().map(Node::restart)).await;
        self.ready().await;
        self.recorder.server("started");
    }

    /// How many KiB of memory its processes have.
    pub fn memory_kib(&self) -> usize {
        self.nodes.iter().map(Node::memory_kib).sum()
    }

    /// How many connections of clients it has open.
    pub fn open_connections(&self) -> usize {
        self.nodes.iter().map(Node::open_connections).sum()
    }

    /// Gives an operator's command beside the running server, and answers what it said.
    pub fn operate(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        command.args(arguments).arg("--data-dir").arg(self.data_dir());
        if let Source::Url(url) = &self.database {
            command.args(["--database-url", url]);
        }
        let output = command.stdin(Stdio::null()).output().expect("run the command");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Replaces the variables of the environment that the next start gets.
    pub fn environment(&mut self, given: &[(&str, &str)]) {
        let set_up = if self.nodes.len() > 1 { SetUp::Cluster } else { SetUp::Alone };
        self.nodes.iter_mut().for_each(|node| node.launch.environment = environment(set_up, given));
    }

    /// What the checker reads.
    pub fn database(&self) -> &Source {
        &self.database
    }

    /// The directory of the first process, where with SQLite the database and the secret are.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Where the bytes of files lie.
    pub fn media_dir(&self) -> PathBuf {
        let (shared, own) = (self.home.path().join("media"), self.data_dir().join("media"));
        if shared.exists() { shared } else { own }
    }

    /// The database of a server that stands on SQLite.
    ///
    /// # Panics
    /// When it does not.
    pub fn file(&self) -> PathBuf {
        match &self.database {
            Source::File(file) => file.clone(),
            Source::Url(url) => panic!("{url} is no file: this story is one to start alone"),
        }
    }

    /// A record apart from the server's own, for one of several stories on one server.
    pub fn another_record(&self) -> Arc<Recorder> {
        let number = self.records.fetch_add(1, Ordering::Relaxed);
        Arc::new(Recorder::create(self.home.path().join(format!("record-{number}.jsonl"))))
    }

    /// Waits until no work is left to be done in the background.
    pub async fn at_rest(&self) {
        super::in_time("the jobs to be done", async {
            while self.database.reader().await.number("count(*)", "FROM jobs").await > 0 {
                // Before the next look.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Removes the records that were made so far.
    pub fn forget_records(&self) {
        for entry in std::fs::read_dir(self.home.path()).expect("the records").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "jsonl") {
                std::fs::remove_file(entry.path()).expect("remove a record");
            }
        }
    }

    /// Registers a user and signs in.
    pub async fn account(&self, username: &str) -> Account {
        let body = json!({ "username": username, "password": PASSWORD, "password2": PASSWORD });
        let answer = http::call(self.next_address(), "POST", "/api/v1/auth/register/", None, Some(&body)).await;
        assert_eq!(answer.status, 201, "registering {username}: {}", answer.body);
        self.login(username).await
    }

    /// Signs in once more: another session of the same user.
    pub async fn login(&self, username: &str) -> Account {
        let body = json!({ "username": username, "password": PASSWORD });
        let answer = http::call(self.next_address(), "POST", "/api/token/", None, Some(&body)).await;
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
        self.recorder.verdict(&self.database).await
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
        if std::thread::panicking() {
            self.home.disable_cleanup(true);
            println!("what was recorded is in {}; its last frames:", self.home.path().display());
            self.recorder.tail(TAIL).iter().for_each(|line| println!("  {line}"));
            if let Source::Url(url) = &self.database {
                // The server of the database goes with the tests. A dump that fails is worth no second failure.
                let dump = self.home.path().join("database.sql");
                let _ = Command::new("pg_dump").arg("--file").arg(dump).arg(url).status();
            }
        }
    }
}

/// A directory for a server.
pub(super) fn home() -> TempDir {
    tempfile::Builder::new().prefix("duet-test-").tempdir().expect("a temporary directory")
}

fn owned(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The settings of a node whose load is no abuse, and a story's own.
pub(super) fn settings(own: &[(&str, &str)]) -> Pairs {
    replaced(&[PLAIN, DEFAULTS].concat(), own)
}

/// The same, with deadlines that no load makes a server miss.
pub fn patient(own: &[(&str, &str)]) -> Pairs {
    replaced(&[PLAIN, PATIENT, DEFAULTS].concat(), own)
}

/// A flag may stand once: the later value replaces the one before.
fn replaced(usual: &[(&str, &str)], own: &[(&str, &str)]) -> Pairs {
    let kept = |(at, (name, _)): &(usize, &(&str, &str))| {
        let all = usual.iter().chain(own);
        all.skip(at + 1).all(|(later, _)| later != name)
    };
    let all: Vec<_> = usual.iter().chain(own).enumerate().filter(kept).map(|(_, pair)| *pair).collect();
    owned(&all)
}

/// The environment of a node. Nodes of a cluster have one key, while a server alone makes its own.
pub(super) fn environment(set_up: SetUp, given: &[(&str, &str)]) -> Pairs {
    let mut all = owned(given);
    if set_up == SetUp::Cluster && !given.iter().any(|(name, _)| *name == "DUET_SECRET") {
        all.push(("DUET_SECRET".to_owned(), KEY.to_owned()));
    }
    all
}
