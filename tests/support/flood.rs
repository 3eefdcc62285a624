//! Load from many devices at once, through whatever happens to their sockets and to the server: the common part of the
//! stories about kills, cuts and planted faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::checker::{Database, Source, Verdict, judge};
use super::device::Device;
use super::node::Addresses;
use super::recorder::Recorder;
use super::socket::{Cut, Ended};
use super::{Client, Server, in_time};

/// How long a device waits for what the server must push by itself, before it is taken as missing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who takes part.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// Users.
    pub users: usize,
    /// Devices of each.
    pub devices: usize,
    /// Direct conversations of each user with the users after them, in a ring.
    pub direct: usize,
    /// Groups, each with every user or every second one in turn.
    pub groups: usize,
}

/// What each device does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Commands that a device may have unanswered.
    pub window: usize,
    /// Commands that a device gives on one socket, so that the record stays readable.
    pub per_socket: usize,
    /// Commands that a device gives in all.
    pub in_all: usize,
    /// How often a device vanishes before its next step.
    pub cuts: f64,
    /// How many commands are edits, deletions, reactions and reads instead of sends.
    pub changes: f64,
}

/// By conversation, and of personal streams by user.
type Heads = (BTreeMap<i64, i64>, BTreeMap<i64, i64>);

#[derive(Debug, Clone)]
enum Phase {
    Flood,
    /// Nothing new: wait for what is due.
    Drain,
    /// Where every device must arrive; in several rounds, counted from 1.
    Settle(usize, Arc<Heads>),
    Over,
}

#[derive(Debug, Clone)]
struct Control {
    /// Whether there is a server to connect to.
    up: bool,
    /// Counts the servers.
    generation: usize,
    phase: Phase,
}

/// A load that is running.
#[derive(Debug)]
pub struct Flood {
    control: watch::Sender<Control>,
    answered: watch::Receiver<usize>,
    reports: mpsc::UnboundedReceiver<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// Registers the users and makes the conversations; every frame of that is in the record too.
pub async fn cast(server: &Server, recorder: &Arc<Recorder>, prefix: &str, cast: Cast) -> Vec<Device> {
    let mut clients = Vec::new();
    for number in 0..cast.users {
        let account = server.account(&format!("{prefix}{number}")).await;
        clients.push(Client::connect_recorded(&server.addresses, recorder, account).await);
    }
    let ids: Vec<i64> = clients.iter().map(|client| client.user).collect();
    let mut conversations: Vec<Vec<i64>> = vec![Vec::new(); cast.users];
    for (user, client) in clients.iter_mut().enumerate() {
        for other in (1..=cast.direct).map(|step| (user + step) % cast.users).filter(|other| *other != user) {
            let opened = client.command("conversation.open", json!({ "user": ids[other] })).await;
            let id = opened["id"].as_i64().expect("a conversation has an id");
            // In a small ring a pair comes up twice.
            for member in [user, other] {
                if !conversations[member].contains(&id) {
                    conversations[member].push(id);
                }
            }
        }
    }
    for group in 0..cast.groups {
        let in_group: Vec<usize> = (0..cast.users).filter(|user| group % 2 == 0 || user % 2 == 0).collect();
        let others: Vec<i64> = in_group[1..].iter().map(|user| ids[*user]).collect();
        let data = json!({ "title": format!("group {group}"), "members": others });
        let created = clients[in_group[0]].command("conversation.create", data).await;
        let id = created["id"].as_i64().expect("a conversation has an id");
        in_group.iter().for_each(|user| conversations[*user].push(id));
    }
    let mut devices = Vec::new();
    for (client, conversations) in clients.iter().zip(conversations) {
        for number in 1..=cast.devices {
            devices.push(Device::new(client.account.clone(), number, conversations.clone(), recorder));
        }
    }
    devices
}

impl Flood {
    /// Sets the devices loose.
    pub fn start(addresses: &Arc<Addresses>, devices: Vec<Device>, plan: Plan, seed: u64) -> Flood {
        let (control, _) = watch::channel(Control { up: true, generation: 0, phase: Phase::Flood });
        let (count, answered) = watch::channel(0);
        let (report, reports) = mpsc::unbounded_channel();
        let start = |(index, device): (usize, Device)| {
            let dice = SmallRng::seed_from_u64(seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let (control, count, report) = (control.subscribe(), count.clone(), report.clone());
            let player = Player {
                device,
                plan,
                dice,
                control,
                count,
                report,
                reported: 0,
                round: (0, Instant::now()),
                addresses: Arc::clone(addresses),
                left: 0,
                given: 0,
            };
            tokio::spawn(player.play())
        };
        let tasks = devices.into_iter().enumerate().map(start).collect();
        Flood { control, answered, reports, tasks }
    }

    /// Waits until so many more sends were answered.
    pub async fn answered(&mut self, more: usize) {
        let goal = *self.answered.borrow() + more;
        let reached = self.answered.wait_for(|count| *count >= goal);
        in_time(&format!("{more} more answers"), reached).await.expect("the devices live");
    }

    /// `kill -9`, start again, and let the devices come back.
    pub async fn kill(&mut self, server: &mut Server) {
        self.control.send_modify(|control| control.up = false);
        server.kill();
        server.restart().await;
        self.control.send_modify(|control| (control.up, control.generation) = (true, control.generation + 1));
    }

    /// Nothing new is sent from now on.
    pub fn drain(&self) {
        self.control.send_modify(|control| control.phase = Phase::Drain);
    }

    /// Waits until every device has an answer to all it sent and has been pushed all that there is, and judges. Nobody
    /// resumes for this: what the server does not tell by itself is missing in the end, and the checker says so.
    pub async fn settle(mut self, recorder: &Recorder, source: &Source) -> Verdict {
        self.reports("their answers").await;
        let (users, conversations) = recorder.concerned();
        let mut database = Database::read(source, &users, &conversations).await;
        for round in 1.. {
            let heads = Arc::new((database.heads, database.personal_heads));
            self.control.send_modify(|control| control.phase = Phase::Settle(round, Arc::clone(&heads)));
            self.reports("everything").await;
            let history = recorder.history();
            database = Database::read(source, &users, &conversations).await;
            // A command of a socket that was cut may still have been at work; then there is more to wait for.
            if (&database.heads, &database.personal_heads) == (&heads.0, &heads.1) {
                let verdict = judge(history, &database);
                self.control.send_modify(|control| control.phase = Phase::Over);
                for task in self.tasks {
                    task.await.expect("a device does not panic");
                }
                return verdict;
            }
        }
        unreachable!("the rounds do not end by themselves")
    }

    /// Waits until every device has reported once in this phase, with nothing or with what it lacks.
    async fn reports(&mut self, what: &str) {
        for left in (1..=self.tasks.len()).rev() {
            in_time(&format!("{left} devices to have {what}"), self.reports.recv()).await.expect("the devices live");
        }
    }
}

struct Player {
    device: Device,
    plan: Plan,
    dice: SmallRng,
    control: watch::Receiver<Control>,
    count: watch::Sender<usize>,
    report: mpsc::UnboundedSender<()>,
    /// How often it reported: first that nothing is due, then once in each round.
    reported: usize,
    /// When the present round began for this device.
    round: (usize, Instant),
    addresses: Arc<Addresses>,
    /// Commands left on this socket.
    left: usize,
    /// Commands given in all.
    given: usize,
}

impl Player {
    async fn play(mut self) {
        let mut refused_by = None;
        loop {
            let phase = self.control.borrow_and_update().phase.clone();
            self.report_on(&phase);
            if matches!(phase, Phase::Over) {
                return;
            }
            if self.device.connected() {
                // The end of a socket is no news: the device connects again.
                let _ = self.step(&phase).await;
                continue;
            }
            let up = |control: &Control| control.up && Some(control.generation) != refused_by;
            // A story that failed is gone.
            let Ok(generation) = self.control.wait_for(up).await.map(|control| control.generation) else { return };
            self.left = self.plan.per_socket;
            refused_by = self.device.connect(self.addresses.next()).await.is_err().then_some(generation);
        }
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
            let _ = self.report.send(());
        }
    }

    async fn step(&mut self, phase: &Phase) -> Result<(), Ended> {
        let flooding = self.flooding(phase);
        if flooding && self.dice.random_bool(self.plan.cuts) {
            let how = [Cut::Drop, Cut::HalfFrame, Cut::Reset, Cut::Close].choose(&mut self.dice);
            self.device.cut(*how.expect("there are four")).await;
            return Ok(());
        }
        if flooding && self.device.ready() && self.left > 0 && self.device.asked() < self.plan.window {
            (self.left, self.given) = (self.left - 1, self.given + 1);
            return self.command().await;
        }
        let before = self.device.unanswered.len();
        let frame = tokio::select! {
            frame = self.device.frame() => frame?,
            changed = self.control.changed() => return changed.map_err(|_| gone()),
            () = tokio::time::sleep(PATIENCE) => return Ok(()),
        };
        self.device.take(&frame).await?;
        let answered = before.saturating_sub(self.device.unanswered.len());
        self.count.send_modify(|count| *count += answered);
        Ok(())
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
