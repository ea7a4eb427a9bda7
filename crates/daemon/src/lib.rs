//! The running program: a closed list of parts, each with a name and an end.
//!
//! `up` starts the HTTP door and the monitor, `monitor` the monitor alone. Both look after the
//! private cluster, if there is one.

use std::fs::File;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use detect::Engine;
use jiff::tz::TimeZone;
use model::time::Calendar;
use model::{Clock, Span, SystemClock};
use notify::Channels;
use rustix::fs::{FlockOperation, flock};
use store::{PgConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::metrics::Shown;
use crate::sources::listener::Waiting;
use crate::tasks::advisory_sync;
use crate::tasks::compliance_checks as duties;
use crate::tasks::detection as monitor;
use crate::tasks::dispatcher;
use crate::tasks::dispatcher::Names;
use crate::tasks::escalation;
use crate::tasks::monitors;
use crate::tasks::scheduled_notifications as notices;
use crate::tasks::self_check as outage;
use crate::tasks::watchdog;
use app::ack_links::Links;
use app::certificates;
use app::certificates::Certificates;
use app::database::{Database, Role};
use app::health::{Pulse, Verdict};
use app::self_audit as failures;
use app::self_audit::Failures;
use config::Loaded;
use config::StateDir;
use sources::{Common, start_sources};
use supervisor::Tasks;
use tasks::upkeep::{keep_partitions, watch_cluster};

pub mod http;
pub mod log_pipeline;
pub mod metrics;
mod reload;
pub mod source_accounting;
pub mod sources;
mod supervisor;
pub mod tasks;

/// The file that says, by its lock, that a daemon runs on a state directory.
pub const LOCK: &str = "daemon.lock";
/// How long a detection that closed may still be taken up by an event that was held up on its way.
const GRACE: Span = Span::mins(10);
/// How often user profiles are saved.
const CHECKPOINT: Span = Span::mins(1);
/// What is in a listener's spool for less than this is only passing through.
const PASSING: Span = Span::secs(5);

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

/// How those who started the daemon speak to it while it runs.
#[derive(Debug)]
pub struct Control {
    /// Ends it.
    pub stop: CancellationToken,
    /// Has it read its configuration again.
    pub reload: Arc<Notify>,
    /// The file that is read then.
    pub config: Option<PathBuf>,
}

/// Runs until it is stopped, then ends every part in its turn.
pub async fn run(
    loaded: &Loaded,
    state: &StateDir,
    parts: Parts,
    control: Control,
    on_ready: impl FnOnce(&Ready) + Send,
) -> anyhow::Result<()> {
    let began = Instant::now();
    state.create()?;
    let _lock = lock(state)?;
    let database = Database::open(loaded, state).await?;
    if !await_database(loaded, state, &database, &control.stop).await? {
        return Ok(());
    }

    let outcome = with_database(
        loaded,
        (state, &database),
        parts,
        &control,
        (began, on_ready),
    )
    .await;

    let stopped = database
        .stop()
        .await
        .context("the private PostgreSQL cluster did not stop cleanly");
    outcome.and(stopped)
}

/// Waits for a database that is away when we start, and has people told of it meanwhile. False when
/// told to stop first. A database that answers, but not as we want, is a mistake of the
/// configuration and ends the start.
async fn await_database(
    loaded: &Loaded,
    state: &StateDir,
    database: &Database,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let Some(external) = database.external() else {
        return Ok(true);
    };
    let away = async || {
        store::connect(external)
            .await
            .is_err_and(|error| error.is_outage())
    };

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
        failures: None,
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
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);

    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!(
            "another blueteam daemon runs on {}; stop it, or use another --state-dir",
            state.path().display()
        );
    }

    Ok(file)
}

/// Brings schema and tables of rules and requirements up to date, and puts the rules to their test.
async fn prepare(loaded: &Loaded, database: &Database) -> anyhow::Result<()> {
    certificates::log_warnings(&loaded.config, SystemClock.now());
    database.migrate().await?;
    let mut operator = database.connect(Role::Operator).await?;
    app::rules::sync_catalog(&mut operator).await?;
    prepare_rules(loaded, &mut operator).await
}

/// Writes the rules into their table, and puts them to their test.
async fn prepare_rules(loaded: &Loaded, operator: &mut PgConnection) -> anyhow::Result<()> {
    let sigma = config::rules::sigma(&loaded.config)?;
    app::rules::sync_rules(operator, &sigma).await?;
    app::rule_tests::prove(operator, &loaded.config).await;
    Ok(())
}

async fn with_database(
    loaded: &Loaded,
    (state, database): (&StateDir, &Database),
    parts: Parts,
    control: &Control,
    (began, on_ready): (Instant, impl FnOnce(&Ready)),
) -> anyhow::Result<()> {
    prepare(loaded, database).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (failures, told) = Failures::new();
    let (inner, outer) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = Tasks::default();
    let engine_role = database.options(Role::Engine)?;
    let calendar = Calendar::new(loaded.config.business_hours.clone())?;
    let (certificates, waiting) = (
        Certificates::new(&loaded.config),
        Arc::new(Waiting::default()),
    );

    let shown = Arc::new(Shown::default());
    let door = match parts {
        Parts::Everything => {
            let with = (database, &certificates);
            Some(http::open(loaded, state, with, &clock, &shown, &outer).await?)
        }
        Parts::Monitor => None,
    };

    if let Some(door) = &door {
        let common = Common {
            engine_role: &engine_role,
            calendar: &calendar,
            clock: &clock,
            failures: &failures,
            certificates: &certificates,
            state,
            waiting: &waiting,
        };

        start_sources(
            (loaded, door),
            database,
            &common,
            &mut tasks,
            (&outer, &inner),
        )?;
        tasks.spawn(
            "watch over certificates",
            certificates.clone().watch(failures.clone(), inner.clone()),
        );
    }

    tasks.spawn(
        "failure writer",
        failures::write(told, database.options(Role::Ingest)?, inner.clone()),
    );

    tasks.spawn(
        "partitions",
        keep_partitions(
            engine_role.clone(),
            loaded.config.collect.retention_months,
            inner.clone(),
        ),
    );

    if let Some(cluster) = database.cluster() {
        tasks.spawn("cluster watch", watch_cluster(cluster, inner.clone()));
    }

    let shared = Shared {
        state,
        database,
        certificates,
        settled: settled(door.as_ref(), Arc::clone(&waiting), &clock),
        unstored: unstored(door.as_ref(), waiting, &clock),
        clock,
        failures,
        pulse: Arc::default(),
        verdict: Arc::default(),
        shown,
        deliveries: Arc::default(),
        ready: Arc::default(),
    };

    let running = Running::start(loaded, &shared)?;
    let listen = door.as_ref().map(http::Door::address);
    let on_ready = |after| {
        on_ready(&Ready {
            after,
            listen,
            private_cluster: database.is_private(),
        });
    };

    let running = reload::supervise((loaded, running), &shared, (&mut tasks, control), || {
        on_ready(began.elapsed());
    });
    let running = running.await;

    // From the outside in: first no new events, then what is under way.
    outer.cancel();
    if let Some(door) = door {
        door.close().await;
    }

    inner.cancel();
    let (parts, rest) = tokio::join!(running.end(), tasks.finish());
    parts.and(rest)
}

/// Whether all that was accepted is in the database, or nearly: the engine's clock does not
/// overtake what waits in a spool.
fn settled(door: Option<&http::Door>, waiting: Arc<Waiting>, clock: &Arc<dyn Clock>) -> Settled {
    let (door, clock) = (door.map(http::Door::settled), Arc::clone(clock));
    Arc::new(move || {
        let long = |since| clock.now().since(since) > PASSING;
        door.as_ref().is_none_or(|settled| settled()) && !waiting.oldest().is_some_and(long)
    })
}

/// Why accepted events are not in their tables, if they are not.
fn unstored(
    door: Option<&http::Door>,
    waiting: Arc<Waiting>,
    clock: &Arc<dyn Clock>,
) -> outage::Unstored {
    let (door, clock) = (door.map(http::Door::unstored), Arc::clone(clock));
    Arc::new(move || {
        let listeners = || {
            let since = waiting
                .oldest()
                .filter(|since| clock.now().since(*since) > PASSING)?;
            Some(format!(
                "messages of a listener wait in its spool since {since}"
            ))
        };

        door.as_ref()
            .and_then(|unstored| unstored())
            .or_else(listeners)
    })
}

/// What the parts share that a reload replaces.
struct Shared<'a> {
    state: &'a StateDir,
    database: &'a Database,
    certificates: Certificates,
    settled: Settled,
    unstored: outage::Unstored,
    clock: Arc<dyn Clock>,
    failures: Failures,
    pulse: Arc<Pulse>,
    verdict: Arc<Verdict>,
    shown: Arc<Shown>,
    deliveries: Arc<Notify>,
    ready: Arc<Notify>,
}

type Settled = Arc<dyn Fn() -> bool + Send + Sync>;

/// The parts that work by the configuration and to which nobody outside is connected: detection and
/// messages. A reload ends them and starts them again, which they take like any other restart.
struct Running {
    tasks: Tasks,
    stop: CancellationToken,
}

impl Running {
    fn start(loaded: &Loaded, shared: &Shared<'_>) -> anyhow::Result<Self> {
        let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
        let Shared {
            state,
            database,
            clock,
            failures,
            deliveries,
            ..
        } = shared;

        let engine_role = database.options(Role::Engine)?;
        let channels = open_channels(loaded)?;
        let settled = Arc::clone(&shared.settled);
        let options = monitor::Options {
            database: engine_role.clone(),
            engine: engine_maker(loaded),
            routing: loaded.config.alerts.routing(&loaded.config.channels)?,
            state: (*state).clone(),
            poll: loaded.config.detection.poll_interval,
            checkpoint: CHECKPOINT,
            max_clock_ahead: loaded.config.ingest.max_clock_ahead,
            expect_unheard: loaded.config.detection.expect_unheard,
            calendar: Calendar::new(loaded.config.business_hours.clone())?,
            settle: loaded.config.detection.allowed_lateness,
            clock: Arc::clone(clock),
            settled: Box::new(move || settled()),
            deliveries: Arc::clone(deliveries),
            failures: failures.clone(),
            pulse: Arc::clone(&shared.pulse),
            shown: Arc::clone(&shared.shown),
        };

        tasks.spawn(
            "monitor",
            monitor::run(options, Arc::clone(&shared.ready), stop.clone()),
        );

        if let Some(heartbeat) = loaded.config.watchdog.heartbeat(&loaded.secrets)? {
            let options = watchdog::Options {
                heartbeat,
                every: loaded.config.watchdog.interval,
                pulse: Arc::clone(&shared.pulse),
                verdict: Arc::clone(&shared.verdict),
                clock: Arc::clone(clock),
            };
            tasks.spawn("watchdog", watchdog::run(options, stop.clone()));
        }

        let options = outage::Options {
            database: engine_role.clone(),
            channels: Arc::clone(&channels),
            patience: patience(loaded),
            state: (*state).clone(),
            clock: Arc::clone(clock),
            signs: outage::Signs {
                pulse: Some(Arc::clone(&shared.pulse)),
                stalls: failures.stalls().clone(),
                unstored: Some(Arc::clone(&shared.unstored)),
            },
            verdict: Arc::clone(&shared.verdict),
            failures: Some(failures.clone()),
        };

        tasks.spawn(
            "watch over blueteam's own work",
            outage::run(options, stop.clone()),
        );
        let place = (state.path(), database.is_private());
        let options =
            monitors::Options::new(loaded, place, engine_role.clone(), (clock, deliveries))?;
        tasks.spawn("monitors", monitors::run(options, stop.clone()));

        let common = (
            &engine_role,
            database.options(Role::Operator)?,
            clock,
            failures,
        );
        start_messages(
            (loaded, *state),
            common,
            (channels, Arc::clone(deliveries)),
            &mut tasks,
            &stop,
        )?;

        Ok(Self { tasks, stop })
    }

    /// Ends them, and waits for those that end soon: nobody else can detect before the monitor has
    /// let go.
    async fn retire(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.tasks.retire().await
    }

    async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.tasks.finish().await
    }

    /// Nothing runs, which ends the daemon.
    fn failed(cause: anyhow::Error) -> Self {
        let mut tasks = Tasks::default();
        tasks.spawn("reload", std::future::ready(Err(cause)));
        Self {
            tasks,
            stop: CancellationToken::new(),
        }
    }
}

/// Starts what carries messages to people: the dispatcher, and the watch over alerts that nobody
/// acknowledges, when somebody is to be told of them.
fn start_messages(
    (loaded, state): (&Loaded, &StateDir),
    (database, operator, clock, failures): (
        &PgConnectOptions,
        PgConnectOptions,
        &Arc<dyn Clock>,
        &Failures,
    ),
    (channels, deliveries): (Arc<Channels>, Arc<Notify>),
    tasks: &mut Tasks,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let zone = TimeZone::get(&loaded.config.business_hours.time_zone)?;
    let config = &loaded.config;
    let options = notices::Options {
        database: database.clone(),
        digest: (
            config.digest.time(),
            zone.clone(),
            config.digest.channels(&config.channels),
        ),
        heartbeat: (
            config.heartbeat.interval,
            config.heartbeat.channels(&config.channels),
        ),
        per: config.alerts.rate_limit.per,
        hostname: notices::hostname(),
        deliveries: Arc::clone(&deliveries),
        clock: Arc::clone(clock),
    };

    tasks.spawn("schedule of digests", notices::run(options, stop.clone()));
    let options = advisory_sync::Options::of(config, database, (&deliveries, clock))?;
    tasks.spawn(
        "watch over advisories",
        advisory_sync::run(options, stop.clone()),
    );

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
            rota: loaded.config.on_call.schedule(),
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
            contacts: loaded.config.contacts.clone(),
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

/// Makes the engine as the configuration and the table of rules want it, anew for each start of the
/// monitor.
fn engine_maker(loaded: &Loaded) -> monitor::MakeEngine {
    let config = loaded.config.clone();
    Box::new(move |table| {
        let mut engine = Engine::new(app::rules::engine_with_table(
            &config,
            Vec::new(),
            GRACE,
            table,
        ))?;
        engine.set_sigma(app::rules::sigma_with_table(
            config::rules::sigma(&config)?,
            table,
        ));
        Ok(engine)
    })
}

fn patience(loaded: &Loaded) -> outage::Patience {
    let config = &loaded.config.watchdog;
    outage::Patience {
        database: config.database_down_after,
        stuck: config.stuck_after,
    }
}

fn open_channels(loaded: &Loaded) -> anyhow::Result<Arc<Channels>> {
    let stdout = std::io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let settings = loaded.channel_settings(Box::new(stdout), colour, &notices::hostname())?;
    Ok(Arc::new(Channels::open(settings)?))
}
