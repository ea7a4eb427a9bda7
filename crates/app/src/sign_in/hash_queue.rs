//! The threads that hash passwords: few, of low priority, and served so that a flood of wrong
//! passwords keeps nobody else out.
//!
//! One hash takes 64 MiB and a good part of a second of a core, so that whoever may ask for them
//! without limit stops everything else. There are at most as many threads as cores but one. Of
//! those that wait, the one goes first whose network has failed least; among equals the newest,
//! because the oldest are the flood's, and whose senders have mostly given up.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// The most that wait; beyond it, the one that would be served last is sent away.
const WAITING_MAX: usize = 256;
/// How long one waits at most: a browser's person has given up by then.
const PATIENCE: Duration = Duration::from_secs(15);
/// How nice the threads are: detection and ingest go first.
const NICENESS: i32 = 10;

/// The system has too much to do to check passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Busy;

type Work = Box<dyn FnOnce() + Send>;

struct Job {
    /// How often its network failed lately: the fewest go first.
    failures: u32,
    until: Instant,
    work: Work,
}

#[derive(Default)]
struct Waiting {
    /// In the order of arrival.
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Waiting {
    /// Takes the one that is served next: of the fewest failures, the newest.
    fn take_next(&mut self, now: Instant) -> Option<Job> {
        self.jobs.retain(|job| job.until > now);
        let fewest = self.jobs.iter().map(|job| job.failures).min()?;
        let place = self.jobs.iter().rposition(|job| job.failures == fewest)?;
        self.jobs.remove(place)
    }

    /// Sends the one away that would be served last: of the most failures, the oldest.
    fn drop_last(&mut self) {
        let most = self.jobs.iter().map(|job| job.failures).max();
        let place = self.jobs.iter().position(|job| Some(job.failures) == most);
        if let Some(place) = place {
            self.jobs.remove(place);
        }
    }
}

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Shared {
    fn next_job(&self) -> Option<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = waiting.take_next(Instant::now()) {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Where work that hashes waits for its turn.
pub(super) struct HashQueue {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for HashQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashQueue")
    }
}

impl HashQueue {
    /// Starts the threads: as many as cores but one, and at least one.
    pub(super) fn start() -> std::io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
        });
        for n in 0..cores.saturating_sub(1).max(1) {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("hash-{n}"))
                .spawn(move || serve(&shared))?;
        }
        Ok(Self { shared })
    }

    /// Does some work when its turn comes. `failures`: how often its network failed lately.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        failures: u32,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            failures,
            until: Instant::now() + PATIENCE,
            // Whoever has gone away needs no answer, and no hash either.
            work: Box::new(move || {
                if !answer.is_closed() {
                    let _ = answer.send(work());
                }
            }),
        };

        {
            let mut waiting = self
                .shared
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            waiting.jobs.push_back(job);
            if waiting.jobs.len() > WAITING_MAX {
                waiting.drop_last();
            }
        }
        self.shared.changed.notify_one();

        // A job that was sent away drops its end of the channel.
        answered.await.map_err(|_| Busy)
    }
}

impl Drop for HashQueue {
    fn drop(&mut self) {
        let mut waiting = self
            .shared
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        waiting.closed = true;
        waiting.jobs.clear();
        drop(waiting);
        self.shared.changed.notify_all();
    }
}

fn serve(shared: &Shared) {
    // Of this thread alone, as Linux has it. Without it the work is done all the same.
    let _ = rustix::process::nice(NICENESS);
    while let Some(job) = shared.next_job() {
        (job.work)();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn job(failures: u32, patience: Duration) -> Job {
        Job {
            failures,
            until: Instant::now() + patience,
            work: Box::new(|| {}),
        }
    }

    #[test]
    fn who_failed_least_goes_first_and_the_newest_of_equals() {
        let long = Duration::from_mins(1);
        let mut waiting = Waiting::default();
        for (n, failures) in [3, 1, 2, 1, 5].into_iter().enumerate() {
            // The patience tells them apart.
            let mut job = job(failures, long);
            job.until += Duration::from_secs(n as u64);
            waiting.jobs.push_back(job);
        }
        let newest_of_ones = waiting.jobs[3].until;

        let next = waiting.take_next(Instant::now()).expect("five wait");
        assert_eq!((next.failures, next.until), (1, newest_of_ones));
        waiting.drop_last();
        let left: Vec<u32> = waiting.jobs.iter().map(|job| job.failures).collect();
        assert_eq!(left, [3, 1, 2]);
    }

    #[test]
    fn who_has_waited_too_long_is_not_served() {
        let mut waiting = Waiting::default();
        waiting.jobs.push_back(job(0, Duration::ZERO));
        assert!(
            waiting
                .take_next(Instant::now() + Duration::from_millis(1))
                .is_none()
        );
    }

    #[tokio::test]
    async fn a_full_queue_sends_the_flood_away_and_serves_the_newcomer() {
        let queue = Arc::new(HashQueue::start().expect("threads start"));
        let done = Arc::new(AtomicU32::new(0));
        let slow = {
            let done = Arc::clone(&done);
            move || {
                thread::sleep(Duration::from_millis(5));
                done.fetch_add(1, Ordering::Relaxed)
            }
        };

        let flood: Vec<_> = (0..2 * WAITING_MAX)
            .map(|_| {
                let (queue, slow) = (Arc::clone(&queue), slow.clone());
                tokio::spawn(async move { queue.run(9, slow).await })
            })
            .collect();
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(20)).await;

        let before = Instant::now();
        queue.run(0, || ()).await.expect("a newcomer is served");
        assert!(before.elapsed() < Duration::from_millis(500));

        let mut refused = 0;
        for task in flood {
            refused += u32::from(task.await.expect("no task panics").is_err());
        }
        assert!(refused > 0);
        assert_eq!(
            refused + done.load(Ordering::Relaxed),
            2 * WAITING_MAX as u32
        );
    }
}
