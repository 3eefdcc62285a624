//! A server without sockets, users who act at random, and what each of them is shown now.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use duet::app::App;
use duet::catalogue::Language;
use duet::config::Config;
use duet::model::{Actor, SessionId, UserId};
use duet::ops;
use duet::ops::accounts::{self, Register};
use duet::protocol::Command;
use duet::store::{Purpose, streams};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Shown;
use super::copy::{self, Reading};
use super::device::Device;
use crate::support::server::PASSWORD;
use crate::support::setup::{SetUp, shared};

/// Steps that a failure tells of.
const REMEMBERED: usize = 60;

/// Most groups of a world.
const GROUPS: usize = 4;

pub(super) struct World {
    pub(super) app: Arc<App>,
    pub(super) users: Vec<i64>,
    groups: usize,
    steps: RefCell<VecDeque<String>>,
    _home: TempDir,
}

impl World {
    pub(super) async fn new(users: usize) -> World {
        // In memory where there is such a place: nothing here is about what a disk keeps.
        let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let mut config = Config { data_dir: home.path().to_owned(), ..Config::default() };
        (config.direct_per_hour, config.likes_per_hour, config.outbox_frames, config.page_max) = (0, 0, 6, 20);
        (config.argon2_memory_kib, config.argon2_passes) = (8, 1);
        if SetUp::of_this_run() == SetUp::Cluster {
            let postgres = &shared().await.postgres;
            config.database_url = postgres.url(&postgres.create().await).into();
        }
        let app = App::open(config).await.expect("a server");
        let mut ids = Vec::new();
        for number in 0..users {
            let (username, password) = (&format!("user{number}"), PASSWORD);
            let input = Register { username, password, email: "", first_name: "", last_name: "" };
            ids.push(accounts::register(&app, input).await.expect("a user").user.0);
        }
        World { app, users: ids, groups: 0, steps: RefCell::default(), _home: home }
    }

    pub(super) fn actor(user: i64) -> Actor {
        Actor { user: UserId(user), session: SessionId(1), socket: None }
    }

    /// Gives a command as a user, and answers the reply.
    async fn say(&self, user: i64, kind: &str, data: &Value) -> Value {
        let command = Command::parse(kind, &data.to_string()).expect("a command");
        // In a task of its own, as on a socket: the future of a command is too large for the stack of a test.
        let app = Arc::clone(&self.app);
        let dispatched = async move { ops::dispatch(&app, World::actor(user), Language::English, None, command).await };
        let answer = tokio::spawn(dispatched).await.expect("an answer");
        let reply: Value = serde_json::from_str(answer.frame.as_str()).expect("JSON");
        let fault = ["internal", "busy", "unknown_outcome"].iter().any(|code| reply["error"]["code"] == *code);
        assert!(!fault, "{user} {kind} {data}: {reply}\n{}", self.told());
        reply
    }

    /// The reply to what must be answered.
    async fn ask(&self, user: i64, kind: &str, data: &Value) -> Value {
        let mut reply = self.say(user, kind, data).await;
        assert_eq!(reply["ok"], true, "{user} {kind} {data}: {reply}\n{}", self.told());
        reply["data"].take()
    }

    /// A user does something, mostly what can be done by what their device shows.
    pub(super) async fn act(&mut self, random: &mut SmallRng, by: &Device) {
        let one_of = |random: &mut SmallRng, users: &[i64]| users[random.random_range(0..users.len())];
        let other = one_of(random, &self.users);
        let known: Vec<i64> = by.conversations.keys().copied().collect();
        let conversation = if known.is_empty() { 1 } else { one_of(random, &known) };
        let head = by.conversations.get(&conversation).and_then(|copy| copy.cursor).unwrap_or(1).max(1);
        // The latest messages are the most interesting.
        let seq = if random.random_bool(0.7) {
            random.random_range((head - 6).max(1)..=head)
        } else {
            random.random_range(1..=head)
        };
        let emoji = ["👍", "🎉"][random.random_range(0..2)];
        let (kind, mut data) = match random.random_range(0..110) {
            0..24 => ("message.send", json!({ "text": format!("text {}", random.random_range(0..1000)) })),
            24..28 => ("message.send", json!({ "text": "an answer", "reply_to": seq })),
            28..36 => ("message.edit", json!({ "seq": seq, "text": format!("edit {}", random.random_range(0..1000)) })),
            36..42 => ("message.delete", json!({ "seq": seq, "for_all": true })),
            42..46 => ("message.delete", json!({ "seq": seq })),
            46..54 => ("message.react", json!({ "seq": seq, "emoji": emoji })),
            54..58 => ("message.unreact", json!({ "seq": seq, "emoji": emoji })),
            58..61 => ("conversation.rename", json!({ "title": format!("title {}", random.random_range(0..100)) })),
            61..66 => ("member.add", json!({ "users": [other] })),
            66..70 => ("member.remove", json!({ "user": other })),
            70..74 => {
                let role = ["member", "admin", "admin", "owner"][random.random_range(0..4)];
                ("member.role", json!({ "user": other, "role": role }))
            }
            74..76 => ("conversation.leave", json!({})),
            76..77 => ("conversation.mute", json!({ "until": random.random_range(0..5) })),
            77..79 => ("conversation.archive", json!({ "archived": random.random_bool(0.5) })),
            79..86 => ("block.add", json!({ "user": other })),
            86..94 => ("block.remove", json!({ "user": other })),
            94..98 => ("conversation.open", json!({ "user": other })),
            98..102 => ("like.add", json!({ "user": other })),
            102..103 => ("like.remove", json!({ "user": other })),
            103..104 => ("match.end", json!({ "user": other })),
            _ if self.groups < GROUPS => {
                self.groups += 1;
                let members: BTreeSet<i64> = (0..3).map(|_| one_of(random, &self.users)).collect();
                ("conversation.create", json!({ "title": "a group", "members": members }))
            }
            _ => ("message.send", json!({ "text": "once more" })),
        };
        let inside = (kind.starts_with("conversation.") && !kind.ends_with("create") && !kind.ends_with("open"))
            || kind.starts_with("message.")
            || kind.starts_with("member.");
        if inside {
            data["conversation"] = json!(conversation);
        }
        let reply = self.say(by.user, kind, &data).await;
        let outcome = if reply["ok"] == true { &reply["data"]["seq"] } else { &reply["error"]["code"] };
        let mut steps = self.steps.borrow_mut();
        steps.push_back(format!("{} {kind} {data} -> {outcome}", by.user));
        if steps.len() > REMEMBERED {
            steps.pop_front();
        }
    }

    /// The last steps, for whoever looks for the reason of a failure.
    pub(super) fn told(&self) -> String {
        self.steps.borrow().iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// The head of a user's personal stream, and those of their conversations.
    pub(super) async fn heads(&self, user: i64) -> (i64, BTreeMap<i64, i64>) {
        let mut conn = self.app.store.read(Purpose::Server).await.expect("a connection");
        let personal = streams::personal_head(&mut conn, UserId(user)).await.expect("a head");
        let heads = streams::heads(&mut conn, UserId(user)).await.expect("heads");
        (personal, heads.into_iter().map(|head| (head.conversation.0, head.head)).collect())
    }

    /// Reads everything of a conversation; none where the user is not in it any more.
    pub(super) async fn read(&self, user: i64, conversation: i64) -> Option<Reading> {
        let place = json!({ "conversation": conversation });
        let mut reply = self.say(user, "conversation.get", &place).await;
        if reply["error"]["code"] == "not_found" {
            return None;
        }
        let view = reply["data"].take();
        let mut head = view["head"].as_i64().expect("a head");
        let (mut messages, mut after) = (Vec::new(), 0);
        loop {
            let page = json!({ "conversation": conversation, "after": after });
            let page = self.ask(user, "message.history", &page).await;
            head = head.min(page["head"].as_i64().expect("a head"));
            messages.extend(page["messages"].as_array().expect("messages").iter().cloned());
            if page["more"] == false {
                return Some(Reading { view, messages, head });
            }
            after = messages.last().and_then(|last: &Value| last["seq"].as_i64()).expect("a page has messages");
        }
    }

    /// What a user is shown who reads everything now.
    pub(super) async fn shown(&self, user: i64) -> Shown {
        let mut shown = Shown::new();
        for conversation in self.heads(user).await.1.into_keys() {
            let reading = self.read(user, conversation).await.expect("a member reads");
            shown.insert(conversation, copy::as_told(user, reading));
        }
        shown
    }

    /// Whom a user blocks, and with whom they are matched.
    pub(super) async fn lists(&self, user: i64) -> Value {
        let (blocks, matches) = (
            self.ask(user, "block.list", &json!({})).await,
            self.ask(user, "match.list", &json!({ "limit": 20 })).await,
        );
        let users = |list: &Value, path: &str| {
            let users = list.as_array().expect("a list").iter().filter_map(|one| one.pointer(path)?.as_i64());
            users.collect::<BTreeSet<i64>>()
        };
        json!({ "blocked": users(&blocks["users"], "/user"), "matches": users(&matches["matches"], "/user/id") })
    }
}
