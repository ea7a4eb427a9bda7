//! Watches over the sources: one that says nothing for longer than it uses to is a gap, and so is a
//! time in which nobody watched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use collect::source_tracking::{Cadence, Hours};
use config::Config;
use model::time::Calendar;
use model::{Clock, Source, Span, TenantId, TenantName, Timestamp};
use store::senders::{self, Sender, Unread};
use store::sources::{self, Cause, Gap, Intake, SourceRow};
use store::{PgConnectOptions, PgConnection};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::{FoundSources, TaskContext};
use crate::source_accounting::SERVICE;
use crate::supervisor::{Lifetime, Running, Task};
use crate::tenancy::TenantSource;
use app::self_audit::{Component, Failures};

/// The task.
pub const TASK: Task = Task {
    name: "source health",
    lifetime: Lifetime::Configuration,
    start,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let (arrivals, settling) = (context.arrivals.clone(), context.arrivals.clone());
    let clock = Arc::clone(&context.clock);
    let options = Options {
        database: context.database.engine.clone(),
        calendar: context.calendar.clone(),
        configured: (*context.configured).clone(),
        found: context.found.clone(),
        services: ServiceSilence::of(&context.loaded.config),
        clock: Arc::clone(&context.clock),
        failures: context.failures.clone(),
        stuck: Box::new(move || arrivals.stuck()),
        settled: Box::new(move || settling.settled(clock.now())),
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// Our own sign of life in the ledger.
pub const OURSELVES: &str = "blueteam";
/// How often sources are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How often old dead letters are given up.
const CLEAR_EVERY: Span = Span::hours(1);
/// Away for longer than this was an outage.
const OUTAGE: Span = Span::mins(2);

/// Configuration of the source health task.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// Business hours.
    pub calendar: Calendar,
    /// The sources that are configured; others have gone and may be silent.
    pub configured: BTreeSet<TenantSource>,
    /// The sources that folders and patterns have found.
    pub found: FoundSources,
    /// How long services may be silent.
    pub services: ServiceSilence,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Where silences of sources are recorded.
    pub failures: Failures,
    /// Why accepted events do not get into the table.
    pub stuck: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Whether everything that was accepted is in the database: what waits elsewhere is no silence.
    pub settled: Box<dyn Fn() -> bool + Send + Sync>,
}

/// From when on silence counts.
#[derive(Clone, Copy)]
struct Watched {
    /// Of what the daemon reads itself.
    sources: Timestamp,
    /// Of services, whose events may wait for the database or for their reader.
    services: Timestamp,
}

/// How long services that speak through the table of audit events may be silent.
#[derive(Clone, Debug)]
pub struct ServiceSilence {
    /// By name; zero: as long as they like.
    configured: BTreeMap<String, Span>,
    /// Of one that keeps a steady pace, during business hours; none where silence of the whole
    /// table is not expected to be reported either.
    steady: Option<Span>,
}

impl ServiceSilence {
    /// As the configuration has it.
    pub fn of(config: &Config) -> Self {
        let detection = &config.detection;
        let table = Source::AuditDb.as_str();
        let is_expected = detection.expected_sources.iter().any(|s| s == table);

        Self {
            configured: detection.expected_services.clone(),
            steady: is_expected.then(|| config::rules::gap_silence(config)),
        }
    }

    /// Whether a service may be silent as long as it likes.
    fn may_be_silent(&self, name: &str) -> bool {
        self.configured.get(name) == Some(&Span::ZERO)
    }

    /// After how long the silence of a service is reported, if it ever is.
    fn threshold(&self, name: &str, rhythm: &Cadence, hours: Hours) -> Option<Span> {
        if let Some(configured) = self.configured.get(name) {
            let is_expected = *configured > Span::ZERO && hours == Hours::Business;
            return is_expected.then_some(*configured);
        }

        let steady = self.steady?;
        if hours == Hours::Business && rhythm.is_steady(steady, hours) {
            return Some(steady);
        }
        rhythm.silence_threshold(None, hours)
    }
}

/// Looks until `stop` is cancelled.
pub async fn run(mut options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let began = options.clock.now();
    let (mut first, mut cleared) = (true, began);
    let mut watched = Watched {
        sources: began,
        services: began,
    };
    loop {
        if !(options.settled)() {
            watched.services = options.clock.now();
        }
        if !options.clock.is_trusted() {
            watched.sources = options.clock.now();
            watched.services = watched.sources;
        }

        match check_sources(&mut options, watched, first).await {
            Ok(()) => first = false,
            Err(cause) => {
                warn!("the sources are not watched for now: {cause:#}");
                watched.services = options.clock.now();
            }
        }

        if let Some(why) = (options.stuck)() {
            options.failures.tell_of(
                Component::Writer,
                "spool",
                format!("events do not get into the database: {why}"),
            );
        }

        let now = options.clock.now();
        if now.since(cleared) > CLEAR_EVERY {
            cleared = now;
            let done = async {
                sources::clear_dead_letters(&mut store::connect(&options.database).await?).await
            };
            if let Err(cause) = done.await {
                warn!("cannot delete old dead letters; retrying later: {cause}");
            }
        }

        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn check_sources(
    options: &mut Options,
    watched_since: Watched,
    first: bool,
) -> anyhow::Result<()> {
    let mut conn = store::connect(&options.database).await?;
    show_life(&mut conn, options.clock.now(), first).await?;
    for tenant in store::tenants::list(&mut conn).await? {
        store::tenants::act_for(&mut conn, tenant.id).await?;
        let name = match tenant.id {
            TenantId::DEFAULT => None,
            _ => Some(tenant.name),
        };
        check_tenant(options, &mut conn, name.as_ref(), watched_since).await?;
    }
    Ok(())
}

/// Notes that the daemon runs, in the ledger of the installation's own tenant.
async fn show_life(conn: &mut PgConnection, now: Timestamp, first: bool) -> anyhow::Result<()> {
    let seen = sources::find(conn, OURSELVES)
        .await?
        .and_then(|row| row.last_received_at);
    sources::declare(conn, OURSELVES, Source::AuditDb, None).await?;
    sources::book(conn, OURSELVES, Source::AuditDb, &Intake::default(), now).await?;
    if let Some(seen) = seen.filter(|seen| first && now.since(*seen) > OUTAGE) {
        let detail = "the daemon did not run; files and the table of events were read afterward, \
            listeners heard nothing";
        let gap = Gap {
            cause: Cause::Outage,
            started_at: seen,
            ended_at: Some(now),
            lost: None,
            detail: detail.to_owned(),
        };

        sources::note_gap(conn, OURSELVES, &gap).await?;
    }
    Ok(())
}

/// What a failure is told about: a source by its name, and of another tenant than `default` by the
/// tenant's, too.
fn named(tenant: Option<&TenantName>, source_id: &str) -> String {
    match tenant {
        Some(tenant) => format!("{source_id} of the tenant {tenant}"),
        None => source_id.to_owned(),
    }
}

/// Looks at the sources of the tenant that the connection works for.
async fn check_tenant(
    options: &mut Options,
    conn: &mut PgConnection,
    tenant: Option<&TenantName>,
    watched_since: Watched,
) -> anyhow::Result<()> {
    let now = options.clock.now();
    let rows = sources::list(conn).await?;
    let is_watched = |row: &&SourceRow| {
        let id = &row.source_id;
        let source = TenantSource {
            tenant: tenant.cloned(),
            name: id.clone(),
        };
        let is_configured = options.configured.contains(&source)
            || options.found.contains(&source)
            || id == Source::AuditDb.as_str()
            || id.starts_with(SERVICE);
        is_configured && row.silent_since.is_none()
    };
    let watched: Vec<&SourceRow> = rows.iter().filter(is_watched).collect();
    for row in rows.iter().filter(|row| row.silent_since.is_some()) {
        let service = row.source_id.strip_prefix(SERVICE);
        if service.is_some_and(|name| options.services.may_be_silent(name)) {
            sources::end_silence(conn, &row.source_id, now).await?;
        }
    }
    for row in watched {
        let Some(gap) = silence_detection(row, options, watched_since, now) else {
            continue;
        };
        let source = named(tenant, &row.source_id);
        warn!("{source}: {}", gap.detail);

        // The rule audit_log_gap watches the table of audit events itself.
        if row.source_id != Source::AuditDb.as_str() {
            options.failures.tell_of(
                Component::Collector,
                &source,
                format!("{source}: {}", gap.detail),
            );
        }

        sources::note_gap(conn, &row.source_id, &gap).await?;
    }

    let senders = senders::list(conn, None).await?;
    report_silent(options, conn, tenant, &senders, watched_since, now).await?;
    report_unread(options, conn, tenant, senders, now).await
}

/// Machines that are named in one message; the others are counted.
const SILENT_NAMED: usize = 10;

/// Tells once of the machines behind each listener that have fallen silent, until they are heard
/// again. Who sends can make up machines, so those of a source are one message.
async fn report_silent(
    options: &mut Options,
    conn: &mut PgConnection,
    tenant: Option<&TenantName>,
    senders: &[Sender],
    watched: Watched,
    now: Timestamp,
) -> anyhow::Result<()> {
    let period = options.calendar.period(now);
    let open = period.open.then_some(period.start);
    let mut by_source: BTreeMap<&str, Vec<&Sender>> = BTreeMap::new();
    for (at, sender) in senders.iter().enumerate() {
        if let Some(since) = sender.silent_since {
            if sender.last_seen_at > since {
                info!("{}: {} is heard again", sender.source_id, sender.machine());
                senders::set_silent_since(conn, sender, None).await?;
            }
            continue;
        }

        // The sum of a peer comes before its machines, which say more.
        let has_machines = senders.get(at + 1).is_some_and(|next| {
            next.source_id == sender.source_id && next.key.peer == sender.key.peer
        });
        let is_sum = sender.key.host.is_empty() && has_machines;
        let is_watched = options.configured.contains(&TenantSource {
            tenant: tenant.cloned(),
            name: sender.source_id.clone(),
        });
        if is_watched && !is_sum && sender.silence(now, watched.sources, open).is_some() {
            by_source.entry(&sender.source_id).or_default().push(sender);
        }
    }

    for (source_id, silent) in by_source {
        let source = named(tenant, source_id);
        let names: Vec<String> = silent
            .iter()
            .take(SILENT_NAMED)
            .map(|sender| {
                let since = now.since(sender.last_seen_at);
                format!("{} for {since}", sender.machine())
            })
            .collect();
        let others = match silent.len().saturating_sub(SILENT_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "{source}: machines that sent to it regularly are silent: {}{others}; see `blueteam \
             sources show {source_id}`",
            names.join(", ")
        );
        warn!("{message}");
        options
            .failures
            .tell_of(Component::Collector, &format!("{source} senders"), message);
        for sender in silent {
            senders::set_silent_since(conn, sender, Some(now)).await?;
        }
    }
    Ok(())
}

/// Tells once of each sender of which too much is not understood, until that has passed.
async fn report_unread(
    options: &Options,
    conn: &mut PgConnection,
    tenant: Option<&TenantName>,
    senders: Vec<Sender>,
    now: Timestamp,
) -> anyhow::Result<()> {
    for sender in senders {
        match (sender.unread(now), sender.unread_since) {
            (Some(Unread { unparsed, lines }), None) => {
                let name = named(tenant, &sender.name());
                let message = format!(
                    "{name}: {unparsed} of {lines} lines were not understood, so rules and checks \
                     that read it are partly blind; see `blueteam sources dead-letters --source \
                     {}`",
                    sender.source_id
                );
                warn!("{message}");
                options
                    .failures
                    .tell_of(Component::Collector, &name, message);
                senders::set_unread_since(conn, &sender, Some(now)).await?;
            }
            (None, Some(_)) => {
                info!("{}: its lines are understood again", sender.name());
                senders::set_unread_since(conn, &sender, None).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A silence that is longer than the source's usual ones. Time before the watch began counts for
/// nothing.
fn silence_detection(
    row: &SourceRow,
    options: &mut Options,
    watched: Watched,
    now: Timestamp,
) -> Option<Gap> {
    let rhythm: Cadence = serde_json::from_value(row.rhythm.clone()).unwrap_or_default();
    let period = options.calendar.period(now);
    let hours = if period.open {
        Hours::Business
    } else {
        Hours::Off
    };

    let (began, patience) = match row.source_id.strip_prefix(SERVICE) {
        Some(service) => {
            let patience = options.services.threshold(service, &rhythm, hours);
            (watched.services, patience?)
        }
        None => (
            watched.sources,
            rhythm.silence_threshold(row.expected_every, hours)?,
        ),
    };
    let last = row.last_received_at.unwrap_or(began).max(began);

    // A pause that began in the other kind of hours is judged by what is left of it.
    let since = last.max(period.start);
    (now.since(since) > patience).then(|| Gap {
        cause: Cause::Silence,
        started_at: row.last_received_at.unwrap_or(began),
        ended_at: None,
        lost: None,
        detail: format!(
            "has been silent for {}; it is expected to speak every {patience}",
            now.since(since)
        ),
    })
}
