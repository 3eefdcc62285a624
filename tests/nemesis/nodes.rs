//! What happens to nodes.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;

use crate::NODES;
use crate::run::Run;
use crate::support::in_time;
use crate::support::node::Node;

/// How long a node may take to come to a place where it is to die.
const PATIENCE: Duration = Duration::from_secs(5);
/// Makes another clock out of the system's, for one process.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// `kill -9` of one node.
pub async fn killed(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    run.cluster.server.nodes[node].process().kill();
    run.hold().await;
    run.cluster.server.nodes[node].restart().await;
}

/// One node dies at a certain place of a commit.
pub async fn dies_at(run: &mut Run<'_>, place: &str) {
    let node = run.any_node();
    let file = run.cluster.failpoints[node].join(place);
    run.strike(Some(node)).await;
    std::fs::write(&file, "die").expect("ask the node to die");
    let death = run.cluster.server.nodes[node].process().end("the node to die");
    if tokio::time::timeout(PATIENCE, death).await.is_err() {
        // Everybody left it before it came to that place. So nothing was struck.
        std::fs::remove_file(&file).expect("nobody has met the place");
        return run.missed();
    }
    run.hold().await;
    run.cluster.server.nodes[node].restart().await;
}

/// `kill -9` of all nodes at once.
pub async fn all_killed(run: &mut Run<'_>) {
    run.strike(None).await;
    run.cluster.server.nodes.iter_mut().for_each(|node| node.process().kill());
    join_all(run.cluster.server.nodes.iter_mut().map(Node::restart)).await;
}

/// One node sleeps, and wakes up when its clients have moved and its lease is gone.
pub async fn paused(run: &mut Run<'_>) {
    let node = run.any_node();
    run.strike(Some(node)).await;
    run.cluster.server.nodes[node].process().signal("STOP");
    run.hold_long().await;
    run.cluster.server.nodes[node].process().signal("CONT");
}

/// Each node in turn is asked to stop, and started again.
pub async fn rolling_restart(run: &mut Run<'_>) {
    for node in 0..NODES {
        if node == 0 {
            run.strike(Some(node)).await;
        }
        let node = &mut run.cluster.server.nodes[node];
        node.process().signal("TERM");
        let status = tokio::time::timeout(Duration::from_secs(15), async {
            loop {
                if let Some(status) = node.process().ended() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        match status.await {
            Ok(status) if status.success() => {}
            other => run.findings.push(format!("a node that was asked to stop ended so: {other:?}")),
        }
        node.restart().await;
    }
}

/// One node comes back with a clock that is an hour ahead, and later with the right one. To a node that is behind, tokens
/// are of the future and refused, so its clients could only be sent away.
pub async fn clock_shifted(run: &mut Run<'_>) {
    // Without it the loader only warns, and the clock would be right.
    assert!(std::path::Path::new(FAKETIME).exists(), "{FAKETIME} is missing: Debian has it in the package faketime");
    let node = run.any_node();
    let right = run.cluster.server.nodes[node].launch.environment.clone();
    let mut shifted = right.clone();
    // The monotonic clock of a machine does not jump.
    for (name, value) in [("LD_PRELOAD", FAKETIME), ("FAKETIME", "+3600s"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")] {
        shifted.push((name.to_owned(), value.to_owned()));
    }
    run.strike(Some(node)).await;
    for environment in [shifted, right] {
        let shifted = &mut run.cluster.server.nodes[node];
        shifted.process().kill();
        shifted.launch.environment = environment;
        shifted.restart().await;
        run.hold().await;
    }
}

/// One node may open no more files, while connections come.
pub async fn descriptors_exhausted(run: &mut Run<'_>) {
    let node = run.any_node();
    let pid = run.cluster.server.nodes[node].pid();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let usual = limits.lines().find(|line| line.starts_with("Max open files")).expect("the limit of files");
    let usual = usual.split_whitespace().nth(3).expect("a number").to_owned();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").count();
    let limit = |most: &str| {
        let set = Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={most}:")]).status();
        assert!(set.expect("run prlimit").success(), "the limit of files is set");
    };
    let address = run.cluster.server.nodes[node].address;
    run.strike(Some(node)).await;
    limit(&open.to_string());
    // Whoever connects now waits to be accepted.
    let waiting: Vec<TcpStream> = (0..20).filter_map(|_| TcpStream::connect(address).ok()).collect();
    // Clients that lose their sockets now cannot come back here.
    run.cluster.clients[node].reset();
    run.hold().await;
    limit(&usual);
    drop(waiting);
}

/// A command ends in a panic: one socket may suffer, the process goes on.
pub async fn command_panics(run: &mut Run<'_>) {
    let node = run.any_node();
    let file = run.cluster.failpoints[node].join("command");
    run.strike(Some(node)).await;
    std::fs::write(&file, "panic").expect("ask the node to panic");
    in_time("the panic", async {
        while file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    if let Some(status) = run.cluster.server.nodes[node].process().ended() {
        run.findings.push(format!("a panic in a command ended the node: {status}"));
        run.cluster.server.nodes[node].restart().await;
    }
}
