//! The handle: takes events and counts what becomes of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::config::{Builder, StartError};
use crate::event::Event;
use crate::line::Queued;
use crate::queue::{Put, Queue, queue};
use crate::sink::Sink;
use crate::spool::Spool;
use crate::worker::Worker;

/// Takes events in and brings them away. Clones are the same logger.
///
/// When the last clone is dropped its thread goes on for some seconds to send or spool what is
/// left, if the process lives so long;
/// [`AuditLogger::shutdown`] waits for that.
#[derive(Clone, Debug)]
pub struct AuditLogger(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(Duration::from_secs(5));
    }
}

/// What became of the events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events that were logged: the last sequence number.
    pub logged: u64,
    /// Events that the sink has.
    pub sent: u64,
    /// Events that wait in the spool.
    pub spooled: u64,
    /// Events that were dropped, because queue or spool were full or could not be read.
    pub dropped: u64,
    /// Events that the sink refused for good.
    pub rejected: u64,
    /// Whether the last attempt to send failed.
    pub away: bool,
}

/// The sequence number of the first event of a run, which says that it begins.
pub(crate) const FIRST: u64 = 1;

/// Longer than anybody waits for an end.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// What was lost and not yet told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) dropped: u64,
    pub(crate) rejected: u64,
    pub(crate) since: Option<SystemTime>,
}

/// On a cache line of its own: every caller writes there, and reads what would stand beside it.
#[derive(Debug)]
#[repr(align(128))]
struct Line<T>(T);

/// What handle and thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) producer: String,
    seq: Line<AtomicU64>,
    /// Numbers whose events don't wait in the queue any more.
    gone: AtomicU64,
    start: Instant,
    /// What the clock would show at `start`, in nanoseconds since 1970, as it goes now.
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
    /// How many flushes are done; `u64::MAX` when the thread has ended.
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

    /// The next sequence number, for what does not wait in the queue.
    pub(crate) fn next_seq(&self) -> u64 {
        self.have_gone(1);
        self.seq.0.fetch_add(1, Relaxed) + 1
    }

    /// Learns what time it is. Clocks are set, so it is done again and again.
    pub(crate) fn read_clock(&self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let start = now.saturating_sub(self.start.elapsed());
        self.clock.store(start.as_nanos() as u64, Relaxed);
    }

    /// So many events wait in the queue no more.
    pub(crate) fn have_gone(&self, events: u64) {
        self.gone.fetch_add(events, Relaxed);
    }

    /// Events that the queue had no room for since the last call. Told apart from [`Shared::lose`]
    /// because callers must not wait for a lock.
    pub(crate) fn take_overflow(&self) -> u64 {
        let events = self.overflow.swap(0, Relaxed);
        self.have_gone(events);
        events
    }

    /// Notes a loss.
    pub(crate) fn lose(&self, dropped: u64, rejected: u64) {
        self.dropped.fetch_add(dropped, Relaxed);
        self.rejected.fetch_add(rejected, Relaxed);
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.dropped += dropped;
        losses.rejected += rejected;
        losses.since.get_or_insert_with(SystemTime::now);
    }

    /// What is to be told, once.
    pub(crate) fn take_losses(&self) -> Losses {
        std::mem::take(&mut *self.losses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// For how long something lost has not been told.
    pub(crate) fn lost_for(&self) -> Duration {
        let losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses
            .since
            .and_then(|since| since.elapsed().ok())
            .unwrap_or_default()
    }

    fn close(&self, within: Duration) {
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

    /// Until when to end, once that was asked for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.closing.load(Relaxed) {
            return None;
        }
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many flushes were asked for.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Relaxed)
    }
}

/// Says that the thread has ended, also when it ended by a fault of its own: nobody is to wait for
/// it for ever.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.flushed.send_replace(u64::MAX);
    }
}

impl AuditLogger {
    /// Begins to make one. `name` is the application's; it stands in `producer` of each event.
    pub fn builder(name: impl AsRef<str>) -> Builder {
        Builder::new(name.as_ref())
    }

    pub(crate) fn start(config: &Builder, sink: Sink) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(&config.name, config.queue));
        shared.read_clock();
        let (queue, takings) = queue(&shared.producer);
        let (spool, unclean) = match &config.spool {
            None => (Spool::in_memory(), Vec::new()),
            Some(dir) => {
                Spool::open(dir, config.spool_max_bytes, &shared.producer).unwrap_or_else(|error| {
                    tracing::error!(%error, dir = %dir.display(), "there is no audit spool; events \
                    wait in memory alone");
                    (Spool::in_memory(), Vec::new())
                })
            }
        };

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let worker = Worker::new(config, Arc::clone(&shared), takings, spool, sink);

        // A thread and a runtime of our own: fsync must hold up no request, and a busy application
        // must not hold up us.
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

    /// Takes an event. Neither waits nor fails: it writes the event's line into memory that no one
    /// else is using, without a system call but, now and then, the one that wakes the thread when
    /// the queue is half full.
    pub fn log(&self, mut event: Event) {
        let time = event.time.unwrap_or_else(SystemTime::now);
        self.log_at(time, &mut event);
    }

    /// [`AuditLogger::log`] for who knows the time already.
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

        match queue.put(&mut Queued { event, time, seq }) {
            // The end came meanwhile.
            Put::Closed => drop(shared.overflow.fetch_add(1, Relaxed)),
            Put::There if waiting != shared.most.div_ceil(2) => {}
            Put::There | Put::Plenty => shared.wake.notify_one(),
        }
    }

    /// The time of a moment, cheaper than a look at the clock, which the thread reads at least
    /// every [`Builder::interval`].
    #[cfg(feature = "tower")]
    pub(crate) fn time_of(&self, moment: Instant) -> SystemTime {
        let shared = &self.0.shared;
        let start = UNIX_EPOCH + Duration::from_nanos(shared.clock.load(Relaxed));
        start + moment.saturating_duration_since(shared.start)
    }

    /// The name under which this run's events arrive: `metadata.producer`.
    pub fn producer(&self) -> &str {
        &self.0.shared.producer
    }

    /// What became of the events so far.
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

    /// Waits until all that was logged before is with the sink, or on disk because the sink is
    /// away.
    pub async fn flush(&self) {
        let wanted = self.0.shared.flushes.fetch_add(1, Relaxed) + 1;
        self.0.shared.wake.notify_one();
        self.reached(wanted).await;
    }

    /// Ends: sends what waits, for so long at most, and leaves the rest on disk. What is logged
    /// after is dropped. Returns what is left.
    pub async fn shutdown(&self, within: Duration) -> Stats {
        self.0.shared.close(within);
        self.reached(u64::MAX).await;
        self.stats()
    }

    /// [`AuditLogger::shutdown`] where nothing is async.
    pub fn shutdown_blocking(&self, within: Duration) -> Stats {
        self.0.shared.close(within);
        while *self.0.shared.flushed.borrow() != u64::MAX {
            thread::sleep(Duration::from_millis(5));
        }
        self.stats()
    }

    async fn reached(&self, wanted: u64) {
        // The sender is ours too, so it cannot be gone.
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
