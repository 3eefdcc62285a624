//! A few threads of their own for work that takes milliseconds of a core, so that it never holds up a socket.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::error::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// The threads, and the queue before them. They end when this is dropped.
pub(super) struct Pool {
    jobs: SyncSender<Job>,
}

impl Pool {
    pub(super) fn start(workers: usize, queue: usize) -> std::result::Result<Pool, String> {
        let (jobs, waiting) = sync_channel(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..workers.max(1) {
            let waiting = Arc::clone(&waiting);
            let thread = thread::Builder::new().name("duet-hash".to_owned());
            thread.spawn(move || work(&waiting)).map_err(|cause| format!("cannot start a hashing thread: {cause}"))?;
        }
        Ok(Pool { jobs })
    }

    /// Runs `work` on one of the threads; busy when the queue is full. Work whose caller went away is not begun.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job = move || {
            if !answer.is_closed() {
                // Fails only when the caller went away meanwhile.
                let _ = answer.send(work());
            }
        };
        self.jobs.try_send(Box::new(job)).map_err(|_| Error::busy())?;
        answered.await.map_err(|_| Error::internal("a hashing thread lost its work"))
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A panic ends the one job, which its caller is told by the closed channel, and not the thread.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
    }
}
