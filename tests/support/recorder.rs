//! The record: one JSON line per frame, written to the file before the story takes its next step.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
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
}

impl Recorder {
    /// A new record in this file.
    pub fn create(path: PathBuf) -> Recorder {
        let file = OpenOptions::new().create(true).append(true).open(&path).expect("open the record");
        Recorder { path, begun: Instant::now(), file: Mutex::new(file), sockets: AtomicU64::new(1) }
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
        let history = self.history();
        (history.users(), history.conversations())
    }

    /// Judges what was recorded so far against the database.
    pub async fn verdict(&self, database: &Source) -> Verdict {
        let history = self.history();
        let database = Database::read(database, &history.users(), &history.conversations()).await;
        judge(history, &database)
    }

    /// All frames that were `sent` or `received` so far.
    pub fn frames(&self, what: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.path).expect("read the record");
        let lines =
            text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{line}: {cause}")));
        lines.filter(|line: &Value| line["what"] == what).map(|mut line| line["frame"].take()).collect()
    }

    /// The record so far, folded.
    pub fn history(&self) -> History {
        let text = std::fs::read_to_string(&self.path).expect("read the record");
        let mut history = History::default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|cause| panic!("{line}: {cause}"));
            history.line(&line);
        }
        history
    }
}
