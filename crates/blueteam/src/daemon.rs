//! The running program: a closed list of parts, each with a name and an end.
//!
//! `up` starts the HTTP door and the monitor, `monitor` the monitor alone. Both look after the private cluster, if there is one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use detect::Engine;
use jiff::tz::TimeZone;
use model::time::Calendar;
use model::{Clock, Source, Span, SystemClock};
use notify::Channels;
use rustix::fs::{FlockOperation, flock};
use store::PgConnectOptions;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Loaded;
use crate::database::{Database, Role};
use crate::dispatcher::Names;
use crate::failures::Failures;
use crate::health::{Pulse, Verdict};
use crate::links::Links;
use crate::metrics::Shown;
use crate::state::StateDir;
use crate::{
    advisories, applications, collector, dispatcher, duties, escalation, failures, journal, lab, listener, monitor,
    monitors, notices, outage, settings, watch, watchdog,
};

/// The file that says, by its lock, that a daemon runs on a state directory.
pub const LOCK: &str = "daemon.lock";
/// How long a detection that closed may still be taken up by an event that was held up on its way.
const GRACE: Span = Span::mins(10);
/// How often user profiles are saved.
const CHECKPOINT: Span = Span::mins(1);

/// What is started beside the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The HTTP door, collectors and the monitor.
    Everything,
    /// The monitor and its channels alone.
    Monitor,
}

/// What somebody who started the daemon is told once it is ready.
#[derive(Clone, Debug)]
pub struct Ready {
    /// How long it took.
    pub after: Duration,
    /// Where events are taken in.
    pub listen: Option<std::net::SocketAddr>,
    /// Whether the database is a private cluster.
    pub private_cluster: bool,
}

/// Runs until `stop`, then ends every part in its turn.
pub async fn run(
    loaded: &Loaded,
    state: &StateDir,
    parts: Parts,
    stop: CancellationToken,
    on_ready: impl FnOnce(&Ready) + Send,
) -> anyhow::Result<()> {
    let began = Instant::now();
    state.create()?;
    let _lock = lock(state)?;
    let database = Database::open(loaded, state).await?;
    if !await_database(loaded, state, &database, &stop).await? {
        return Ok(());
    }
    let outcome = with_database(loaded, state, parts, stop, &database, (began, on_ready)).await;
    let stopped = database.stop().await.context("the private PostgreSQL cluster did not stop cleanly");
    outcome.and(stopped)
}

/// Waits for a database that is away when we start, and has people told of it meanwhile. False when told to stop first. A database that
/// answers, but not as we want, is a mistake of the configuration and ends the start.
async fn await_database(
    loaded: &Loaded,
    state: &StateDir,
    database: &Database,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let Some(external) = database.external() else { return Ok(true) };
    let away = async || store::connect(external).await.is_err_and(|error| error.is_outage());
    if !away().await {
        return Ok(true);
    }
    error!("the database is away; waiting for it, and nothing is taken in or detected until then");
    let options = outage::Options {
        database: external.clone(),
        channels: open_channels(loaded)?,
        patience: patience(loaded),
        state: state.clone(),
        clock: Arc::new(SystemClock),
        signs: outage::Signs::default(),
        verdict: Arc::default(),
    };
    let back = stop.child_token();
    let watch = tokio::spawn(outage::run(options, back.clone()));
    let mut up = false;
    while !up && !stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => up = !away().await,
            () = stop.cancelled() => {}
        }
    }
    back.cancel();
    watch.await??;
    Ok(up)
}

/// Keeps a second daemon off the same state directory, for as long as the file lives.
fn lock(state: &StateDir) -> anyhow::Result<File> {
    let path = state.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another blueteam daemon runs on {}; stop it, or use another --state-dir", state.path().display());
    }
    Ok(file)
}

/// Brings schema and tables of rules and requirements up to date, and puts the rules to their test.
async fn prepare(loaded: &Loaded, database: &Database) -> anyhow::Result<()> {
    database.migrate().await?;
    let sigma = settings::sigma(&loaded.config)?;
    let mut operator = database.connect(Role::Operator).await?;
    settings::sync_rules(&mut operator, &sigma).await?;
    settings::sync_catalog(&mut operator).await?;
    lab::prove(&mut operator, &loaded.config).await;
    Ok(())
}

async fn with_database(
    loaded: &Loaded,
    state: &StateDir,
    parts: Parts,
    stop: CancellationToken,
    database: &Database,
    (began, on_ready): (Instant, impl FnOnce(&Ready)),
) -> anyhow::Result<()> {
    prepare(loaded, database).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (failures, told) = Failures::new();
    let (inner, outer) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = Tasks::default();
    let engine_role = database.options(Role::Engine)?;
    let calendar = Calendar::new(loaded.config.business_hours.clone())?;

    let shown = Arc::new(Shown::default());
    let door = match parts {
        Parts::Everything => Some(crate::door::open(loaded, state, database, &clock, &shown, &outer).await?),
        Parts::Monitor => None,
    };
    if let Some(door) = &door {
        let common = (&engine_role, &calendar, &clock, &failures);
        start_sources((loaded, door), database, common, &mut tasks, (&outer, &inner))?;
    }

    let channels = open_channels(loaded)?;
    let (pulse, verdict) = (Arc::new(Pulse::default()), Arc::new(Verdict::default()));
    let (deliveries, ready) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let settled = door.as_ref().map(crate::door::Door::settled);
    let options = monitor::Options {
        database: engine_role.clone(),
        engine: engine_maker(loaded),
        routing: loaded.config.alerts.routing(&loaded.config.channels)?,
        state: state.clone(),
        poll: loaded.config.monitor.poll,
        checkpoint: CHECKPOINT,
        max_clock_ahead: loaded.config.ingest.max_clock_ahead,
        expect_unheard: loaded.config.detection.expect_unheard,
        calendar,
        settle: loaded.config.detection.settle,
        clock: Arc::clone(&clock),
        settled: Box::new(move || settled.as_ref().is_none_or(|settled| settled())),
        deliveries: Arc::clone(&deliveries),
        failures: failures.clone(),
        pulse: Arc::clone(&pulse),
        shown,
    };
    tasks.spawn("monitor", monitor::run(options, Arc::clone(&ready), inner.clone()));
    if let Some(heartbeat) = loaded.config.watchdog.heartbeat(&loaded.secrets)? {
        let (every, clock) = (loaded.config.watchdog.every, Arc::clone(&clock));
        let (pulse, verdict) = (Arc::clone(&pulse), Arc::clone(&verdict));
        let options = watchdog::Options { heartbeat, every, pulse, verdict, clock };
        tasks.spawn("watchdog", watchdog::run(options, inner.clone()));
    }
    let options = outage::Options {
        database: engine_role.clone(),
        channels: Arc::clone(&channels),
        patience: patience(loaded),
        state: state.clone(),
        clock: Arc::clone(&clock),
        signs: outage::Signs {
            pulse: Some(pulse),
            stalls: failures.stalls().clone(),
            unstored: door.as_ref().map(crate::door::Door::unstored),
        },
        verdict,
    };
    tasks.spawn("watch over blueteam's own work", outage::run(options, inner.clone()));
    let place = (state.path(), database.is_private());
    let options = monitors::Options::new(loaded, place, engine_role.clone(), (&clock, &deliveries))?;
    tasks.spawn("monitors", monitors::run(options, inner.clone()));
    let common = (&engine_role, database.options(Role::Operator)?, &clock, &failures);
    start_messages((loaded, state), common, (channels, deliveries), &mut tasks, &inner)?;
    tasks.spawn("failure writer", failures::write(told, database.options(Role::Ingest)?, inner.clone()));
    tasks.spawn("partitions", keep_partitions(engine_role, loaded.config.collect.keep_months, inner.clone()));
    if let Some(cluster) = database.cluster() {
        tasks.spawn("cluster watch", watch_cluster(cluster, inner.clone()));
    }

    tokio::select! {
        () = ready.notified() => {
            let listen = door.as_ref().map(crate::door::Door::address);
            on_ready(&Ready { after: began.elapsed(), listen, private_cluster: database.is_private() });
            tasks.ended_or(&stop).await;
        }
        () = tasks.ended_or(&stop) => {}
    }
    // From the outside in: first no new events, then what is under way.
    outer.cancel();
    if let Some(door) = door {
        door.close().await;
    }
    inner.cancel();
    tasks.finish().await
}

/// Starts what carries messages to people: the dispatcher, and the watch over alerts that nobody acknowledges, when somebody is to be
/// told of them.
fn start_messages(
    (loaded, state): (&Loaded, &StateDir),
    (database, operator, clock, failures): (&PgConnectOptions, PgConnectOptions, &Arc<dyn Clock>, &Failures),
    (channels, deliveries): (Arc<Channels>, Arc<Notify>),
    tasks: &mut Tasks,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let zone = TimeZone::get(&loaded.config.business_hours.time_zone)?;
    let config = &loaded.config;
    let options = notices::Options {
        database: database.clone(),
        digest: (config.digest.time(), zone.clone(), config.digest.channels(&config.channels)),
        heartbeat: (config.heartbeat.every, config.heartbeat.channels(&config.channels)),
        per: config.alerts.messages_per,
        hostname: notices::hostname(),
        deliveries: Arc::clone(&deliveries),
        clock: Arc::clone(clock),
    };
    tasks.spawn("schedule of digests", notices::run(options, stop.clone()));
    let options = advisories::Options::of(config, database, (&deliveries, clock))?;
    tasks.spawn("watch over advisories", advisories::run(options, stop.clone()));
    let options = duties::Options {
        operator,
        database: database.clone(),
        config: config.clone(),
        state: state.clone(),
        hostname: notices::hostname(),
        deliveries: Arc::clone(&deliveries),
        clock: Arc::clone(clock),
    };
    tasks.spawn("schedule of compliance", duties::run(options, stop.clone()));
    let config = &loaded.config.escalation;
    if !config.tiers.is_empty() {
        let options = escalation::Options {
            database: database.clone(),
            patience: config.patience(),
            tiers: config.tiers.clone(),
            rota: config.rota(),
            zone,
            clock: Arc::clone(clock),
            deliveries: Arc::clone(&deliveries),
        };
        tasks.spawn("escalation", escalation::run(options, stop.clone()));
    }
    let options = dispatcher::Options {
        database: database.clone(),
        channels,
        names: Arc::new(Names {
            personnel: loaded.config.personnel.clone(),
            links: Links::open(config, state)?,
            patience: config.patience().to_vec(),
        }),
        wake: deliveries,
        clock: Arc::clone(clock),
        failures: failures.clone(),
    };
    tasks.spawn("dispatcher", dispatcher::run(options, stop.clone()));
    Ok(())
}

/// Starts whatever reads from outside, and the watch over it.
fn start_sources(
    (loaded, door): (&Loaded, &crate::door::Door),
    database: &Database,
    (engine_role, calendar, clock, failures): (&PgConnectOptions, &Calendar, &Arc<dyn Clock>, &Failures),
    tasks: &mut Tasks,
    (outer, inner): (&CancellationToken, &CancellationToken),
) -> anyhow::Result<()> {
    let mut configured = start_collectors(loaded, (engine_role, calendar, clock, failures), tasks, outer)?;
    configured.extend(applications::start(loaded, (database, calendar, clock, failures), outer, |task| {
        tasks.spawn("reader of another database", task);
    })?);
    let options = watch::Options {
        database: engine_role.clone(),
        calendar: calendar.clone(),
        configured,
        clock: Arc::clone(clock),
        failures: failures.clone(),
        stuck: door.stuck(),
    };
    tasks.spawn("watch over sources", watch::run(options, inner.clone()));
    Ok(())
}

/// Starts a collector for each configured log. Returns their names in the ledger.
fn start_collectors(
    loaded: &Loaded,
    (database, calendar, clock, failures): (&PgConnectOptions, &Calendar, &Arc<dyn Clock>, &Failures),
    tasks: &mut Tasks,
    outer: &CancellationToken,
) -> anyhow::Result<BTreeSet<String>> {
    let mut configured = BTreeSet::from([Source::AuditDb.as_str().to_owned()]);
    for file in &loaded.config.collect.files {
        let options = collector::Options {
            database: database.clone(),
            path: file.path.clone().into(),
            format: file.format().context("no such format")?,
            every: file.every,
            service: file.service.clone(),
            zone: file.zone().context("no such time zone")?,
            calendar: calendar.clone(),
            settle: loaded.config.detection.settle,
            clock: Arc::clone(clock),
            failures: failures.clone(),
        };
        configured.insert(options.name());
        tasks.spawn("collector", collector::run(options, outer.clone()));
    }
    for listener in &loaded.config.collect.listeners {
        let options = listener::Options {
            database: database.clone(),
            address: listener.address.parse().map_err(anyhow::Error::msg)?,
            tls: listener.tls(),
            format: listener.format().context("no such format")?,
            every: listener.every,
            service: listener.service.clone(),
            calendar: calendar.clone(),
            settle: loaded.config.detection.settle,
            clock: Arc::clone(clock),
            failures: failures.clone(),
        };
        configured.insert(options.name());
        tasks.spawn("listener", listener::run(options, outer.clone()));
    }
    for journal in &loaded.config.collect.journals {
        let options = journal::Options {
            database: database.clone(),
            directory: journal.directory.clone(),
            every: journal.every,
            service: journal.service.clone(),
            calendar: calendar.clone(),
            settle: loaded.config.detection.settle,
            clock: Arc::clone(clock),
            failures: failures.clone(),
        };
        configured.insert(options.name());
        tasks.spawn("follower of the journal", journal::run(options, outer.clone()));
    }
    Ok(configured)
}

/// Makes the engine as the configuration and the table of rules want it, anew for each start of the monitor.
fn engine_maker(loaded: &Loaded) -> monitor::MakeEngine {
    let config = loaded.config.clone();
    Box::new(move |table| {
        let mut engine = Engine::new(settings::engine_with_table(&config, Vec::new(), GRACE, table))?;
        engine.set_sigma(settings::sigma_with_table(settings::sigma(&config)?, table));
        Ok(engine)
    })
}

fn patience(loaded: &Loaded) -> outage::Patience {
    let config = &loaded.config.watchdog;
    outage::Patience { database: config.database_away, stuck: config.stuck_after }
}

fn open_channels(loaded: &Loaded) -> anyhow::Result<Arc<Channels>> {
    let stdout = std::io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let settings = loaded.channel_settings(Box::new(stdout), colour, &notices::hostname())?;
    Ok(Arc::new(Channels::open(settings)?))
}

/// The parts that run, by name.
#[derive(Default)]
struct Tasks {
    set: JoinSet<(&'static str, anyhow::Result<()>)>,
    failed: Option<anyhow::Error>,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.set.spawn(async move { (name, task.await) });
    }

    /// Returns when told to stop, or when a part has ended that should not have.
    async fn ended_or(&mut self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = self.set.join_next() => self.note(ended, true),
        }
    }

    fn note(&mut self, ended: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>, unexpected: bool) {
        let failure = match ended {
            Ok((name, Err(cause))) => cause.context(format!("the {name} failed")),
            Ok((name, Ok(()))) if unexpected => anyhow::anyhow!("the {name} ended by itself"),
            Ok(_) => return,
            Err(panic) => anyhow::anyhow!("a part of the daemon ended with a bug: {panic}"),
        };
        error!("{failure:#}");
        self.failed.get_or_insert(failure);
    }

    async fn finish(mut self) -> anyhow::Result<()> {
        let all = async {
            while let Some(ended) = self.set.join_next().await {
                self.note(ended, false);
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), all).await.is_err() {
            warn!("some parts did not end in time and were cut off; nothing committed is lost");
            // Not before they are gone: the cluster can be stopped only when nobody holds on to it.
            self.set.shutdown().await;
        }
        self.failed.map_or(Ok(()), Err)
    }
}

/// Makes partitions ahead of time, and drops those of logs that are older than `keep_months`, unless that is 0.
async fn keep_partitions(database: PgConnectOptions, keep_months: u16, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_hours(1)) => {}
            () = stop.cancelled() => return Ok(()),
        }
        let made = async { store::ensure_partitions(&mut store::connect(&database).await?, 2).await };
        match made.await {
            Ok(0) => {}
            Ok(made) => info!(made, "partitions made for the coming months"),
            Err(cause) => warn!("partitions are not made for now: {cause}"),
        }
        if keep_months == 0 {
            continue;
        }
        let dropped = async { store::collected::drop_old(&mut store::connect(&database).await?, keep_months).await };
        match dropped.await {
            Ok(months) if months.is_empty() => {}
            Ok(months) => info!("events of logs past their age were dropped: {}", months.join(", ")),
            Err(cause) => warn!("events of logs past their age are not dropped for now: {cause}"),
        }
    }
}

/// Starts the private cluster again when it has died.
async fn watch_cluster(cluster: Arc<Mutex<store::cluster::Cluster>>, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = stop.cancelled() => return Ok(()),
        }
        match cluster.lock().await.ensure_running().await {
            Ok(false) => {}
            Ok(true) => warn!("the private PostgreSQL cluster had died and was started again"),
            Err(cause) => error!("the private PostgreSQL cluster does not start again: {cause}"),
        }
    }
}
