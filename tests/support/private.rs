//! A Postgres and a Redis of one's own, on ports that nobody else has, as a system installs them: durable, and otherwise
//! without special settings.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

use super::DEADLINE;
use super::process::Process;

/// The user of the database; it has all rights and no password, on the loopback device only.
const OWNER: &str = "duet";

/// A Postgres server.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens.
    pub address: SocketAddr,
    data: PathBuf,
    process: Option<Process>,
    databases: AtomicU64,
    home: TempDir,
}

impl Postgres {
    /// Makes an empty one in this directory, or a fresh one, and starts it.
    pub async fn start() -> Postgres {
        let home = directory("postgres");
        let data = home.path().join("data");
        Postgres::start_in(home, data).await
    }

    /// The same, with the data in a directory that exists already, inside `home` or not.
    pub async fn start_in(home: TempDir, data: PathBuf) -> Postgres {
        if is_root() {
            let owned = Command::new("install").args(["-d", "-m", "700", "-o", "postgres"]).arg(&data).status();
            assert!(owned.expect("run install").success(), "a directory for postgres");
        }
        let mut made = program("initdb");
        made.args(["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--username", OWNER]);
        let made = made.arg("--pgdata").arg(&data).stdin(Stdio::null()).output().expect("run initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut postgres =
            Postgres { address: free_address(), data, process: None, databases: AtomicU64::new(1), home };
        while !postgres.launch().await {
            // Somebody else took the port meanwhile.
            postgres.address = free_address();
        }
        postgres
    }

    /// Starts it again on the same port.
    pub async fn restart(&mut self) {
        assert!(self.launch().await, "postgres does not start again: {}", self.log());
    }

    /// Starts it and waits until it answers; false when it ended instead.
    async fn launch(&mut self) -> bool {
        let log = std::fs::File::options().create(true).append(true).open(self.home.path().join("log"));
        let log = log.expect("a log");
        let mut command = program("postgres");
        command.arg("-D").arg(&self.data).args(["-p", &self.address.port().to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300"] {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        // In a group of its own: Ctrl-C is for the test, whose guard ends this in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // An immediate stop, which leaves no child and no shared memory behind.
        let mut process = Process::start(&mut command, "QUIT", Some(self.home.path()));
        let begun = Instant::now();
        loop {
            if PgConnection::connect(&self.url("postgres")).await.is_ok() {
                self.process = Some(process);
                return true;
            }
            if process.ended().is_some() {
                return false;
            }
            assert!(begun.elapsed() < DEADLINE * 3, "postgres does not answer: {}", self.log());
            // Before the next look.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("postgres runs")
    }

    /// How a client reaches one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{OWNER}@{}/{database}", self.address)
    }

    /// A new, empty database; its name.
    pub async fn create(&self) -> String {
        let name = format!("duet{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("connect to postgres");
        let created = sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await;
        created.expect("a new database");
        name
    }
}

/// A Redis server that keeps nothing on disk.
#[derive(Debug)]
pub struct Redis {
    /// Where it listens.
    pub address: SocketAddr,
    process: Option<Process>,
    home: TempDir,
}

impl Redis {
    /// Starts one.
    pub async fn start() -> Redis {
        let mut redis = Redis { address: free_address(), process: None, home: directory("redis") };
        while !redis.launch().await {
            // Somebody else took the port meanwhile.
            redis.address = free_address();
        }
        redis
    }

    /// Starts it again, empty, on the same port.
    pub async fn restart(&mut self) {
        assert!(self.launch().await, "redis does not start again");
    }

    async fn launch(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--loglevel", "warning", "--dir"]).arg(self.home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = Process::start(&mut command, "KILL", Some(self.home.path()));
        let begun = Instant::now();
        loop {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                self.process = Some(process);
                return true;
            }
            if process.ended().is_some() {
                return false;
            }
            assert!(begun.elapsed() < DEADLINE, "redis does not answer");
            // Before the next look.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("redis runs")
    }

    /// How a client reaches it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

/// An address whose port no program listens on, below those that the system lends to outgoing connections: so it is
/// still free after whoever listens there was stopped for a while.
pub fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(10_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A directory that a server which runs as another user may enter.
fn directory(name: &str) -> TempDir {
    let home = tempfile::Builder::new().prefix(&format!("duet-{name}-")).tempdir().expect("a temporary directory");
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).expect("open the directory");
    home
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("this process")) == 0
}

/// A program of Postgres, which Debian keeps outside of the path and which refuses to run as root.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path().join("bin").join(name)).filter(|path| path.exists()).max();
    let path = newest.unwrap_or_else(|| Path::new(name).to_owned());
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
    command
}
