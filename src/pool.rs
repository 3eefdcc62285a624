//! Threads of their own for work that takes milliseconds of a core or of a disk, so that it never holds up a socket.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::Error;

/// How much less of a busy processor threads get that give way, as `nice` counts: 19 is the most, about a seventieth.
const NICE: i32 = 19;
/// Longest rest between two jobs: on a slow disk work that rests would else hardly go on.
const REST_MAX: Duration = Duration::from_millis(25);

type Job = Box<dyn FnOnce() + Send>;

/// The threads, and the queue before them. They end when this is dropped.
#[derive(Debug)]
pub struct Pool {
    jobs: SyncSender<Job>,
}

/// How the threads of a pool work.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// What the system calls them.
    pub name: &'static str,
    /// How many there are; at least one.
    pub threads: usize,
    /// Jobs that may wait.
    pub queue: usize,
    /// Whether all other threads come first.
    pub gives_way: bool,
    /// How much of the time each may be at work, in percent: below 100, it rests after a job, at most for 25 ms.
    pub share: u32,
}

/// Why a job was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// Too many wait.
    Full,
    /// It panicked.
    Panicked,
}

impl From<Undone> for Error {
    fn from(undone: Undone) -> Error {
        match undone {
            Undone::Full => Error::busy(),
            Undone::Panicked => Error::internal("a job panicked"),
        }
    }
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// A sentence: the system gives none.
    pub fn start(manner: Manner) -> Result<Pool, String> {
        let (jobs, waiting) = sync_channel(manner.queue);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..manner.threads.max(1) {
            let waiting = Arc::clone(&waiting);
            let thread = thread::Builder::new().name(manner.name.to_owned());
            thread
                .spawn(move || work(&waiting, manner))
                .map_err(|cause| format!("cannot start a {} thread: {cause}", manner.name))?;
        }
        Ok(Pool { jobs })
    }

    /// Runs `work` on one of the threads. Work whose caller went away is not begun; what was begun is done to its end.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Undone> {
        let (answer, answered) = oneshot::channel();
        let job = move || {
            if !answer.is_closed() {
                // Fails only when the caller went away meanwhile.
                let _ = answer.send(work());
            }
        };
        self.jobs.try_send(Box::new(job)).map_err(|_| Undone::Full)?;
        answered.await.map_err(|_| Undone::Panicked)
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, manner: Manner) {
    // For this thread alone, as Linux has it. Without it all goes on as well, but not as quietly.
    if manner.gives_way
        && let Err(cause) = rustix::process::nice(NICE)
    {
        tracing::warn!(%cause, "a {} thread does not give way to others", manner.name);
    }
    let share = manner.share.clamp(1, 100);
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let begun = Instant::now();
        // A panic ends the one job, which its caller is told by the closed channel, and not the thread.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
        if share < 100 {
            thread::sleep((begun.elapsed() * (100 - share) / share).min(REST_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Manner = Manner { name: "test", threads: 1, queue: 1, gives_way: true, share: 100 };

    #[tokio::test]
    async fn a_job_that_panics_takes_no_thread_with_it() {
        let pool = Pool::start(ONE).expect("a thread");
        assert_eq!(pool.run(|| panic!("index out of bounds")).await, Err::<(), _>(Undone::Panicked));
        assert_eq!(pool.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn they_give_way_to_the_others() {
        let priority = || rustix::process::getpriority_process(None).expect("it can be asked");
        let (here, pool) = (priority(), Pool::start(ONE).expect("a thread"));
        assert_eq!(pool.run(priority).await, Ok((here + NICE).min(19)));
        assert_eq!(priority(), here);
    }
}
