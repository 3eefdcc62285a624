//! The record: one JSON line per frame, written to the file before the story takes its next step.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::checker::{Database, History, Source, Verdict, judge};

/// Appends to one file. Lines of all sockets stand in one order, that of their times.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    begun: Instant,
    file: Mutex<File>,
    sockets: AtomicU64,
    folded: Mutex<Folded>,
}

/// The record as far as it was read, folded.
#[derive(Debug, Default)]
struct Folded {
    history: History,
    /// Bytes.
    read: u64,
}

impl Recorder {
    /// A new record in this file.
    pub fn create(path: PathBuf) -> Recorder {
        let file = OpenOptions::new().create(true).append(true).open(&path).expect("open the record");
        let folded = Mutex::new(Folded::default());
        Recorder { path, begun: Instant::now(), file: Mutex::new(file), sockets: AtomicU64::new(1), folded }
    }

    /// A socket was opened by a device of a user; returns the number it has from now on.
    pub fn opened(&self, user: &str, device: &str) -> u64 {
        let socket = self.sockets.fetch_add(1, Ordering::Relaxed);
        self.write(&format!(r#""what":"opened","socket":{socket},"user":{},"device":{}"#, json!(user), json!(device)));
        socket
    }

    /// A frame was given to the socket or taken from it. `what` is `sent` or `received`; `frame` is JSON as it was.
    pub fn frame(&self, socket: u64, what: &str, frame: &str) {
        self.write(&format!(r#""what":"{what}","socket":{socket},"frame":{frame}"#));
    }

    /// The socket is gone.
    pub fn closed(&self, socket: u64, why: &str) {
        self.write(&format!(r#""what":"closed","socket":{socket},"why":{}"#, json!(why)));
    }

    /// The session was ended by means other than a recorded command, and that was acknowledged.
    pub fn ended(&self, session: i64) {
        self.write(&format!(r#""what":"ended","session":{session}"#));
    }

    /// The server is about to be killed (`killed`) or listens again (`started`).
    pub fn server(&self, what: &str) {
        self.write(&format!(r#""what":"{what}""#));
    }

    fn write(&self, rest: &str) {
        let mut file = self.file.lock().expect("no writer panics");
        // The time is taken under the lock, so that the order of lines is the order of times.
        let line = format!("{{\"t\":{},{rest}}}\n", self.begun.elapsed().as_micros());
        file.write_all(line.as_bytes()).expect("write the record");
    }

    /// The users and conversations that the record so far is about.
    pub fn concerned(&self) -> (BTreeSet<i64>, BTreeSet<i64>) {
        self.fold();
        let folded = self.folded.lock().expect("no reader panics");
        (folded.history.users(), folded.history.conversations())
    }

    /// Judges what was recorded so far against the database.
    pub async fn verdict(&self, database: &Source) -> Verdict {
        let (users, conversations) = self.concerned();
        let history = self.history();
        judge(history, &Database::read(database, &users, &conversations).await)
    }

    /// All frames that were `sent` or `received` so far.
    pub fn frames(&self, what: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.path).expect("read the record");
        // A line without its end is still being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines =
            whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{line}: {cause}")));
        lines.filter(|line: &Value| line["what"] == what).map(|mut line| line["frame"].take()).collect()
    }

    /// The last lines, each cut where it gets long.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        const WIDTH: usize = 400;
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(lines).collect();
        last.into_iter().rev().map(|line| line.chars().take(WIDTH).collect()).collect()
    }

    /// Reads what was recorded since the last time, and folds it.
    pub fn fold(&self) {
        let mut folded = self.folded.lock().expect("no reader panics");
        let mut file = File::open(&self.path).expect("open the record");
        file.seek(SeekFrom::Start(folded.read)).expect("find the place in the record");
        let mut lines = BufReader::new(file);
        let mut text = String::new();
        // A line without its end is still being written.
        while lines.read_line(&mut text).expect("read the record") > 0 && text.ends_with('\n') {
            folded.read += text.len() as u64;
            let line: Value = serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{text}: {cause}"));
            folded.history.line(&line);
            text.clear();
        }
    }

    /// The record so far, folded. It is given away, so the next time all of it is read again.
    pub fn history(&self) -> History {
        self.fold();
        self.folded()
    }

    /// What was folded so far, and nothing that was recorded since: the database that it is judged against was read
    /// after it.
    pub fn folded(&self) -> History {
        std::mem::take(&mut *self.folded.lock().expect("no reader panics")).history
    }
}
