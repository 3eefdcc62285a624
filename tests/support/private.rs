//! A Postgres and a Redis of one's own, on ports that nobody else has, as a system installs them: durable, and otherwise
//! without special settings.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::DEADLINE;
use super::certificates::Authority;
use super::process::{Process, signal};

/// The user of the database; it has all rights and no password, on the loopback device only.
const OWNER: &str = "duet";

/// Who a Redis that asks lets in: as `docs/operations.md` advises.
const USER: &str = "duet";
/// The user's password.
const PASSWORD: &str = "hunter2-and-some-more";

/// A Postgres server.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the tables are, if that is a disk of its own.
    pub disk: Option<Disk>,
    data: PathBuf,
    /// Certificate, key, and whom clients are to trust, where it speaks TLS and nothing else.
    tls: Option<[PathBuf; 3]>,
    process: Option<Process>,
    databases: AtomicU64,
    home: TempDir,
}

/// A small disk, in memory. To mount one, the tests must run as root.
#[derive(Debug)]
pub struct Disk {
    place: PathBuf,
}

impl Disk {
    fn mount(place: PathBuf) -> Disk {
        std::fs::create_dir(&place).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4g", "tmpfs"]).arg(&place).status();
        assert!(mounted.expect("run mount").success(), "a disk of its own can be mounted by root only");
        Disk { place }
    }

    /// From now on it has no room beside what it holds.
    pub fn fill(&self) {
        let used = Command::new("df").args(["--output=used", "--block-size=1"]).arg(&self.place).output();
        let used = String::from_utf8_lossy(&used.expect("run df").stdout).into_owned();
        let used: u64 = used.split_whitespace().last().and_then(|text| text.parse().ok()).expect("df answers a number");
        // Somebody may write meanwhile, and a disk cannot become smaller than what is on it.
        let full = (0..100).any(|step| self.resize(&(used + step * 64 * 1024).to_string()));
        assert!(full, "the disk can be made full");
    }

    /// It has room again.
    pub fn free(&self) {
        assert!(self.resize("4g"), "the disk gets room again");
    }

    fn resize(&self, size: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]).arg(&self.place).stderr(Stdio::null());
        mount.status().expect("run mount").success()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It goes when the last file on it is closed. A mount that stays is seen by whoever lists them.
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}

impl Postgres {
    /// Makes an empty one and starts it.
    pub async fn start() -> Postgres {
        let home = directory("postgres");
        let data = home.path().join("data");
        Postgres::start_in(home, data, None, None).await
    }

    /// One that speaks TLS and nothing else.
    pub async fn start_with(authority: &Authority) -> Postgres {
        let home = directory("postgres");
        // A key that others may read is refused, and so is one of somebody else.
        let [certificate, key] = authority.certificate();
        let own = home.path().join("server.key");
        install(&["-m", "600"], &[&key, &own]);
        let data = home.path().join("data");
        Postgres::start_in(home, data, None, Some([certificate, own, authority.root()])).await
    }

    /// The same, with the tables on a disk of its own, in memory, that can be full. The log of its transactions is not on
    /// it, as where somebody took care: a server that cannot write its log stops.
    pub async fn start_on_a_small_disk() -> Postgres {
        let home = directory("postgres");
        let disk = Disk::mount(home.path().join("disk"));
        let data = disk.place.join("data");
        Postgres::start_in(home, data, Some(disk), None).await
    }

    async fn start_in(home: TempDir, data: PathBuf, disk: Option<Disk>, tls: Option<[PathBuf; 3]>) -> Postgres {
        let log = home.path().join("wal");
        install(&["-d", "-m", "700"], &[&data, &log]);
        let mut made = program("initdb");
        made.args(["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--username", OWNER]);
        let made = made.arg("--waldir").arg(&log).arg("--pgdata").arg(&data).stdin(Stdio::null()).output();
        let made = made.expect("run initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        if tls.is_some() {
            std::fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n").expect("who is let in");
        }
        let (address, databases) = (free_address(), AtomicU64::new(1));
        let mut postgres = Postgres { address, disk, data, tls, process: None, databases, home };
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
        for setting in ["listen_addresses=127.0.0.1", "max_connections=300"] {
            command.args(["-c", setting]);
        }
        command.args(["-c", &format!("unix_socket_directories={}", self.data.display())]);
        if let Some([certificate, key, _]) = &self.tls {
            let (certificate, key) = (certificate.display(), key.display());
            command.args(["-c", "ssl=on", "-c", &format!("ssl_cert_file={certificate}")]);
            command.args(["-c", &format!("ssl_key_file={key}")]);
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

    /// Stops it at once, as `pg_ctl stop -m immediate` does: it will recover from its log.
    pub async fn stop_at_once(&mut self) {
        self.process().signal("QUIT");
        self.process().end("postgres to stop").await;
    }

    /// Its process and those of all its children.
    pub fn pids(&mut self) -> Vec<u32> {
        let pid = self.process().pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
        let children = children.split_whitespace().map(|child| child.parse().expect("the number of a process"));
        std::iter::once(pid).chain(children).collect()
    }

    /// Stops or continues it and all its children by a signal, as a machine that sleeps.
    pub fn signal_all(&mut self, name: &str) {
        let pids = self.pids();
        signal(pids[0], name);
        for child in &pids[1..] {
            // A child may have ended meanwhile; then there is nothing to be done to it.
            let _ = Command::new("kill").args([&format!("-{name}"), &child.to_string()]).stderr(Stdio::null()).status();
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
        let url = format!("postgres://{OWNER}@{}/{database}", self.address);
        match &self.tls {
            None => url,
            Some([_, _, root]) => format!("{url}?sslmode=verify-full&sslrootcert={}", root.display()),
        }
    }

    /// How a client on the same machine reaches one of its databases, in the ways that `psql` takes.
    pub fn socket_urls(&self, database: &str) -> [String; 3] {
        let (port, place) = (self.address.port(), self.data.display());
        [
            format!("postgres://{OWNER}@/{database}?host={place}&port={port}"),
            format!("postgresql://{OWNER}:any@/{database}?port={port}&host={place}"),
            format!("postgres:///{database}?host={place}&port={port}&user={OWNER}"),
        ]
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
    /// Certificate and key, where it speaks TLS and nothing else, and lets in only who has its password.
    tls: Option<[PathBuf; 2]>,
    process: Option<Process>,
    home: TempDir,
}

impl Redis {
    /// Starts one.
    pub async fn start() -> Redis {
        Redis::start_as(None).await
    }

    /// One that speaks TLS and nothing else, and lets in only who has its password.
    pub async fn start_with(authority: &Authority) -> Redis {
        Redis::start_as(Some(authority.certificate())).await
    }

    async fn start_as(tls: Option<[PathBuf; 2]>) -> Redis {
        let mut redis = Redis { address: free_address(), tls, process: None, home: directory("redis") };
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
        let port = self.address.port().to_string();
        command.args(["--bind", "127.0.0.1"]);
        match &self.tls {
            None => drop(command.args(["--port", &port])),
            Some([certificate, key]) => {
                command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
                command.arg("--tls-cert-file").arg(certificate).arg("--tls-key-file").arg(key);
                command.arg("--tls-ca-cert-file").arg(certificate);
                command.args(["--user", "default", "off", "--user", USER, "on", &format!(">{PASSWORD}")]);
                command.args(["~duet:*", "&duet:*", "+@all", "-@dangerous"]);
            }
        }
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
        match self.tls {
            None => format!("redis://{}", self.address),
            Some(_) => format!("rediss://{USER}:{PASSWORD}@{}", self.address),
        }
    }

    /// Says one command, and answers the begin of the reply.
    pub async fn say(&self, command: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(self.address).await.expect("connect to redis");
        stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("speak to redis");
        let mut answer = [0; 256];
        let count = stream.read(&mut answer).await.expect("hear redis");
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }
}

/// An address whose port no program listens on, below those that the system lends to outgoing connections: so it is
/// still free after whoever listens there was stopped for a while. None is answered twice.
pub fn free_address() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = rand::random_range(10_000..32_000);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() && GIVEN.lock().expect("nobody panics here").insert(port) {
            return address;
        }
    }
}

/// Makes directories, or copies a file, for the user that Postgres runs as.
fn install(how: &[&str], what: &[&Path]) {
    let mut made = Command::new("install");
    made.args(how).args(if is_root() { &["-o", "postgres"][..] } else { &[] }).args(what);
    assert!(made.status().expect("run install").success(), "{how:?} {what:?} for postgres");
}

/// A directory that a server which runs as another user may enter.
pub(super) fn directory(name: &str) -> TempDir {
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
