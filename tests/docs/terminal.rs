//! Terminals as a document shows them: commands after `$`, their output below; inside wscat `>` is typed and `<` comes.

use std::io::{BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::shape::Bound;

/// Longest that a terminal waits for anything; npx may have to load wscat first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest that a command which only looks looks again.
const LOOKS: Duration = Duration::from_secs(10);

/// What a fence shows.
#[derive(Debug)]
pub struct Shown {
    /// The line of its fence.
    pub line: usize,
    /// Whose terminal.
    pub terminal: String,
    /// Its lines, those that go on in the next one put together.
    pub lines: Vec<String>,
    /// The server is stopped before it.
    pub stopped: bool,
}

/// All fences of a document that show a terminal, but those that say that they are not run.
pub fn shown(text: &str) -> Vec<Shown> {
    let (mut all, mut open, mut skip, mut stopped) = (Vec::new(), None::<Shown>, false, false);
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line.starts_with("<!-- not run") => skip = true,
            None if line == "<!-- the server is stopped -->" => stopped = true,
            None if line.starts_with("```console") => {
                let terminal = line.trim_start_matches("```console").trim().to_owned();
                open = Some(Shown { line: number + 1, terminal, lines: Vec::new(), stopped });
                stopped = false;
            }
            Some(_) if line == "```" => {
                all.extend(open.take().filter(|_| !skip));
                skip = false;
            }
            Some(shown) => match shown.lines.last_mut() {
                Some(last) if last.ends_with('\\') => {
                    last.pop();
                    last.push_str(line.trim_start());
                }
                Some(last) if line.starts_with("  ") && (last.starts_with("< ") || last.starts_with('{')) => {
                    last.push_str(line.trim_start());
                }
                _ => shown.lines.push(line.to_owned()),
            },
            None => {}
        }
    }
    all
}

/// Where commands run.
#[derive(Debug)]
pub struct Place {
    /// Addresses as a document writes them, and those that they stand for here.
    pub addresses: Vec<(&'static str, SocketAddr)>,
    /// The folder in which the commands are given.
    pub folder: PathBuf,
    /// Where a server keeps what it keeps on disk.
    pub data: PathBuf,
    /// What placeholders stand for.
    pub bound: Bound,
}

impl Place {
    /// A shell, or another program, as somebody has it who installed duet.
    pub fn shell(&self, program: &str, arguments: &[&str]) -> Command {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_duet"));
        let mut path = binary.parent().expect("a folder").as_os_str().to_owned();
        path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        path.push(":");
        path.push(inherited_path());
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", path).env("DUET_DATA_DIR", &self.data).current_dir(&self.folder);
        command
    }

    /// A command of the document as it is given here.
    pub fn filled(&self, text: &str) -> String {
        let text = self.bound.fill(text);
        self.addresses.iter().fold(text, |text, (written, here)| text.replace(written, &here.to_string()))
    }

    /// An output without what differs from run to run.
    pub fn plain(&self, text: &str) -> String {
        let times = regex::Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|\b[0-9a-f]{16}\b").expect("a pattern");
        let written = |text: String, (written, here): &(&str, SocketAddr)| text.replace(&here.to_string(), written);
        let text = self.addresses.iter().fold(text.to_owned(), written);
        let lines = text.trim().lines().map(|line| times.replace_all(line.trim_end(), "(differs)").into_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Runs a command and compares its output. One that only looks may look again until it sees what is shown.
    pub fn run(&mut self, command: &str, expected: &[String]) -> Result<(), String> {
        let looks = command.starts_with("curl -s http") && !command.contains(" -d ");
        let (expected, begun) = (expected.join("\n"), Instant::now());
        let json = |text: &str| serde_json::from_str::<Value>(text).ok();
        loop {
            let script = format!("exec 2>&1\n{}", self.filled(command));
            let output = self.shell("bash", &["-c", &script]).stdin(Stdio::null()).output().expect("bash runs");
            let came = String::from_utf8_lossy(&output.stdout).into_owned();
            let agreed = match (json(&expected), json(&came)) {
                (Some(expected), Some(came)) => self.bound.agree(&expected, &came),
                _ => self.plain(&expected) == self.plain(&came),
            };
            if agreed {
                return Ok(());
            }
            if !looks || begun.elapsed() > LOOKS {
                return Err(format!("$ {command}\nshows:\n{came}\ninstead of:\n{expected}"));
            }
            // Before the next look.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "where programs lie is not a setting of the server")]
fn inherited_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// A terminal in which wscat runs.
#[derive(Debug)]
pub struct Terminal {
    process: Child,
    keyboard: ChildStdin,
    screen: Receiver<String>,
    frames: Vec<(String, bool)>,
}

impl Terminal {
    /// Starts wscat as it is shown, in a pseudo-terminal, and waits until it is connected.
    pub fn start(place: &Place, command: &str) -> Terminal {
        let mut script = place.shell("script", &["-qfec", &place.filled(command), "/dev/null"]);
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).env("TERM", "xterm").env("COLUMNS", "10000");
        let mut process = script.spawn().expect("the program `script` of util-linux");
        let (keyboard, output) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        let (lines, screen) = channel();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            for byte in BufReader::new(output).bytes().map_while(Result::ok) {
                match byte {
                    b'\n' | b'\r' => {
                        let whole = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
                        if lines.send(bare(&whole)).is_err() {
                            return;
                        }
                    }
                    byte => line.push(byte),
                }
            }
        });
        let mut terminal = Terminal { process, keyboard, screen, frames: Vec::new() };
        terminal.wait_for(|line| line.contains("Connected (press CTRL+C to quit)"));
        terminal
    }

    fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        let mut seen = Vec::new();
        while let Ok(line) = self.screen.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
            if wanted(&line) {
                return;
            }
            seen.push(line);
        }
        panic!("wscat does not connect; it shows {seen:?}");
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").expect("the terminal takes it");
    }

    /// Waits for a frame as shown.
    pub fn sees(&mut self, bound: &mut Bound, written: &str) -> Result<(), String> {
        let value: Value = serde_json::from_str(written).unwrap_or_else(|cause| panic!("{cause}: {written}"));
        let begun = Instant::now();
        let patience = Duration::from_secs(10);
        loop {
            for (frame, taken) in self.frames.iter_mut().filter(|(_, taken)| !taken) {
                if bound.agree(&value, &serde_json::from_str(frame).unwrap_or_default()) {
                    *taken = true;
                    return Ok(());
                }
            }
            match self.screen.recv_timeout(patience.saturating_sub(begun.elapsed())) {
                Ok(line) => self.note(&line),
                Err(_) => return Err(format!("< {written}\nis not shown, but:\n{}", self.left().join("\n"))),
            }
        }
    }

    fn note(&mut self, line: &str) {
        if let Some(frame) = line.trim_start().strip_prefix("< ") {
            self.frames.push((frame.to_owned(), false));
        }
    }

    /// Frames that came and that nobody was shown.
    pub fn left(&mut self) -> Vec<String> {
        while let Ok(line) = self.screen.try_recv() {
            self.note(&line);
        }
        let left = self.frames.iter().filter(|(_, taken)| !taken);
        left.map(|(frame, _)| super::shape::shortened(frame)).collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A line of a screen without colours and movements of the cursor.
fn bare(line: &str) -> String {
    let escapes = regex::Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").expect("a pattern");
    escapes.replace_all(line, "").into_owned()
}
