//! Standard output and standard error. Nobody may be there to read them, or nobody may read on: no write to them
//! panics, and no line of the log waits for its reader.

use std::io::{ErrorKind, Result, Write, stderr, stdout};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that a pipe takes at once without waiting, where it takes any (`PIPE_BUF`).
const PIECE: usize = 4096;

/// Writes a text to standard output. A reader that is gone wants no more of it, which is no failure.
///
/// # Errors
/// A sentence: the output is lost.
pub fn print(text: &str) -> std::result::Result<(), String> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => Err(format!("cannot write the output: {cause}")),
        _ => Ok(()),
    }
}

/// Writes a line to standard error, if anybody takes it.
pub fn complain(line: &str) {
    // There is nowhere left to tell of a failure.
    let _ = stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// The log on standard error, one write for each line. Drops a line that cannot be written at once, and counts it.
#[derive(Debug)]
pub struct Log {
    /// Whether lines are JSON objects.
    json: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines that were dropped since the last one that was written.
    lost: u64,
    /// Whether the last line was cut off.
    torn: bool,
}

impl Log {
    /// A log of lines, or of JSON objects.
    pub fn new(json: bool) -> Log {
        Log { json, state: Mutex::default() }
    }

    fn write_line(&self, line: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = String::new();
        if state.torn {
            before.push('\n');
        }
        if state.lost > 0 {
            before.push_str(&self.told(state.lost));
        }
        let whole = if before.is_empty() { line.to_vec() } else { [before.as_bytes(), line].concat() };
        let mut written = 0;
        for piece in whole.chunks(PIECE) {
            if !takes_more() || stderr().lock().write_all(piece).is_err() {
                break;
            }
            written += piece.len();
        }
        match written {
            0 => state.lost += 1,
            written => *state = State { lost: 0, torn: written < whole.len() },
        }
    }

    fn told(&self, lost: u64) -> String {
        match self.json {
            true => format!(
                "{{\"level\":\"WARN\",\"fields\":{{\"message\":\"lines of the log were lost: nobody read \
                 them\",\"lost\":{lost}}},\"target\":\"duet\"}}\n"
            ),
            false => format!("WARN lines of the log were lost: nobody read them lost={lost}\n"),
        }
    }
}

/// Whether a write would not wait, or would fail at once.
fn takes_more() -> bool {
    let stderr = stderr();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Where the question fails, so does the write.
    poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Writes lines to the log.
#[derive(Debug)]
pub struct Line<'a>(&'a Log);

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> Result<usize> {
        self.0.write_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
