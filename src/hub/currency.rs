//! Whether this node knows which sessions stand. A process that slept (stopped, swapped out, starved) wakes with frames
//! to write for sessions that may have ended meanwhile. So it writes only while it knows that it did not sleep; after a
//! sleep it reads again which sessions stand, and then goes on. One atomic compare for each flush.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the pulse says that the process is awake.
pub const BEAT: Duration = Duration::from_millis(200);
/// Without a beat for so long, the process may have slept.
pub const ASLEEP: Duration = Duration::from_millis(1_000);

/// Until when the node counts as current. Starts as current: there is no socket yet.
#[derive(Debug)]
pub struct Currency {
    begun: Instant,
    until_ms: AtomicU64,
}

impl Default for Currency {
    fn default() -> Currency {
        Currency { begun: Instant::now(), until_ms: AtomicU64::new(ASLEEP.as_millis() as u64) }
    }
}

impl Currency {
    /// Whether frames may be written now.
    pub fn holds(&self) -> bool {
        self.now_ms() <= self.until_ms.load(Ordering::Acquire)
    }

    /// The process is awake, and knows which sessions stand.
    pub fn renew(&self) {
        self.until_ms.store(self.now_ms() + ASLEEP.as_millis() as u64, Ordering::Release);
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}
