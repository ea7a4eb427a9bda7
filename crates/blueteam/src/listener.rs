//! Listens for log messages on sockets (udp, tcp, tls, unix) and brings them into the database.
//!
//! Senders do not send again. So what was taken in is held until the database has it; while the queue is full, streams and the
//! unix socket are not read (their senders wait), and what UDP brings meanwhile is counted as lost. A peer's address is no
//! identity and reaches no event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use collect::{Format, LineId};
use model::time::Calendar;
use model::{Clock, ServiceName, Span, Timestamp};
use store::sources::{Cause, Gap};
use store::{PgConnectOptions, PgConnection};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::config::{Address, TlsPair};
use crate::failures::{Component, Failures};
use crate::intake::{Beside, Intake};
use queue::{Message, Queue};

mod drops;
mod places;
mod queue;
mod sockets;
mod streams;

/// Messages stored at once.
const BATCH: usize = 1000;
/// How long the first of them waits for the others.
const LINGER: Duration = Duration::from_millis(100);
/// How often losses are written down while they go on.
const TELL_LOSS: Duration = Duration::from_secs(5);
/// How long a stop waits for a database that is away.
const LAST_TRY: Duration = Duration::from_secs(10);

/// What a listener is told.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// Where it listens.
    pub address: Address,
    /// Certificate and key, for `tls:`.
    pub tls: Option<TlsPair>,
    /// What is in the messages.
    pub format: &'static Format,
    /// How often somebody is configured to speak.
    pub every: Option<Span>,
    /// Whose events they are.
    pub service: Option<ServiceName>,
    /// Business hours.
    pub calendar: Calendar,
    /// How far events may be out of order before they count as late.
    pub settle: Span,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Where failures are told.
    pub failures: Failures,
}

impl Options {
    /// The source's name in the ledger.
    pub fn name(&self) -> String {
        format!("{}:{}", self.format.name, self.address)
    }
}

/// What could not be taken in, since it was last told.
#[derive(Debug, Default)]
struct Lost(AtomicU64);

impl Lost {
    fn note(&self, messages: u64) {
        self.0.fetch_add(messages, Ordering::Relaxed);
    }
}

/// Listens until told to stop, then stores what is held.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    if options.address.is_plain_network() {
        warn!("{}: what is sent there crosses the network in the clear; use tls: off this machine", options.name());
    }
    let (lost, options) = (Arc::new(Lost::default()), Arc::new(options));
    let (queue, messages) = queue::new();
    let reading = tokio::spawn(read(Arc::clone(&options), queue, Arc::clone(&lost), stop.clone()));
    let mut writer = Writer {
        options: &options,
        lost: &lost,
        file: getrandom::u32().context("the system gives no random numbers")?,
        next: 0,
        told: None,
        last_try: None,
        open: None,
    };
    writer.run(messages, &stop).await;
    reading.await.context("a listener ended with a bug")
}

/// Opens the socket and reads it; tries again when that fails.
async fn read(options: Arc<Options>, queue: Queue, lost: Arc<Lost>, stop: CancellationToken) {
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        if let Err(cause) = sockets::read(&options, &queue, &lost, &stop).await {
            failures += 1;
            let message = format!("cannot listen on {}: {cause:#}", options.address);
            // A port that the daemon before has just left is no news.
            if failures == 1 || failures.is_multiple_of(30) {
                error!("{message}");
            }
            if failures == 3 {
                options.failures.tell_of(Component::Collector, &options.name(), message);
            }
            let _ = timeout(Duration::from_secs(1), stop.cancelled()).await;
        }
    }
}

/// Stores what comes out of the queue.
struct Writer<'a> {
    options: &'a Options,
    lost: &'a Lost,
    /// Stands for this run in the ids of its events.
    file: u32,
    next: u64,
    /// When a loss was last told.
    told: Option<Instant>,
    /// When, after the stop, the database was first found away.
    last_try: Option<Instant>,
    open: Option<(PgConnection, Intake)>,
}

impl Writer<'_> {
    /// Ends when the readers have and the queue is empty.
    async fn run(&mut self, mut queue: mpsc::Receiver<Message>, stop: &CancellationToken) {
        let mut lost_since: Option<Timestamp> = None;
        // Makes the source known, even if nothing ever comes.
        self.store(&[], 0, None, stop).await;
        loop {
            let mut held = Vec::new();
            let ended = match timeout(Duration::from_secs(1), queue.recv()).await {
                Ok(None) => true,
                Ok(Some(first)) => {
                    held.push(first);
                    let until = Instant::now() + LINGER;
                    while held.len() < BATCH {
                        let more = BATCH - held.len();
                        if !matches!(timeout_at(until, queue.recv_many(&mut held, more)).await, Ok(1..)) {
                            break;
                        }
                    }
                    false
                }
                Err(_) => false,
            };
            if self.lost.0.load(Ordering::Relaxed) > 0 {
                lost_since.get_or_insert_with(|| self.options.clock.now());
            }
            let due = ended || self.told.is_none_or(|told| told.elapsed() >= TELL_LOSS);
            let since = lost_since.take_if(|_| due);
            if !held.is_empty() || since.is_some() {
                let first = self.next;
                self.next += held.len() as u64;
                self.store(&held, first, since, stop).await;
            }
            if ended {
                return;
            }
        }
    }

    /// Tries until it is done; after a stop, only for a while.
    async fn store(&mut self, held: &[Message], first: u64, lost_since: Option<Timestamp>, stop: &CancellationToken) {
        let mut failures = 0_u32;
        while let Err(cause) = self.try_store(held, first, lost_since).await {
            self.open = None;
            failures += 1;
            if stop.is_cancelled() && self.last_try.get_or_insert_with(Instant::now).elapsed() > LAST_TRY {
                error!("{}: {} messages are lost at the stop: {cause:#}", self.options.name(), held.len());
                return;
            }
            if failures == 1 || failures.is_multiple_of(30) {
                warn!("{}: messages wait for the database: {cause:#}", self.options.name());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn try_store(&mut self, held: &[Message], first: u64, since: Option<Timestamp>) -> anyhow::Result<()> {
        let options = self.options;
        let (mut conn, mut intake) = if let Some(open) = self.open.take() {
            open
        } else {
            let mut conn = store::connect(&options.database).await.context("cannot connect to the database")?;
            let time = (options.calendar.clone(), options.settle);
            let intake = Intake::open(&mut conn, options.name(), options.format, options.every, time).await?;
            (conn, intake.of_service(options.service.clone()))
        };
        let now = options.clock.now();
        let lost = since.map(|since| (since, self.lost.0.load(Ordering::Relaxed)));
        let gaps: Vec<Gap> = lost.into_iter().map(|(since, lost)| gap(options, since, now, lost)).collect();
        if !held.is_empty() || !gaps.is_empty() {
            let entries = (first..).zip(held).map(|(n, m)| (LineId { file: self.file, offset: n }, m.text().into()));
            let beside = Beside { position: None, gaps: gaps.clone() };
            intake.store(&mut conn, entries.collect(), beside, now).await?;
        }
        if let (Some((_, lost)), Some(gap)) = (lost, gaps.into_iter().next()) {
            self.lost.0.fetch_sub(lost, Ordering::Relaxed);
            self.told = Some(Instant::now());
            warn!("{}", gap.detail);
            options.failures.tell_of(Component::Collector, &options.name(), gap.detail);
        }
        self.open = Some((conn, intake));
        Ok(())
    }
}

fn gap(options: &Options, since: Timestamp, now: Timestamp, lost: u64) -> Gap {
    let detail = format!("{}: {lost} messages came faster than they could be stored, and are lost", options.name());
    Gap { cause: Cause::Outage, started_at: since.min(now), ended_at: Some(now), lost: Some(lost), detail }
}
