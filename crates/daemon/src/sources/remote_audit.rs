//! Reads the audit events of applications that keep them in a database of their own, each by a task
//! of its own: one that is unreachable or slow does not delay the others.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::time::Calendar;
use model::{Clock, ServiceName, Source, Span, TenantId, TenantName, Timestamp};
use secrecy::ExposeSecret as _;
use store::remote_audit::{self, Account, Found, Position};
use store::sources::{self, Cause, Gap};
use store::{PgConnectOptions, PgConnection};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::context::TaskContext;
use crate::log_pipeline::Breath;
use crate::supervisor::{Reader, SourceKind};
use crate::tenancy::{self, TenantSource};
use app::self_audit::{Component, Failures};

/// The kind.
pub const SOURCE: SourceKind = SourceKind {
    name: "remote audit tables",
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Vec<Reader>> {
    let config = &context.loaded.config;
    let urls = &context.loaded.secrets.databases;
    let mut readers = Vec::new();
    for (database, url) in config.collect.databases.iter().zip(urls) {
        // The error must not show the URL, which holds a password.
        let theirs = store::parse_url(url.expose_secret())
            .ok()
            .with_context(|| format!("{} holds no valid postgres:// URL", database.url_file))?;
        let options = Options {
            ours: context.database.ingest.clone(),
            ledger: context.database.engine.clone(),
            theirs,
            service: database.service.clone(),
            tenant: database.tenant().cloned(),
            every: database.expected_interval,
            poll: to_duration(database.poll_interval),
            sweep: to_duration(database.full_scan_interval),
            calendar: context.calendar.clone(),
            settle: config.detection.allowed_lateness,
            clock: Arc::clone(&context.clock),
            failures: context.failures.clone(),
        };

        readers.push(Reader {
            source: Some(options.source()),
            run: Box::pin(run_reader(options, context.stop.clone())),
        });
    }

    Ok(readers)
}

/// How far back events are looked for at each reading; older ones are found by the sweep.
const LOOK_BACK: Span = Span::mins(10);
/// A database that does not answer for this long counts as unreachable.
const ANSWER: Duration = Duration::from_mins(1);
/// The same, for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// After a failure; doubles with each in a row.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Failures in a row that are news.
const NEWS: u32 = 3;

/// Configuration of the reader of one database.
struct Options {
    /// How to connect to blueteam's own database, as the role that writes events.
    ours: PgConnectOptions,
    /// The same, as the engine's role, which keeps the ledger.
    ledger: PgConnectOptions,
    /// How to connect to theirs.
    theirs: PgConnectOptions,
    service: ServiceName,
    /// Whose events they are; none: the tenant `default`'s.
    tenant: Option<TenantName>,
    every: Option<Span>,
    poll: Duration,
    sweep: Duration,
    calendar: Calendar,
    settle: Span,
    clock: Arc<dyn Clock>,
    failures: Failures,
}

/// Whose database it is that failed.
enum Trouble {
    Theirs(anyhow::Error),
    Ours(anyhow::Error),
}

fn to_duration(span: Span) -> Duration {
    Duration::from_micros(span.as_micros().unsigned_abs())
}

impl Options {
    /// The source's name in the ledger, and the position's.
    fn name(&self) -> String {
        format!("database:{}", self.service)
    }

    /// The source in the ledger.
    fn source(&self) -> TenantSource {
        TenantSource {
            tenant: self.tenant.clone(),
            name: self.name(),
        }
    }
}

/// Reads until `stop` is cancelled; starts over from the saved position after every failure.
async fn run_reader(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let (mut failures, mut last_good) = (0_u32, options.clock.now());
    loop {
        let outcome = tokio::select! {
            outcome = follow_table(&options, &mut failures, &mut last_good) => outcome,
            () = stop.cancelled() => return Ok(()),
        };

        let Err(trouble) = outcome;
        failures += 1;
        match trouble {
            Trouble::Ours(cause) => {
                error!(
                    "{}: cannot store what was read; retrying: {cause:#}",
                    options.name()
                );
                options.failures.not_stored(&options.name(), &cause);
            }
            Trouble::Theirs(cause) => {
                let message = format!("{}: cannot be read for now: {cause:#}", options.name());
                error!("{message}");
                if failures >= NEWS {
                    options
                        .failures
                        .tell_of(Component::Collector, &options.name(), message);

                    if let Err(cause) = note_outage(&options, last_good, &cause).await {
                        warn!(
                            "{}: cannot record its outage; retrying: {cause:#}",
                            options.name()
                        );
                    }
                }
            }
        }

        tokio::select! {
            () = sleep(BACKOFF.saturating_mul(1 << (failures - 1).min(10)).min(BACKOFF_MAX)) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn note_outage(
    options: &Options,
    since: Timestamp,
    cause: &anyhow::Error,
) -> anyhow::Result<()> {
    let (mut conn, _) = tenancy::connect(&options.ledger, options.tenant.as_ref()).await?;
    sources::declare(&mut conn, &options.name(), Source::AuditDb, options.every).await?;
    let cause = model::text::sanitize(&format!("{cause:#}")).into_owned();
    let gap = Gap {
        cause: Cause::Outage,
        started_at: since,
        ended_at: None,
        lost: None,
        detail: format!(
            "its database cannot be read ({cause}); what is written there meanwhile is read \
                afterward"
        ),
    };

    Ok(sources::note_gap(&mut conn, &options.name(), &gap).await?)
}

/// What a reader works with.
struct TableReader<'o> {
    options: &'o Options,
    ours: PgConnection,
    tenant: TenantId,
    breath: Breath,
    newest: Option<Timestamp>,
    position: Option<Position>,
}

async fn follow_table(
    options: &Options,
    failures: &mut u32,
    last_good: &mut Timestamp,
) -> Result<std::convert::Infallible, Trouble> {
    let mut theirs = connect_bounded(&options.theirs)
        .await
        .map_err(Trouble::Theirs)?;
    let rights = bounded_answer(remote_audit::excess_rights(&mut theirs)).await?;
    if !rights.is_empty() {
        warn!(
            "{}: its login may also change audit_events ({}), which reading does not need",
            options.name(),
            rights.join(", ")
        );
    }
    let mut reader = TableReader::open(options).await.map_err(Trouble::Ours)?;
    let mut swept: Option<Instant> = None;
    loop {
        let sweep = swept.is_none_or(|at| at.elapsed() >= options.sweep);
        reader.read(&mut theirs, sweep).await?;
        options.failures.stalls().resumed(&options.name());
        if swept.is_none() {
            reader.back(*failures > 0).await.map_err(Trouble::Ours)?;
        }

        if sweep {
            swept = Some(Instant::now());
        }

        (*failures, *last_good) = (0, options.clock.now());
        sleep(options.poll).await;
    }
}

async fn connect_bounded(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    Ok(timeout(CONNECT, store::connect(options))
        .await
        .context("no connection within 10 s")??)
}

/// An answer of theirs, or that there is none.
async fn bounded_answer<T>(
    asked: impl Future<Output = Result<T, store::StoreError>>,
) -> Result<T, Trouble> {
    match timeout(ANSWER, asked).await {
        Ok(answer) => answer.map_err(|error| Trouble::Theirs(error.into())),
        Err(_) => Err(Trouble::Theirs(anyhow::anyhow!(
            "no answer within a minute"
        ))),
    }
}

impl<'o> TableReader<'o> {
    async fn open(options: &'o Options) -> anyhow::Result<Self> {
        let name = options.name();
        let tenant = options.tenant.as_ref();
        let (mut ledger, _) = tenancy::connect(&options.ledger, tenant).await?;
        sources::declare(&mut ledger, &name, Source::AuditDb, options.every).await?;

        let row = sources::find(&mut ledger, &name)
            .await?
            .context("the source was not made known")?;
        let (mut ours, tenant) = tenancy::connect(&options.ours, tenant).await?;
        let position = remote_audit::position(&mut ours, &name).await?;

        Ok(Self {
            options,
            ours,
            tenant,
            breath: Breath::of(&row, options.calendar.clone()),
            newest: row.last_event_at,
            position,
        })
    }

    /// It has been read. Ends its outage, if one is noted.
    async fn back(&mut self, failed: bool) -> anyhow::Result<()> {
        let (name, now) = (self.options.name(), self.options.clock.now());
        let ended = sources::end_gap(&mut self.ours, &name, Cause::Outage, now).await?;
        if ended || failed {
            info!("{name}: reading again");
        }
        Ok(())
    }

    /// Reads once. The position is saved with the last of what was found.
    async fn read(&mut self, theirs: &mut PgConnection, sweep: bool) -> Result<(), Trouble> {
        let floor = self.options.clock.now().minus(LOOK_BACK);
        let mut pass = bounded_answer(remote_audit::begin(
            theirs,
            self.position.as_ref(),
            sweep,
            floor,
        ))
        .await?;
        let mut pending = None;
        while let Some(batch) = bounded_answer(pass.next()).await? {
            if let Some(before) = pending.replace(batch) {
                self.keep(before, None).await.map_err(Trouble::Ours)?;
            }
        }

        let next = bounded_answer(pass.end()).await?;
        match pending {
            Some(last) => self.keep(last, Some(next)).await.map_err(Trouble::Ours),
            None if sweep => self
                .keep(Vec::new(), Some(next))
                .await
                .map_err(Trouble::Ours),
            // From the one that is saved, the same would be found.
            None => {
                self.position = Some(next);
                Ok(())
            }
        }
    }

    async fn keep(&mut self, batch: Vec<Found>, next: Option<Position>) -> anyhow::Result<()> {
        let name = self.options.name();
        let now = self.options.clock.now();
        let rhythm = if batch.is_empty() {
            None
        } else {
            self.breath.spoke(now)?
        };

        let account = Account {
            source_id: &name,
            now,
            newest: self.newest,
            settle: self.options.settle,
            rhythm,
        };

        let batch = batch
            .into_iter()
            .map(|found| found.of(self.tenant, &self.options.service))
            .collect();
        let kept = remote_audit::keep(&mut self.ours, batch, next.as_ref(), &account).await?;
        if kept.rejected > 0 {
            warn!(
                "{name}: {} rows are not audit events; see `blueteam sources dead-letters`",
                kept.rejected
            );
        }

        self.newest = kept.newest;
        if next.is_some() {
            self.position = next;
        }

        Ok(())
    }
}
