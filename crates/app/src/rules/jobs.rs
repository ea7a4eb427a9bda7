//! What becomes of the backtests that people begin in the console; kept in memory until blueteam ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Clock as _, Severity, SystemClock, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::backtest::{Step, Summary};
use crate::AppError;

/// Backtests that are kept; the oldest go first.
const KEPT: usize = 50;
/// Detections of a backtest that are kept.
const FOUND_MAX: usize = 200;

/// Backtests, the newest first.
#[derive(Debug)]
pub struct Backtests {
    jobs: Mutex<VecDeque<Arc<Job>>>,
    turn: Arc<Semaphore>,
}

impl Default for Backtests {
    fn default() -> Self {
        Self {
            jobs: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

/// A backtest.
#[derive(Debug)]
pub struct Job {
    /// What it is called.
    pub id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// The rule; none for all.
    pub rule: Option<String>,
    /// From when.
    pub since: Timestamp,
    /// Until when, which is when it began.
    pub until: Timestamp,
    progress: Mutex<Progress>,
}

/// How far a backtest is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Events that are to be read, about.
    pub estimated: u64,
    /// Events that were read.
    pub read: u64,
    /// How many detections there were.
    pub found: u64,
    /// The first of them.
    pub detections: Vec<Finding>,
    /// How it ended: what it could not read, or why it failed. None while it runs.
    pub end: Option<Result<Option<String>, String>>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Something that a rule would have found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub title: String,
    /// About whom or what.
    pub about: String,
    /// When it began.
    pub first_seen: Timestamp,
    /// How many events it rests on.
    pub events: u64,
}

impl Job {
    /// One that begins now, over what lies between.
    pub(crate) fn new(
        user_id: Uuid,
        rule: Option<String>,
        since: Timestamp,
        until: Timestamp,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            user_id,
            rule,
            since,
            until,
            progress: Mutex::default(),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, step: &Step<'_>) {
        let mut progress = self.lock();
        match step {
            Step::Estimated(events) => progress.estimated = *events,
            Step::Read(events) => progress.read = *events,
            Step::Found(change) if change.opened => {
                progress.found += 1;
                if progress.detections.len() < FOUND_MAX {
                    let detection = &change.detection;
                    progress.detections.push(Finding {
                        severity: detection.severity,
                        title: detection.title.clone(),
                        about: detection.entity.value.clone(),
                        first_seen: detection.first_seen,
                        events: detection.event_count,
                    });
                }
            }
            Step::Found(_) => {}
        }
    }

    pub(crate) fn end(&self, result: Result<Summary, AppError>) {
        let mut progress = self.lock();
        progress.ended_at = Some(SystemClock.now());
        progress.end = Some(match result {
            Ok(summary) => {
                progress.read = summary.events;
                Ok(summary.skipped)
            }
            Err(error) => Err(error.to_string()),
        });
    }
}

impl Backtests {
    /// Those of a person, the newest first.
    pub fn of(&self, person: Uuid) -> Vec<Arc<Job>> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let own = jobs.iter().filter(|job| job.user_id == person);
        own.cloned().collect()
    }

    /// One of a person. Another person's is as if it were not there.
    pub fn find(&self, person: Uuid, id: Uuid) -> Result<Arc<Job>, AppError> {
        let own = self.of(person).into_iter().find(|job| job.id == id);
        own.ok_or_else(|| {
            AppError::not_found("there is no such backtest; they are kept until blueteam ends")
        })
    }

    /// The right to run one, until it is dropped; an error while another one runs.
    pub(crate) fn take_turn(&self) -> Result<OwnedSemaphorePermit, AppError> {
        let turn = Arc::clone(&self.turn).try_acquire_owned();
        turn.map_err(|_| {
            AppError::conflict("a backtest is running already: wait until it has ended")
        })
    }

    pub(crate) fn keep(&self, job: &Arc<Job>) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.push_front(Arc::clone(job));
        jobs.truncate(KEPT);
    }
}
