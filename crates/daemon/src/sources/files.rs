//! Follows the configured log files into the database. Events and position commit together. A
//! folder or a pattern stands for the files in it; see [`folder`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use collect::entries::Entries;
use collect::follow::{Batch, FileEvent, Follower, Position};
use collect::{Format, LineId};
use model::Network;
use model::civil::Zone;
use model::time::Calendar;
use model::{Clock, ServiceName, Span, TenantName, Timestamp};
use store::sources::{Cause, Gap};
use store::{PgConnectOptions, PgConnection};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::context::TaskContext;
use crate::log_pipeline::{Beside, Intake};
use crate::supervisor::{Reader, SourceKind};
use crate::tenancy::{self, TenantSource};
use app::self_audit::{Component, Failures};

mod folder;

/// The kind.
pub const SOURCE: SourceKind = SourceKind {
    name: "log files",
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Vec<Reader>> {
    let config = &context.loaded.config;
    let mut readers = Vec::new();
    for file in &config.collect.files {
        let options = Options {
            database: context.database.engine.clone(),
            path: file.path.clone().into(),
            within: None,
            format: file.format().context("no such format")?,
            every: file.expected_interval,
            service: file.service.clone(),
            tenant: file.tenant().cloned(),
            host: file.host.clone().unwrap_or_else(app::actor::hostname),
            keep_raw: config.collect.keep_raw,
            zone: file.zone().context("no such time zone")?,
            trusted_proxies: file.proxies().context("no such network")?,
            calendar: context.calendar.clone(),
            settle: config.detection.allowed_lateness,
            clock: Arc::clone(&context.clock),
            failures: context.failures.clone(),
        };

        readers.push(if folder::is_several(&file.path) {
            let found = context.found.clone();
            Reader {
                source: None,
                run: Box::pin(folder::run(options, found, context.stop.clone())),
            }
        } else {
            Reader {
                source: Some(options.source()),
                run: Box::pin(run(options, context.stop.clone())),
            }
        });
    }

    Ok(readers)
}

/// Bytes read before they are committed.
const BATCH: usize = 1024 * 1024;
/// An entry that nothing was added to for this long is complete.
const COMPLETE_AFTER: Duration = Duration::from_secs(1);
/// How often a file that had nothing new is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Configuration of a file source.
#[derive(Clone)]
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// The file.
    pub path: PathBuf,
    /// The folder in which it was found; none if it was named.
    pub within: Option<PathBuf>,
    /// What is in it.
    pub format: &'static Format,
    /// How often it is configured to speak.
    pub every: Option<Span>,
    /// The zone of times that name none.
    pub zone: Zone,
    /// Proxies whose word about whom they forward for is taken.
    pub trusted_proxies: Vec<Network>,
    /// Whose events they are.
    pub service: Option<ServiceName>,
    /// Their tenant; none: `default`.
    pub tenant: Option<TenantName>,
    /// The machine of events whose lines name none.
    pub host: String,
    /// The age up to which raw lines are kept.
    pub keep_raw: Span,
    /// Business hours.
    pub calendar: Calendar,
    /// How far events may be out of order before they count as late.
    pub settle: Span,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Where failures are recorded.
    pub failures: Failures,
}

impl Options {
    /// The collector's name, and the source's in the ledger.
    pub fn name(&self) -> String {
        format!("{}:{}", self.format.name, self.path.display())
    }

    /// The source in the ledger.
    pub fn source(&self) -> TenantSource {
        TenantSource {
            tenant: self.tenant.clone(),
            name: self.name(),
        }
    }

    fn position(&self, at: Position) -> anyhow::Result<store::log_events::Position> {
        Ok(store::log_events::Position {
            collector: self.name(),
            at: serde_json::to_value(at)?,
        })
    }
}

/// Follows the file until `stop` is cancelled; starts over from the saved position after every
/// failure.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut failures = 0_u32;
    // Before the database is asked, which may be unreachable: what is rotated meanwhile is still
    // read.
    let (path, within) = (options.path.clone(), options.within.clone());
    let at_start = move || Position::at_start_of(&path, within.as_deref());
    let first = tokio::task::spawn_blocking(at_start).await?;
    loop {
        match follow_file(&options, first, &stop).await {
            Ok(()) => return Ok(()),
            Err(cause) => {
                failures += 1;
                error!(
                    "cannot read {}; retrying: {cause:#}",
                    options.path.display()
                );
                options.failures.not_stored(&options.name(), &cause);

                // Once is a database that restarts; again and again is news.
                if failures == 5 {
                    options.failures.tell(
                        Component::Collector,
                        format!("{} cannot be read: {cause:#}", options.path.display()),
                    );
                }
            }
        }

        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn follow_file(
    options: &Options,
    first: Option<Position>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (mut conn, _) = tenancy::connect(&options.database, options.tenant.as_ref()).await?;
    let saved = match store::log_events::position(&mut conn, &options.name()).await? {
        Some(position) => {
            Some(serde_json::from_value(position).context("the saved position cannot be read")?)
        }
        None => first,
    };

    let calendar = options.calendar.clone();
    let mut intake = Intake::open(
        &mut conn,
        options.name(),
        options.format,
        options.every,
        calendar,
        options.settle,
    )
    .await?;
    intake = intake
        .in_zone(options.zone.clone())
        .behind(options.trusted_proxies.clone())
        .on_host(options.host.clone())
        .keeping_raw(options.keep_raw)
        .of_service(options.service.clone());

    let mut follower = Follower::new(&options.path, saved).within(options.within.clone());
    let mut entries = Entries::of(options.format);
    let (mut missing, mut last): (bool, Option<Position>) = (false, None);
    let mut quiet_since = Instant::now();
    while !stop.is_cancelled() {
        let batch;
        (follower, batch) = tokio::task::spawn_blocking(move || {
            let batch = follower.read_batch(BATCH);
            (follower, batch)
        })
        .await?;

        let batch = batch.with_context(|| format!("cannot read {}", options.path.display()))?;
        if batch.position.is_none() && !missing {
            warn!(
                "{} does not exist yet; it is read from its start when it does",
                options.path.display()
            );
            missing = true;
        }

        let idle = quiet_since.elapsed() > COMPLETE_AFTER && entries.open_since().is_some();
        if !batch.is_empty() {
            (missing, quiet_since) = (false, Instant::now());
            // What was open belongs to the file before.
            if !batch.file_events.is_empty()
                && let Some(entry) = entries.finish()
            {
                intake
                    .store(
                        &mut conn,
                        vec![entry],
                        Beside::default(),
                        options.clock.now(),
                    )
                    .await?;
            }
            store_batch(options, &mut conn, &mut intake, &mut entries, &batch).await?;
            options.failures.stalls().resumed(&options.name());
            last = batch.position;
            continue;
        } else if idle && let (Some(entry), Some(position)) = (entries.finish(), last) {
            let beside = Beside {
                position: Some(options.position(position)?),
                gaps: Vec::new(),
            };
            intake
                .store(&mut conn, vec![entry], beside, options.clock.now())
                .await?;
        } else if intake.holds_events() {
            let now = options.clock.now();
            intake
                .store(&mut conn, Vec::new(), Beside::default(), now)
                .await?;
        }

        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }

    intake.finish(&mut conn, options.clock.now()).await
}

/// Tells what happened to the file, and what of it is lost.
fn report_gaps(options: &Options, batch: &Batch, now: Timestamp) -> Vec<Gap> {
    let path = options.path.display();
    let mut gaps = Vec::new();
    for turn in &batch.file_events {
        let message = match turn {
            FileEvent::Rotated | FileEvent::Truncated => {
                info!("{path} was rotated");
                continue;
            }
            FileEvent::Damaged { at } => {
                format!(
                    "{path}: a compressed piece of it is broken beyond byte {} of its text",
                    at.offset
                )
            }
            FileEvent::Lost { at } => {
                format!(
                    "{path}: the file read before is gone; what it held beyond byte {} is lost",
                    at.offset
                )
            }
        };

        warn!("{message}");
        options.failures.tell(Component::Collector, message.clone());
        let written = match turn {
            FileEvent::Damaged { at } | FileEvent::Lost { at } => {
                at.written.map(Timestamp::from_micros)
            }
            FileEvent::Rotated | FileEvent::Truncated => None,
        };

        let started_at = written.unwrap_or(now).min(now);
        gaps.push(Gap {
            cause: Cause::Rotation,
            started_at,
            ended_at: Some(now),
            lost: None,
            detail: message,
        });
    }

    gaps
}

async fn store_batch(
    options: &Options,
    conn: &mut PgConnection,
    intake: &mut Intake,
    entries: &mut Entries,
    batch: &Batch,
) -> anyhow::Result<()> {
    let now = options.clock.now();
    let gaps = report_gaps(options, batch, now);
    let file = batch.position.as_ref().map_or(0, Position::file_number);
    let complete = entries.push(
        batch
            .lines()
            .map(|(offset, line)| (LineId { file, offset }, line)),
    );

    let position = match batch.position {
        // An entry that may go on is read again after a restart.
        Some(position) => {
            let offset = entries.open_since().unwrap_or(position.offset);
            Some(options.position(Position { offset, ..position })?)
        }
        None => None,
    };

    intake
        .store(conn, complete, Beside { position, gaps }, now)
        .await
}
