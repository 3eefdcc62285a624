//! Plays the examples of a document, in order, against live servers. What is shown must come; what an example leaves
//! out may come too. Each stream's events must come in the order shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::line::{Arrived, Line, Refused};
use super::session::{self, Block, Step, What};
use super::shape::{self, Bound, shortened, wrapped};
use crate::support::checker::rows::Connection;
use crate::support::server::Account;
use crate::support::setup::Because;
use crate::support::{Server, http};

/// Longest that an example waits for what it shows.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same once an example of the block has failed.
const LESS_PATIENCE: Duration = Duration::from_secs(2);
/// How many of the frames that were not asked for a failure shows, and how much of each.
const LEFT_SHOWN: usize = 6;
const LEFT_LENGTH: usize = 300;
/// Columns of a rewritten example.
const WIDTH: usize = 116;

/// What was shown and came.
#[derive(Debug, Default)]
pub struct Coverage {
    /// Commands that succeeded.
    pub commands: BTreeSet<String>,
    /// Events.
    pub events: BTreeSet<String>,
    /// Error codes.
    pub errors: BTreeSet<String>,
    /// Close codes.
    pub closes: BTreeSet<u16>,
}

/// An example that did not go as shown, or how it should be shown.
#[derive(Debug)]
pub struct Differs {
    /// First line of the step, from 0, and how many it has.
    pub line: (usize, usize),
    /// What was wrong.
    pub why: String,
    /// What should stand there, where that is known.
    pub instead: Option<Vec<String>>,
}

struct Frame {
    raw: String,
    value: Value,
    taken: bool,
}

#[derive(Default)]
struct Speaker {
    line: Option<Line>,
    /// The last one called by HTTP.
    access: Option<String>,
    frames: Vec<Frame>,
    /// Place of the last event shown, by stream.
    shown: BTreeMap<String, usize>,
    closed: Option<(u16, String)>,
    ended: Option<String>,
    answer: Option<(u16, String)>,
    /// Commands by the text of their id.
    commands: BTreeMap<String, String>,
}

/// A server and those who speak to it.
pub struct Player<'a> {
    server: Server,
    speakers: BTreeMap<String, Speaker>,
    accounts: BTreeMap<String, Account>,
    bound: Bound,
    held: Option<Connection>,
    coverage: &'a mut Coverage,
    differs: &'a mut Vec<Differs>,
}

impl<'a> Player<'a> {
    /// A fresh server with nobody on it.
    pub async fn new(
        settings: &[(String, String)],
        coverage: &'a mut Coverage,
        differs: &'a mut Vec<Differs>,
    ) -> Player<'a> {
        let fault = session::fault(settings).map(|fault| ("DUET_PLANTED_FAULT", fault));
        let flags = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut flags: Vec<(&str, &str)> = flags.filter(|(name, _)| *name != "planted").collect();
        flags.push(("public-url", "http://127.0.0.1:8080"));
        let server = match flags.iter().any(|(name, _)| *name == "sockets-per-address") {
            true => Server::start_alone(Because::OfTheProcess, &flags).await,
            false => Server::start_with(&flags, fault.as_slice()).await,
        };
        let (speakers, accounts, bound) = (BTreeMap::new(), BTreeMap::new(), Bound::default());
        Player { server, speakers, accounts, bound, held: None, coverage, differs }
    }

    /// Plays the examples of one fence.
    pub async fn play(&mut self, block: &Block) {
        let before = self.differs.len();
        // What earlier examples left out is not what this one means.
        self.speakers.values_mut().flat_map(|speaker| &mut speaker.frames).for_each(|frame| frame.taken = true);
        for step in &block.steps {
            let patience = if self.differs.len() > before { LESS_PATIENCE } else { PATIENCE };
            match &step.what {
                What::Sends(times, text) => self.send(step, *times, text).await,
                What::Calls(method, path, body) => self.call(&step.speaker, method, path, body.as_ref()).await,
                What::Does(act) if step.speaker == "server" => self.serve(act).await,
                What::Does(act) => self.act(step, act).await,
                What::Told(frame) => self.told(step, frame, patience).await,
                What::Answered(status, body) => self.answered(step, *status, body.as_ref()),
                What::Closed(code, reason) => self.closed(step, *code, reason).await,
            }
        }
    }

    fn speaker(&mut self, name: &str) -> &mut Speaker {
        self.speakers.entry(name.to_owned()).or_default()
    }

    fn differ(&mut self, step: &Step, why: String, instead: Option<String>) {
        let prefix = format!("{}< ", step.speaker);
        let instead = instead.map(|text| wrapped(&prefix, &text, WIDTH));
        self.differs.push(Differs { line: (step.line, step.lines), why, instead });
    }

    async fn send(&mut self, step: &Step, times: usize, text: &str) {
        let text = self.bound.fill(text);
        let frame: Value = serde_json::from_str(&text).unwrap_or_default();
        if self.speakers.get(&step.speaker).is_none_or(|speaker| speaker.line.is_none()) {
            let greets = frame["type"] == "auth";
            self.open(&step.speaker, greets).await;
        }
        let speaker = self.speaker(&step.speaker);
        speaker.commands.insert(frame["id"].to_string(), frame["type"].as_str().unwrap_or_default().to_owned());
        let line = speaker.line.as_mut().expect("it was opened");
        for _ in 0..times {
            line.say(text.clone()).await;
        }
    }

    /// Opens a line for somebody who has none. Unless they say so themselves, they say who they are in silence.
    async fn open(&mut self, name: &str, greets: bool) {
        let line = Line::open(self.server.next_address(), "/ws", None).await;
        let line = line.unwrap_or_else(|refused| panic!("{name} cannot connect: {refused:?}"));
        self.connected(name, line);
        if greets {
            return;
        }
        let user = name.split('-').next().unwrap_or(name).to_owned();
        if !self.accounts.contains_key(&user) {
            let account = self.server.account(&user).await;
            self.accounts.insert(user.clone(), account);
        }
        let account = match name == user {
            true => self.accounts[&user].clone(),
            false => self.server.login(&user).await,
        };
        let speaker = self.speaker(name);
        speaker.access = Some(account.access.clone());
        let auth = serde_json::json!({"id":"hello","type":"auth","data":{"token":account.access}});
        speaker.line.as_mut().expect("just opened").say(auth.to_string()).await;
        while !speaker.frames.iter().any(|frame| frame.value["id"] == "hello") {
            assert!(speaker.hear(PATIENCE).await, "{name} is not greeted: {:?} {:?}", speaker.closed, speaker.ended);
        }
    }

    /// A new line; what came on the one before is forgotten.
    fn connected(&mut self, name: &str, line: Line) {
        let speaker = self.speaker(name);
        let access = speaker.access.take();
        *speaker = Speaker { line: Some(line), access, ..Speaker::default() };
    }

    async fn call(&mut self, name: &str, method: &str, path: &str, body: Option<&Value>) {
        let body = body.map(|body| serde_json::from_str(&self.bound.fill(&body.to_string())).expect("still JSON"));
        let open = ["/api/token/", "/api/token/refresh/", "/api/v1/auth/register/"].contains(&path);
        let token = self.speaker(name).access.clone().filter(|_| !open);
        let path = &self.bound.fill(path);
        let answer = http::call(self.server.next_address(), method, path, token.as_deref(), body.as_ref()).await;
        let text = |name: &str| answer.json[name].as_str().map(str::to_owned);
        if let (Some(access), Some(refresh)) = (text("access"), text("refresh")) {
            let user = name.split('-').next().unwrap_or(name).to_owned();
            let account = Account { username: user.clone(), access: access.clone(), refresh };
            self.accounts.entry(user).or_insert(account);
        }
        let speaker = self.speaker(name);
        if let Some(access) = text("access") {
            speaker.access = Some(access);
        }
        speaker.answer = Some((answer.status, answer.body));
    }

    async fn act(&mut self, step: &Step, act: &str) {
        let (name, server) = (step.speaker.clone(), self.server.next_address());
        let act = self.bound.fill(act);
        let connecting = match act.split_once(" with Authorization: ") {
            Some(("connects", value)) => Some(("/ws".to_owned(), Some(value.to_owned()))),
            _ if act == "connects" => Some(("/ws".to_owned(), None)),
            _ => act.strip_prefix("connects to ").map(|path| (path.to_owned(), None)),
        };
        if let Some((path, authorization)) = connecting {
            match Line::open(server, &path, authorization.as_deref()).await {
                Ok(line) => self.connected(&name, line),
                Err(Refused(status, body)) => self.speaker(&name).answer = Some((status, body)),
            }
            return;
        }
        let speaker = self.speaker(&name);
        if act == "disconnects" {
            speaker.line = None;
            return;
        }
        let line = speaker.line.as_mut().unwrap_or_else(|| panic!("{name} is not connected"));
        match act.as_str() {
            "sends a binary frame" => line.say_binary().await,
            "sends a frame without a mask" => line.say_unmasked(),
            "stops reading" => line.read_on(false),
            "reads on after a second" => {
                // Idleness is what is shown here; there is nothing to wait for.
                tokio::time::sleep(Duration::from_secs(1)).await;
                line.read_on(true);
            }
            _ => panic!("line {}: nobody knows how to do this: {act}", step.line + 1),
        }
    }

    /// What happens to the server.
    async fn serve(&mut self, act: &str) {
        match act {
            "gets SIGTERM" => self.server.stop().await,
            "loses its table of messages" => {
                let mut database = self.server.database().writer().await;
                database.execute("ALTER TABLE messages RENAME TO lost").await;
            }
            "waits for another program that holds the database" => {
                let mut database = self.server.database().writer().await;
                database.hold().await;
                self.held = Some(database);
            }
            "has the database for itself again" => self.held = None,
            _ => panic!("nobody knows how to do this to a server: {act}"),
        }
    }

    async fn told(&mut self, step: &Step, written: &Value, patience: Duration) {
        let begun = Instant::now();
        let stream = stream(written);
        loop {
            let (bound, name) = (&mut self.bound, &step.speaker);
            let speaker = self.speakers.entry(name.clone()).or_default();
            let first = stream.as_ref().and_then(|stream| speaker.shown.get(stream)).map_or(0, |place| place + 1);
            let found = (first..speaker.frames.len()).find(|place| {
                let frame = &speaker.frames[*place];
                !frame.taken && bound.agree(written, &frame.value)
            });
            if let Some(place) = found {
                speaker.frames[place].taken = true;
                if let Some(stream) = stream {
                    speaker.shown.insert(stream, place);
                }
                return self.cover(&step.speaker, written);
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() || !speaker.hear(left).await {
                return self.missing(step, written);
            }
        }
    }

    fn cover(&mut self, name: &str, frame: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match frame["ok"].as_bool() {
            Some(true) => {
                let command = self.speaker(name).commands.get(&frame["id"].to_string()).cloned();
                self.coverage.commands.extend(command);
            }
            Some(false) => drop(self.coverage.errors.insert(text(&frame["error"]["code"]))),
            None => drop(self.coverage.events.insert(text(&frame["type"]))),
        }
    }

    /// Says what came instead; what answers the same command, or tells of the same kind, is probably what was meant.
    fn missing(&mut self, step: &Step, written: &Value) {
        let speaker = self.speaker(&step.speaker);
        let key = |frame: &Value| (frame["id"].clone(), frame["type"].clone());
        let alike = |frame: &Frame| !frame.taken && key(&frame.value) == key(written);
        let exact = speaker.frames.iter().position(|frame| alike(frame) && shape::is_part(written, &frame.value));
        let meant = exact.or_else(|| speaker.frames.iter().position(alike)).map(|place| &mut speaker.frames[place]);
        let meant = meant.map(|frame| {
            frame.taken = true;
            (frame.value.clone(), shortened(&frame.raw))
        });
        let left = speaker.frames.iter().rev().filter(|frame| !frame.taken).take(LEFT_SHOWN);
        let came: Vec<String> = left.map(|frame| shortened(&frame.raw).chars().take(LEFT_LENGTH).collect()).collect();
        let end = format!("{:?} {:?}", speaker.closed, speaker.ended);
        let instead = meant.map(|(value, shown)| {
            // What is bound by a rewritten example must be known to those after it.
            let shown_value = serde_json::from_str(&shown).unwrap_or_default();
            self.bound.agree(&shown_value, &value);
            self.cover(&step.speaker, &value);
            shown
        });
        let probably = instead.clone().unwrap_or_else(|| "nothing like it".to_owned());
        let why = format!("{} is not told {written}\n  but: {probably}\n  left: {came:#?} {end}", step.speaker);
        self.differ(step, why, instead);
    }

    fn answered(&mut self, step: &Step, status: u16, body: Option<&Value>) {
        let (came, raw) = self.speaker(&step.speaker).answer.take().unwrap_or_default();
        let value: Value = serde_json::from_str(&raw).unwrap_or_default();
        if came == status && body.is_none_or(|body| self.bound.agree(body, &value)) {
            return;
        }
        let shown = shortened(&raw);
        self.bound.agree(&serde_json::from_str(&shown).unwrap_or_default(), &value);
        let instead = format!("{came} {shown}").trim_end().to_owned();
        self.differ(step, format!("{} is answered {instead}", step.speaker), Some(instead));
    }

    async fn closed(&mut self, step: &Step, code: u16, reason: &str) {
        let begun = Instant::now();
        let speaker = self.speaker(&step.speaker);
        while speaker.closed.is_none() && speaker.hear(PATIENCE.saturating_sub(begun.elapsed())).await {}
        match speaker.closed.take() {
            Some(closed) if closed == (code, reason.to_owned()) => {
                speaker.line = None;
                self.coverage.closes.insert(code);
            }
            other => {
                let ended = speaker.ended.take();
                speaker.line = None;
                let instead = other.as_ref().map(|(code, reason)| format!("(closed {code} {reason})"));
                self.differ(step, format!("{} is not closed so: {other:?} {ended:?}", step.speaker), instead);
            }
        }
    }
}

impl Speaker {
    /// Puts the next thing that arrives aside; false when nothing came, or nothing will.
    async fn hear(&mut self, within: Duration) -> bool {
        let Some(line) = &mut self.line else { return false };
        match line.next(within).await {
            Some(Arrived::Frame(raw)) => {
                let value = serde_json::from_str(&raw).unwrap_or_else(|cause| panic!("{raw}: {cause}"));
                self.frames.push(Frame { raw, value, taken: false });
                true
            }
            Some(Arrived::Closed(code, reason)) => {
                self.closed = Some((code, reason));
                true
            }
            Some(Arrived::Ended(why)) => {
                self.ended.get_or_insert(why);
                false
            }
            None => false,
        }
    }
}

/// The stream whose order an event belongs to.
fn stream(frame: &Value) -> Option<String> {
    let kind = frame["type"].as_str()?;
    let numbered = ["message.", "reaction.", "conversation."].iter().any(|of| kind.starts_with(of));
    match kind {
        "personal" | "personal.page" => Some("personal".to_owned()),
        _ if numbered => Some(frame["data"]["conversation"].to_string()),
        _ => None,
    }
}

/// A document with its examples as they should be.
pub fn corrected(text: &str, differs: &[Differs]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut differs: Vec<&Differs> = differs.iter().collect();
    differs.sort_by_key(|differs| std::cmp::Reverse(differs.line.0));
    for Differs { line: (first, count), instead, .. } in differs {
        if let Some(instead) = instead {
            lines.splice(*first..first + count, instead.iter().cloned());
        }
    }
    lines.join("\n") + "\n"
}
