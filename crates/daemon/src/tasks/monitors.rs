//! The schedule: each monitor measures in its turn, and what that changes is committed before the
//! next.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::time::Calendar;
use model::{Clock, Span, Timestamp};
use notify::{Routing, Silences};
use store::monitors::Monitored;
use store::{Connection as _, PgConnectOptions, PgConnection, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use app::alert_routing::AlertRouter;
use app::certificates;
use config::Config;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use monitors::step::step;
use monitors::{ALL, Around, Measured, Monitor};

/// The task.
pub const TASK: Task = Task {
    name: "monitors",
    lifetime: Lifetime::Configuration,
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let config = &context.loaded.config;
    let monitors = config.monitors.clone();
    let private = context.database.cluster.is_some();
    let named = monitors.storage_paths.iter().map(PathBuf::from);

    let options = Options {
        database: context.database.engine.clone(),
        every: monitors.interval,
        clear_after: monitors.clear_after,
        keep: monitors.retention,
        thresholds: monitors.thresholds,
        off: monitors.disabled,
        storage: std::iter::once(context.state.path().to_owned())
            .chain(named)
            .collect(),
        holds_database: private || !monitors.storage_paths.is_empty(),
        backups: monitors.backup_files,
        config: config.clone(),
        calendar: context.calendar.clone(),
        routing: config.alerts.routing(&config.channels)?,
        deliveries: Arc::clone(&context.outbox.wake),
        clock: Arc::clone(&context.clock),
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// How often old values are forgotten.
const FORGET_EVERY: Span = Span::hours(1);
/// Events that a log's reader or a slow transaction brings later than this do not count.
const LATE: Span = Span::secs(30);
/// The longest that a measurement may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Configuration of the monitors task.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// How often each measures.
    pub every: Span,
    /// For how long a value must have been low before its alert closes.
    pub clear_after: Span,
    /// How long values are kept.
    pub keep: Span,
    /// Thresholds that the configuration sets, by name.
    pub thresholds: BTreeMap<String, f64>,
    /// Monitors that are switched off.
    pub off: Vec<String>,
    /// File systems that must not fill up.
    pub storage: Vec<PathBuf>,
    /// Whether one of these holds the database.
    pub holds_database: bool,
    /// Where backups appear.
    pub backups: Vec<String>,
    /// The configuration that names the certificates that blueteam presents.
    pub config: Config,
    /// Business hours.
    pub calendar: Calendar,
    /// Which alert takes which channel.
    pub routing: Routing,
    /// Called when messages were written.
    pub deliveries: Arc<Notify>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// Measures until `stop` is cancelled.
pub async fn run(mut options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let (mut last, mut forgot) = (options.clock.now().minus(options.every), None);
    let mut failing = false;
    loop {
        let now = options.clock.now();
        match run_round(&mut options, last, now, &mut forgot).await {
            Ok(()) => {
                failing = false;
                last = now;
            }
            Err(_) if failing => {}
            Err(cause) => {
                failing = true;
                warn!("cannot run the monitors; retrying: {cause:#}");
            }
        }

        tokio::select! {
            () = tokio::time::sleep(options.every.to_std()) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn run_round(
    options: &mut Options,
    last: Timestamp,
    now: Timestamp,
    forgot: &mut Option<Timestamp>,
) -> anyhow::Result<()> {
    let mut conn = store::connect(&options.database).await?;
    let known = store::monitors::list(&mut conn).await?;
    let disabled: Vec<String> = store::rules::settings(&mut conn)
        .await?
        .into_iter()
        .filter(|row| !row.enabled)
        .map(|row| row.rule_id.to_string())
        .collect();

    let silences = Silences::new(store::silences::ending_after(&mut conn, now).await?);
    // What happened during an outage of blueteam is left to the rules, which read it afterwards.
    let since = last
        .minus(LATE)
        .max(now.minus(options.every).minus(Span::mins(10)));
    for monitor in ALL {
        let off = options.off.iter().any(|name| name == monitor.name)
            || disabled.iter().any(|id| id == monitor.rule_id().as_str());
        let before = known.iter().find(|m| m.name == monitor.name);
        let done = run_monitor(
            options,
            &mut conn,
            Measurement {
                monitor,
                before,
                off,
                since,
                now,
            },
            &silences,
        )
        .await;

        if let Err(cause) = done {
            warn!("monitor {} failed: {cause:#}", monitor.name);
            // What failed may have left a transaction or a query behind.
            conn = store::connect(&options.database).await?;
        }
    }

    if forgot.is_none_or(|at| now.since(at) >= FORGET_EVERY) {
        store::monitors::forget(&mut conn, now.minus(options.keep)).await?;
        *forgot = Some(now);
    }

    Ok(())
}

/// One measurement of a round.
struct Measurement<'a> {
    monitor: &'static Monitor,
    /// What the last round measured.
    before: Option<&'a Monitored>,
    /// Whether the monitor is switched off.
    off: bool,
    /// Where this round begins.
    since: Timestamp,
    now: Timestamp,
}

async fn run_monitor(
    options: &mut Options,
    conn: &mut PgConnection,
    measurement: Measurement<'_>,
    silences: &Silences,
) -> anyhow::Result<()> {
    let Measurement {
        monitor,
        before,
        off,
        since,
        now,
    } = measurement;
    let threshold = options
        .thresholds
        .get(monitor.name)
        .copied()
        .unwrap_or(monitor.threshold);
    let measured = if off {
        Measured::NotWatched("it is switched off".to_owned())
    } else {
        let certificates = certificates::expiries(&options.config);
        let mut around = Around {
            conn,
            now,
            since,
            threshold,
            storage: &options.storage,
            holds_database: options.holds_database,
            backups: &options.backups,
            certificates: &certificates,
        };

        tokio::time::timeout(PATIENCE, (monitor.measure)(&mut around)).await??
    };

    let (next, change) = step(
        monitor,
        before,
        measured,
        threshold,
        options.clear_after,
        now,
    );
    let mut tx = conn.begin().await.map_err(StoreError::from)?;

    let mut written = 0;
    if let Some(change) = &change {
        let router = AlertRouter {
            routing: &options.routing,
            silences,
            tenant: None,
            now,
            business_hours: options.calendar.period(now).open,
            stale_before: Timestamp::MIN,
        };

        store::alerts::take_turn(&mut tx).await?;
        written = router
            .apply(&mut tx, std::slice::from_ref(change))
            .await?
            .deliveries;
        let word = if change.opened {
            "is over its threshold"
        } else {
            "is calm again"
        };

        info!(monitor = monitor.name, "{word}: {}", change.detection.title);
    }

    store::monitors::save(&mut tx, &next).await?;
    tx.commit().await.map_err(StoreError::from)?;
    if written > 0 {
        options.deliveries.notify_one();
    }

    Ok(())
}
