//! Proves the main promises from two witnesses: what clients recorded, frame by frame, and the database file. It knows
//! the wire and the tables, and nothing of the server's code, so that both cannot be wrong in the same way.

pub mod database;
mod history;
mod replay;
pub mod rows;
mod verdict;

pub use database::Database;
pub use history::History;
pub use rows::Source;

use serde_json::Value;

/// What was counted on the way; a clean verdict over nothing is worth nothing.
#[derive(Debug, Default, Clone)]
pub struct Statistics {
    /// Sends that were answered with an id and a number, each key once.
    pub acknowledged: usize,
    /// Sends repeated under the same key.
    pub repeated: usize,
    /// Messages that devices took, as events or in pages.
    pub deliveries: usize,
    /// Messages among them that came in pages.
    pub from_pages: usize,
    /// Resumes that were answered.
    pub resumes: usize,
    /// Events that did not follow the cursor and had to be repaired.
    pub holes: usize,
    /// Events at or below the cursor.
    pub dropped: usize,
    /// Edits, deletions and reactions that were acknowledged.
    pub changes: usize,
    /// Devices that were connected at the end and had to have everything.
    pub complete_devices: usize,
    /// For each kill, how many sends were never answered on the socket that they were sent on.
    pub unanswered_at_kill: Vec<usize>,
}

/// The checker's answer.
#[derive(Debug)]
pub struct Verdict {
    /// What breaks a promise, a sentence each; empty when all hold.
    pub findings: Vec<String>,
    /// What was counted.
    pub statistics: Statistics,
}

impl Verdict {
    /// Whether some finding contains these words.
    pub fn finds(&self, words: &str) -> bool {
        self.findings.iter().any(|finding| finding.contains(words))
    }
}

/// Judges the recorded lines against what the database holds.
pub fn check(lines: impl IntoIterator<Item = Value>, database: &Database) -> Verdict {
    let mut history = History::default();
    for line in lines {
        history.line(&line);
    }
    judge(history, database)
}

/// Judges a history that was read before, for instance to learn which conversations it is about.
pub fn judge(mut history: History, database: &Database) -> Verdict {
    verdict::against_database(&mut history, database);
    Verdict { findings: history.findings, statistics: history.statistics }
}

fn int(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_default()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}
