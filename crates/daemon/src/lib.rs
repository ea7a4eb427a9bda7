//! The running program: tasks, sources, and the supervisor that starts and stops them.
//!
//! `serve` starts everything, `monitor` everything but the HTTP server. Both look after the private
//! cluster, if there is one.

pub mod context;
pub mod engine_stats;
pub mod http_server;
pub mod log_pipeline;
pub mod metrics;
mod reload;
pub mod source_accounting;
pub mod sources;
mod spool_backlog;
pub mod supervisor;
pub mod tasks;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use app::certificates::{self, Certificates};
use app::database::{Database, Role};
use app::self_audit::{self, Failures};
use config::{Loaded, StateDir};
use model::time::Calendar;
use model::{Clock, SystemClock};
use rustix::fs::{FlockOperation, flock};
use store::PgConnection;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::context::{
    Arrivals, Connections, FoundSources, Health, Outbox, TaskContext, open_channels,
};
use crate::http_server::HttpServer;
use crate::supervisor::{Lifetime, Supervisor};
use crate::tasks::self_check;

/// The file that says, by its lock, that a daemon runs on a state directory.
pub const LOCK: &str = "daemon.lock";

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The HTTP server, sources, detection and notifications.
    Everything,
    /// The same without the HTTP server.
    Monitor,
}

/// What is known once the daemon is ready.
#[derive(Clone, Debug)]
pub struct Ready {
    /// How long it took.
    pub after: Duration,
    /// Where events are taken in.
    pub listen: Option<std::net::SocketAddr>,
    /// Whether the database is a private cluster.
    pub private_cluster: bool,
}

/// How whoever started the daemon controls it while it runs.
#[derive(Debug)]
pub struct Control {
    /// Ends it.
    pub stop: CancellationToken,
    /// Makes it read its configuration again.
    pub reload: Arc<Notify>,
    /// The file that is read then.
    pub config: Option<PathBuf>,
}

/// Runs until it is stopped, then ends the tasks in order.
pub async fn run(
    loaded: Arc<Loaded>,
    state: &StateDir,
    parts: Parts,
    control: Control,
    on_ready: impl FnOnce(&Ready) + Send,
) -> anyhow::Result<()> {
    let began = Instant::now();
    state.create()?;
    let _lock = lock_state(state)?;

    let database = Database::open(&loaded, state).await?;
    if !await_database(&loaded, state, &database, &control.stop).await? {
        return Ok(());
    }

    let daemon = Daemon {
        state,
        database: &database,
        parts,
        control: &control,
    };

    let outcome = daemon
        .run(loaded, |listen| {
            on_ready(&Ready {
                after: began.elapsed(),
                listen,
                private_cluster: database.is_private(),
            });
        })
        .await;

    let stopped = database.stop().await;
    outcome.and(stopped.context("the private PostgreSQL cluster did not stop cleanly"))
}

/// Waits for a database that is unreachable at the start, and notifies people meanwhile. Returns
/// `false` if it was stopped first. A database that answers, but not as expected, is a mistake of
/// the configuration and ends the start.
async fn await_database(
    loaded: &Loaded,
    state: &StateDir,
    database: &Database,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let Some(external) = database.external() else {
        return Ok(true);
    };

    let unreachable = async || {
        store::connect(external)
            .await
            .is_err_and(|error| error.is_outage())
    };
    if !unreachable().await {
        return Ok(true);
    }

    error!("the database is unreachable; waiting for it, and nothing is accepted or detected");
    let options = self_check::Options {
        database: external.clone(),
        channels: open_channels(loaded)?,
        patience: self_check::Patience::of(&loaded.config.watchdog),
        state: state.clone(),
        clock: Arc::new(SystemClock),
        signs: self_check::Signs::default(),
        verdict: Arc::default(),
        failures: None,
    };

    let reached = stop.child_token();
    let watch = tokio::spawn(self_check::run(options, reached.clone()));
    let mut up = false;
    while !up && !stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => up = !unreachable().await,
            () = stop.cancelled() => {}
        }
    }

    reached.cancel();
    watch.await??;
    Ok(up)
}

/// Keeps a second daemon off the same state directory, for as long as the file lives.
fn lock_state(state: &StateDir) -> anyhow::Result<File> {
    let path = state.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;

    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!(
            "another blueteam daemon runs on {}; stop it, or use another --state-dir",
            state.path().display()
        );
    }

    Ok(file)
}

/// Brings the schema and the tables of rules and requirements up to date, and tests the rules.
async fn prepare_database(loaded: &Loaded, database: &Database) -> anyhow::Result<()> {
    certificates::log_warnings(&loaded.config, SystemClock.now());
    database.migrate().await?;

    let mut operator = database.connect(Role::Operator).await?;
    app::rules::sync_catalog(&mut operator).await?;
    prepare_rules(loaded, &mut operator).await
}

/// Writes the rules into their table, and tests them.
async fn prepare_rules(loaded: &Loaded, operator: &mut PgConnection) -> anyhow::Result<()> {
    let sigma = config::rules::sigma(&loaded.config)?;
    app::rules::sync_rules(operator, &sigma).await?;
    app::rule_tests::prove(operator, &loaded.config).await;
    Ok(())
}

/// What the daemon is run with.
struct Daemon<'a> {
    state: &'a StateDir,
    database: &'a Database,
    parts: Parts,
    control: &'a Control,
}

impl Daemon<'_> {
    async fn run(
        &self,
        loaded: Arc<Loaded>,
        on_ready: impl FnOnce(Option<std::net::SocketAddr>),
    ) -> anyhow::Result<()> {
        prepare_database(&loaded, self.database).await?;
        let (failures, recorded) = Failures::new();
        let certificates = Certificates::new(&loaded.config);
        let health = Health::default();

        // Two tokens: what accepts events ends first, what processes them afterwards.
        let (intake, work) = (CancellationToken::new(), CancellationToken::new());
        let http = self
            .open_http(&loaded, &certificates, &health, &intake)
            .await?;

        let mut context = TaskContext {
            calendar: Calendar::new(loaded.config.business_hours.clone())?,
            state: self.state.clone(),
            database: Connections::new(self.database)?,
            clock: Arc::new(SystemClock),
            failures,
            certificates,
            health,
            outbox: Outbox {
                channels: open_channels(&loaded)?,
                wake: Arc::default(),
            },
            arrivals: Arrivals {
                ingest: http.as_ref().map(|http| http.ingest().clone()),
                waiting: Arc::default(),
            },
            configured: Arc::new(BTreeSet::new()),
            found: FoundSources::default(),
            reload: Arc::clone(&self.control.reload),
            stop: work.clone(),
            loaded,
        };

        let mut supervisor = Supervisor::default();
        let configured = sources::start(&mut supervisor, &context.with_stop(&intake))?;
        context.configured = Arc::new(configured);

        let writer = self_audit::write(recorded, context.database.ingest.clone(), work.clone());
        supervisor.spawn("self-audit", writer);
        supervisor.start(tasks::ALL, Lifetime::Daemon, &context)?;

        let mut reloadable = reload::Reloadable::start(&context)?;
        let listen = http.as_ref().map(HttpServer::address);
        reloadable
            .supervise(&mut supervisor, self, &context, || on_ready(listen))
            .await;

        // First stop accepting events, then finish what is under way.
        intake.cancel();
        if let Some(http) = http {
            http.close().await;
        }

        work.cancel();
        let (replaceable, rest) = tokio::join!(reloadable.end(), supervisor.finish());
        replaceable.and(rest)
    }

    async fn open_http(
        &self,
        loaded: &Loaded,
        certificates: &Certificates,
        health: &Health,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<HttpServer>> {
        if self.parts == Parts::Monitor {
            return Ok(None);
        }

        let stats = &health.engine_stats;
        http_server::open(loaded, self.state, self.database, certificates, stats, stop)
            .await
            .map(Some)
    }
}
