//! What one device of a load does: it plays its part of the plan, and comes back whatever happens to its sockets.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::device::Device;
use super::flood::{Control, Heads, Phase, Plan};
use super::node::Addresses;
use super::socket::{Cut, Ended};
use super::tally::Tally;

/// How long a device waits for what the server must push by itself, before it is taken as missing.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest that a device which could not connect waits before it tries the next node, in milliseconds.
const BACKOFF_MS: u64 = 200;

/// On which node each device of a user is. No two are on one, where there are enough.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Vec<(usize, usize)>>);

impl Seats {
    fn leave(&self, device: usize) {
        self.0.lock().expect("nobody panics here").retain(|(sitting, _)| *sitting != device);
    }

    fn take(&self, device: usize, nodes: usize, avoid: Option<usize>, dice: &mut SmallRng) -> usize {
        let mut taken = self.0.lock().expect("nobody panics here");
        let free = |node: &usize| !taken.iter().any(|(_, used)| used == node);
        let other = (0..nodes).filter(free).filter(|node| Some(*node) != avoid).choose(dice);
        let node = other.or_else(|| (0..nodes).filter(free).choose(dice));
        let node = node.unwrap_or_else(|| dice.random_range(0..nodes));
        taken.push((device, node));
        node
    }
}

/// Where a device is among the others.
#[derive(Debug)]
pub(super) struct Place {
    /// Its number in the load.
    pub(super) device: usize,
    /// Of its user.
    pub(super) seats: Arc<Seats>,
}

/// Where a device tells how it goes.
#[derive(Debug)]
pub(super) struct Told {
    /// Sends answered, of all devices.
    pub(super) count: watch::Sender<usize>,
    /// Once in each round.
    pub(super) report: mpsc::UnboundedSender<()>,
    pub(super) tally: Arc<Tally>,
}

#[derive(Debug)]
pub(super) struct Player {
    device: Device,
    plan: Plan,
    dice: SmallRng,
    addresses: Arc<Addresses>,
    place: Place,
    control: watch::Receiver<Control>,
    told: Told,
    /// How often it reported: first that nothing is due, then once in each round.
    reported: usize,
    /// When the present round began for this device.
    round: (usize, Instant),
    /// Commands left on this socket.
    left: usize,
    /// Commands given in all.
    given: usize,
    /// When the next command may be given.
    next: Instant,
    /// When the last frame came.
    heard: Instant,
    /// The node that did not answer last.
    avoid: Option<usize>,
    /// The node it is on, or tries.
    node: usize,
}

impl Player {
    pub(super) fn new(
        device: Device,
        (plan, dice): (Plan, SmallRng),
        (addresses, place): (Arc<Addresses>, Place),
        control: watch::Receiver<Control>,
        told: Told,
    ) -> Player {
        let now = Instant::now();
        let (round, next, heard) = ((0, now), now, now);
        Player {
            device,
            plan,
            dice,
            addresses,
            place,
            control,
            told,
            reported: 0,
            round,
            left: 0,
            given: 0,
            next,
            heard,
            avoid: None,
            node: 0,
        }
    }

    pub(super) async fn play(mut self) {
        loop {
            let phase = self.control.borrow_and_update().phase.clone();
            self.report_on(&phase);
            if matches!(phase, Phase::Over) {
                return;
            }
            if self.device.connected() {
                // The end of a socket is no news: the device connects again.
                let _ = self.step(&phase).await;
                self.told.tally.unanswered(self.place.device, self.device.unanswered.len());
                continue;
            }
            self.place.seats.leave(self.place.device);
            self.told.tally.seat(self.place.device, None);
            // A story that failed is gone.
            if self.control.wait_for(|control| control.up).await.is_err() {
                return;
            }
            self.connect().await;
        }
    }

    async fn connect(&mut self) {
        let nodes = self.addresses.all();
        let node = self.place.seats.take(self.place.device, nodes.len(), self.avoid, &mut self.dice);
        self.node = node;
        (self.left, self.heard) = (self.plan.per_socket, Instant::now());
        let connecting = tokio::time::timeout(self.plan.gives_up, self.device.connect(nodes[node])).await;
        if matches!(connecting, Ok(Ok(()))) {
            self.told.tally.seat(self.place.device, Some(node));
            self.avoid = None;
            return;
        }
        self.avoid = Some(node);
        self.device.cut(Cut::Drop).await;
        // As a client that is polite to a server in trouble.
        tokio::time::sleep(Duration::from_millis(self.dice.random_range(10..BACKOFF_MS))).await;
    }

    fn flooding(&self, phase: &Phase) -> bool {
        matches!(phase, Phase::Flood) && self.given < self.plan.in_all
    }

    /// Tells the story, once in each of its rounds, that this device has what it is to wait for.
    fn report_on(&mut self, phase: &Phase) {
        let has_it = match phase {
            Phase::Settle(round, heads) => {
                if self.round.0 != *round {
                    self.round = (*round, Instant::now());
                }
                // What has not come by then is missing; the checker will say so.
                self.reported == *round && (self.arrived(heads) || self.round.1.elapsed() > PATIENCE)
            }
            _ => {
                let idle = !self.flooding(phase) && self.device.ready() && self.device.unanswered.is_empty();
                self.reported == 0 && idle
            }
        };
        if has_it {
            self.reported += 1;
            // The story may have failed and gone.
            let _ = self.told.report.send(());
        }
    }

    async fn step(&mut self, phase: &Phase) -> Result<(), Ended> {
        let flooding = self.flooding(phase);
        if flooding && self.dice.random_bool(self.plan.cuts) {
            let how = [Cut::Drop, Cut::HalfFrame, Cut::Reset, Cut::Close].choose(&mut self.dice);
            self.device.cut(*how.expect("there are four")).await;
            return Ok(());
        }
        self.device.repeat().await?;
        let may = flooding && self.device.ready() && self.left > 0 && self.device.asked() < self.plan.window;
        let pause = self.next.saturating_duration_since(Instant::now());
        if may && pause.is_zero() {
            (self.left, self.given) = (self.left - 1, self.given + 1);
            self.next = Instant::now() + self.plan.pace;
            return self.command().await;
        }
        let look = (self.plan.gives_up / 2).min(PATIENCE).min(self.device.pause());
        let look = if may { look.min(pause) } else { look };
        let frame = tokio::select! {
            frame = self.device.frame() => frame?,
            changed = self.control.changed() => return changed.map_err(|_| gone()),
            () = tokio::time::sleep(look) => return self.silence().await,
        };
        self.heard = Instant::now();
        let before = self.device.unanswered.len();
        self.device.take(&frame).await?;
        let answered = before.saturating_sub(self.device.unanswered.len());
        let waited = std::mem::take(&mut self.device.waited);
        self.told.tally.answered(self.place.device, &waited);
        // Last, since whoever waits for an answer looks at the tally next.
        self.told.count.send_modify(|count| *count += answered);
        self.note(&frame);
        Ok(())
    }

    /// Nothing came for a while.
    async fn silence(&mut self) -> Result<(), Ended> {
        let silent = self.heard.elapsed();
        if silent > self.plan.gives_up && self.device.asked() > 0 {
            self.avoid = Some(self.node);
            self.device.cut(Cut::Drop).await;
        } else if silent > self.plan.gives_up / 2 && self.device.ready() && self.device.asked() == 0 {
            self.device.other("ping", &json!({})).await?;
        }
        Ok(())
    }

    /// Which messages a frame makes known here.
    fn note(&self, frame: &Value) {
        let data = &frame["data"];
        let Some(conversation) = data["conversation"].as_i64() else { return };
        let kind = frame["type"].as_str();
        let in_page = data["messages"].as_array().into_iter().flatten();
        let messages: Vec<&Value> = match kind {
            Some("message.created") => vec![&data["message"]],
            // What was changed since may have been here before.
            Some("conversation.page") => in_page.filter(|message| message["rev"] == message["seq"]).collect(),
            // The answer to a send of one's own.
            None if data["id"].is_i64() => vec![data],
            _ => return,
        };
        for seq in messages.into_iter().filter_map(|message| message["seq"].as_i64()) {
            self.told.tally.known(conversation, seq);
        }
    }

    fn arrived(&self, (heads, personal): &Heads) -> bool {
        let device = &self.device;
        device.cursors.iter().all(|(id, cursor)| heads.get(id).is_none_or(|head| cursor >= head))
            && personal.get(&device.user).is_none_or(|head| device.personal.is_some_and(|cursor| cursor >= *head))
    }

    async fn command(&mut self) -> Result<(), Ended> {
        let known = self.device.cursors.iter().map(|(id, cursor)| (*id, *cursor));
        let Some((conversation, cursor)) = known.choose(&mut self.dice) else { return Ok(()) };
        if !self.dice.random_bool(self.plan.changes) {
            return self.device.send(conversation).await;
        }
        let place = |seq: i64| json!({ "conversation": conversation, "seq": seq });
        let anything = place(self.dice.random_range(1..=cursor.max(1)));
        let own = self.device.own.choose(&mut self.dice).copied();
        let own = own.map(|(conversation, seq)| json!({ "conversation": conversation, "seq": seq }));
        let (kind, mut data) = match (self.dice.random_range(0..10), own) {
            (0..4, Some(own)) => ("message.edit", own),
            (4, Some(own)) => ("message.delete", own),
            (5..8, _) => ("message.react", anything),
            (8, _) => ("message.unreact", anything),
            _ => ("message.read", place(cursor)),
        };
        match kind {
            "message.edit" => data["text"] = format!("{} edited {}", self.device.name, self.given).into(),
            "message.delete" => data["for_all"] = true.into(),
            "message.react" | "message.unreact" => {
                data["emoji"] = (*["👍", "❤️", "😂"].choose(&mut self.dice).expect("there are three")).into();
            }
            _ => {}
        }
        self.device.other(kind, &data).await
    }
}

fn gone() -> Ended {
    Ended { code: 0, why: "the story is over".to_owned() }
}
