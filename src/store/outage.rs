//! What is wrong with the database, for the log: said once in a while, however many commands meet it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long after each complaint the log is left in peace.
const PEACE: Duration = Duration::from_secs(1);

/// When the last complaint was, and how many were left out since.
#[derive(Debug)]
struct Last {
    at: Option<Instant>,
    left_out: u64,
}

static LAST: Mutex<Last> = Mutex::new(Last { at: None, left_out: 0 });

impl Last {
    /// Counts a complaint. If it is to be said, answers how many were left out before it.
    fn count(&mut self, now: Instant) -> Option<u64> {
        if self.at.is_some_and(|at| now.saturating_duration_since(at) < PEACE) {
            self.left_out += 1;
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Says a complaint, which is given how many others were left out since the last one that was said; or leaves it out.
pub(super) fn complain(say: impl FnOnce(u64)) {
    let left_out = LAST.lock().unwrap_or_else(PoisonError::into_inner).count(Instant::now());
    if let Some(left_out) = left_out {
        say(left_out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorCode};
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_is_left_out_is_counted() {
        let begun = Instant::now();
        let mut last = Last { at: None, left_out: 0 };
        let said: Vec<u64> = (0..1000).filter_map(|ms| last.count(begun + Duration::from_millis(ms * 3))).collect();
        assert_eq!(said, [0, 333, 333], "one in each second, with those that were left out before it");
    }

    /// Counts the lines of a log.
    struct Lines(Arc<AtomicUsize>);

    impl Write for Lines {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.fetch_add(text.iter().filter(|byte| **byte == b'\n').count(), Ordering::Relaxed);
            Ok(text.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_outage_that_a_thousand_commands_meet_does_not_fill_the_log() {
        let lines = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&lines);
        let log = tracing_subscriber::fmt().with_writer(move || Lines(Arc::clone(&written))).finish();
        let begun = Instant::now();
        tracing::subscriber::with_default(log, || {
            for _ in 0..1000 {
                let cause = sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());
                assert_eq!(Error::from(cause).code, ErrorCode::Busy);
            }
        });
        let (lines, most) = (lines.load(Ordering::Relaxed), 1 + begun.elapsed().as_secs() as usize);
        assert!((1..=most + 1).contains(&lines), "{lines} lines");
    }
}
