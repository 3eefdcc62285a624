//! What time it is. Nodes that share a database go by its clock, so that one whose own clock is wrong judges tokens and
//! stamps messages as the others do.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use crate::model::Micros;

/// How far this machine's clock may be from the database's before it is corrected. What lies below is the time that
/// the asking takes.
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

    /// The database's clock says that it is `now`. Answers by how much this one was corrected for that, if it was.
    pub fn agree(&self, now: Micros) -> Option<Micros> {
        let off = now - self.now();
        if off.abs() <= TOLERANCE {
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

    #[test]
    fn a_clock_that_is_wrong_is_corrected_and_one_that_is_nearly_right_is_left() {
        const HOUR: Micros = 3_600_000_000;
        let clock = Clock::default();
        assert_eq!(clock.agree(machine() + 1_000), None);
        for ahead in [HOUR, -HOUR] {
            assert!(clock.agree(machine() + ahead).is_some());
            assert!((clock.now() - machine() - ahead).abs() < TOLERANCE);
            assert_eq!(clock.agree(machine() + ahead), None);
        }
    }
}
