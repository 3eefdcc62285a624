//! One device through all its sockets: the client's only rule, applied again to what the device received.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Statistics, int, text};

/// A message as a device has it after all that it received.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// 0 where only a change of an older message came by.
    pub id: i64,
    pub sender: i64,
    pub kind: String,
    pub text: String,
    pub client_key: String,
    pub rev: i64,
    pub deleted: bool,
    pub reactions: BTreeSet<(String, i64)>,
}

/// A conversation as a device has it.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub cursor: i64,
    /// Where the device began: everything above must have reached it.
    pub first: i64,
    /// The socket on which nothing more may be missing or come twice, as the device had caught up there.
    settled_on: Option<u64>,
    /// A resume for it is under way, so what comes before its page may not fit.
    resuming: bool,
    pub messages: BTreeMap<i64, Seen>,
    /// Numbers that came bare.
    pub hidden: BTreeSet<i64>,
}

/// What one device received.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub name: String,
    pub user: i64,
    /// The socket that is open now.
    pub socket: Option<u64>,
    pub conversations: BTreeMap<i64, Followed>,
    /// `None` until the first hello.
    pub personal: Option<i64>,
    pub personal_first: i64,
    pub personal_entries: BTreeMap<i64, (String, i64)>,
    personal_settled_on: Option<u64>,
}

/// The changes an event or a page makes, once it is known to follow.
enum Step<'a> {
    Event(&'a str, &'a Value),
    Page(&'a [Value]),
}

impl Replay {
    /// The first sight of a conversation whose head a reply told.
    pub fn first_sight(&mut self, conversation: i64, head: i64) {
        let fresh = || Followed { cursor: head, first: head, ..Followed::default() };
        self.conversations.entry(conversation).or_insert_with(fresh);
    }

    /// A resume was sent that names these cursors: what is in flight before its page may not fit.
    pub fn resume_sent(&mut self, data: &Value, findings: &mut Vec<String>) {
        for (conversation, named) in data["conversations"].as_object().into_iter().flatten() {
            let Ok(id) = conversation.parse::<i64>() else { continue };
            let named = named.as_i64().unwrap_or_default();
            let followed = self.conversations.entry(id).or_insert_with(|| Followed {
                cursor: named,
                first: named,
                ..Followed::default()
            });
            if followed.cursor != named {
                let at = followed.cursor;
                findings.push(format!("{} resumes {id} from {named} but had applied up to {at}", self.name));
            }
            followed.resuming = true;
            followed.settled_on = None;
        }
        if let Some(named) = data["personal"].as_i64() {
            self.personal_settled_on = None;
            if self.personal.is_some_and(|personal| personal != named) {
                findings.push(format!("{} resumes its personal stream from {named}, not its cursor", self.name));
            }
        }
    }

    /// The answer to a resume. Numbers never go back, so a reset means that something was lost.
    pub fn resume_answered(&mut self, named: &Value, reply: &Value, findings: &mut Vec<String>) {
        let name = &self.name;
        if !reply["reset"].is_null() {
            findings.push(format!("{name} was told to reset: {}", reply["reset"]));
        }
        if reply["reset_conversations"].as_array().is_some_and(|list| !list.is_empty()) {
            findings.push(format!("{name} was told to reset conversations {}", reply["reset_conversations"]));
        }
        for conversation in named["conversations"].as_object().into_iter().flatten().map(|(id, _)| id) {
            let Ok(id) = conversation.parse::<i64>() else { continue };
            if let Some(followed) = self.conversations.get_mut(&id) {
                // Where a page follows, only that page ends the resume; it may even have come before this reply.
                followed.resuming &= reply["moved"].get(conversation).is_some();
            }
        }
    }

    /// An event or page of a conversation.
    pub fn event(&mut self, socket: u64, kind: &str, data: &Value, notes: (&mut Vec<String>, &mut Statistics)) {
        let (findings, statistics) = notes;
        let conversation = int(data, "conversation");
        let page = kind == "conversation.page";
        let upto = if page { int(data, "upto") } else { int(data, "seq") };
        let after = data["after"].as_i64().unwrap_or(upto - 1);
        let first = if page { after } else { upto - 1 };
        let fresh = || Followed { cursor: first.max(after), first, ..Followed::default() };
        let followed = self.conversations.entry(conversation).or_insert_with(fresh);
        let place = format!("{} {conversation}/{upto} ({kind})", self.name);
        let settled = followed.settled_on == Some(socket);
        let nothing_new = upto <= followed.cursor;
        if nothing_new {
            statistics.dropped += 1;
            if settled && !page {
                findings.push(format!("{place} came again on a socket that had {}", followed.cursor));
            }
        } else if after > followed.cursor {
            statistics.holes += 1;
            if settled {
                findings.push(format!("{place} came on a socket that had only {}: a hole", followed.cursor));
            }
            return;
        }
        if page && !data["more"].as_bool().unwrap_or_default() {
            followed.resuming = false;
        }
        if nothing_new {
            return;
        }
        let step = match data["messages"].as_array() {
            Some(messages) if page => Step::Page(messages),
            _ => Step::Event(kind, data),
        };
        followed.apply(step, (after, upto), &place, (findings, statistics));
        if !followed.resuming {
            followed.settled_on = Some(socket);
        }
    }

    /// An entry or a page of the personal stream.
    pub fn personal(&mut self, socket: u64, kind: &str, data: &Value, notes: (&mut Vec<String>, &mut Statistics)) {
        let (findings, statistics) = notes;
        let page = kind == "personal.page";
        let upto = if page { int(data, "upto") } else { int(data, "seq") };
        let after = if page { int(data, "after") } else { upto - 1 };
        let cursor = *self.personal.get_or_insert(after);
        let settled = self.personal_settled_on == Some(socket);
        if upto <= cursor {
            statistics.dropped += 1;
            if settled && !page {
                findings.push(format!("{} personal {upto} came again after {cursor}", self.name));
            }
            return;
        }
        if after > cursor {
            statistics.holes += 1;
            if settled {
                findings.push(format!("{} personal {upto} came after {cursor}: a hole", self.name));
            }
            return;
        }
        let one = std::slice::from_ref(data);
        let entries = data["entries"].as_array().map_or(one, Vec::as_slice);
        let mut last = cursor;
        for entry in entries.iter().filter(|entry| int(entry, "seq") > cursor) {
            let seq = int(entry, "seq");
            if seq != last + 1 || seq > upto {
                findings.push(format!("{} personal {seq} stands after {last} in a page to {upto}", self.name));
            }
            last = seq;
            self.personal_entries.insert(seq, (text(entry, "kind"), int(entry, "subject")));
        }
        self.personal = Some(upto);
        self.personal_settled_on = Some(socket);
    }
}

impl Followed {
    fn apply(&mut self, step: Step<'_>, range: (i64, i64), place: &str, notes: (&mut Vec<String>, &mut Statistics)) {
        let (findings, statistics) = notes;
        match step {
            Step::Event(kind, data) => {
                if let Err(finding) = self.change(kind, data, statistics) {
                    findings.push(format!("{place} {finding}"));
                }
            }
            Step::Page(messages) => {
                let mut last = range.0;
                for message in messages {
                    let rev = int(message, "rev");
                    if rev <= last || rev > range.1 {
                        findings.push(format!("{place} a page has rev {rev} after {last}, its end is {}", range.1));
                    }
                    last = rev;
                    if rev > self.cursor {
                        statistics.from_pages += 1;
                        self.take(message, statistics);
                    }
                }
            }
        }
        self.cursor = range.1;
    }

    fn change(&mut self, kind: &str, data: &Value, statistics: &mut Statistics) -> Result<(), String> {
        let number = int(data, "seq");
        match kind {
            "message.created" => {
                let message = &data["message"];
                let (seq, rev) = (int(message, "seq"), int(message, "rev"));
                if rev != number {
                    return Err(format!("carries a message with rev {rev}"));
                }
                if self.messages.contains_key(&seq) {
                    return Err(format!("creates {seq}, which was there before"));
                }
                self.take(message, statistics);
            }
            "message.hidden" => {
                self.hidden.insert(number);
            }
            _ => {
                let seen = self.messages.entry(int(data, "message")).or_default();
                seen.rev = number;
                let reaction = || (text(data, "emoji"), int(data, "user"));
                match kind {
                    "message.edited" => seen.text = text(data, "text"),
                    "message.deleted" => (seen.deleted, seen.text) = (true, String::new()),
                    "reaction.added" => drop(seen.reactions.insert(reaction())),
                    "reaction.removed" => drop(seen.reactions.remove(&reaction())),
                    other => return Err(format!("has a kind that nobody knows: {other}")),
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, message: &Value, statistics: &mut Statistics) {
        if message["hidden"].as_bool().unwrap_or_default() {
            self.hidden.insert(int(message, "rev"));
            return;
        }
        statistics.deliveries += 1;
        self.messages.insert(int(message, "seq"), seen(message));
    }
}

fn seen(message: &Value) -> Seen {
    let mut reactions = BTreeSet::new();
    for reaction in message["reactions"].as_array().into_iter().flatten() {
        for user in reaction["users"].as_array().into_iter().flatten() {
            reactions.insert((text(reaction, "emoji"), user.as_i64().unwrap_or_default()));
        }
    }
    Seen {
        id: int(message, "id"),
        sender: int(message, "sender"),
        kind: text(message, "kind"),
        text: text(message, "text"),
        client_key: text(message, "client_key"),
        rev: int(message, "rev"),
        deleted: message["deleted"].as_bool().unwrap_or_default(),
        reactions,
    }
}
