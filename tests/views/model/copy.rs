//! What a device keeps of one conversation, changed by events and pages as protocol.md says.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What a device keeps of a conversation.
#[derive(Debug, Default)]
pub(super) struct Copy {
    /// Its cursor; none before anything was seen.
    pub(super) cursor: Option<i64>,
    /// Whether what is kept can be shown; else it is to be read.
    pub(super) is_read: bool,
    /// The answer of `conversation.get`.
    view: Value,
    /// The number as of which that was read: changes of the group up to there are in it.
    as_of: i64,
    /// The title, and the number as of which it is so.
    title: (i64, Value),
    /// Members with role and whether they are gone, and the number as of which it is so; none for those who went.
    members: BTreeMap<i64, (i64, Option<Value>)>,
    /// By place.
    pub(super) messages: BTreeMap<i64, Value>,
}

/// Everything of a conversation, as it is read.
#[derive(Debug)]
pub(super) struct Reading {
    /// The answer of `conversation.get`.
    pub(super) view: Value,
    /// The messages of all pages of history.
    pub(super) messages: Vec<Value>,
    /// The least number that the answers reach.
    pub(super) head: i64,
}

fn number(value: &Value) -> i64 {
    value.as_i64().expect("a number")
}

impl Copy {
    /// Takes a reading in the place of what was kept. Answers whether it is new enough.
    pub(super) fn take(&mut self, reading: Reading) -> bool {
        if self.cursor.is_some_and(|cursor| reading.head < cursor) {
            return false;
        }
        self.cursor.get_or_insert(reading.head);
        self.is_read = true;
        let head = number(&reading.view["head"]);
        self.as_of = head;
        self.title = (head, reading.view["title"].clone());
        let members = reading.view["members"].as_array().expect("members").iter();
        let member = |member: &Value| {
            let gone = member["gone"] == true;
            (number(&member["user"]), (head, Some(json!({ "role": member["role"], "gone": gone }))))
        };
        self.members = members.map(member).collect();
        self.messages = reading.messages.into_iter().map(|message| (number(&message["seq"]), message)).collect();
        self.view = reading.view;
        true
    }

    /// The client's only rule. Answers whether what goes from `after` to `seq` is to be applied; none if something before
    /// it is missing.
    pub(super) fn advance(&mut self, after: i64, seq: i64) -> Option<bool> {
        let cursor = *self.cursor.get_or_insert(after);
        if seq <= cursor {
            return Some(false);
        }
        if after > cursor {
            return None;
        }
        self.cursor = Some(seq);
        Some(true)
    }

    /// Takes a message, from a page or as it came.
    pub(super) fn put(&mut self, message: Value) {
        let (seq, rev) = (number(&message["seq"]), number(&message["rev"]));
        self.change_group(seq, &message);
        let newer = self.messages.get(&seq).is_none_or(|kept| number(&kept["rev"]) <= rev);
        if newer {
            self.messages.insert(seq, message);
        }
    }

    /// What happened to the group: title and members are as of the greatest number that tells of them.
    fn change_group(&mut self, seq: i64, message: &Value) {
        if seq <= self.as_of {
            return;
        }
        let (kind, subject) = (message["kind"].as_str().unwrap_or_default(), message["subject"].as_i64());
        if kind == "renamed" && seq > self.title.0 {
            self.title = (seq, message["text"].clone());
        }
        let role = |role: &Value| Some(json!({ "role": role, "gone": false }));
        let now = match kind {
            "member_added" => role(&json!("member")),
            "role_changed" => role(&message["text"]),
            "member_removed" | "member_left" => None,
            _ => return,
        };
        let member = self.members.entry(subject.expect("a subject")).or_insert((0, None));
        if seq > member.0 {
            *member = (seq, now);
        }
    }

    /// Changes a message that is kept, by an event that took the cursor to `seq`.
    pub(super) fn change(&mut self, kind: &str, seq: i64, event: &Value) {
        let Some(message) = self.messages.get_mut(&number(&event["message"])) else { return };
        if number(&message["rev"]) >= seq {
            return;
        }
        message["rev"] = json!(seq);
        match kind {
            "message.edited" => {
                message["text"] = event["text"].clone();
                message["edited_at"] = event["edited_at"].clone();
            }
            "message.deleted" => {
                let message = message.as_object_mut().expect("an object");
                for field in ["text", "edited_at", "attachment", "reactions"] {
                    message.remove(field);
                }
                message.insert("deleted".to_owned(), json!(true));
            }
            _ => react(message, number(&event["user"]), &event["emoji"], kind == "reaction.added"),
        }
    }

    /// Whether a user is seen anywhere in it.
    pub(super) fn shows(&self, user: i64) -> bool {
        self.members.contains_key(&user)
            || self.messages.values().any(|message| {
                let reactions = message["reactions"].as_array().into_iter().flatten();
                let mut users = reactions.flat_map(|reaction| reaction["users"].as_array().expect("users"));
                message["sender"] == user || message["subject"] == user || users.any(|one| *one == user)
            })
    }

    /// Whether it is the direct conversation with a user.
    pub(super) fn is_direct_with(&self, user: i64) -> bool {
        self.view["kind"] == "direct" && self.members.contains_key(&user)
    }

    pub(super) fn is_group(&self) -> bool {
        self.view["kind"] != "direct"
    }

    /// What a person sees of it who has read up to a number. Positions have no number, so they are taken as they are.
    pub(super) fn shown(&self, me: i64, read: &Value) -> Value {
        let members: Map<String, Value> =
            self.members.iter().filter_map(|(user, (_, member))| Some((user.to_string(), member.clone()?))).collect();
        let mut view = self.view.clone();
        view["read"] = read.clone();
        shown(me, &view, &self.title.1, members, &self.messages)
    }
}

fn react(message: &mut Value, user: i64, emoji: &Value, added: bool) {
    let mut under: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for reaction in message["reactions"].as_array().into_iter().flatten() {
        let users = reaction["users"].as_array().expect("users").iter().map(number).collect();
        under.insert(reaction["emoji"].as_str().expect("an emoji").to_owned(), users);
    }
    let users = under.entry(emoji.as_str().expect("an emoji").to_owned()).or_default();
    users.retain(|other| *other != user);
    if added {
        users.push(user);
        users.sort_unstable();
    }
    under.retain(|_, users| !users.is_empty());
    let message = message.as_object_mut().expect("an object");
    message.remove("reactions");
    if !under.is_empty() {
        let reactions = under.into_iter().map(|(emoji, users)| json!({ "emoji": emoji, "users": users }));
        message.insert("reactions".to_owned(), reactions.collect());
    }
}

/// What a person sees of a conversation: its numbers left out, and texts that are only a number.
fn shown(me: i64, view: &Value, title: &Value, members: Map<String, Value>, messages: &BTreeMap<i64, Value>) -> Value {
    let visible: Vec<&Value> = messages.values().filter(|message| message["hidden"] != true).collect();
    let readable = |message: &&&Value| {
        let theirs = message["kind"] == "text" && message["deleted"] != true && message["sender"] != me;
        theirs && message["seq"].as_i64() > view["read"].as_i64()
    };
    let unread = visible.iter().filter(readable).count();
    let plain = |message: &Value| {
        let mut message = message.clone();
        message.as_object_mut().expect("an object").remove("rev");
        message
    };
    let by_place: Map<String, Value> =
        visible.iter().map(|message| (message["seq"].to_string(), plain(message))).collect();
    json!({
        "kind": view["kind"],
        "title": title,
        "members": members,
        "muted_until": view["muted_until"],
        "archived": view["archived"],
        "read": view["read"],
        "unread": unread,
        "last_message": visible.last().map(|message| plain(message)),
        "messages": by_place,
    })
}

/// What the answers themselves show: the counts and the last message as they tell them.
pub(super) fn as_told(me: i64, reading: Reading) -> Value {
    let (view, mut copy) = (reading.view.clone(), Copy::default());
    copy.take(reading);
    let mut shown = copy.shown(me, &view["read"]);
    shown["unread"] = view["unread"].clone();
    let mut last = view["last_message"].clone();
    if let Some(last) = last.as_object_mut() {
        last.remove("rev");
    }
    shown["last_message"] = last;
    shown
}
