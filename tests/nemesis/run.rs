//! One fault after another, while the devices go on: when it counts, and what it cost.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use crate::NODES;
use crate::faults::Fault;
use crate::support::cluster::Cluster;
use crate::support::flood::Flood;

/// Longest that a fault waits for a send that it may strike.
const PREY: Duration = Duration::from_secs(3);
/// Until when, after a fault is healed, every device must be served again.
const BACK: Duration = Duration::from_secs(30);

/// A run of faults against one cluster under load.
#[derive(Debug)]
pub struct Run<'a> {
    /// Struck and healed.
    pub cluster: &'a mut Cluster,
    /// Who is there meanwhile.
    pub flood: &'a Flood,
    /// For all that is left to chance.
    pub dice: SmallRng,
    /// The longest that a fault is held; some need longer.
    pub longest: Duration,
    /// The name of one who takes part.
    pub talker: String,
    /// What broke a promise that the checker cannot see.
    pub findings: Vec<String>,
    struck: Option<usize>,
}

/// What one fault was.
#[derive(Debug, Clone)]
pub struct Struck {
    /// Its kind.
    pub fault: Fault,
    /// Sends without an answer when it struck; it counts only with one at least.
    pub unanswered: usize,
    /// The longest waits, and how long it took until everybody was served again after it was healed.
    pub figures: Value,
    /// The longest of the waits, in milliseconds.
    pub silence_ms: u64,
}

impl<'a> Run<'a> {
    /// A run that may hold a fault so long.
    pub fn new(cluster: &'a mut Cluster, flood: &'a Flood, dice: SmallRng, longest: Duration) -> Run<'a> {
        Run { cluster, flood, dice, longest, talker: String::new(), findings: Vec::new(), struck: None }
    }

    /// A node that somebody is on: to one that all have left, little can happen.
    pub fn any_node(&mut self) -> usize {
        let peopled: Vec<usize> = (0..NODES).filter(|node| self.flood.tally.devices_on(*node) > 0).collect();
        peopled.choose(&mut self.dice).copied().unwrap_or(0)
    }

    /// The moment of the fault: as soon as a send is unanswered, at this node or at any.
    pub async fn strike(&mut self, node: Option<usize>) {
        let begun = Instant::now();
        while self.flood.tally.waiting(node) == 0 && begun.elapsed() < PREY {
            // Before the next look.
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        self.flood.tally.begin();
        self.struck = Some(self.flood.tally.waiting(node));
    }

    /// In the end nobody was struck.
    pub fn missed(&mut self) {
        self.struck = Some(0);
    }

    /// Lets the fault last.
    pub async fn hold(&mut self) {
        let time = self.longest.mul_f64(self.dice.random_range(0.3..1.0));
        // How long a fault lasts is part of the fault.
        tokio::time::sleep(time).await;
    }

    /// Lets it last long enough for every time limit of the cluster to pass.
    pub async fn hold_long(&mut self) {
        self.hold().await;
        self.hold().await;
        self.hold().await;
    }

    /// One fault from its stroke until everybody is served again.
    pub async fn suffer(&mut self, fault: Fault) -> Struck {
        self.struck = None;
        self.cluster.server.recorder.server("killed");
        fault.strike(self).await;
        self.cluster.server.recorder.server("started");
        let back = self.recovered(fault).await;
        let figures = self.flood.tally.figures();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Struck {
            fault,
            unanswered: self.struck.unwrap_or_else(|| panic!("{fault:?} never struck")),
            silence_ms: ms(figures.answer.max(figures.delivery)),
            figures: json!({
                "first_answer_ms": figures.first_answer.map(ms),
                "longest_answer_ms": ms(figures.answer),
                "longest_delivery_ms": ms(figures.delivery),
                "all_back_ms": ms(back),
            }),
        }
    }

    /// Waits until every device was answered all that it had asked before the healing, and one thing more.
    async fn recovered(&mut self, fault: Fault) -> Duration {
        let healed = Instant::now();
        let due = self.flood.tally.answers_due();
        loop {
            let now = self.flood.tally.answers();
            let missing = now.iter().zip(&due).filter(|(now, due)| now <= due).count();
            if missing == 0 {
                return healed.elapsed();
            }
            if healed.elapsed() > BACK {
                self.findings.push(format!("{BACK:?} after {fault:?} was healed, {missing} devices get no answers"));
                return healed.elapsed();
            }
            // Before the next look.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
