//! How far an import is and what it found, written down in the transaction that writes the rows. So a run that was
//! killed goes on, a second one changes nothing, and the summary is of all runs together.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::store::django::Filled;
use crate::store::{Conn, Tx, imported};

/// Ids that the summary shows of each kind of thing that came otherwise.
const SHOWN: usize = 5;

/// The parts of an import, in their order: each needs those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Part {
    Users,
    InterestNames,
    Interests,
    Pairs,
    Conversations,
    Messages,
    Ids,
    Done,
}

/// Builds the kinds of notes and their sentences from one list.
macro_rules! notes {
    ($($note:ident $of:literal $sentence:literal;)*) => {
        /// Something that came otherwise than it was, or did not come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub(super) enum Note { $($note),* }

        impl Note {
            /// What the ids are of, and what happened to them.
            fn text(self) -> (&'static str, &'static str) {
                match self { $(Note::$note => ($of, $sentence)),* }
            }
        }
    };
}

notes! {
    // What did not come stands first.
    NotImportedSelf "user" "liked, blocked or matched with themselves: such a row means nothing and is left out";
    NotImportedPair "lower user" "liked, blocked or matched with somebody who is not there: left out";
    NotImportedMatch "match" "second match of the same two: left out, the first one came";
    NotImportedInterest "row" "interest of nobody, without a name, or told twice: left out";
    NotImportedConversation "conversation" "without participants and messages: left out, its id is not given again";
    NotImportedMessage "message" "of a user or in a conversation that is not there: left out";
    NotImportedReading "message" "read by somebody behind a message that they have not read, by its author, or by somebody who is not in the conversation: not kept";
    NameClash "user" "has the name of an earlier user but for case: found only by the name exactly as written";
    NameTwice "user" "has the very name of an earlier user: cannot log in by name";
    NoPassword "user" "has no usable password: log in after duet user set-password";
    UnknownPassword "user" "has a password in a form that duet does not verify: log in after duet user set-password";
    Disabled "user" "was switched off, and is: duet user enable opens the account again";
    NoPlace "user" "had coordinates that are nowhere on Earth: has no place";
    NoBirthDate "user" "had a birth date that is none: has no birth date";
    OddPreferences "user" "looks for ages or distances that duet would not take today: kept as they are";
    ZeroBytes "row" "had a text with NUL characters, which no database of duet can hold: they are taken away";
    BlockOverLike "pair" "liked across a block: the block stands, the likes do not";
    BlockOverMatch "pair" "matched across a block: the match is ended";
    MatchMade "pair" "liked each other without a match: now they have one";
    LikesAdded "pair" "matched without both likes: now both like";
    LikesEnded "pair" "had an ended match and still liked each other: the likes ended with it";
    Group "conversation" "with another number of participants than two: a group of those who are in it";
    SecondDirect "conversation" "beside a later one of the same two: a group of two";
    Left "conversation" "was left: out of everybody's list until its next message";
    LongText "message" "longer than duet takes today: kept whole";
    Stranger "message" "by somebody who is not in the conversation: kept";
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    count: i64,
    first: Vec<i64>,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// What the source held when the import began.
    pub(super) source: BTreeMap<String, Filled>,
    /// What is at work.
    pub(super) part: Part,
    /// The place of the last row of it that is done.
    pub(super) after: Vec<i64>,
    /// Rows in the tables of duet that this import made.
    pub(super) written: BTreeMap<String, i64>,
    /// What of the source came, by the words of the summary.
    pub(super) came: BTreeMap<String, i64>,
    /// The last id of a pair without a match.
    pub(super) last_pair: i64,
    notes: BTreeMap<Note, Noted>,
}

impl Journal {
    /// Of an import that begins.
    pub(super) fn begin(source: BTreeMap<String, Filled>) -> Journal {
        let last_pair = source.get("matching_match").map_or(0, |filled| filled.last_id);
        Journal {
            source,
            part: Part::Users,
            after: Vec::new(),
            written: BTreeMap::new(),
            came: BTreeMap::new(),
            last_pair,
            notes: BTreeMap::new(),
        }
    }

    /// As it was written down, if there is one.
    pub(super) async fn read(tx: &mut Conn) -> std::result::Result<Option<Journal>, String> {
        let text = imported::journal(tx).await.map_err(|error| error.to_string())?;
        let read = |text: String| serde_json::from_str(&text);
        text.map(read).transpose().map_err(|cause| format!("the database holds an import of another duet: {cause}"))
    }

    /// Writes it down.
    pub(super) async fn keep(&self, tx: &mut Conn) -> Result<()> {
        // Numbers and names have no failing Serialize.
        imported::keep_journal(tx, &serde_json::to_string(self).unwrap_or_default()).await
    }

    /// The next part begins.
    pub(super) fn go_on(&mut self, part: Part) {
        self.part = part;
        self.after.clear();
    }

    /// Something came otherwise.
    pub(super) fn note(&mut self, note: Note, id: i64) {
        let noted = self.notes.entry(note).or_default();
        noted.count += 1;
        if noted.first.len() < SHOWN {
            noted.first.push(id);
        }
    }

    /// Rows of duet were made.
    pub(super) fn wrote(&mut self, table: &str, rows: u64) {
        *self.written.entry(table.to_owned()).or_default() += rows.cast_signed();
    }

    /// Something of the source came.
    pub(super) fn took(&mut self, what: &str, count: i64) {
        *self.came.entry(what.to_owned()).or_default() += count;
    }

    /// Whether the database holds what this import made and nothing else; else a sentence that says what.
    pub(super) async fn is_alone(&self, tx: &mut Tx) -> std::result::Result<(), String> {
        let counts = imported::counts(tx).await.map_err(|error| error.to_string())?;
        let others = counts.into_iter().filter_map(|(table, count)| {
            let foreign = count - self.written.get(table).copied().unwrap_or(0);
            (foreign != 0).then(|| format!("{foreign} rows of {table}"))
        });
        let others: Vec<String> = others.collect();
        match others.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "the database holds what no import wrote ({}): import into an empty one",
                others.join(", ")
            )),
        }
    }

    /// What came, what did not, and what is otherwise than it was.
    pub(super) fn summary(&self) -> String {
        const ROWS: [(&str, &str); 10] = [
            ("users", "accounts_user"),
            ("preferences", "matching_userpreference"),
            ("interests", "matching_userinterestrelation"),
            ("likes", "accounts_user_liked_users"),
            ("blocks", "accounts_user_blocked_users"),
            ("matches", "matching_match"),
            ("conversations", "conversations_conversation"),
            ("participants", "conversations_conversation_participants"),
            ("messages", "conversations_message"),
            ("read marks", "conversations_messageread"),
        ];
        let mut text = format!("{:<14} {:>10} {:>10}\n", "", "there", "came");
        for (what, table) in ROWS {
            let there = self.source.get(table).map_or(0, |filled| filled.rows);
            let came = self.came.get(what).copied().unwrap_or(0);
            let _ = writeln!(text, "{what:<14} {there:>10} {came:>10}");
        }
        for (name, value) in [("profile files", "profile files"), ("message files", "message files")] {
            let came = self.came.get(value).copied().unwrap_or(0);
            let _ = writeln!(text, "{name:<14} {came:>10} {came:>10}");
        }
        let (left_out, otherwise) = (self.notes.range(..Note::NameClash), self.notes.range(Note::NameClash..));
        for (title, notes) in [("left out", left_out), ("otherwise than it was", otherwise)] {
            for (at, (note, noted)) in notes.enumerate() {
                let (of, sentence) = note.text();
                let first: Vec<String> = noted.first.iter().map(i64::to_string).collect();
                let more = if noted.count > noted.first.len() as i64 { ", ..." } else { "" };
                let heading = if at == 0 { format!("{title}:\n") } else { String::new() };
                let _ =
                    writeln!(text, "{heading}  {} x {of} {sentence} ({of} {}{more})", noted.count, first.join(", "));
            }
        }
        text
    }
}
