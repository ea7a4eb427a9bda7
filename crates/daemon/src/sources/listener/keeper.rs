//! Keeps what the sockets read: on disk, synced, before their readers read more.
//!
//! Everything takes this way, not only what comes during an outage. So there is one way to test,
//! and a `kill -9` finds nothing in memory but what is being written at that moment.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use collect::spool::{self, Cut, Spool, SpoolError};
use model::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::drain::Drain;
use super::queue::Handover;
use super::record::{Content, Loss, Place, Record};
use super::{LAST_TRY, Lost, Options};
use app::self_audit::Component;

/// Bytes that are written and synced at once.
const AT_ONCE: usize = 4 * 1024 * 1024;
/// Beyond the configured bound: for counts of what did not fit, and for what was already read when
/// the program ends.
const RESERVE: u64 = 64 * 1024 * 1024;
/// How often losses are written down while they go on.
const TELL_LOSS: Duration = Duration::from_secs(5);
/// How often a full or failing disk is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// How often the mark is renewed by which the next start knows until when somebody listened.
const MARK_EVERY: Duration = Duration::from_secs(5);
/// The mark, and what it says after a clean end.
const MARK: &str = "listening";
const STOPPED: &str = "stopped";

/// A listener's spool. It is opened when it is first needed: a disk that is full or read-only at
/// the start keeps nobody from listening as long as the database takes what comes.
pub(super) struct Shelf {
    dir: PathBuf,
    max_bytes: u64,
    spool: Mutex<Option<Spool>>,
    /// Rings when something was put in.
    pub filled: Notify,
}

impl Shelf {
    pub(super) fn new(dir: PathBuf, max_bytes: u64) -> Self {
        Self {
            dir,
            max_bytes,
            spool: Mutex::new(None),
            filled: Notify::new(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Works on the spool, away from the threads that serve sockets.
    pub(super) async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Spool) -> Result<T, SpoolError> + Send + 'static,
    ) -> anyhow::Result<T> {
        let shelf = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let mut spool = shelf.spool.lock().unwrap_or_else(PoisonError::into_inner);
            if spool.is_none() {
                let (opened, cuts) =
                    Spool::open(&shelf.dir, shelf.max_bytes.saturating_add(RESERVE))?;
                cuts.iter().for_each(report_cut);
                *spool = Some(opened);
            }
            spool.as_mut().map(work).transpose()
        });

        done.await
            .context("a thread of the spool ended with a bug")??
            .context("the spool is not open")
    }

    /// Appends records; `beyond` its bound when they must not be lost.
    async fn append(self: &Arc<Self>, records: &Framed, beyond: bool) -> anyhow::Result<()> {
        let (bytes, count, at, max) = (
            Arc::clone(&records.bytes),
            records.count,
            records.received,
            self.max_bytes,
        );
        self.with(move |spool| {
            let used = spool.bytes();
            if !beyond && used.saturating_add(bytes.len() as u64) > max {
                return Err(SpoolError::Full { used, max });
            }
            spool.append(&bytes, count, at)
        })
        .await?;

        self.filled.notify_one();
        Ok(())
    }
}

fn report_cut(cut: &Cut) {
    let (path, bytes) = (cut.path.display(), cut.bytes);
    if let Some(kept) = &cut.kept {
        error!(
            "{path}: {bytes} bytes are damaged and were set aside in {}",
            kept.display()
        );
    } else {
        warn!("{path}: the last {bytes} bytes were written only in part and were cut off");
    }
}

/// Records as they are on disk.
struct Framed {
    bytes: Arc<Vec<u8>>,
    count: u64,
    received: Timestamp,
}

impl Framed {
    fn of(records: &[Record<'_>], received: Timestamp) -> Self {
        let mut bytes = Vec::new();
        for record in records {
            spool::frame_record(&mut bytes, |out| record.encode(out));
        }

        Self {
            bytes: Arc::new(bytes),
            count: records.len() as u64,
            received,
        }
    }
}

/// Takes what was read to the disk.
pub(super) struct Keeper<'a> {
    options: &'a Options,
    shelf: Arc<Shelf>,
    lost: Arc<Lost>,
    drain: Arc<tokio::sync::Mutex<Drain>>,
    /// Stands for this run in the ids of its events.
    run: u32,
    next: u64,
    lost_since: Option<Timestamp>,
    /// When a loss was last written down.
    told: Option<Instant>,
    marked: Option<Instant>,
    /// Whether the spool last took what it was given.
    refused: bool,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(
        options: &'a Options,
        shelf: Arc<Shelf>,
        lost: Arc<Lost>,
        drain: Arc<tokio::sync::Mutex<Drain>>,
    ) -> anyhow::Result<Self> {
        let run = getrandom::u32().context("the system gives no random numbers")?;
        let (lost_since, told, marked) = (None, None, None);
        Ok(Self {
            options,
            shelf,
            lost,
            drain,
            run,
            next: 0,
            lost_since,
            told,
            marked,
            refused: false,
        })
    }

    /// Ends when the readers have ended and everything that they read is kept.
    pub(super) async fn run(
        &mut self,
        mut queue: mpsc::Receiver<Handover>,
        stop: &CancellationToken,
    ) {
        self.note_absence().await;
        loop {
            let mut held = Vec::new();
            let ended = match timeout(Duration::from_secs(1), queue.recv()).await {
                Ok(None) => true,
                Ok(Some(first)) => {
                    gather_handovers(first, &mut queue, &mut held);
                    false
                }
                Err(_) => false,
            };

            if !held.is_empty() {
                self.keep(held, stop).await;
            }

            self.keep_losses(ended).await;
            self.mark(ended);
            if ended {
                return;
            }
        }
    }

    fn place(&mut self) -> Place {
        let number = self.next;
        self.next += 1;
        Place {
            run: self.run,
            number,
        }
    }

    async fn keep(&mut self, held: Vec<Handover>, stop: &CancellationToken) {
        let mut records = Vec::new();
        for handover in &held {
            for message in &handover.messages {
                let (place, received) = (self.place(), handover.received);
                records.push(Record {
                    place,
                    received,
                    content: Content::Message(&message.bytes, message.peer),
                });
            }
        }

        if self.options.address.is_datagram() {
            self.keep_what_fits(&records, stop.is_cancelled()).await;
        } else {
            self.keep_all(&records, stop).await;
        }

        held.into_iter().for_each(Handover::answer);
    }

    /// Keeps records of streams, whose senders wait meanwhile; gives them up only when the program
    /// ends.
    async fn keep_all(&mut self, records: &[Record<'_>], stop: &CancellationToken) {
        let framed = Framed::of(records, self.received(records));
        let mut last_try = None;
        while let Err(cause) = self.try_keep(&framed, records, stop.is_cancelled()).await {
            self.warn_refused(&cause);
            if stop.is_cancelled() && last_try.get_or_insert_with(Instant::now).elapsed() > LAST_TRY
            {
                self.lost.note(records.len() as u64);
                break;
            }
            self.mark(false);
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// Keeps as many datagrams as there is room for, and counts the others: nobody waits, and
    /// nobody sends them again.
    async fn keep_what_fits(&mut self, records: &[Record<'_>], stopping: bool) {
        let mut rest = records;
        let mut size = records.len();
        while !rest.is_empty() {
            let part = &rest[..size.min(rest.len())];
            let framed = Framed::of(part, self.received(part));
            match self.try_keep(&framed, part, stopping).await {
                Ok(()) => rest = &rest[part.len()..],
                Err(cause) if size > 1 => {
                    self.warn_refused(&cause);
                    size /= 2;
                }
                Err(cause) => {
                    self.warn_refused(&cause);
                    self.lost.note(rest.len() as u64);
                    return;
                }
            }
        }
    }

    fn received(&self, records: &[Record<'_>]) -> Timestamp {
        records
            .first()
            .map_or_else(|| self.options.clock.now(), |record| record.received)
    }

    fn warn_refused(&mut self, cause: &anyhow::Error) {
        if !self.refused {
            warn!(
                "{}: the spool does not take messages: {cause:#}",
                self.options.name()
            );
            self.refused = true;
        }
    }

    async fn try_keep(
        &mut self,
        framed: &Framed,
        records: &[Record<'_>],
        beyond: bool,
    ) -> anyhow::Result<()> {
        let Err(cause) = self.shelf.append(framed, beyond).await else {
            self.refused = false;
            return Ok(());
        };
        // What is in the spool is older, and goes first.
        if self
            .shelf
            .with(|spool| Ok(spool.is_empty()))
            .await
            .unwrap_or(true)
        {
            self.drain
                .lock()
                .await
                .store(records)
                .await
                .with_context(|| format!("{cause:#}"))?;
            return Ok(());
        }
        Err(cause)
    }

    /// Writes down what was lost, so that a kill does not take the number with it.
    async fn keep_losses(&mut self, ended: bool) {
        let messages = self.lost.0.load(Ordering::Relaxed);
        if messages == 0 {
            return;
        }
        let now = self.options.clock.now();
        let from = *self.lost_since.get_or_insert(now);
        if !ended && self.told.is_some_and(|told| told.elapsed() < TELL_LOSS) {
            return;
        }
        let why =
            format!("{messages} messages came faster than they could be taken, and were dropped");
        if self
            .keep_loss(Loss {
                from,
                to: now,
                messages: Some(messages),
                why,
            })
            .await
        {
            self.lost.0.fetch_sub(messages, Ordering::Relaxed);
            (self.lost_since, self.told) = (None, Some(Instant::now()));
        }
    }

    async fn keep_loss(&mut self, loss: Loss) -> bool {
        let received = self.options.clock.now();
        let record = Record {
            place: self.place(),
            received,
            content: Content::Lost(loss),
        };
        let records = [record];
        match self
            .try_keep(&Framed::of(&records, received), &records, true)
            .await
        {
            Ok(()) => true,
            Err(cause) => {
                warn!(
                    "{}: a loss of messages could not be written down yet: {cause:#}",
                    self.options.name()
                );
                false
            }
        }
    }

    /// Writes down the time since the last run: nobody listened, and after a kill what the kernel
    /// held for us is gone as well. Senders over streams send again what they could not hand over.
    async fn note_absence(&mut self) {
        let path = self.shelf.dir().join(MARK);
        let Ok(said) = fs::read_to_string(&path) else {
            return;
        };
        let Ok(Ok(at)) = fs::metadata(&path).map(|about| about.modified()) else {
            return;
        };
        let at = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let from = Timestamp::from_micros(i64::try_from(at.as_micros()).unwrap_or(i64::MAX));

        let to = self.options.clock.now();
        let why = match (said == STOPPED, self.options.address.is_datagram()) {
            (true, false) => return,
            (true, true) => "nobody listened: blueteam was stopped",
            (false, true) => {
                "nobody listened: blueteam was ended without a chance to read what had arrived"
            }
            (false, false) => {
                "blueteam was ended without a chance to read what had arrived; senders that do \
                    not wait for an \
                 answer do not send that again"
            }
        };

        let name = self.options.name();
        warn!("{name}: nobody listened from {from} to {to}");
        let loss = Loss {
            from,
            to,
            messages: None,
            why: why.to_owned(),
        };

        if !self.keep_loss(loss).await {
            let message = format!("{name}: nobody listened from {from} to {to}");
            self.options
                .failures
                .tell_of(Component::Collector, &name, message);
        }
    }

    fn mark(&mut self, ended: bool) {
        if !ended && self.marked.is_some_and(|at| at.elapsed() < MARK_EVERY) {
            return;
        }
        self.marked = Some(Instant::now());
        let content = if ended { STOPPED } else { MARK };
        // Without it the next start does not say that nobody listened; a full disk is told
        // elsewhere.
        let _ = fs::write(self.shelf.dir().join(MARK), content);
    }
}

/// Takes what else is there, without waiting for more.
fn gather_handovers(
    first: Handover,
    queue: &mut mpsc::Receiver<Handover>,
    held: &mut Vec<Handover>,
) {
    let size = |handover: &Handover| {
        handover
            .messages
            .iter()
            .map(|message| message.bytes.len())
            .sum::<usize>()
    };
    let mut bytes = size(&first);
    held.push(first);
    while bytes < AT_ONCE
        && let Ok(more) = queue.try_recv()
    {
        bytes += size(&more);
        held.push(more);
    }
}
