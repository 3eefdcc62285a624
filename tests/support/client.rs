//! A client in a story: says commands, is answered, is told events. Nothing that arrives is skipped silently: what a
//! story does not ask for stays in the queue, and a wait that ends in vain shows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::node::Addresses;
use super::recorder::Recorder;
use super::server::{Account, Server};
use super::socket::{Cut, Ended, Socket};
use super::{DEADLINE, http};

/// Numbers the devices of all clients of this process, so that no two open sockets share a name in the record.
static DEVICES: AtomicU64 = AtomicU64::new(1);

/// A signed-in user with one socket.
#[derive(Debug)]
pub struct Client {
    /// The user's id.
    pub user: i64,
    /// The session's id.
    pub session: i64,
    /// What the socket was greeted with.
    pub hello: Value,
    /// Name and tokens.
    pub account: Account,
    pub(super) addresses: Arc<Addresses>,
    recorder: Arc<Recorder>,
    device: String,
    socket: Socket,
    events: VecDeque<Value>,
    replies: Vec<Value>,
    /// Whether pages were asked for on this socket.
    resumes: bool,
}

/// The stream that an event belongs to; order means something only within one.
fn stream(kind: &str) -> &str {
    match kind {
        "conversation.page" => "message",
        _ => match kind.split('.').next().unwrap_or_default() {
            "reaction" => "message",
            other => other,
        },
    }
}

/// The events of a frame. A server that sees a number missing, which may be on its way from another node, reads it back
/// and tells it in a page; for a story that asked for no pages it is the event itself.
fn told(mut frame: Value) -> Vec<Value> {
    let data = frame["data"].take();
    let event = |kind: &str, data: Value| json!({ "type": kind, "data": data });
    let list = |name: &str| data[name].as_array().into_iter().flatten();
    match frame["type"].as_str() {
        Some("personal.page") => list("entries").map(|entry| event("personal", entry.clone())).collect(),
        Some("watermarks") => list("watermarks").map(|watermark| event("watermark", watermark.clone())).collect(),
        Some("conversation.page")
            if list("messages").all(|message| message["rev"] == message["seq"] && message["hidden"] != true) =>
        {
            let created = |message: &Value| {
                let (conversation, seq) = (&data["conversation"], &message["seq"]);
                event("message.created", json!({ "conversation": conversation, "seq": seq, "message": message }))
            };
            list("messages").map(created).collect()
        }
        _ => {
            frame["data"] = data;
            vec![frame]
        }
    }
}

impl Client {
    /// Connects an account and says who it is.
    pub async fn connect(server: &Server, account: Account) -> Client {
        Client::connect_recorded(&server.addresses, &server.recorder, account).await
    }

    /// The same, with a record of one's own.
    pub async fn connect_recorded(addresses: &Arc<Addresses>, recorder: &Arc<Recorder>, account: Account) -> Client {
        let device = format!("{}/c{}", account.username, DEVICES.fetch_add(1, Ordering::Relaxed));
        Client::greet(Arc::clone(addresses), Arc::clone(recorder), account, device).await
    }

    async fn greet(addresses: Arc<Addresses>, recorder: Arc<Recorder>, account: Account, device: String) -> Client {
        let opened = Socket::open(addresses.next(), &recorder, &account.username, &device);
        let socket = super::in_time("the socket to open", opened).await;
        let socket = socket.unwrap_or_else(|end| panic!("{device} cannot connect: {end:?}"));
        let (events, replies, hello) = (VecDeque::new(), Vec::new(), Value::Null);
        let (user, session) = (0, 0);
        let mut client = Client {
            user,
            session,
            hello,
            account,
            addresses,
            recorder,
            device,
            socket,
            events,
            replies,
            resumes: false,
        };
        let token = client.account.access.clone();
        client.hello = client.command("auth", json!({ "token": token })).await;
        client.user = client.hello["user"].as_i64().expect("hello names the user");
        client.session = client.hello["session"].as_i64().expect("hello names the session");
        client
    }

    /// A second socket of the same session, beside this one.
    pub async fn second_socket(&self) -> Client {
        Client::connect_recorded(&self.addresses, &self.recorder, self.account.clone()).await
    }

    /// The socket is cut without a word, and a new one of the same device opened. Events not yet taken are forgotten,
    /// as they are when a process dies.
    pub async fn connect_again(self) -> Client {
        self.socket.cut(Cut::Drop).await;
        Client::greet(self.addresses, self.recorder, self.account, self.device).await
    }

    /// Vanishes in the given way.
    pub async fn cut(self, how: Cut) {
        self.socket.cut(how).await;
    }

    /// Sends a command and returns its id, without waiting for the reply.
    pub async fn say(&mut self, kind: &str, data: Value) -> i64 {
        self.resumes |= kind == "resume";
        let sent = self.socket.send(kind, &data).await;
        sent.unwrap_or_else(|end| panic!("{} cannot send {kind}: {end:?}", self.device))
    }

    /// Sends a command, unless the server has ended the socket already.
    pub async fn try_say(&mut self, kind: &str, data: Value) -> Result<i64, Ended> {
        self.socket.send(kind, &data).await
    }

    /// The reply to the command with this id.
    pub async fn reply(&mut self, id: i64) -> Value {
        loop {
            if let Some(index) = self.replies.iter().position(|reply| reply["id"] == id) {
                return self.replies.swap_remove(index);
            }
            self.take_frame(&format!("the reply to {id}")).await;
        }
    }

    /// The `data` of the reply to a command that must succeed.
    pub async fn command(&mut self, kind: &str, data: Value) -> Value {
        let id = self.say(kind, data.clone()).await;
        let reply = self.reply(id).await;
        assert_eq!(reply["ok"], true, "{} {kind} {data} was refused: {}", self.device, reply["error"]);
        reply["data"].clone()
    }

    /// The error of a command that must be refused.
    pub async fn refused(&mut self, kind: &str, data: Value) -> Value {
        let id = self.say(kind, data.clone()).await;
        let reply = self.reply(id).await;
        assert_eq!(reply["ok"], false, "{} {kind} {data} was not refused: {reply}", self.device);
        reply["error"].clone()
    }

    /// The `data` of the first event of this type that was not taken yet. Others stay in the queue.
    pub async fn expect(&mut self, kind: &str) -> Value {
        self.expect_where(kind, |_| true).await
    }

    /// The `data` of the first event of this type that fits. Others stay in the queue.
    pub async fn expect_where(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let fitting = |event: &Value| event["type"] == kind && fits(&event["data"]);
            if let Some(index) = self.events.iter().position(fitting) {
                return self.events.remove(index).expect("it was just found")["data"].take();
            }
            self.take_frame(&format!("an event {kind}")).await;
        }
    }

    /// Waits for a message with this text, whether it comes as an event or, after something was missed, in a page.
    pub async fn expect_message(&mut self, text: &str) {
        let has_it = |event: &Value| match event["type"].as_str() {
            Some("message.created") => event["data"]["message"]["text"] == text,
            Some("conversation.page") => {
                let messages = event["data"]["messages"].as_array();
                messages.is_some_and(|messages| messages.iter().any(|message| message["text"] == text))
            }
            _ => false,
        };
        while !self.events.iter().any(has_it) {
            self.take_frame(&format!("the message {text:?}")).await;
        }
        self.events.retain(|event| !has_it(event));
    }

    /// The next event of the stream that this type belongs to, which must be of this type: so nothing else came in
    /// between. This is how a story shows that something did not happen.
    pub async fn expect_next(&mut self, kind: &str) -> Value {
        loop {
            let of_stream = |event: &Value| stream(event["type"].as_str().unwrap_or_default()) == stream(kind);
            if let Some(index) = self.events.iter().position(of_stream) {
                let mut event = self.events.remove(index).expect("it was just found");
                assert_eq!(event["type"], kind, "{} was told something else next: {event}", self.device);
                return event["data"].take();
            }
            self.take_frame(&format!("an event {kind} next")).await;
        }
    }

    /// The `data` of all events of this type that are in the queue.
    pub fn take_events(&mut self, kind: &str) -> Vec<Value> {
        let (taken, kept): (VecDeque<_>, _) = self.events.drain(..).partition(|event| event["type"] == kind);
        self.events = kept;
        taken.into_iter().map(|mut event| event["data"].take()).collect()
    }

    /// Forgets the events that are in the queue.
    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    /// Waits until the server ends the socket. Events that come before stay in the queue.
    pub async fn expect_close(&mut self) -> Ended {
        loop {
            match self.next_frame("the socket to be closed").await {
                Ok(frame) => self.keep(frame),
                Err(end) => return end,
            }
        }
    }

    /// Calls the REST surface as this user.
    pub async fn http(&self, method: &str, path: &str, body: Option<&Value>) -> http::Response {
        http::call(self.addresses.next(), method, path, Some(&self.account.access), body).await
    }

    async fn take_frame(&mut self, what: &str) {
        match self.next_frame(what).await {
            Ok(frame) => self.keep(frame),
            Err(end) => panic!("{} was closed ({end:?}) before {what}; in the queue: {:?}", self.device, self.events),
        }
    }

    async fn next_frame(&mut self, what: &str) -> Result<Value, Ended> {
        match tokio::time::timeout(DEADLINE, self.socket.next()).await {
            Ok(next) => next,
            Err(_) => {
                let (device, events, replies) = (&self.device, &self.events, &self.replies);
                panic!("{device} waited {DEADLINE:?} in vain for {what}; events {events:?}, replies {replies:?}")
            }
        }
    }

    fn keep(&mut self, frame: Value) {
        if frame["ok"].is_boolean() {
            self.replies.push(frame);
        } else if self.resumes && frame["type"] != "watermarks" {
            self.events.push_back(frame);
        } else {
            self.events.extend(told(frame));
        }
    }
}
