//! Compares what was recorded with what lasts.

use std::collections::{BTreeMap, HashMap};

use super::database::{Database, Message};
use super::history::{History, Send};
use super::replay::{Followed, Replay};

/// Messages by place, which the database keeps unique; and by author and key.
struct Index<'a> {
    by_place: BTreeMap<(i64, i64), &'a Message>,
    by_key: HashMap<(i64, &'a str), &'a Message>,
}

pub(super) fn against_database(history: &mut History, database: &Database) {
    let mut findings = std::mem::take(&mut history.findings);
    let index = index(database, &mut findings);
    sends(history, &index, &mut findings);
    unsent(history, database, &mut findings);
    numbers(history, database, &index, &mut findings);
    sending_order(history, &index, &mut findings);
    blocks(history, database, &mut findings);
    changes(history, database, &index, &mut findings);
    agreement(history, &mut findings);
    let mut complete = 0;
    for device in history.devices.values() {
        complete += usize::from(device.socket.is_some());
        deliveries(history, device, database, &index, &mut findings);
        personal(device, database, &mut findings);
    }
    history.statistics.complete_devices = complete;
    history.findings = findings;
}

fn index<'a>(database: &'a Database, findings: &mut Vec<String>) -> Index<'a> {
    let mut index = Index { by_place: BTreeMap::new(), by_key: HashMap::new() };
    for message in &database.messages {
        if index.by_place.insert((message.conversation, message.seq), message).is_some() {
            findings.push(format!("two messages share {}/{}", message.conversation, message.seq));
        }
        if let Some(key) = &message.client_key
            && index.by_key.insert((message.sender, key), message).is_some()
        {
            findings.push(format!("user {} has two messages with the key {key}", message.sender));
        }
    }
    index
}

/// Every acknowledged send is there once, as it was sent; what was refused is not.
fn sends(history: &History, index: &Index<'_>, findings: &mut Vec<String>) {
    for ((username, key), send) in &history.sends {
        let user = history.users.get(username).copied().unwrap_or_default();
        let found = index.by_key.get(&(user, key.as_str())).copied();
        match (send.acknowledged(), found) {
            (Some((id, seq)), None) => {
                findings.push(format!("{username}'s {key}, acknowledged as {id} at {seq}, is lost"));
            }
            (Some((id, seq)), Some(message)) if (message.id, message.seq) != (id, seq) => findings.push(format!(
                "{username}'s {key} was acknowledged as {id} at {seq} but is stored as {} at {}",
                message.id, message.seq
            )),
            (None, Some(message)) if send.refused() => {
                findings.push(format!("{username}'s {key} was refused but is stored at {}", message.seq));
            }
            _ => {}
        }
        if let Some(message) = found
            && (message.conversation != send.conversation || (is_as_sent(message) && message.text != send.text))
        {
            findings.push(format!("{username}'s {key} is stored elsewhere or with another text: {message:?}"));
        }
    }
}

fn is_as_sent(message: &Message) -> bool {
    !message.edited && !message.deleted
}

/// Nothing is stored that a recorded user did not send.
fn unsent(history: &History, database: &Database, findings: &mut Vec<String>) {
    let names: HashMap<i64, &String> = history.users.iter().map(|(name, id)| (*id, name)).collect();
    for message in database.messages.iter().filter(|message| message.kind == "text") {
        let Some(name) = names.get(&message.sender) else { continue };
        let key = message.client_key.clone().unwrap_or_default();
        if !history.sends.contains_key(&((*name).clone(), key)) {
            findings.push(format!("nobody sent what is stored: {message:?}"));
        }
    }
}

/// The counter of a conversation stands at its last number, and no number is missing.
fn numbers(history: &History, database: &Database, index: &Index<'_>, findings: &mut Vec<String>) {
    for (conversation, head) in &database.heads {
        let messages = index.by_place.range((*conversation, i64::MIN)..=(*conversation, i64::MAX));
        let (mut last, mut expected) = (0, 1);
        for ((_, seq), message) in messages {
            last = last.max(message.rev);
            if *seq != expected && !history.changed.contains(conversation) {
                findings.push(format!("conversation {conversation} has {seq} where {expected} should stand"));
            }
            expected = seq + 1;
        }
        // Whatever took the last number is the latest change of some message.
        if last != *head {
            findings.push(format!("conversation {conversation} has the head {head} but the last number {last}"));
        }
    }
}

/// What one device sent first, stands first, unless the server refused it in between.
fn sending_order(history: &History, index: &Index<'_>, findings: &mut Vec<String>) {
    let mut lines: BTreeMap<(&str, i64), Vec<(&Send, i64)>> = BTreeMap::new();
    for ((username, key), send) in &history.sends {
        let user = history.users.get(username).copied().unwrap_or_default();
        if let Some(message) = index.by_key.get(&(user, key.as_str()))
            && !send.was_refused()
        {
            lines.entry((&send.device, send.conversation)).or_default().push((send, message.seq));
        }
    }
    for ((device, conversation), mut line) in lines {
        line.sort_by_key(|(send, _)| send.at);
        for pair in line.windows(2).filter(|pair| pair[0].1 >= pair[1].1) {
            let ((first, before), (second, after)) = (pair[0], pair[1]);
            findings.push(format!(
                "{device} sent {:?} before {:?} to {conversation}, but they stand at {before} and {after}: order",
                first.text, second.text
            ));
        }
    }
}

/// Nothing of the blocked one was sent after the acknowledged block and stored, nor numbered above a later head.
fn blocks(history: &History, database: &Database, findings: &mut Vec<String>) {
    let names: HashMap<i64, &String> = history.users.iter().map(|(name, id)| (*id, name)).collect();
    for block in &history.blocks {
        let (low, high) = (block.blocker.min(block.blocked), block.blocker.max(block.blocked));
        for message in database.messages.iter().filter(|message| message.sender == block.blocked) {
            let pair = database.direct.get(&message.conversation);
            if pair.is_none_or(|pair| (pair.low, pair.high) != (low, high)) {
                continue;
            }
            let key = message.client_key.clone().unwrap_or_default();
            let send = names.get(&message.sender).and_then(|name| history.sends.get(&((*name).clone(), key)));
            let sent_in_block =
                send.is_some_and(|send| send.at > block.from && block.until.is_none_or(|until| send.at < until));
            let head = block.heads.get(&message.conversation);
            // What was written after the block was lifted, or may have been, says nothing.
            let in_time = block.until.is_none_or(|until| {
                send.and_then(|send| send.acknowledged_at).is_some_and(|acknowledged| acknowledged < until)
            });
            let above_head = in_time && head.is_some_and(|head| message.seq > *head);
            if (sent_in_block && in_time) || above_head {
                let (user, seq) = (block.blocked, message.seq);
                findings.push(format!("a message of {user} crossed the block: {}/{seq}", message.conversation));
            }
        }
    }
}

/// Acknowledged edits, deletions, reactions and reads have lasted.
fn changes(history: &History, database: &Database, index: &Index<'_>, findings: &mut Vec<String>) {
    for change in &history.changes {
        let place = (change.conversation, change.message);
        let Some(message) = index.by_place.get(&place) else {
            findings.push(format!("a change of {place:?} was acknowledged, but there is no such message"));
            continue;
        };
        // A deletion or a reaction that changed nothing is answered with the head, whatever moved it there; what is
        // under a message in the end is compared with what devices have.
        let lost = match &change.text {
            Some(_) => message.rev < change.number,
            None => change.deletes && !message.deleted,
        };
        if lost {
            findings.push(format!("the change {} of {place:?} is lost: rev {}", change.number, message.rev));
        }
        if message.rev == change.number && change.text.as_ref().is_some_and(|text| *text != message.text) {
            findings.push(format!("the edit {} of {place:?} is stored as {:?}", change.number, message.text));
        }
    }
    for message in database.messages.iter().filter(|message| message.edited && !message.deleted) {
        let asked = (message.conversation, message.seq, message.text.clone());
        if !history.edits.contains(&asked) {
            findings.push(format!("nobody asked for the edit of {}/{}", message.conversation, message.seq));
        }
    }
    for ((user, conversation), read) in &history.reads {
        if let Some((_, stored)) = database.members.get(&(*conversation, *user))
            && stored < read
        {
            findings.push(format!("user {user} read {conversation} up to {read}, but {stored} is stored"));
        }
    }
}

/// All devices agree on what stands at a place, and on its text at each number.
fn agreement(history: &History, findings: &mut Vec<String>) {
    let mut places: HashMap<(i64, i64), (i64, i64, &str)> = HashMap::new();
    let mut states: HashMap<(i64, i64, i64), (&str, bool)> = HashMap::new();
    for device in history.devices.values() {
        for (conversation, followed) in &device.conversations {
            for (seq, seen) in followed.messages.iter().filter(|(_, seen)| seen.id != 0) {
                let place = (seen.id, seen.sender, seen.client_key.as_str());
                let known = places.entry((*conversation, *seq)).or_insert(place);
                let state = (seen.text.as_str(), seen.deleted);
                let same = states.entry((*conversation, *seq, seen.rev)).or_insert(state);
                if *known != place || *same != state {
                    let name = &device.name;
                    findings.push(format!("{name} has another message at {conversation}/{seq} than others: {seen:?}"));
                }
            }
        }
    }
}

/// What a device has is stored and was sent; and a device that stayed to the end has all.
fn deliveries(history: &History, device: &Replay, database: &Database, index: &Index<'_>, findings: &mut Vec<String>) {
    for (conversation, followed) in &device.conversations {
        for (seq, seen) in followed.messages.iter().filter(|(_, seen)| seen.id != 0) {
            let stored = index.by_place.get(&(*conversation, *seq));
            if stored.is_none_or(|message| message.id != seen.id || message.rev < seen.rev) {
                let name = &device.name;
                findings.push(format!("{name} was shown what is not stored: {conversation}/{seq} {seen:?}"));
            }
        }
        let member = database.members.get(&(*conversation, device.user));
        if let (Some((joined, _)), Some(_)) = (member, device.socket) {
            let messages = index.by_place.range((*conversation, *joined + 1)..=(*conversation, i64::MAX));
            let messages = messages.map(|(_, message)| *message);
            complete(history, device, (*conversation, followed), (database, messages), findings);
        }
    }
}

/// Compares one conversation of a device with the messages of it that the device's user may see.
fn complete<'a>(
    history: &History,
    device: &Replay,
    (conversation, followed): (i64, &Followed),
    (database, messages): (&Database, impl Iterator<Item = &'a Message>),
    findings: &mut Vec<String>,
) {
    let name = &device.name;
    let head = database.heads.get(&conversation).copied().unwrap_or_default();
    let lasting_block = |sender| database.blocks.contains(&(device.user, sender));
    let blocked_once = |sender| history.blocks.iter().any(|b| b.blocker == device.user && b.blocked == sender);
    if followed.cursor != head && !database.blocks.iter().any(|(a, b)| *a == device.user || *b == device.user) {
        findings.push(format!("{name} stands at {} of {conversation}, whose head is {head}", followed.cursor));
    }
    for message in messages {
        let blocked = lasting_block(message.sender) || blocked_once(message.sender);
        let removed = database.removals.contains(&(device.user, conversation, message.seq));
        if message.rev <= followed.first || blocked || removed {
            continue;
        }
        let place = format!("{name} at {conversation}/{} (rev {})", message.seq, message.rev);
        let Some(seen) = followed.messages.get(&message.seq) else {
            let bare = if followed.hidden.contains(&message.rev) { ": hidden without a reason" } else { "" };
            findings.push(format!("{place} was never shown {:?}{bare}", message.text));
            continue;
        };
        let text = if message.deleted { "" } else { &message.text };
        let known = seen.id != 0;
        if seen.rev != message.rev || (known && (seen.text != text || seen.deleted != message.deleted)) {
            findings.push(format!("{place} was left with {seen:?}"));
        }
        let stored = database.reactions.range((message.id, String::new(), 0)..(message.id + 1, String::new(), 0));
        let reactions = stored.map(|(_, emoji, user)| (emoji.clone(), *user));
        if known && !message.deleted && !reactions.eq(seen.reactions.iter().cloned()) {
            findings.push(format!("{place} was left with the reactions {:?}", seen.reactions));
        }
    }
}

/// The personal stream of a device is what is stored, and whole if the device stayed to the end.
fn personal(device: &Replay, database: &Database, findings: &mut Vec<String>) {
    let name = &device.name;
    for (seq, (kind, subject)) in &device.personal_entries {
        let stored = database.personal.get(&(device.user, *seq));
        if stored.is_none_or(|row| row.kind != *kind || (row.subject != *subject && *subject != 0)) {
            findings.push(format!("{name} personal {seq} came as {kind} {subject} but is stored as {stored:?}"));
        }
    }
    let head = database.personal_heads.get(&device.user).copied();
    if let (Some(_), Some(cursor), Some(head)) = (device.socket, device.personal, head)
        && cursor != head
    {
        findings.push(format!("{name} stands at {cursor} of its personal stream, whose head is {head}"));
    }
}
