//! Audit events on their way into the table: checked, queued, committed in groups, spooled while
//! the database is unreachable.
//!
//! Invariants: nothing here knows HTTP. Every queue is bounded and says what happens when it is
//! full. An event is acknowledged after its commit, or after it is on disk in the spool; never
//! before. No payload reaches a log.

mod body;
mod dead_letters;
mod drain;
mod held;
mod logs;
mod preparation;
mod record;
mod refusals;
mod sender;
mod settings;
mod skeleton;
mod split;
mod spool_on_disk;
mod writer;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use collect::otlp::{self, OtlpError};
use collect::spool::{self, Spool, SpoolError};
use model::{AuditRecord, Clock, Span, TenantId, Timestamp};
use sqlx::PgPool;
use store::events::{AuditRow, Inserted};
use tokio::sync::{Notify, OwnedSemaphorePermit, RwLock, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use body::{BodyError, Charge, Encoding};
pub use preparation::Prepared;
use refusals::{Origin, Refused};
pub use sender::{Sender, Voice};
pub use settings::{Settings, Timeouts};
pub use spool_on_disk::{SpoolOnDisk, spool_on_disk};

/// No event is further from the present, whatever the clock says.
const UNJUDGED: Span = Span::days(365 * 100);

/// Why events were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// Too many wait already; nothing was taken.
    #[error("too many events wait for their commit")]
    QueueFull,
    /// The database is unreachable and the spool could not take them; nothing was taken.
    #[error("the database is unreachable and the spool cannot take the events")]
    NotKept,
    /// The program is ending; nothing was taken.
    #[error("the ingest is closed")]
    Closed,
    /// No answer in time: they may yet be written, or not.
    #[error("the commit takes too long")]
    Open,
}

/// Where an event of blueteam's own went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Into the table.
    Written,
    /// Into the spool.
    Spooled,
    /// Nowhere: the database refuses it permanently.
    Rejected,
}

/// What became of a request's rows.
#[derive(Debug)]
pub enum Answer {
    /// Committed.
    Written(Inserted),
    /// On disk: as many events.
    Spooled(u64),
}

/// Counts since the start, and the present state.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Events that became rows, those out of the spool too.
    pub accepted: u64,
    /// Events that were rows already.
    pub duplicates: u64,
    /// Events that were rejected.
    pub rejected: u64,
    /// Events that went to the spool.
    pub spooled: u64,
    /// Events that neither the database nor the spool could take; their senders got an error.
    pub refused: u64,
    /// Events of the spool that the database refused permanently; they are in `dead-letter.ndjson`.
    pub dead_letters: u64,
    /// Events that wait for their commit.
    pub waiting: u64,
    /// Events that conflict with an open transaction and wait on disk for its end.
    pub conflicting: u64,
    /// Events in the spool.
    pub spool_events: u64,
    /// Bytes of the spool on disk.
    pub spool_bytes: u64,
    /// When rows were last committed.
    pub last_commit: Option<Timestamp>,
    /// Since when events go to the spool.
    pub outage_since: Option<Timestamp>,
    /// Why the database took no events when they began to go to the spool.
    pub outage: Option<String>,
    /// Why the spool does not get into the table although the database is there, or why events that
    /// conflict with an open transaction cannot be kept.
    pub stuck: Option<String>,
}

/// The events of one request, waiting.
struct Job {
    rows: Vec<AuditRow<'static>>,
    bytes: usize,
    reply: oneshot::Sender<Result<Answer, IngestError>>,
    _space: OwnedSemaphorePermit,
    _charge: Option<Charge>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// A time during which the database took nothing.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Timestamp,
    spooled: u64,
    refused: u64,
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    duplicates: AtomicU64,
    rejected: AtomicU64,
    spooled: AtomicU64,
    refused: AtomicU64,
    dead_letters: AtomicU64,
    /// Microseconds; 0 for never.
    last_commit: AtomicI64,
}

fn add_to(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

struct Inner {
    settings: Settings,
    pool: PgPool,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    wake: Notify,
    space: Arc<Semaphore>,
    budget: Arc<Semaphore>,
    /// Held shared while a group is written. The drain takes it exclusively for its last step, so
    /// that nothing overtakes the spool.
    gate: RwLock<()>,
    spooling: AtomicBool,
    refusing: AtomicBool,
    drain: Notify,
    spool: Mutex<Spool>,
    /// Events that conflict with an open transaction.
    held: Mutex<Spool>,
    hold: Notify,
    outage: Mutex<Option<Outage>>,
    outage_reason: Mutex<Option<String>>,
    stuck: Mutex<Option<String>>,
    /// Why events that conflict with an open transaction could not be kept.
    held_full: Mutex<Option<String>>,
    counters: Counters,
    refused: Refused,
    committed: watch::Sender<u64>,
}

fn lock_mutex<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves these counters and queues usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts events. Clones share one queue, spool and set of counters.
#[derive(Clone)]
pub struct Ingest(Arc<Inner>);

/// The tasks behind an [`Ingest`].
#[derive(Debug)]
pub struct Tasks {
    writers: JoinSet<()>,
    drain: JoinSet<()>,
    refused: JoinSet<()>,
}

impl Ingest {
    /// Opens the spool and starts the writers. Events that an earlier run left in the spool are
    /// written first.
    pub fn start(
        settings: Settings,
        pool: PgPool,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Tasks), SpoolError> {
        let (spool, mut cuts) = Spool::open(&settings.spool_dir, settings.spool_max_bytes)?;
        let (held, cuts_of_held) = held::open(&settings.spool_dir)?;
        cuts.extend(cuts_of_held);
        report_cuts(cuts);
        let outage = (!spool.is_empty()).then(|| Outage {
            since: spool.since().unwrap_or_else(|| clock.now()),
            spooled: spool.records(),
            refused: 0,
        });

        if let Some(outage) = outage {
            tracing::info!(
                events = outage.spooled,
                "events of an earlier run wait in the spool; they are written first"
            );
        }

        let budget = settings
            .queue_max_bytes
            .max(2 * settings.max_body_bytes)
            .min(Semaphore::MAX_PERMITS);
        let writers = settings.writers.max(1);

        let inner = Arc::new(Inner {
            queue: Mutex::default(),
            wake: Notify::new(),
            space: Arc::new(Semaphore::new(
                settings.queue_max_events.clamp(1, Semaphore::MAX_PERMITS),
            )),
            budget: Arc::new(Semaphore::new(budget)),
            gate: RwLock::new(()),
            spooling: AtomicBool::new(outage.is_some()),
            refusing: AtomicBool::new(false),
            drain: Notify::new(),
            spool: Mutex::new(spool),
            held: Mutex::new(held),
            hold: Notify::new(),
            outage: Mutex::new(outage),
            outage_reason: Mutex::default(),
            stuck: Mutex::default(),
            held_full: Mutex::default(),
            counters: Counters::default(),
            refused: Refused::default(),
            committed: watch::Sender::new(0),
            settings,
            pool,
            clock,
        });

        let mut tasks = Tasks {
            writers: JoinSet::new(),
            drain: JoinSet::new(),
            refused: JoinSet::new(),
        };

        for _ in 0..writers {
            tasks.writers.spawn(writer::run(Arc::clone(&inner)));
        }

        tasks.drain.spawn(drain::run(Arc::clone(&inner)));
        tasks.drain.spawn(held::run(Arc::clone(&inner)));
        tasks.refused.spawn(refusals::run(Arc::clone(&inner)));

        Ok((Self(inner), tasks))
    }

    /// Counts and state.
    pub fn stats(&self) -> Stats {
        let inner = &*self.0;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &inner.counters;
        let (spool_events, spool_bytes) = {
            let spool = lock_mutex(&inner.spool);
            (spool.records(), spool.bytes())
        };

        let last = c.last_commit.load(Ordering::Relaxed);
        let space = inner.settings.queue_max_events.max(1);
        Stats {
            accepted: read(&c.accepted),
            duplicates: read(&c.duplicates),
            rejected: read(&c.rejected),
            spooled: read(&c.spooled),
            refused: read(&c.refused),
            dead_letters: read(&c.dead_letters),
            waiting: space.saturating_sub(inner.space.available_permits()) as u64,
            conflicting: lock_mutex(&inner.held).records(),
            spool_events,
            spool_bytes,
            last_commit: (last != 0).then(|| Timestamp::from_micros(last)),
            outage_since: lock_mutex(&inner.outage).map(|o| o.since),
            outage: lock_mutex(&inner.outage_reason).clone(),
            stuck: lock_mutex(&inner.stuck)
                .clone()
                .or_else(|| lock_mutex(&inner.held_full).clone()),
        }
    }

    /// Changes whenever rows were committed; its value is how many since the start.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.0.committed.subscribe()
    }

    /// Whether every acknowledged event is in the table.
    pub fn spool_is_empty(&self) -> bool {
        !self.is_spooling()
    }

    /// Whether events go to the spool now.
    pub fn is_spooling(&self) -> bool {
        self.0.spooling.load(Ordering::SeqCst)
    }

    /// Returns whether the spool could not take the latest events.
    pub fn is_refusing(&self) -> bool {
        self.0.refusing.load(Ordering::SeqCst)
    }

    /// Its limits.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Returns an empty charge, by which a request reserves the memory that it takes while it is
    /// read.
    pub fn charge(&self) -> Charge {
        Charge::new(Arc::clone(&self.0.budget))
    }

    /// Reads and checks the events of a body, as sent by `sender`.
    pub fn prepare(&self, body: &[u8], sender: &Sender) -> Result<Prepared, BodyError> {
        let now = self.0.clock.now();
        let settings = self.settings_now();
        let prepared = preparation::prepare(body, &settings, sender, now, fill_random)?;
        self.note_rejected("POST /v1/events", sender, &prepared);
        Ok(prepared)
    }

    /// Reads and checks the log records of an OTLP request, as sent by `sender`.
    pub fn prepare_logs(
        &self,
        body: &[u8],
        kind: otlp::Encoding,
        sender: &Sender,
    ) -> Result<Prepared, OtlpError> {
        let now = self.0.clock.now();
        let prepared = logs::prepare(body, kind, &self.settings_now(), sender, now)?;
        self.note_rejected("POST /v1/logs", sender, &prepared);
        self.0.refused.note_ignored(sender, prepared.ignored);
        Ok(prepared)
    }

    /// The limits in force: a clock that may be wrong judges no event's time.
    fn settings_now(&self) -> Cow<'_, Settings> {
        let settings = &self.0.settings;
        if self.0.clock.is_trusted() {
            return Cow::Borrowed(settings);
        }

        Cow::Owned(Settings {
            max_clock_behind: UNJUDGED,
            max_clock_ahead: UNJUDGED,
            ..settings.clone()
        })
    }

    fn note_rejected(&self, request: &str, sender: &Sender, prepared: &Prepared) {
        add_to(&self.0.counters.rejected, prepared.rejected.len() as u64);
        let mut entries = prepared.entries.iter();
        for (index, error) in &prepared.rejected {
            let entry = entries.next().map_or(&[][..], Vec::as_slice);
            let place = format_args!("{request} by {sender}, event {index}");
            self.0.refused.note(Origin::of(sender), place, error, entry);
        }
    }

    /// Queues the rows of a request and waits for what becomes of them. Refuses at once when too
    /// many wait.
    pub async fn submit(
        &self,
        rows: Vec<AuditRow<'static>>,
        charge: Charge,
    ) -> Result<Answer, IngestError> {
        let space = Arc::clone(&self.0.space).try_acquire_many_owned(self.size(rows.len()));
        let space = space.map_err(|_| IngestError::QueueFull)?;
        self.enqueue(rows, space, Some(charge)).await
    }

    /// Writes an event of blueteam's own that concerns a tenant, through the same queue. Waits for
    /// room instead of being refused.
    pub async fn record(
        &self,
        record: AuditRecord<'static>,
        tenant: TenantId,
    ) -> Result<Recorded, IngestError> {
        let Ok(row) = preparation::complete(record, self.0.clock.now(), fill_random) else {
            return Ok(Recorded::Rejected);
        };
        let row = row.of_tenant(tenant);
        let space = Arc::clone(&self.0.space)
            .acquire_many_owned(1)
            .await
            .map_err(|_| IngestError::Closed)?;
        Ok(match self.enqueue(vec![row], space, None).await? {
            Answer::Written(done) if done.rejected.is_empty() => Recorded::Written,
            Answer::Written(_) => Recorded::Rejected,
            Answer::Spooled(_) => Recorded::Spooled,
        })
    }

    /// Returns how many places in the queue rows take. A request larger than the whole queue is
    /// accepted when the queue is empty.
    fn size(&self, rows: usize) -> u32 {
        u32::try_from(rows.min(self.0.settings.queue_max_events.max(1))).unwrap_or(u32::MAX)
    }

    async fn enqueue(
        &self,
        rows: Vec<AuditRow<'static>>,
        space: OwnedSemaphorePermit,
        charge: Option<Charge>,
    ) -> Result<Answer, IngestError> {
        let (reply, answer) = oneshot::channel();
        let bytes = charge.as_ref().map_or(0, Charge::bytes);
        {
            let mut queue = lock_mutex(&self.0.queue);
            if queue.closed {
                return Err(IngestError::Closed);
            }

            queue.jobs.push_back(Job {
                rows,
                bytes,
                reply,
                _space: space,
                _charge: charge,
            });
        }

        self.0.wake.notify_one();
        match timeout(self.0.settings.timeouts.answer, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(IngestError::Open),
        }
    }

    /// Accepts nothing more, and returns when what waited is written or spooled.
    pub async fn close(&self, mut tasks: Tasks) {
        lock_mutex(&self.0.queue).closed = true;
        self.0.wake.notify_one();
        while tasks.writers.join_next().await.is_some() {}

        // What it was writing stays in the spool; the table's key makes writing it again a no-op.
        tasks.drain.shutdown().await;
        tasks.refused.shutdown().await;
        refusals::book(&self.0).await;

        // Other handles may still exist; the next run must not wait for their locks.
        lock_mutex(&self.0.spool).release();
        lock_mutex(&self.0.held).release();
    }
}

/// Logs the damaged parts that opening a spool cut off.
fn report_cuts(cuts: Vec<spool::Cut>) {
    for cut in cuts {
        let (file, bytes) = (cut.path.display(), cut.bytes);
        match cut.kept {
            None => {
                tracing::warn!(%file, bytes, "cut the end of a spool file that a crash left half \
                    written");
            }
            Some(kept) => {
                let kept = kept.display();
                tracing::error!(%file, bytes, %kept, "a spool file is damaged; what follows the \
                    damage was kept apart");
            }
        }
    }
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

fn fill_random(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}
