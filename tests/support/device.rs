//! A device that follows the rules for clients: it keeps its cursors and its unanswered sends through everything that
//! happens to its sockets, resumes, repeats under the same keys in the same order, and repairs what is missing before
//! it shows it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::recorder::Recorder;
use super::server::Account;
use super::socket::{Cut, Ended, Socket};

/// How long a device waits before it repeats what a server could not take.
const AGAIN: Duration = Duration::from_millis(100);

/// A send that was not answered yet.
#[derive(Debug, Clone)]
pub struct Unanswered {
    key: String,
    conversation: i64,
    text: String,
    /// When it was first sent.
    since: Instant,
}

#[derive(Debug, Clone)]
enum Asked {
    Auth,
    /// Of these conversations, and of the personal stream or not.
    Resume(BTreeSet<i64>, bool),
    Head(i64),
    Send(String),
    Other,
}

/// What a device keeps while sockets come and go.
#[derive(Debug)]
pub struct Device {
    /// Its name in the record.
    pub name: String,
    /// The user's id; 0 before the first hello.
    pub user: i64,
    /// By conversation, the last number it has.
    pub cursors: BTreeMap<i64, i64>,
    /// Its own messages that it may change: conversation and place.
    pub own: Vec<(i64, i64)>,
    /// Sends without an answer, in the order they were first sent.
    pub unanswered: VecDeque<Unanswered>,
    /// How long the sends had waited that were acknowledged since somebody looked.
    pub waited: Vec<Duration>,
    /// What the server could not do, and when it is to be asked for again.
    later: VecDeque<(Instant, Asked)>,
    /// The last number of the personal stream that it has.
    pub personal: Option<i64>,
    epoch: String,
    account: Account,
    recorder: Arc<Recorder>,
    conversations: Vec<i64>,
    keys: usize,
    socket: Option<Socket>,
    asked: HashMap<i64, Asked>,
    /// Conversations whose page is under way.
    resuming: BTreeSet<i64>,
    ready: bool,
}

impl Device {
    /// A device that is in these conversations and has not connected yet.
    pub fn new(account: Account, number: usize, conversations: Vec<i64>, recorder: &Arc<Recorder>) -> Device {
        Device {
            name: format!("{}/{number}", account.username),
            user: 0,
            cursors: BTreeMap::new(),
            own: Vec::new(),
            unanswered: VecDeque::new(),
            waited: Vec::new(),
            later: VecDeque::new(),
            personal: None,
            epoch: String::new(),
            account,
            recorder: Arc::clone(recorder),
            conversations,
            keys: 0,
            socket: None,
            asked: HashMap::new(),
            resuming: BTreeSet::new(),
            ready: false,
        }
    }

    /// The name of its user.
    pub fn owner(&self) -> &str {
        &self.account.username
    }

    /// Whether it is connected, greeted, and knows where its conversations stand.
    pub fn ready(&self) -> bool {
        self.ready && self.conversations.iter().all(|id| self.cursors.contains_key(id))
    }

    /// Whether a socket is open, greeted or not.
    pub fn connected(&self) -> bool {
        self.socket.is_some()
    }

    /// How many commands wait for their replies.
    pub fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Opens a socket and says who it is; what was missed is asked for once the hello came.
    pub async fn connect(&mut self, address: SocketAddr) -> Result<(), Ended> {
        self.asked.clear();
        self.resuming.clear();
        self.later.clear();
        self.ready = false;
        let socket = Socket::open(address, &self.recorder, &self.account.username, &self.name).await?;
        self.socket = Some(socket);
        let token = self.account.access.clone();
        self.ask("auth", &json!({ "token": token }), Asked::Auth).await
    }

    /// Vanishes; what it keeps stays.
    pub async fn cut(&mut self, how: Cut) {
        if let Some(socket) = self.socket.take() {
            socket.cut(how).await;
        }
        self.ready = false;
    }

    /// Sends a message with a key of its own.
    pub async fn send(&mut self, conversation: i64) -> Result<(), Ended> {
        self.keys += 1;
        let key = format!("{}-{}", self.name, self.keys);
        let send = Unanswered { text: format!("{key} to {conversation}"), key, conversation, since: Instant::now() };
        self.unanswered.push_back(send.clone());
        self.say(send).await
    }

    /// Sends another command whose reply it only notes.
    pub async fn other(&mut self, kind: &str, data: &Value) -> Result<(), Ended> {
        self.ask(kind, data, Asked::Other).await
    }

    /// The next frame. Safe to be dropped.
    pub async fn frame(&mut self) -> Result<Value, Ended> {
        let Some(socket) = self.socket.as_mut() else {
            return Err(Ended { code: 0, why: "not connected".to_owned() });
        };
        let frame = socket.next().await;
        if frame.is_err() {
            self.lost();
        }
        frame
    }

    /// Does what a frame calls for.
    pub async fn take(&mut self, frame: &Value) -> Result<(), Ended> {
        let data = &frame["data"];
        match frame["type"].as_str() {
            None => self.answered(frame).await,
            Some("conversation.page") => {
                let range = (number(data, "after"), number(data, "upto"));
                if !data["more"].as_bool().unwrap_or_default() {
                    self.resuming.remove(&number(data, "conversation"));
                }
                self.advance(number(data, "conversation"), range).await
            }
            Some("personal") => self.advance_personal(number(data, "seq") - 1, number(data, "seq")).await,
            Some("personal.page") => self.advance_personal(number(data, "after"), number(data, "upto")).await,
            Some(kind) if kind.starts_with("message.") || kind.starts_with("reaction.") => {
                let seq = number(data, "seq");
                let after = data["after"].as_i64().unwrap_or(seq - 1);
                self.advance(number(data, "conversation"), (after, seq)).await
            }
            Some(_) => Ok(()),
        }
    }

    async fn answered(&mut self, frame: &Value) -> Result<(), Ended> {
        let data = &frame["data"];
        let ok = frame["ok"] == true;
        let asked = self.asked.remove(&number(frame, "id"));
        if !ok
            && frame["error"]["retryable"] == true
            && let Some(again @ (Asked::Resume(..) | Asked::Head(_) | Asked::Send(_))) = asked
        {
            self.later.push_back((Instant::now() + AGAIN, again));
            return Ok(());
        }
        match asked {
            Some(Asked::Auth) if ok => self.greeted(data).await,
            // The server cannot take it now and will end this socket; the device connects again.
            Some(Asked::Auth) if frame["error"]["retryable"] == true => Ok(()),
            Some(Asked::Auth) => panic!("{} was not let in: {frame}", self.name),
            Some(Asked::Resume(named, _)) => {
                // Where a page follows, the page ends it.
                let moved = |id: &i64| data["moved"].get(id.to_string()).is_some();
                self.resuming.retain(|id| !named.contains(id) || moved(id));
                Ok(())
            }
            Some(Asked::Head(_)) if ok => {
                self.cursors.entry(number(data, "id")).or_insert_with(|| number(data, "head"));
                Ok(())
            }
            Some(Asked::Send(key)) => {
                self.send_answered(&key, frame);
                Ok(())
            }
            Some(_) => Ok(()),
            None => panic!("{} was answered what it did not ask: {frame}", self.name),
        }
    }

    async fn greeted(&mut self, hello: &Value) -> Result<(), Ended> {
        self.user = number(hello, "user");
        if self.personal.is_none() {
            self.personal = Some(number(hello, "personal"));
            self.epoch = hello["epoch"].as_str().unwrap_or_default().to_owned();
        } else {
            let named = self.cursors.clone();
            self.resume(Some(self.personal.unwrap_or_default()), named).await?;
        }
        for conversation in self.conversations.clone() {
            if !self.cursors.contains_key(&conversation) {
                self.head(conversation).await?;
            }
        }
        for send in self.unanswered.clone() {
            self.say(send).await?;
        }
        self.ready = true;
        Ok(())
    }

    fn send_answered(&mut self, key: &str, frame: &Value) {
        let Some(index) = self.unanswered.iter().position(|send| send.key == key) else { return };
        if frame["ok"] == true {
            self.waited.extend(self.unanswered.remove(index).map(|send| send.since.elapsed()));
            self.own.push((number(&frame["data"], "conversation"), number(&frame["data"], "seq")));
        } else {
            self.unanswered.remove(index);
        }
    }

    async fn head(&mut self, conversation: i64) -> Result<(), Ended> {
        self.ask("conversation.get", &json!({ "conversation": conversation }), Asked::Head(conversation)).await
    }

    /// Repeats what is to be repeated by now.
    pub async fn repeat(&mut self) -> Result<(), Ended> {
        while let Some((_, again)) = self.later.pop_front_if(|(due, _)| *due <= Instant::now()) {
            match again {
                Asked::Send(key) => {
                    if let Some(send) = self.unanswered.iter().find(|send| send.key == key).cloned() {
                        self.say(send).await?;
                    }
                }
                Asked::Head(conversation) => self.head(conversation).await?,
                Asked::Resume(named, personal) => {
                    let cursors = self.cursors.iter().filter(|(id, _)| named.contains(id));
                    let cursors = cursors.map(|(id, cursor)| (*id, *cursor)).collect();
                    self.resume(self.personal.filter(|_| personal), cursors).await?;
                }
                Asked::Auth | Asked::Other => {}
            }
        }
        Ok(())
    }

    /// How long until something is to be repeated.
    pub fn pause(&self) -> Duration {
        self.later.front().map_or(Duration::MAX, |(due, _)| due.saturating_duration_since(Instant::now()))
    }

    /// The client's only rule.
    async fn advance(&mut self, conversation: i64, (after, seq): (i64, i64)) -> Result<(), Ended> {
        let cursor = *self.cursors.entry(conversation).or_insert(after);
        if seq <= cursor {
            return Ok(());
        }
        if after <= cursor {
            self.cursors.insert(conversation, seq);
            return Ok(());
        }
        if self.resuming.contains(&conversation) { Ok(()) } else { self.resume_one(conversation, cursor).await }
    }

    async fn advance_personal(&mut self, after: i64, seq: i64) -> Result<(), Ended> {
        let cursor = self.personal.unwrap_or(after);
        if seq > cursor && after <= cursor {
            self.personal = Some(seq);
        } else if after > cursor {
            self.resume(Some(cursor), BTreeMap::new()).await?;
        }
        Ok(())
    }

    async fn resume_one(&mut self, conversation: i64, cursor: i64) -> Result<(), Ended> {
        self.resume(None, BTreeMap::from([(conversation, cursor)])).await
    }

    async fn resume(&mut self, personal: Option<i64>, conversations: BTreeMap<i64, i64>) -> Result<(), Ended> {
        let named: BTreeSet<i64> = conversations.keys().copied().collect();
        self.resuming.extend(&named);
        let mut data = json!({ "epoch": self.epoch, "conversations": conversations });
        if let Some(personal) = personal {
            data["personal"] = personal.into();
        }
        self.ask("resume", &data, Asked::Resume(named, personal.is_some())).await
    }

    async fn say(&mut self, send: Unanswered) -> Result<(), Ended> {
        let data = json!({ "conversation": send.conversation, "text": send.text, "client_key": send.key });
        self.ask("message.send", &data, Asked::Send(send.key)).await
    }

    async fn ask(&mut self, kind: &str, data: &Value, asked: Asked) -> Result<(), Ended> {
        let Some(socket) = self.socket.as_mut() else {
            return Err(Ended { code: 0, why: "not connected".to_owned() });
        };
        match socket.send(kind, data).await {
            Ok(id) => drop(self.asked.insert(id, asked)),
            Err(end) => {
                self.lost();
                return Err(end);
            }
        }
        Ok(())
    }

    fn lost(&mut self) {
        self.socket = None;
        self.ready = false;
    }
}

fn number(data: &Value, field: &str) -> i64 {
    data[field].as_i64().unwrap_or_default()
}
