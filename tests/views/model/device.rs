//! A device: a socket of the server without a connection, and what a client keeps behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use duet::feed;
use duet::hub::Socket;
use duet::model::{ConversationId, Text};
use duet::protocol::commands::Resume;
use serde_json::{Value, json};

use super::Shown;
use super::copy::{Copy, Reading};
use super::world::World;

/// What a client keeps, and its socket.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) user: i64,
    socket: Option<Arc<Socket>>,
    /// The personal cursor; none before the first greeting.
    personal: Option<i64>,
    pub(super) conversations: BTreeMap<i64, Copy>,
    blocked: BTreeSet<i64>,
    matches: BTreeSet<i64>,
    /// Answers that are on their way, each with the personal cursor at the time of its question.
    waiting: Vec<(i64, Option<i64>, Reading)>,
}

impl Device {
    pub(super) fn new(user: i64) -> Device {
        Device {
            user,
            socket: None,
            personal: None,
            conversations: BTreeMap::new(),
            blocked: BTreeSet::new(),
            matches: BTreeSet::new(),
            waiting: Vec::new(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Opens a socket: the first time it reads everything, later it resumes.
    pub(super) async fn connect(&mut self, world: &World) {
        let app = &world.app;
        let socket = app.hub.register(World::actor(self.user), app.now(), 0);
        let head = feed::start(&app.store, &app.hub, &socket).await.expect("a start");
        self.socket = Some(socket);
        if self.personal.is_some() {
            self.resume(world, self.personal, self.conversations.keys().copied().collect()).await;
            return;
        }
        self.personal = Some(head);
        for conversation in world.heads(self.user).await.1.into_keys() {
            self.conversations.insert(conversation, Copy::default());
        }
        self.read_lists(world).await;
    }

    /// The connection breaks: what was on its way is lost.
    pub(super) fn disconnect(&mut self, world: &World) {
        if let Some(socket) = self.socket.take() {
            world.app.hub.remove(&socket);
            self.waiting.clear();
        }
    }

    async fn resume(&mut self, world: &World, personal: Option<i64>, conversations: Vec<i64>) {
        let cursor = |id: i64| Some((ConversationId(id), self.conversations.get(&id)?.cursor?));
        let conversations = conversations.into_iter().filter_map(cursor).collect();
        let app = &world.app;
        let input = Resume { epoch: Text::without_nul(&*app.epoch), personal, conversations };
        let Some(socket) = &self.socket else { return };
        let resumed = feed::resume(&app.store, &app.hub, &app.config, &app.epoch, socket, input).await;
        let resumed = resumed.expect("an answer");
        assert!(resumed.reset.is_none() && resumed.reset_conversations.is_empty(), "{resumed:?}");
    }

    /// Takes what came, and reads what is to be read; some of the answers come later.
    pub(super) async fn take_in(&mut self, world: &World, late: bool) {
        let Some(socket) = self.socket.clone() else { return };
        let app = &world.app;
        loop {
            let mut frames = Vec::new();
            socket.take(&mut frames);
            for frame in &frames {
                let mut frame: Value = serde_json::from_str(frame.as_str()).expect("JSON");
                let data = frame["data"].take();
                self.hear(world, frame["type"].as_str().expect("a type"), data).await;
            }
            match feed::next_pull(&socket) {
                Some(pull) => {
                    feed::pull(&app.store, &app.hub, &app.config, &socket, pull).await.expect("a page");
                }
                None if frames.is_empty() => break,
                None => {}
            }
        }
        for (conversation, asked_at, reading) in std::mem::take(&mut self.waiting) {
            // An entry came between the question and the answer: asked again below.
            if asked_at == self.personal
                && let Some(copy) = self.conversations.get_mut(&conversation)
            {
                copy.take(reading);
            }
        }
        let unread: Vec<i64> = self.conversations.iter().filter(|(_, copy)| !copy.is_read).map(|(id, _)| *id).collect();
        for conversation in unread {
            let Some(reading) = world.read(self.user, conversation).await else { continue };
            self.waiting.push((conversation, self.personal, reading));
        }
        if !late {
            for (conversation, _, reading) in std::mem::take(&mut self.waiting) {
                self.conversations.get_mut(&conversation).expect("a copy").take(reading);
            }
        }
    }

    /// Takes everything until nothing more comes.
    pub(super) async fn settle(&mut self, world: &World) {
        for _ in 0..10 {
            self.take_in(world, false).await;
            if self.waiting.is_empty() && self.conversations.values().all(|copy| copy.is_read) {
                return;
            }
        }
        panic!("{} does not come to rest: {:?}\n{}", self.user, self.cursors(), world.told());
    }

    async fn hear(&mut self, world: &World, kind: &str, data: Value) {
        let number = |name: &str| data[name].as_i64().unwrap_or_default();
        match kind {
            "personal" => {
                let seq = number("seq");
                self.entries(world, seq - 1, seq, vec![data]).await;
            }
            "personal.page" => {
                let entries = data["entries"].as_array().expect("entries").clone();
                self.entries(world, number("after"), number("upto"), entries).await;
            }
            "conversation.page" => {
                let (after, upto) = (number("after"), number("upto"));
                if let Some(copy) = self.advance(world, number("conversation"), after, upto).await {
                    data["messages"].as_array().expect("messages").iter().cloned().for_each(|one| copy.put(one));
                }
            }
            "message.created" | "message.edited" | "message.deleted" | "message.hidden" | "reaction.added"
            | "reaction.removed" => {
                let seq = number("seq");
                let after = data["after"].as_i64().unwrap_or(seq - 1);
                let Some(copy) = self.advance(world, number("conversation"), after, seq).await else { return };
                match kind {
                    "message.created" => copy.put(data["message"].clone()),
                    "message.hidden" => {}
                    _ => copy.change(kind, seq, &data),
                }
            }
            _ => {}
        }
    }

    /// The copy of a conversation to which something is to be applied; none where it is known, or something is missing.
    async fn advance(&mut self, world: &World, conversation: i64, after: i64, seq: i64) -> Option<&mut Copy> {
        match self.conversations.get_mut(&conversation)?.advance(after, seq) {
            Some(true) => self.conversations.get_mut(&conversation),
            Some(false) => None,
            None => {
                self.resume(world, None, vec![conversation]).await;
                None
            }
        }
    }

    async fn entries(&mut self, world: &World, after: i64, upto: i64, entries: Vec<Value>) {
        let cursor = self.personal.unwrap_or(after);
        if after > cursor {
            return self.resume(world, self.personal, Vec::new()).await;
        }
        for entry in entries.iter().filter(|entry| entry["seq"].as_i64() > Some(cursor)) {
            let (kind, subject) =
                (entry["kind"].as_str().expect("a kind"), entry["subject"].as_i64().expect("a subject"));
            self.entry(world, kind, subject).await;
        }
        self.personal = Some(cursor.max(upto));
    }

    /// What is to be read again after an entry, as protocol.md says.
    async fn entry(&mut self, world: &World, kind: &str, subject: i64) {
        let again = |copy: &Copy| match kind {
            "block_added" => copy.is_direct_with(subject) || (copy.is_group() && copy.shows(subject)),
            "block_removed" => copy.is_direct_with(subject) || copy.is_group(),
            "user_gone" | "user_changed" => copy.is_direct_with(subject),
            _ => false,
        };
        self.conversations.values_mut().filter(|copy| again(copy)).for_each(|copy| copy.is_read = false);
        match kind {
            "matched" => drop(self.matches.insert(subject)),
            "unmatched" | "user_gone" => drop(self.matches.remove(&subject)),
            "block_added" => {
                self.blocked.insert(subject);
                self.matches.remove(&subject);
            }
            "block_removed" => drop(self.blocked.remove(&subject)),
            "user_changed" => self.read_lists(world).await,
            "conversation_gained" => drop(self.conversations.insert(subject, Copy::default())),
            "conversation_lost" => drop(self.conversations.remove(&subject)),
            "conversation_changed" => {
                self.conversations.get_mut(&subject).into_iter().for_each(|copy| copy.is_read = false);
            }
            "message_removed" => {
                let copies = self.conversations.values_mut();
                copies.for_each(|copy| copy.messages.retain(|_, message| message["id"] != subject));
            }
            _ => {}
        }
    }

    async fn read_lists(&mut self, world: &World) {
        let lists = world.lists(self.user).await;
        let users = |name: &str| lists[name].as_array().expect("users").iter().filter_map(Value::as_i64).collect();
        (self.blocked, self.matches) = (users("blocked"), users("matches"));
    }

    /// Where the device stands: its personal cursor, and those of its conversations.
    pub(super) fn cursors(&self) -> (i64, BTreeMap<i64, i64>) {
        let cursor = |(id, copy): (&i64, &Copy)| (*id, copy.cursor.unwrap_or_default());
        (self.personal.unwrap_or_default(), self.conversations.iter().map(cursor).collect())
    }

    /// What a person sees of it all, whose positions are those of what there is.
    pub(super) fn shown(&self, there: &Shown) -> Shown {
        let read = |id: &i64| there.get(id).map_or(Value::Null, |there| there["read"].clone());
        self.conversations.iter().map(|(id, copy)| (*id, copy.shown(self.user, &read(id)))).collect()
    }

    pub(super) fn lists(&self) -> Value {
        json!({ "blocked": self.blocked, "matches": self.matches })
    }
}
