//! Folds the recorded lines, one after another, into what was asked, answered and told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::replay::Replay;
use super::{Statistics, int, text};

/// Longest that a frame may still arrive after an acknowledged end of its session, in microseconds.
const END_TAKES: u64 = 1_000_000;

/// What became of one attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Unanswered,
    Sent {
        id: i64,
        seq: i64,
    },
    Refused(String),
    /// The server said that it does not know.
    Unknown,
}

/// All attempts to send one message, by its author's key.
#[derive(Debug)]
pub(super) struct Send {
    pub conversation: i64,
    pub text: String,
    pub device: String,
    /// When it was first sent.
    pub at: u64,
    /// When its first acknowledgement came.
    pub acknowledged_at: Option<u64>,
    pub outcomes: Vec<Outcome>,
}

impl Send {
    /// Every attempt was refused by an answer that says: nothing was changed.
    pub fn refused(&self) -> bool {
        self.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Refused(_)))
    }

    /// Some attempt was refused, so that the order of sending says nothing about its place.
    pub fn was_refused(&self) -> bool {
        self.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_)))
    }

    pub fn acknowledged(&self) -> Option<(i64, i64)> {
        self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Sent { id, seq } => Some((*id, *seq)),
            _ => None,
        })
    }
}

/// An acknowledged block, for as long as it stands.
#[derive(Debug)]
pub(super) struct Block {
    pub blocker: i64,
    pub blocked: i64,
    pub from: u64,
    pub until: Option<u64>,
    /// A head of a conversation that the blocker asked for after the acknowledgement, and what it was.
    pub heads: BTreeMap<i64, i64>,
}

/// A change that was acknowledged: an edit, a deletion, a reaction.
#[derive(Debug)]
pub(super) struct Change {
    pub conversation: i64,
    pub message: i64,
    pub number: i64,
    /// The text, if it was an edit.
    pub text: Option<String>,
    /// It was a deletion for all.
    pub deletes: bool,
}

#[derive(Debug)]
struct Asked {
    kind: String,
    data: Value,
    at: u64,
    /// Which attempt of which send it is.
    attempt: Option<((String, String), usize)>,
}

#[derive(Debug, Default)]
struct Socket {
    device: String,
    username: String,
    user: i64,
    session: i64,
    opened: u64,
    asked: HashMap<String, Asked>,
}

/// What was recorded, folded.
#[derive(Debug, Default)]
pub struct History {
    pub(super) findings: Vec<String>,
    pub(super) statistics: Statistics,
    pub(super) devices: BTreeMap<String, Replay>,
    /// By user name and key.
    pub(super) sends: BTreeMap<(String, String), Send>,
    pub(super) users: BTreeMap<String, i64>,
    pub(super) blocks: Vec<Block>,
    pub(super) changes: Vec<Change>,
    /// Texts that somebody asked an edit to put there, answered or not.
    pub(super) edits: BTreeSet<(i64, i64, String)>,
    /// Conversations in which anything but a send was asked for, so that its numbers are not all messages.
    pub(super) changed: BTreeSet<i64>,
    /// `(user, conversation)` to the highest acknowledged read position.
    pub(super) reads: BTreeMap<(i64, i64), i64>,
    sockets: HashMap<u64, Socket>,
    ended: HashMap<i64, u64>,
    kills: Vec<u64>,
}

impl History {
    /// The conversations that devices followed or wrote to.
    pub fn conversations(&self) -> BTreeSet<i64> {
        let followed = self.devices.values().flat_map(|device| device.conversations.keys().copied());
        followed.chain(self.sends.values().map(|send| send.conversation)).collect()
    }

    /// The users whose devices were recorded.
    pub fn users(&self) -> BTreeSet<i64> {
        self.users.values().copied().collect()
    }

    /// Takes the next line.
    pub fn line(&mut self, line: &Value) {
        let at = line["t"].as_u64().unwrap_or_default();
        let socket = line["socket"].as_u64().unwrap_or_default();
        match line["what"].as_str().unwrap_or_default() {
            "opened" => self.opened(socket, at, line),
            "sent" => self.sent(socket, at, &line["frame"]),
            "received" => self.received(socket, at, &line["frame"]),
            "closed" => self.closed(socket, at),
            "killed" => {
                self.kills.push(at);
                self.statistics.unanswered_at_kill.push(0);
            }
            "ended" => drop(self.ended.insert(int(line, "session"), at)),
            "started" => {}
            other => self.findings.push(format!("the record has a line that nobody knows: {other}")),
        }
    }

    fn opened(&mut self, number: u64, at: u64, line: &Value) {
        let (device, username) = (text(line, "device"), text(line, "user"));
        let replay = self.devices.entry(device.clone()).or_default();
        if let Some(open) = replay.socket.replace(number) {
            self.findings.push(format!("{device} has the sockets {open} and {number} at once: the record is wrong"));
        }
        replay.name.clone_from(&device);
        self.sockets.insert(number, Socket { device, username, opened: at, ..Socket::default() });
    }

    fn closed(&mut self, number: u64, at: u64) {
        let Some(socket) = self.sockets.remove(&number) else { return };
        if let Some(device) = self.devices.get_mut(&socket.device) {
            device.socket = None;
        }
        let unanswered = |kill: u64| move |asked: &&Asked| asked.attempt.is_some() && asked.at < kill;
        // The kill that ended this socket is the first one after it was opened.
        let kill = self.kills.iter().position(|kill| socket.opened < *kill && *kill <= at);
        if let Some(index) = kill {
            let missing = socket.asked.values().filter(unanswered(self.kills[index])).count();
            self.statistics.unanswered_at_kill[index] += missing;
        }
    }

    fn sent(&mut self, number: u64, at: u64, frame: &Value) {
        let Some(socket) = self.sockets.get_mut(&number) else {
            return self.findings.push(format!("socket {number} sent while closed: the record is wrong"));
        };
        let (kind, data) = (text(frame, "type"), frame["data"].clone());
        let mut attempt = None;
        match kind.as_str() {
            "message.send" if data["client_key"].is_string() => {
                let key = (socket.username.clone(), text(&data, "client_key"));
                let send = self.sends.entry(key.clone()).or_insert_with(|| Send {
                    conversation: int(&data, "conversation"),
                    text: text(&data, "text"),
                    device: socket.device.clone(),
                    at,
                    acknowledged_at: None,
                    outcomes: Vec::new(),
                });
                self.statistics.repeated += usize::from(!send.outcomes.is_empty());
                send.outcomes.push(Outcome::Unanswered);
                attempt = Some((key, send.outcomes.len() - 1));
            }
            "message.edit" => {
                self.edits.insert((int(&data, "conversation"), int(&data, "seq"), text(&data, "text")));
                self.changed.insert(int(&data, "conversation"));
            }
            "message.send" | "message.delete" | "message.react" | "message.unreact" => {
                self.changed.insert(int(&data, "conversation"));
            }
            "resume" => {
                if let Some(device) = self.devices.get_mut(&socket.device) {
                    device.resume_sent(&data, &mut self.findings);
                }
            }
            "block.remove" => {
                // From the moment of asking, messages may come again.
                let undone = |block: &&mut Block| block.blocker == socket.user && block.blocked == int(&data, "user");
                self.blocks.iter_mut().filter(undone).for_each(|block| block.until = block.until.or(Some(at)));
            }
            _ => {}
        }
        socket.asked.insert(frame["id"].to_string(), Asked { kind, data, at, attempt });
    }

    fn received(&mut self, number: u64, at: u64, frame: &Value) {
        let Some(socket) = self.sockets.get_mut(&number) else {
            return self.findings.push(format!("socket {number} received while closed: the record is wrong"));
        };
        if self.ended.get(&socket.session).is_some_and(|ended| *ended + END_TAKES < at) {
            let late = at - self.ended[&socket.session];
            let what = &frame["type"];
            self.findings.push(format!("{} got {what} {late} us after its session was ended", socket.device));
        }
        if frame["ok"].is_boolean() {
            let Some(asked) = socket.asked.remove(&frame["id"].to_string()) else {
                let device = &socket.device;
                return self.findings.push(format!("{device} got an answer to nothing that it asked: {frame}"));
            };
            return self.answered(number, at, asked, frame);
        }
        let Some(device) = self.devices.get_mut(&socket.device) else { return };
        let (kind, data) = (frame["type"].as_str().unwrap_or_default(), &frame["data"]);
        let notes = (&mut self.findings, &mut self.statistics);
        match kind {
            "personal" | "personal.page" => device.personal(number, kind, data, notes),
            "conversation.page" => device.event(number, kind, data, notes),
            _ if kind.starts_with("message.") || kind.starts_with("reaction.") => {
                device.event(number, kind, data, notes);
            }
            _ => {}
        }
    }

    fn answered(&mut self, number: u64, at: u64, asked: Asked, frame: &Value) {
        let ok = frame["ok"] == true;
        let code = text(&frame["error"], "code");
        if code == "internal" {
            self.findings.push(format!("{} was answered with an internal error: {frame}", asked.kind));
        }
        if let Some((key, index)) = asked.attempt {
            let data = &frame["data"];
            let outcome = match ok {
                true => Outcome::Sent { id: int(data, "id"), seq: int(data, "seq") },
                false if code == "unknown_outcome" || code == "internal" => Outcome::Unknown,
                false => Outcome::Refused(code),
            };
            let send = self.sends.get_mut(&key).expect("noted when it was sent");
            let first = send.acknowledged();
            send.outcomes[index] = outcome;
            match (first, send.outcomes[index].clone()) {
                (Some(first), Outcome::Sent { id, seq }) if first != (id, seq) => self.findings.push(format!(
                    "the key {key:?} was answered with id and seq {first:?} and then with {:?}",
                    (id, seq)
                )),
                (None, Outcome::Sent { .. }) => {
                    send.acknowledged_at = Some(at);
                    self.statistics.acknowledged += 1;
                }
                _ => {}
            }
        } else if ok {
            self.accepted(number, at, &asked, &frame["data"]);
        }
    }

    /// Something other than a send was done.
    fn accepted(&mut self, number: u64, at: u64, asked: &Asked, reply: &Value) {
        let socket = self.sockets.get_mut(&number).expect("it just received");
        let device = self.devices.get_mut(&socket.device).expect("it was opened");
        match asked.kind.as_str() {
            "auth" => {
                (socket.user, socket.session) = (int(reply, "user"), int(reply, "session"));
                self.users.insert(socket.username.clone(), socket.user);
                device.user = socket.user;
                if device.personal.is_none() {
                    device.personal = Some(int(reply, "personal"));
                    device.personal_first = int(reply, "personal");
                }
            }
            "resume" => {
                self.statistics.resumes += 1;
                device.resume_answered(&asked.data, reply, &mut self.findings);
            }
            "conversation.open" | "conversation.get" | "conversation.create" => {
                device.first_sight(int(reply, "id"), int(reply, "head"));
            }
            "conversation.list" => {
                for conversation in reply["conversations"].as_array().into_iter().flatten() {
                    device.first_sight(int(conversation, "id"), int(conversation, "head"));
                }
            }
            "block.add" => self.blocks.push(Block {
                blocker: socket.user,
                blocked: int(&asked.data, "user"),
                from: at,
                until: None,
                heads: BTreeMap::new(),
            }),
            "message.edit" | "message.delete" | "message.react" | "message.unreact" => {
                self.statistics.changes += 1;
                self.changes.push(Change {
                    conversation: int(reply, "conversation"),
                    message: int(&asked.data, "seq"),
                    number: int(reply, "seq"),
                    text: (asked.kind == "message.edit").then(|| text(&asked.data, "text")),
                    deletes: asked.kind == "message.delete" && asked.data["for_all"] == true,
                });
            }
            "message.read" => {
                let read = self.reads.entry((socket.user, int(&asked.data, "conversation"))).or_default();
                *read = (*read).max(int(&asked.data, "seq"));
            }
            "session.revoke" => self.revoked(number, at, asked.data["session"].as_i64()),
            "password.change" => self.revoked(number, at, None),
            _ => {}
        }
        self.heads_after_blocks(number, asked, reply);
    }

    /// A head asked for after a block was acknowledged bounds what may ever commit of the blocked one.
    fn heads_after_blocks(&mut self, number: u64, asked: &Asked, reply: &Value) {
        let Some(head) = reply["head"].as_i64() else { return };
        let conversation = reply["conversation"].as_i64().unwrap_or_else(|| int(reply, "id"));
        let user = self.sockets[&number].user;
        for block in self.blocks.iter_mut().filter(|block| block.blocker == user && block.from <= asked.at) {
            if block.until.is_none() {
                block.heads.entry(conversation).or_insert(head);
            }
        }
    }

    fn revoked(&mut self, number: u64, at: u64, session: Option<i64>) {
        let (user, own) = (self.sockets[&number].user, self.sockets[&number].session);
        let others = self.sockets.values().filter(|socket| socket.user == user && socket.session != own);
        let gone: Vec<i64> = session.map_or_else(|| others.map(|socket| socket.session).collect(), |one| vec![one]);
        for session in gone {
            self.ended.entry(session).or_insert(at);
        }
    }
}
