//! Threads for what takes long with an upload: they give way to all other work of the server, and there are never more
//! of them than the settings say. So a message does not wait for pictures, however many come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// How much less of a busy processor they get than others, as `nice` counts: at 19, the most, about a seventieth.
const NICE: i32 = 19;

/// Longest rest between two jobs: on a slow disk uploads would else hardly go on.
const REST_MAX: Duration = Duration::from_millis(25);

type Job = Box<dyn FnOnce() + Send>;

/// A few threads that take one job after the other, in the order in which they came. They end with this.
#[derive(Debug)]
pub struct Workers {
    jobs: mpsc::Sender<Job>,
}

/// The job did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job for an upload panicked")]
pub struct Panicked;

impl Workers {
    /// Starts so many threads, or one. After a job each rests until it was at work for no more than this share of the
    /// time, in percent, but never for longer than 25 ms.
    ///
    /// # Errors
    /// A sentence: the system gives no thread.
    pub fn start(name: &str, threads: usize, share: u32) -> Result<Workers, String> {
        let share = share.clamp(1, 100);
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads.max(1) {
            let waiting = Arc::clone(&waiting);
            let work = move || {
                // For this thread alone, as Linux has it. Without it all goes on as well, but not as quietly.
                if let Err(cause) = rustix::process::nice(NICE) {
                    tracing::warn!(%cause, "a thread for uploads does not give way to others");
                }
                while let Ok(job) = next(&waiting) {
                    let begun = Instant::now();
                    // That it panicked is seen by who waits for it; see `run`.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                    if share < 100 {
                        thread::sleep((begun.elapsed() * (100 - share) / share).min(REST_MAX));
                    }
                }
            };
            let started = thread::Builder::new().name(name.to_owned()).spawn(work);
            started.map_err(|cause| format!("cannot start a thread for uploads: {cause}"))?;
        }
        Ok(Workers { jobs })
    }

    /// Has a job done. It is done even if this future is dropped meanwhile.
    ///
    /// # Errors
    /// It panicked.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
        let (tell, told) = oneshot::channel();
        let job = move || {
            // Nobody may wait any more.
            let _ = tell.send(job());
        };
        self.jobs.send(Box::new(job)).map_err(|_| Panicked)?;
        told.await.map_err(|_| Panicked)
    }
}

fn next(waiting: &Mutex<mpsc::Receiver<Job>>) -> Result<Job, mpsc::RecvError> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_takes_no_thread_with_it() {
        let workers = Workers::start("test", 1, 100).expect("a thread");
        assert_eq!(workers.run(|| panic!("index out of bounds")).await, Err::<(), _>(Panicked));
        assert_eq!(workers.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn they_give_way_to_the_others() {
        let workers = Workers::start("test", 1, 100).expect("a thread");
        let here = rustix::process::getpriority_process(None).expect("it can be asked");
        let there = workers.run(|| rustix::process::getpriority_process(None)).await;
        assert_eq!(there, Ok(Ok((here + NICE).min(19))));
        assert_eq!(rustix::process::getpriority_process(None), Ok(here));
    }
}
