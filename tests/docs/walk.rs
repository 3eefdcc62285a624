//! The walk through a document: its fences in order, each in the terminal that it names.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Instant;

use super::terminal::{Place, Shown, Terminal};
use crate::support::DEADLINE;
use crate::support::private::free_address;
use crate::support::process::Process;
use crate::support::setup::Shared;

/// Terminals, and what runs in them.
#[derive(Debug)]
pub struct Walk {
    /// Where all commands are given.
    pub place: Place,
    /// Those in which somebody types into wscat.
    pub terminals: BTreeMap<String, Terminal>,
    /// Those in which a server runs.
    nodes: BTreeMap<String, Process>,
}

impl Walk {
    /// Begins at a place.
    pub fn begin(place: Place) -> Walk {
        Walk { place, terminals: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    /// Where a document that shows several nodes has its Postgres, its Redis, and the nodes with their operators' ports.
    pub fn cluster_addresses(shared: &Shared) -> Vec<(&'static str, std::net::SocketAddr)> {
        let mut all = vec![("127.0.0.1:5432", shared.postgres.address), ("127.0.0.1:6379", shared.redis.address)];
        all.extend(["127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:9081", "127.0.0.1:9082"].map(|written| {
            // A port that is free now; the servers that the document starts are the next to ask for it.
            (written, free_address())
        }));
        all
    }

    /// Plays one fence. Answers what went otherwise.
    pub async fn play(&mut self, fence: &Shown) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut lines = fence.lines.iter().peekable();
        while let Some(line) = lines.next() {
            let result = if let Some(command) = line.strip_prefix("$ ") {
                let mut output = Vec::new();
                while let Some(line) = lines.next_if(|line| !["$ ", "> ", "< "].iter().any(|at| line.starts_with(at))) {
                    output.push(line.clone());
                }
                self.give(fence, command, &output)
            } else if line == "^C" {
                self.interrupt(fence).await;
                Ok(())
            } else {
                self.talk(fence, line)
            };
            wrong.extend(result.err().map(|why| format!("line {}: {why}", fence.line)));
        }
        wrong
    }

    /// Gives a command. In a terminal whose name begins with `node` it is a server's, which goes on running.
    fn give(&mut self, fence: &Shown, command: &str, output: &[String]) -> Result<(), String> {
        if command.contains("wscat") {
            let greeting = output.first().is_some_and(|line| line.starts_with("Connected"));
            assert!(greeting, "line {}: wscat says that it is connected", fence.line);
            self.terminals.insert(fence.terminal.clone(), Terminal::start(&self.place, command));
            Ok(())
        } else if fence.terminal.starts_with("node") {
            let node = start(&self.place, command, output)?;
            assert!(self.nodes.insert(fence.terminal.clone(), node).is_none(), "a server runs there already");
            Ok(())
        } else {
            self.place.run(command, output)
        }
    }

    /// Types into wscat, or looks at what it shows.
    fn talk(&mut self, fence: &Shown, line: &str) -> Result<(), String> {
        let terminal = self.terminals.get_mut(&fence.terminal);
        let terminal = terminal.unwrap_or_else(|| panic!("line {}: wscat does not run there", fence.line));
        match (line.strip_prefix("> "), line.strip_prefix("< ")) {
            (Some(typed), _) => {
                terminal.type_line(&self.place.bound.fill(typed));
                Ok(())
            }
            (_, Some(seen)) => terminal.sees(&mut self.place.bound, seen),
            _ => Err(format!("what is this? {line}")),
        }
    }

    /// Ctrl+C in the terminal of a server, which goes in order.
    async fn interrupt(&mut self, fence: &Shown) {
        let node = self.nodes.remove(&fence.terminal);
        let mut node = node.unwrap_or_else(|| panic!("line {}: no server runs there", fence.line));
        node.signal("INT");
        let status = node.end("a server to go").await;
        assert!(status.success(), "line {}: the server ended with {status}", fence.line);
    }
}

/// Starts a server and waits until it showed these lines, in this order, whatever it showed between them.
fn start(place: &Place, command: &str, shows: &[String]) -> Result<Process, String> {
    let mut shell = place.shell("bash", &["-c", &format!("exec 2>&1\nexec {}", place.filled(command))]);
    let mut process = Process::start(shell.stdin(Stdio::null()).stdout(Stdio::piped()), "KILL", None);
    let output = process.output().expect("it is piped");
    let (lines, screen) = channel();
    std::thread::spawn(move || {
        // Read to its end, so that the server never waits for us; nobody looks any more once it has started.
        BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
    });
    let (begun, mut came) = (Instant::now(), Vec::new());
    for wanted in shows {
        loop {
            let Ok(line) = screen.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) else {
                return Err(format!("$ {command}\ndoes not show: {wanted}\nbut:\n{}", came.join("\n")));
            };
            if place.plain(&line) == place.plain(wanted) {
                break;
            }
            came.push(line);
        }
    }
    Ok(process)
}
