//! One process of the server: the real binary, a port and a directory that nobody else has.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::process::Process;
use super::{DEADLINE, in_time};

/// Names and values.
pub type Pairs = Vec<(String, String)>;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its directory.
    pub data: PathBuf,
    /// Where it listens; port 0 is any.
    pub listen: SocketAddr,
    /// Flags without their dashes.
    pub settings: Pairs,
    /// Variables of the environment.
    pub environment: Pairs,
}

/// A running node, or one that was stopped.
#[derive(Debug)]
pub struct Node {
    /// Where it listens, also after a restart.
    pub address: SocketAddr,
    /// What it is started with the next time.
    pub launch: Launch,
    process: Process,
}

/// Where clients reach the nodes, each the next one in turn.
#[derive(Debug)]
pub struct Addresses {
    all: Vec<SocketAddr>,
    turn: AtomicUsize,
}

impl Addresses {
    /// In this order.
    pub fn new(all: Vec<SocketAddr>) -> Arc<Addresses> {
        Arc::new(Addresses { all, turn: AtomicUsize::new(0) })
    }

    /// Only this one.
    pub fn one(address: SocketAddr) -> Arc<Addresses> {
        Addresses::new(vec![address])
    }

    /// That of the next node in turn.
    pub fn next(&self) -> SocketAddr {
        self.all[self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len()]
    }

    /// All of them.
    pub fn all(&self) -> &[SocketAddr] {
        &self.all
    }
}

impl Node {
    /// Starts it and waits until it listens.
    pub async fn start(mut launch: Launch) -> Node {
        let (process, address) = run(&launch).await;
        launch.listen = address;
        Node { address, launch, process }
    }

    /// Starts it again on the same directory and port, after it has ended.
    pub async fn restart(&mut self) {
        (self.process, self.address) = run(&self.launch).await;
    }

    /// The process, to look at it or to do something to it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How many KiB of memory it has.
    pub fn memory_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("read its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// How many connections of clients it has open.
    pub fn open_connections(&self) -> usize {
        // By line: number, local address:port, remote one, state, and in the tenth column the inode of the file. A
        // connection that nobody has accepted or that was closed has none.
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.pid())).expect("the connections");
        let port = format!(":{:04X}", self.address.port());
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[1].ends_with(&port) && row[3] != "0A" && row[9] != "0").count()
    }
}

/// Starts the binary until it listens. A port that was free a moment ago may have been lent to another process's
/// outgoing connection, so a server that exits at once is started again until the deadline.
async fn run(launch: &Launch) -> (Process, SocketAddr) {
    let begun = Instant::now();
    loop {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        command.arg("serve").arg("--listen").arg(launch.listen.to_string()).arg("--data-dir").arg(&launch.data);
        command.args(launch.settings.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]));
        command.envs(launch.environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, "KILL", None);
        let output = process.output().expect("it is piped");
        let (found, listening) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || drain(output, found));
        match in_time("the server to listen", listening).await {
            Ok(address) => return (process, address),
            Err(_) => {
                let status = process.end("the server to end").await;
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
