//! Time as a promise means it: on a machine that has a processor for whoever needs one.

use std::time::{Duration, Instant};

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    begun: Instant,
    contended: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch { begun: Instant::now(), contended: contended() }
    }

    /// The time since the start in which nobody had to wait for a processor. On a quiet machine that is all of it;
    /// beside compilers it is little, so that a promise of "within a second" holds there too.
    pub fn quiet(&self) -> Duration {
        self.elapsed().saturating_sub(contended().saturating_sub(self.contended))
    }

    /// All the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Fails when it took longer than promised.
    #[track_caller]
    pub fn must_be_within(&self, promised: Duration, what: &str) {
        let (quiet, elapsed) = (self.quiet(), self.elapsed());
        assert!(
            quiet < promised,
            "{what} took {elapsed:?}, {quiet:?} of it with a processor free; promised: {promised:?}"
        );
    }
}

/// The time since the machine started in which a process waited for a processor, by the kernel's pressure stall
/// information. Zero where the kernel has none.
fn contended() -> Duration {
    let told = std::fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let some = told.lines().find_map(|line| line.strip_prefix("some ")?.rsplit_once("total=")?.1.parse().ok());
    Duration::from_micros(some.unwrap_or_default())
}
