//! A database of the service that duet replaces, made by Django itself, the real one, with its tokens and passwords.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::checker::Source;
use super::node::{Launch, Pairs};
use super::python::programs;
use super::server::Server;
use super::setup::{SetUp, shared};

/// Where its sources lie.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/django");

/// The key that its tokens are signed with: of the length and the signs that Django's own command makes.
pub const SECRET_KEY: &str = "k)2v!q#u7@x0m$e5^r&w9*z(t-n=h+y_8c3b6j1s4dgfplao%i";

/// The service, after it was stopped.
#[derive(Debug)]
pub struct Service {
    /// How an import reaches its database.
    pub url: String,
    /// The same, to look at it with plain SQL.
    pub database: Source,
    /// A file with its key.
    pub key_file: PathBuf,
    /// What `fill.py` says of what it made.
    pub facts: Value,
    /// Where all of that lies.
    pub home: TempDir,
}

impl Service {
    /// Makes the database, on SQLite or on the Postgres of this run, with so many users and messages.
    pub async fn make(users: usize, messages: usize) -> Service {
        Service::make_on(SetUp::of_this_run(), users, messages).await
    }

    /// The same on the database of one's choice.
    pub async fn make_on(set_up: SetUp, users: usize, messages: usize) -> Service {
        let home = tempfile::Builder::new().prefix("duet-django-").tempdir().expect("a temporary directory");
        let project = home.path().join("project");
        copy(Path::new(SOURCES), &project);
        let (name, url, database) = match set_up {
            SetUp::Alone => {
                let file = home.path().join("django.sqlite3");
                let (name, url) = (format!("sqlite:{}", file.display()), format!("sqlite://{}", file.display()));
                (name, url, Source::File(file))
            }
            SetUp::Cluster => {
                let postgres = &shared().await.postgres;
                let database = postgres.create().await;
                let (address, url) = (postgres.address, postgres.url(&database));
                (format!("postgres:{}:{}:duet:{database}", address.ip(), address.port()), url.clone(), Source::Url(url))
            }
        };
        let mut python = Command::new(python());
        python.arg("-W").arg("ignore").arg("fill.py").args([users.to_string(), messages.to_string()]);
        python.current_dir(&project).env("DJANGO_SECRET_KEY", SECRET_KEY).env("DJANGO_DATABASE", name);
        let made = python.stdin(Stdio::null()).output().expect("run python");
        assert!(made.status.success(), "fill.py: {}", String::from_utf8_lossy(&made.stderr));
        let facts = serde_json::from_slice(&made.stdout).expect("fill.py tells what it made");
        let key_file = home.path().join("secret-key");
        std::fs::write(&key_file, format!("{SECRET_KEY}\n")).expect("write the key");
        Service { url, database, key_file, facts, home }
    }

    /// An id of the facts: `id(&["users", "ann"])`.
    pub fn id(&self, path: &[&str]) -> i64 {
        let found = path.iter().fold(&self.facts, |value, name| match name.parse::<usize>() {
            Ok(place) => &value[place],
            Err(_) => &value[name],
        });
        found.as_i64().unwrap_or_else(|| panic!("no number {path:?} in the facts"))
    }

    /// A token of the facts.
    pub fn token(&self, username: &str, kind: &str) -> String {
        self.facts["tokens"][username][kind].as_str().expect("a token").to_owned()
    }
}

/// All that an import writes, and what it must not.
const TABLES: [&str; 11] = [
    "users",
    "interests",
    "interest_names",
    "pairs",
    "conversations",
    "members",
    "messages",
    "imported_files",
    "sessions",
    "personal",
    "reports",
];

/// A new database of duet, and the command that imports into it.
#[derive(Debug)]
pub struct Target {
    /// Where a server on it keeps its data.
    pub home: TempDir,
    /// The database, which is not there before it is written.
    pub database: Source,
}

impl Target {
    /// An empty one.
    pub async fn new() -> Target {
        let home = tempfile::Builder::new().prefix("duet-test-").tempdir().expect("a temporary directory");
        let database = match SetUp::of_this_run() {
            SetUp::Alone => Source::File(home.path().join("data").join("duet.db")),
            SetUp::Cluster => {
                let postgres = &shared().await.postgres;
                Source::Url(postgres.url(&postgres.create().await))
            }
        };
        Target { home, database }
    }

    fn settings(&self) -> Pairs {
        // One place for all nodes.
        let media = format!("file://{}", self.home.path().join("media").display());
        let mut settings = vec![("media-url".to_owned(), media)];
        if let Source::Url(url) = &self.database {
            settings.push(("database-url".to_owned(), url.clone()));
        }
        settings
    }

    /// The command that imports.
    pub fn command(&self, service: &Service, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        command.args(["import-django", "--from", &service.url, "--secret-key-file"]).arg(&service.key_file);
        command.args(self.settings().iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]));
        command.arg("--data-dir").arg(self.home.path().join("data")).args(more).stdin(Stdio::null());
        command
    }

    fn run(&self, service: &Service, more: &[&str]) -> Output {
        self.command(service, more).output().expect("run duet")
    }

    /// Imports, and answers the summary.
    pub fn import(&self, service: &Service, more: &[&str]) -> String {
        let done = self.run(service, more);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Does not import, and answers why.
    pub fn refused(&self, service: &Service, more: &[&str]) -> String {
        let done = self.run(service, more);
        assert!(!done.status.success(), "was not refused: {}", String::from_utf8_lossy(&done.stdout));
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    /// Every row that an import writes, as text.
    pub async fn everything(&self) -> BTreeMap<&'static str, BTreeSet<String>> {
        let (mut reader, mut all) = (self.database.reader().await, BTreeMap::new());
        for table in TABLES {
            let columns = reader.columns(table).await.join(", ");
            let rows = reader.rows(&columns, &format!("FROM {table}")).await;
            all.insert(table, rows.iter().map(|row| json!(row).to_string()).collect());
        }
        all
    }

    /// Starts a server on it: one process, or two nodes.
    pub async fn serve(self) -> Server {
        let mut settings = self.settings();
        let mut environment = Pairs::new();
        if let Source::Url(_) = &self.database {
            settings.push(("redis-url".to_owned(), shared().await.redis.url()));
            environment.push(("DUET_SECRET".to_owned(), "Zr8-one-key-for-both-nodes-of-it".to_owned()));
        }
        let cheap = [("argon2-memory-kib", "8"), ("argon2-passes", "1"), ("log", "warn"), ("hash-queue", "100")];
        settings.extend(cheap.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let launches = (0..SetUp::of_this_run().nodes()).map(|node| Launch {
            data: self.home.path().join(if node == 0 { "data".to_owned() } else { format!("data-{node}") }),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            settings: settings.clone(),
            environment: environment.clone(),
        });
        let launches = launches.collect();
        Server::assemble(self.home, self.database, launches).await
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().expect("a name");
        match entry.is_dir() {
            // What an interpreter left there is none of the sources.
            true if name == "__pycache__" || name == "migrations" => {}
            true => copy(&entry, &to.join(name)),
            false => drop(std::fs::copy(&entry, to.join(name)).expect("copy a file")),
        }
    }
}

/// A Python with Django and all that it needs, in the versions of `requirements.txt`.
fn python() -> PathBuf {
    programs("django-venv", include_str!("../django/requirements.txt")).join("python")
}
