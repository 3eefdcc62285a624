//! What the devices of a load see while it runs: how many sends are unanswered at this moment, and how long one has to
//! wait.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long it is kept when a message was first seen.
const REMEMBERED: Duration = Duration::from_secs(180);

/// The devices' common notes.
#[derive(Debug)]
pub struct Tally {
    devices: Vec<Seen>,
    waits: Mutex<Waits>,
}

/// One device as it is now.
#[derive(Debug, Default)]
struct Seen {
    /// The node it is on, counted from 1; 0 while it is on none.
    node: AtomicUsize,
    unanswered: AtomicUsize,
    answered: AtomicUsize,
}

#[derive(Debug)]
struct Waits {
    since: Instant,
    figures: Figures,
    /// By conversation and place: when anybody first knew of the message.
    known: HashMap<(i64, i64), Instant>,
}

/// The longest waits since [`Tally::begin`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Until any send was answered again.
    pub first_answer: Option<Duration>,
    /// From the first sending of a message to its acknowledgement.
    pub answer: Duration,
    /// From when anybody knew of a message to when the last one had it.
    pub delivery: Duration,
}

impl Tally {
    /// For so many devices.
    pub fn new(devices: usize) -> Tally {
        let waits = Waits { since: Instant::now(), figures: Figures::default(), known: HashMap::new() };
        Tally { devices: (0..devices).map(|_| Seen::default()).collect(), waits: Mutex::new(waits) }
    }

    /// A device is on a node, or on none.
    pub fn seat(&self, device: usize, node: Option<usize>) {
        self.devices[device].node.store(node.map_or(0, |node| node + 1), Ordering::Relaxed);
    }

    /// So many sends of a device are unanswered.
    pub fn unanswered(&self, device: usize, count: usize) {
        self.devices[device].unanswered.store(count, Ordering::Relaxed);
    }

    /// Sends of a device were answered that had waited so long.
    pub fn answered(&self, device: usize, waited: &[Duration]) {
        self.devices[device].answered.fetch_add(waited.len(), Ordering::Relaxed);
        let mut waits = self.waits.lock().expect("nobody panics here");
        for time in waited {
            waits.figures.answer = waits.figures.answer.max(*time);
            let since = waits.since;
            waits.figures.first_answer.get_or_insert_with(|| since.elapsed());
        }
    }

    /// A device knows of a message, as its author or as one who was told.
    pub fn known(&self, conversation: i64, seq: i64) {
        let mut waits = self.waits.lock().expect("nobody panics here");
        let first = *waits.known.entry((conversation, seq)).or_insert_with(Instant::now);
        waits.figures.delivery = waits.figures.delivery.max(first.elapsed());
    }

    /// How many sends wait for an answer: on this node, or on any.
    pub fn waiting(&self, node: Option<usize>) -> usize {
        let here = |seen: &&Seen| node.is_none_or(|node| seen.node.load(Ordering::Relaxed) == node + 1);
        self.devices.iter().filter(here).map(|seen| seen.unanswered.load(Ordering::Relaxed)).sum()
    }

    /// How many devices were last seen on this node.
    pub fn devices_on(&self, node: usize) -> usize {
        self.devices.iter().filter(|seen| seen.node.load(Ordering::Relaxed) == node + 1).count()
    }

    /// How many sends of each device were answered so far.
    pub fn answers(&self) -> Vec<usize> {
        self.devices.iter().map(|seen| seen.answered.load(Ordering::Relaxed)).collect()
    }

    /// The same, once all that is unanswered now will be answered.
    pub fn answers_due(&self) -> Vec<usize> {
        let due = self.devices.iter().map(|seen| seen.unanswered.load(Ordering::Relaxed));
        self.answers().iter().zip(due).map(|(answered, due)| answered + due).collect()
    }

    /// Measures from now on.
    pub fn begin(&self) {
        let mut waits = self.waits.lock().expect("nobody panics here");
        waits.since = Instant::now();
        waits.figures = Figures::default();
        waits.known.retain(|_, first| first.elapsed() < REMEMBERED);
    }

    /// What was measured since.
    pub fn figures(&self) -> Figures {
        self.waits.lock().expect("nobody panics here").figures
    }
}
