//! Histories and databases made by hand, for the tests of the checker itself: Ann and Bob in one conversation.

use serde_json::{Value, json};

use super::checker::database::{Database, DirectPair, Message};
use super::checker::{Verdict, check};

/// Where the two talk.
pub const CONVERSATION: i64 = 9;
/// The user on sockets with odd numbers.
pub const ANN: i64 = 1;
/// The user on sockets with even numbers.
pub const BOB: i64 = 2;

/// A record and a database, made by hand.
#[derive(Debug, Default)]
pub struct Story {
    pub lines: Vec<Value>,
    pub database: Database,
}

impl Story {
    pub fn line(&mut self, mut line: Value) {
        line["t"] = (self.lines.len() * 10).into();
        self.lines.push(line);
    }

    pub fn sent(&mut self, socket: i64, id: i64, kind: &str, data: Value) {
        let frame = json!({ "id": id, "type": kind, "data": data });
        self.line(json!({ "what": "sent", "socket": socket, "frame": frame }));
    }

    pub fn answered(&mut self, socket: i64, id: i64, data: Value) {
        let frame = json!({ "id": id, "ok": true, "data": data });
        self.line(json!({ "what": "received", "socket": socket, "frame": frame }));
    }

    pub fn refused(&mut self, socket: i64, id: i64, code: &str) {
        let frame = json!({ "id": id, "ok": false, "error": { "code": code, "message": "", "retryable": false } });
        self.line(json!({ "what": "received", "socket": socket, "frame": frame }));
    }

    pub fn told(&mut self, socket: i64, kind: &str, data: Value) {
        let frame = json!({ "type": kind, "data": data });
        self.line(json!({ "what": "received", "socket": socket, "frame": frame }));
    }

    /// Opens a socket; its user is `ann` on odd numbers and `bob` on even ones, always on the same device.
    pub fn connect(&mut self, socket: i64) {
        let (name, user) = if socket % 2 == 1 { ("ann", ANN) } else { ("bob", BOB) };
        let device = format!("{name}/1");
        self.line(json!({ "what": "opened", "socket": socket, "user": name, "device": device }));
        self.sent(socket, 1, "auth", json!({ "token": "t" }));
        let hello = json!({ "user": user, "session": user * 100, "epoch": "e", "personal": 0 });
        self.answered(socket, 1, hello);
    }

    /// Asks for the head, which is the first sight of the conversation.
    pub fn look(&mut self, socket: i64, id: i64, head: i64) {
        self.sent(socket, id, "conversation.get", json!({ "conversation": CONVERSATION }));
        self.answered(socket, id, json!({ "id": CONVERSATION, "head": head }));
    }

    pub fn closed(&mut self, socket: i64) {
        self.line(json!({ "what": "closed", "socket": socket, "why": "" }));
    }

    pub fn send(&mut self, socket: i64, id: i64, key: &str) {
        let data = json!({ "conversation": CONVERSATION, "text": format!("text {key}"), "client_key": key });
        self.sent(socket, id, "message.send", data);
    }

    pub fn acknowledged(&mut self, socket: i64, id: i64, seq: i64) {
        let data = json!({ "id": seq + 1000, "conversation": CONVERSATION, "seq": seq, "sent_at": 5 });
        self.answered(socket, id, data);
    }

    pub fn created(&mut self, socket: i64, seq: i64, sender: i64, key: &str) {
        let message = shown(seq, seq, sender, key);
        self.told(socket, "message.created", json!({ "conversation": CONVERSATION, "seq": seq, "message": message }));
    }

    pub fn resume(&mut self, socket: i64, id: i64, cursor: i64, head: i64) {
        let conversation = CONVERSATION.to_string();
        let data = json!({ "epoch": "e", "personal": 0, "conversations": { conversation.clone(): cursor } });
        self.sent(socket, id, "resume", data);
        let moved = if head > cursor { json!({ conversation: head }) } else { json!({}) };
        self.answered(
            socket,
            id,
            json!({ "epoch": "e", "personal": 0, "moved": moved, "gone": [],
            "reset_conversations": [] }),
        );
    }

    pub fn page(&mut self, socket: i64, (after, upto): (i64, i64), messages: Vec<Value>) {
        let data = json!({ "conversation": CONVERSATION, "after": after, "upto": upto, "more": false,
            "messages": messages });
        self.told(socket, "conversation.page", data);
    }

    pub fn stored(&mut self, seq: i64, sender: i64, key: &str) {
        self.database.messages.push(Message {
            id: seq + 1000,
            conversation: CONVERSATION,
            seq,
            rev: seq,
            sender,
            kind: "text".to_owned(),
            text: format!("text {key}"),
            client_key: Some(key.to_owned()),
            ..Message::default()
        });
        let head = self.database.heads.entry(CONVERSATION).or_default();
        *head = (*head).max(seq);
    }

    pub fn judge(self) -> Verdict {
        check(self.lines, &self.database)
    }

    #[track_caller]
    pub fn must_find(self, words: &str) {
        let verdict = self.judge();
        assert!(verdict.finds(words), "nothing says {words:?} in {:#?}", verdict.findings);
    }

    /// Takes the `nth` line out that has these words.
    pub fn without(mut self, words: &str, nth: usize) -> Story {
        let fitting = |(_, line): &(usize, &Value)| line.to_string().contains(words);
        let (index, _) = self.lines.iter().enumerate().filter(fitting).nth(nth).expect("there is such a line");
        self.lines.remove(index);
        self
    }
}

pub fn shown(seq: i64, rev: i64, sender: i64, key: &str) -> Value {
    json!({ "conversation": CONVERSATION, "seq": seq, "rev": rev, "id": seq + 1000, "sender": sender, "kind": "text",
        "text": format!("text {key}"), "client_key": key, "sent_at": 5 })
}

/// The two know the conversation and nothing was said yet.
pub fn acquainted() -> Story {
    let mut story = Story::default();
    story.database.heads.insert(CONVERSATION, 0);
    story.database.direct.insert(CONVERSATION, DirectPair { low: ANN, high: BOB });
    story.database.members.extend([((CONVERSATION, ANN), (0, 0)), ((CONVERSATION, BOB), (0, 0))]);
    story.database.personal_heads.extend([(ANN, 0), (BOB, 0)]);
    for socket in [1, 2] {
        story.connect(socket);
        story.look(socket, 2, 0);
    }
    story
}

/// Ann says three things, and both hear them.
pub fn three() -> Story {
    let mut story = acquainted();
    for seq in 1..=3 {
        let key = format!("k{seq}");
        story.send(1, 10 + seq, &key);
        story.stored(seq, ANN, &key);
        story.acknowledged(1, 10 + seq, seq);
        story.created(1, seq, ANN, &key);
        story.created(2, seq, ANN, &key);
    }
    story
}

/// Bob was away for the last two of three and got them in a page.
pub fn away() -> Story {
    let mut story = three();
    story.lines.retain(|line| !(line["socket"] == 2 && line["frame"]["data"]["seq"].as_i64() > Some(1)));
    story.closed(2);
    story.connect(4);
    story.resume(4, 2, 1, 3);
    story.page(4, (1, 3), vec![shown(2, 2, ANN, "k2"), shown(3, 3, ANN, "k3")]);
    story
}

/// Ann blocks Bob after he said one thing.
pub fn block() -> Story {
    let mut story = acquainted();
    story.send(2, 11, "b1");
    story.stored(1, BOB, "b1");
    story.acknowledged(2, 11, 1);
    story.created(2, 1, BOB, "b1");
    story.created(1, 1, BOB, "b1");
    story.sent(1, 12, "block.add", json!({ "user": BOB }));
    story.answered(1, 12, json!({}));
    story.database.blocks.insert((ANN, BOB));
    story
}

/// Ann edits her second message while Bob is away: number 2 is superseded, and the page has its state of now.
pub fn edited() -> Story {
    let mut story = away().without("conversation.page", 0).without("moved", 0).without("\"resume\"", 0);
    let data = json!({ "conversation": CONVERSATION, "seq": 2, "text": "better" });
    story.sent(1, 30, "message.edit", data);
    story.answered(1, 30, json!({ "conversation": CONVERSATION, "seq": 4 }));
    let data = json!({ "conversation": CONVERSATION, "seq": 4, "message": 2, "text": "better", "edited_at": 7 });
    story.told(1, "message.edited", data);
    let message = &mut story.database.messages[1];
    (message.rev, message.text, message.edited) = (4, "better".to_owned(), true);
    story.database.heads.insert(CONVERSATION, 4);
    let mut second = shown(2, 4, ANN, "k2");
    second["text"] = "better".into();
    story.resume(4, 2, 1, 4);
    story.page(4, (1, 4), vec![shown(3, 3, ANN, "k3"), second]);
    story
}
