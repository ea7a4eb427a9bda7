//! The handle of a logger: takes events and counts their fate.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::config::{Builder, StartError};
use crate::event::Event;
use crate::line::Queued;
use crate::queue::{Pushed, Queue, new_queue};
use crate::sink::Sink;
use crate::spool::Spool;
use crate::worker::Worker;

/// Logs audit events. Clones share one logger.
///
/// When the last clone is dropped, the thread continues for some seconds to send or spool the
/// remaining events, if the process lives that long; [`AuditLogger::shutdown`] waits for that.
#[derive(Clone, Debug)]
pub struct AuditLogger(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.request_close(Duration::from_secs(5));
    }
}

/// Counts of the events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Logged events: the last sequence number.
    pub logged: u64,
    /// Events that the sink accepted.
    pub sent: u64,
    /// Events that are waiting in the spool.
    pub spooled: u64,
    /// Events that were dropped because queue or spool were full or could not be read.
    pub dropped: u64,
    /// Events that the sink rejected permanently.
    pub rejected: u64,
    /// Whether the last attempt to send failed.
    pub away: bool,
}

/// The sequence number of the first event of a run, `audit_start`.
pub(crate) const FIRST: u64 = 1;

/// A substitute for durations that an `Instant` cannot hold.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// Losses that were not reported yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) dropped: u64,
    pub(crate) rejected: u64,
    pub(crate) since: Option<SystemTime>,
}

/// A value on a cache line of its own, because every caller writes to it and reads its neighbors.
#[derive(Debug)]
#[repr(align(128))]
struct Line<T>(T);

/// State that is shared by handle and thread.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) producer: String,
    seq: Line<AtomicU64>,
    /// Sequence numbers whose events no longer wait in the queue.
    gone: AtomicU64,
    start: Instant,
    /// The wall clock's time of `start` in nanoseconds since 1970, as of the last reading.
    clock: AtomicU64,
    most: u64,
    pub(crate) sent: AtomicU64,
    pub(crate) spooled: AtomicU64,
    pub(crate) away: AtomicBool,
    dropped: AtomicU64,
    rejected: AtomicU64,
    losses: Mutex<Losses>,
    overflow: AtomicU64,
    pub(crate) wake: Notify,
    closing: AtomicBool,
    deadline: Mutex<Option<Instant>>,
    flushes: AtomicU64,
    /// The number of completed flushes; `u64::MAX` when the thread has ended.
    pub(crate) flushed: watch::Sender<u64>,
}

impl Shared {
    fn new(name: &str, queue: usize) -> Self {
        let run = Uuid::new_v4().simple().to_string();
        Self {
            producer: format!("{name}/{}", run.get(..12).unwrap_or(&run)),
            seq: Line(AtomicU64::new(FIRST)),
            gone: AtomicU64::new(FIRST),
            start: Instant::now(),
            clock: AtomicU64::new(0),
            most: queue as u64,
            sent: AtomicU64::new(0),
            spooled: AtomicU64::new(0),
            away: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            losses: Mutex::default(),
            overflow: AtomicU64::new(0),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            deadline: Mutex::default(),
            flushes: AtomicU64::new(0),
            flushed: watch::Sender::new(0),
        }
    }

    /// Returns the next sequence number for an event that does not go through the queue.
    pub(crate) fn next_seq(&self) -> u64 {
        self.release_slots(1);
        self.seq.0.fetch_add(1, Relaxed) + 1
    }

    /// Reads the wall clock. Repeated, because clocks are adjusted.
    pub(crate) fn read_clock(&self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let start = now.saturating_sub(self.start.elapsed());
        self.clock.store(start.as_nanos() as u64, Relaxed);
    }

    /// Records that events have left the queue.
    pub(crate) fn release_slots(&self, events: u64) {
        self.gone.fetch_add(events, Relaxed);
    }

    /// Returns how many events found no room in the queue since the last call. Separate from
    /// [`Shared::record_loss`], because callers must not wait for a lock.
    pub(crate) fn take_overflow(&self) -> u64 {
        let events = self.overflow.swap(0, Relaxed);
        self.release_slots(events);
        events
    }

    /// Counts a loss.
    pub(crate) fn record_loss(&self, dropped: u64, rejected: u64) {
        self.dropped.fetch_add(dropped, Relaxed);
        self.rejected.fetch_add(rejected, Relaxed);
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.dropped += dropped;
        losses.rejected += rejected;
        losses.since.get_or_insert_with(SystemTime::now);
    }

    /// Takes the losses to report them.
    pub(crate) fn take_losses(&self) -> Losses {
        std::mem::take(&mut *self.losses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns how long a loss has been unreported.
    pub(crate) fn unreported_for(&self) -> Duration {
        let losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses
            .since
            .and_then(|since| since.elapsed().ok())
            .unwrap_or_default()
    }

    fn request_close(&self, within: Duration) {
        self.deadline
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| {
                let now = Instant::now();
                now.checked_add(within).unwrap_or(now + FOREVER)
            });

        self.closing.store(true, Relaxed);
        self.wake.notify_one();
    }

    /// Returns the deadline of the shutdown, once one was requested.
    pub(crate) fn closing_deadline(&self) -> Option<Instant> {
        if !self.closing.load(Relaxed) {
            return None;
        }
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many flushes were requested.
    pub(crate) fn requested_flushes(&self) -> u64 {
        self.flushes.load(Relaxed)
    }
}

/// Reports the end of the thread, even after a panic, so that no caller waits forever.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.flushed.send_replace(u64::MAX);
    }
}

impl AuditLogger {
    /// Returns a builder. `name` is the application's name, a part of `producer` in each event.
    pub fn builder(name: impl AsRef<str>) -> Builder {
        Builder::new(name.as_ref())
    }

    pub(crate) fn start(config: &Builder, sink: Sink) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(&config.name, config.queue));
        shared.read_clock();
        let (queue, reader) = new_queue(&shared.producer);
        let (spool, unclean) = match &config.spool {
            None => (Spool::in_memory(), Vec::new()),
            Some(dir) => {
                Spool::open(dir, config.spool_max_bytes, &shared.producer).unwrap_or_else(|error| {
                    tracing::error!(%error, dir = %dir.display(), "cannot open the audit spool; \
                    events wait only in memory");
                    (Spool::in_memory(), Vec::new())
                })
            }
        };

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let worker = Worker::new(config, Arc::clone(&shared), reader, spool, sink);

        // A separate thread and runtime: fsync must not delay requests, and a busy application must
        // not delay sending.
        let ended = Ended(Arc::clone(&shared));
        let run = move || {
            let _ended = ended;
            runtime.block_on(worker.run(unclean));
        };

        thread::Builder::new()
            .name("blueteam-audit".to_owned())
            .spawn(run)?;

        Ok(Self(Arc::new(Handle { queue, shared })))
    }

    /// Logs an event. Neither blocks nor fails: it writes the event's line to memory that no other
    /// thread is using. The only system call wakes the thread when the queue is half full.
    pub fn log(&self, mut event: Event) {
        let time = event.time.unwrap_or_else(SystemTime::now);
        self.log_at(time, &mut event);
    }

    /// Logs an event whose time is known.
    pub(crate) fn log_at(&self, time: SystemTime, event: &mut Event) {
        let Handle { queue, shared } = &*self.0;
        if shared.closing.load(Relaxed) {
            shared.overflow.fetch_add(1, Relaxed);
            return;
        }

        let seq = shared.seq.0.fetch_add(1, Relaxed) + 1;
        let waiting = seq.saturating_sub(shared.gone.load(Relaxed));
        if waiting > shared.most {
            shared.overflow.fetch_add(1, Relaxed);
            shared.wake.notify_one();
            return;
        }

        match queue.push_event(&mut Queued { event, time, seq }) {
            // The logger was closed in the meantime.
            Pushed::Closed => drop(shared.overflow.fetch_add(1, Relaxed)),
            Pushed::There if waiting != shared.most.div_ceil(2) => {}
            Pushed::There | Pushed::NearlyFull => shared.wake.notify_one(),
        }
    }

    /// Converts an instant to wall-clock time. Cheaper than reading the clock, which the thread
    /// does at least every [`Builder::interval`].
    #[cfg(feature = "tower")]
    pub(crate) fn time_of(&self, moment: Instant) -> SystemTime {
        let shared = &self.0.shared;
        let start = UNIX_EPOCH + Duration::from_nanos(shared.clock.load(Relaxed));
        start + moment.saturating_duration_since(shared.start)
    }

    /// Returns the producer of this run's events: `metadata.producer`.
    pub fn producer(&self) -> &str {
        &self.0.shared.producer
    }

    /// Returns the counts of the events so far.
    pub fn stats(&self) -> Stats {
        let shared = &self.0.shared;
        Stats {
            logged: shared.seq.0.load(Relaxed),
            sent: shared.sent.load(Relaxed),
            spooled: shared.spooled.load(Relaxed),
            dropped: shared.dropped.load(Relaxed) + shared.overflow.load(Relaxed),
            rejected: shared.rejected.load(Relaxed),
            away: shared.away.load(Relaxed),
        }
    }

    /// Waits until all events logged before are sent, or on disk because the sink is unreachable.
    pub async fn flush(&self) {
        let wanted = self.0.shared.flushes.fetch_add(1, Relaxed) + 1;
        self.0.shared.wake.notify_one();
        self.wait_for_flush(wanted).await;
    }

    /// Shuts down: sends waiting events for at most `within` and leaves the rest on disk. Later
    /// events are dropped. Returns the final counts.
    pub async fn shutdown(&self, within: Duration) -> Stats {
        self.0.shared.request_close(within);
        self.wait_for_flush(u64::MAX).await;
        self.stats()
    }

    /// Shuts down as [`AuditLogger::shutdown`] outside of async code.
    pub fn shutdown_blocking(&self, within: Duration) -> Stats {
        self.0.shared.request_close(within);
        while *self.0.shared.flushed.borrow() != u64::MAX {
            thread::sleep(Duration::from_millis(5));
        }
        self.stats()
    }

    async fn wait_for_flush(&self, wanted: u64) {
        // This handle holds the sender, so the channel is open.
        drop(
            self.0
                .shared
                .flushed
                .subscribe()
                .wait_for(|done| *done >= wanted)
                .await,
        );
    }
}
