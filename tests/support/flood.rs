//! Load from many devices at once, through whatever happens to their sockets and to the server: the common part of the
//! stories about kills, cuts and planted faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::checker::{Database, Source, Verdict, judge};
use super::device::Device;
use super::node::Addresses;
use super::player::{Place, Player, Seats, Told};
use super::recorder::Recorder;
use super::tally::Tally;
use super::{Client, Server, in_time};

/// Who takes part.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// Users.
    pub users: usize,
    /// Devices of each.
    pub devices: usize,
    /// Direct conversations of each user with the users after them, in a ring.
    pub direct: usize,
    /// Groups.
    pub groups: usize,
    /// Members of each; 0: every user or every second one in turn.
    pub group_of: usize,
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
    /// Least time between two commands of a device.
    pub pace: Duration,
    /// How long a device waits for a sign of life before it takes its socket for dead.
    pub gives_up: Duration,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            window: 4,
            per_socket: usize::MAX,
            in_all: usize::MAX,
            cuts: 0.0,
            changes: 0.2,
            pace: Duration::ZERO,
            gives_up: Duration::from_secs(10),
        }
    }
}

/// By conversation, and of personal streams by user.
pub(super) type Heads = (BTreeMap<i64, i64>, BTreeMap<i64, i64>);

#[derive(Debug, Clone)]
pub(super) enum Phase {
    Flood,
    /// Nothing new: wait for what is due.
    Drain,
    /// Where every device must arrive; in several rounds, counted from 1.
    Settle(usize, Arc<Heads>),
    Over,
}

#[derive(Debug, Clone)]
pub(super) struct Control {
    /// Whether there is a server to connect to.
    pub(super) up: bool,
    pub(super) phase: Phase,
}

/// A load that is running.
#[derive(Debug)]
pub struct Flood {
    control: watch::Sender<Control>,
    answered: watch::Receiver<usize>,
    /// What the devices see.
    pub tally: Arc<Tally>,
    reports: mpsc::UnboundedReceiver<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// Registers the users and makes the conversations; every frame of that is in the record too.
pub async fn cast(server: &Server, recorder: &Arc<Recorder>, prefix: &str, cast: Cast) -> Vec<Device> {
    let (mut accounts, mut ids) = (Vec::new(), Vec::new());
    for number in 0..cast.users {
        let account = server.account(&format!("{prefix}{number}")).await;
        ids.push(Client::connect_recorded(&server.addresses, recorder, account.clone()).await.user);
        accounts.push(account);
    }
    let mut conversations: Vec<Vec<i64>> = vec![Vec::new(); cast.users];
    for (user, account) in accounts.iter().enumerate() {
        // Only for as long as it acts: nobody reads the sockets of those who wait, so the server would close them.
        let mut client = Client::connect_recorded(&server.addresses, recorder, account.clone()).await;
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
        for group in 0..cast.groups {
            let in_group: Vec<usize> = match cast.group_of {
                0 => (0..cast.users).filter(|user| group % 2 == 0 || user % 2 == 0).collect(),
                size => (0..size).map(|member| (group * size / 2 + member) % cast.users).collect(),
            };
            if in_group[0] != user {
                continue;
            }
            let others: Vec<i64> = in_group[1..].iter().map(|user| ids[*user]).collect();
            let data = json!({ "title": format!("group {group}"), "members": others });
            let created = client.command("conversation.create", data).await;
            let id = created["id"].as_i64().expect("a conversation has an id");
            in_group.iter().for_each(|user| conversations[*user].push(id));
        }
    }
    let mut devices = Vec::new();
    for (account, conversations) in accounts.into_iter().zip(conversations) {
        for number in 1..=cast.devices {
            devices.push(Device::new(account.clone(), number, conversations.clone(), recorder));
        }
    }
    devices
}

impl Flood {
    /// Sets the devices loose.
    pub fn start(addresses: &Arc<Addresses>, devices: Vec<Device>, plan: Plan, seed: u64) -> Flood {
        let (control, _) = watch::channel(Control { up: true, phase: Phase::Flood });
        let (count, answered) = watch::channel(0);
        let (report, reports) = mpsc::unbounded_channel();
        let tally = Arc::new(Tally::new(devices.len()));
        let mut seats: BTreeMap<String, Arc<Seats>> = BTreeMap::new();
        let mut tasks = Vec::new();
        for (index, device) in devices.into_iter().enumerate() {
            let dice = SmallRng::seed_from_u64(seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let place = Place { device: index, seats: Arc::clone(seats.entry(device.owner().to_owned()).or_default()) };
            let told = Told { count: count.clone(), report: report.clone(), tally: Arc::clone(&tally) };
            let player = Player::new(device, (plan, dice), (Arc::clone(addresses), place), control.subscribe(), told);
            tasks.push(tokio::spawn(player.play()));
        }
        Flood { control, answered, tally, reports, tasks }
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
        self.control.send_modify(|control| control.up = true);
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
            recorder.fold();
            database = Database::read(source, &users, &conversations).await;
            // A command of a socket that was cut may still have been at work; then there is more to wait for.
            if (&database.heads, &database.personal_heads) == (&heads.0, &heads.1) {
                let verdict = judge(recorder.folded(), &database);
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
