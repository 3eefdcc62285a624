//! Events that came before others that they follow on. They wait a moment, a few in each stream, instead of sending
//! every socket to the database for what is under way anyhow.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Delivery, Followers};
use crate::config::{Config, ms};
use crate::model::{Stream, UserId};

/// An event that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) seq: i64,
    after: i64,
    frame: Utf8Bytes,
    hidden: Option<(Vec<UserId>, Utf8Bytes)>,
}

impl Held {
    pub(super) fn as_delivery(&self, stream: Stream) -> Delivery<'_> {
        let hidden = self.hidden.as_ref().map(|(users, frame)| (users.as_slice(), frame));
        Delivery { stream, seq: self.seq, after: self.after, frame: &self.frame, hidden }
    }
}

/// Where events wait, and since when.
#[derive(Debug)]
pub struct Early {
    waiting: Mutex<Vec<(Stream, Instant)>>,
    /// Rung when the first event begins to wait.
    pub bell: Notify,
    most: usize,
    /// How long an event waits.
    patience: Duration,
}

impl Early {
    pub(super) fn new(config: &Config) -> Early {
        let (most, patience) = (config.early_events, ms(config.early_ms));
        Early { waiting: Mutex::default(), bell: Notify::new(), most, patience }
    }

    /// Lets an event wait; not if there are too many already, nor if it is one of them. Answers whether it waits.
    pub(super) fn hold(&self, held: &mut Vec<Held>, event: &Delivery<'_>) -> bool {
        if held.iter().any(|other| other.seq == event.seq) {
            return true;
        }
        if held.len() >= self.most {
            held.clear();
            return false;
        }
        let hidden = event.hidden.map(|(users, frame)| (users.to_vec(), frame.clone()));
        held.push(Held { seq: event.seq, after: event.after, frame: event.frame.clone(), hidden });
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((event.stream, Instant::now()));
        if waiting.len() == 1 {
            self.bell.notify_one();
        }
        true
    }

    /// The streams whose events waited long enough, whether or not they still do.
    pub(super) fn overdue(&self) -> Vec<Stream> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let due = waiting.iter().take_while(|(_, since)| since.elapsed() >= self.patience).count();
        waiting.drain(..due).map(|(stream, _)| stream).collect()
    }

    /// How long until something is overdue; none while nothing waits.
    pub fn due_in(&self) -> Option<Duration> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.first().map(|(_, since)| self.patience.saturating_sub(since.elapsed()))
    }
}

/// The event that follows on what was delivered, if it waits. What was delivered otherwise waits no more.
pub(super) fn next(followers: &mut Followers) -> Option<Held> {
    let delivered = followers.delivered?;
    followers.early.retain(|event| event.seq > delivered);
    let place = followers.early.iter().position(|event| event.after <= delivered)?;
    Some(followers.early.swap_remove(place))
}
