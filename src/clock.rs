//! What time it is. Nodes that share a database go by its clock, so that one whose own clock is wrong judges tokens and
//! stamps messages as the others do.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use crate::model::Micros;

/// How far this machine's clock may be from the database's before it is corrected, besides what the time that the asking
/// took can explain.
const TOLERANCE: Micros = 500_000;

/// This machine's clock, corrected where it is wrong.
#[derive(Debug, Default)]
pub struct Clock {
    correction: AtomicI64,
}

impl Clock {
    /// Microseconds since 1970.
    pub fn now(&self) -> Micros {
        machine().saturating_add(self.correction.load(Ordering::Relaxed))
    }

    /// The database's clock said that it is `told`, when it was asked at `asked` by this one and took `trip` to answer:
    /// it said so half-way, give or take half of that time. Answers by how much this clock was corrected, if it was.
    pub fn agree(&self, told: Micros, asked: Micros, trip: Duration) -> Option<Micros> {
        let half = i64::try_from(trip.as_micros() / 2).unwrap_or(Micros::MAX / 2);
        let off = told - asked.saturating_add(half);
        if off.abs() <= TOLERANCE.saturating_add(half) {
            return None;
        }
        self.correction.fetch_add(off, Ordering::Relaxed);
        Some(off)
    }
}

/// Microseconds since 1970, as this machine has it.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn machine() -> Micros {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Micros = 3_600_000_000;
    const SHORT: Duration = Duration::from_millis(2);

    #[test]
    fn a_clock_that_is_wrong_is_corrected_and_one_that_is_nearly_right_is_left() {
        let clock = Clock::default();
        assert_eq!(clock.agree(machine() + 1_000, clock.now(), SHORT), None);
        for ahead in [HOUR, -HOUR] {
            assert!(clock.agree(machine() + ahead, clock.now(), SHORT).is_some());
            assert!((clock.now() - machine() - ahead).abs() < TOLERANCE);
            assert_eq!(clock.agree(machine() + ahead, clock.now(), SHORT), None);
        }
    }

    #[test]
    fn d19_a_slow_answer_does_not_set_the_clock_back() {
        let clock = Clock::default();
        for (trip, said_after) in [(10, 0), (10, 5), (10, 10), (2, 1), (60, 3)] {
            let asked = clock.now();
            let told = asked + said_after * 1_000_000;
            assert_eq!(clock.agree(told, asked, Duration::from_secs(trip)), None, "the way may have taken the time");
        }
        // What no delay explains is corrected, as well as it is known.
        let asked = clock.now();
        let off = clock.agree(asked + HOUR, asked, Duration::from_secs(2)).expect("it is wrong");
        assert!((off - HOUR).abs() <= 1_000_000, "{off}");
    }
}
