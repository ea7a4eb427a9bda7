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
mod reminders;
pub mod source_accounting;
pub mod sources;
mod spool_backlog;
pub mod supervisor;
pub mod tasks;
mod tenancy;
pub mod watched_clock;

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use app::certificates::{self, Certificates};
use app::database::{Database, Role, Step};
use app::running::{DAEMON_LOCK, RunningDaemon, RunningSources};
use app::self_audit::{self, Failures};
use app::upgrade::{self, Postponed};
use config::{Loaded, StateDir};
use model::time::Calendar;
use model::{Clock, SystemClock};
use rustix::fs::{FlockOperation, OFlags, flock};
use store::PgConnection;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::context::{
    Arrivals, Connections, FoundSources, Health, Outbox, TaskContext, open_channels,
};
use crate::http_server::HttpServer;
use crate::supervisor::{Lifetime, Supervisor};
use crate::tasks::{clock_watch, self_check};
use crate::watched_clock::WatchedClock;

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
    let daemon = Daemon {
        state,
        database: &database,
        keys: &database,
        parts,
        control: &control,
    };

    let outcome = match daemon.await_ready_database(&loaded).await {
        Ok(Some(intake)) => {
            let greet = |listen| {
                on_ready(&Ready {
                    after: began.elapsed(),
                    listen,
                    private_cluster: database.is_private(),
                });
            };
            daemon.run(loaded, intake, greet).await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };

    let stopped = database.stop().await;
    outcome.and(stopped.context("the private PostgreSQL cluster did not stop cleanly"))
}

/// What takes in events, which begins before the database answers.
struct Intake {
    clock: Arc<WatchedClock>,
    certificates: Certificates,
    health: Health,
    http: Option<HttpServer>,
    /// Ends it, before what works on the events ends.
    stop: CancellationToken,
}

impl Intake {
    fn new(loaded: &Loaded) -> Self {
        Self {
            clock: Arc::new(WatchedClock::new(loaded.config.watchdog.clock_jump)),
            certificates: Certificates::new(&loaded.config),
            health: Health::default(),
            http: None,
            stop: CancellationToken::new(),
        }
    }

    async fn close(self) {
        self.stop.cancel();
        if let Some(http) = self.http {
            http.close().await;
        }
    }
}

/// Keeps a second daemon off the same state directory, for as long as the file lives.
fn lock_state(state: &StateDir) -> anyhow::Result<File> {
    let path = state.join(DAEMON_LOCK);
    // Nobody else may open it: whoever can, can hold the lock.
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .and_then(|file| {
            file.set_permissions(Permissions::from_mode(0o600))?;
            Ok(file)
        })
        .with_context(|| format!("cannot open {}", path.display()))?;

    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!(
            "another blueteam daemon runs on {}; stop it, or use another --state-dir",
            state.path().display()
        );
    }

    RunningDaemon::this(None)
        .write(state)
        .with_context(|| format!("cannot write {}", path.display()))?;

    Ok(file)
}

/// How often to look for the consent to an upgrade.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long its answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// After a stop, how long a message that is on its way may take.
const LEAVE_TAKING_MAX: Duration = Duration::from_secs(2);

/// A self-check that runs beside the start.
type Watch = tokio::task::JoinHandle<anyhow::Result<()>>;

/// Brings the schema and the tables of rules and requirements up to date, and tests the rules.
async fn prepare_database(loaded: &Loaded, database: &Database) -> anyhow::Result<()> {
    certificates::log_warnings(&loaded.config, SystemClock.now());
    let is_new = database.outlook().await?.made.is_none();
    let mut on_step = |step: Step<'_>| {
        let Step {
            number,
            of,
            version,
            description,
        } = step;
        // Of a new database they are all, and take a second or two.
        if is_new {
            debug!("migration {number} of {of}: {version:04} {description}");
        } else {
            info!("migration {number} of {of}: {version:04} {description}");
        }
    };
    database.migrate(&mut on_step).await?;

    let mut operator = database.connect(Role::Operator).await?;
    let login = store::overview::login(&mut operator).await?;
    ensure!(
        login.sees_one_tenant,
        "the role that people's requests work as is not kept to one tenant: blueteam_admin must not \
            own tables, be a superuser, have BYPASSRLS or belong to blueteam_engine or the tables' \
            owner (docs/decisions/0049-tenants-by-row-level-security.md)"
    );
    if login.may_rewrite_records() {
        warn!(
            login = login.name,
            "the database login owns the product's tables and can switch off what keeps records \
                append-only; run the daemon as a login that owns nothing (docs/operations.md)"
        );
    }

    let mut engine = database.connect(Role::Engine).await?;
    app::rules::sync_catalogs(&mut engine, &mut operator).await?;
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
    /// The database that says which keys are in force: the same, unless it is withheld.
    keys: &'a Database,
    parts: Parts,
    control: &'a Control,
}

impl Daemon<'_> {
    /// Waits until there is a database that may be used. None when told to stop first.
    async fn await_ready_database(&self, loaded: &Loaded) -> anyhow::Result<Option<Intake>> {
        let intake = self.await_database(loaded, Intake::new(loaded)).await?;
        match intake {
            Some(intake) => self.await_consent(loaded, intake).await,
            None => Ok(None),
        }
    }

    /// Waits for a backup, or for a person who says that none is needed, before a schema is brought
    /// up to date. Meanwhile people are notified, and the HTTP server spools what it takes in as if
    /// the database were unreachable; which keys are in force it still asks. None when told to stop
    /// first.
    async fn await_consent(
        &self,
        loaded: &Loaded,
        intake: Intake,
    ) -> anyhow::Result<Option<Intake>> {
        let postponed = match self.unless_stopped(self.postponed(loaded)).await {
            Some(Ok(Some(postponed))) => postponed,
            Some(Ok(None)) => return Ok(Some(intake)),
            Some(Err(error)) => {
                intake.close().await;
                return Err(error);
            }
            None => {
                intake.close().await;
                return Ok(None);
            }
        };

        error!("not upgrading: {postponed}; waiting, and nothing is detected");
        intake.close().await;
        self.say_what_it_waits_for(Some(postponed.to_string()));
        let withheld = Database::withheld(self.state);
        let waiting = Daemon {
            database: &withheld,
            keys: self.database,
            ..*self
        };
        let mut intake = Intake::new(loaded);
        waiting.open_http(loaded, &mut intake).await?;
        let reached = self.control.stop.child_token();
        let watch = self.watch(loaded, &withheld, &intake, Some(postponed.to_string()))?;
        let watch = tokio::spawn(self_check::run(watch, reached.clone()));

        let may = self.ask_again_and_again(loaded).await;
        self.end_watch(watch, &reached).await?;
        intake.close().await;
        self.say_what_it_waits_for(None);
        if may {
            info!("the upgrade may begin");
        }
        Ok(may.then(|| Intake::new(loaded)))
    }

    /// Asks until an upgrade may begin; false when told to stop first. The configuration may be
    /// read again meanwhile: it says where backups appear, and whether one is needed.
    async fn ask_again_and_again(&self, loaded: &Loaded) -> bool {
        let mut again: Option<Loaded> = None;
        loop {
            let ask = async {
                tokio::time::sleep(ASK_AGAIN).await;
                self.postponed(again.as_ref().unwrap_or(loaded)).await
            };
            tokio::select! {
                answer = tokio::time::timeout(ASK_AGAIN + ANSWER_MAX, ask) => match answer {
                    Ok(Ok(None)) => return true,
                    Ok(Ok(Some(_))) => {}
                    // A connection that fails now is no answer.
                    Ok(Err(error)) => warn!("cannot ask the database; asking again: {error:#}"),
                    Err(_) => warn!("the database does not answer; asking again"),
                },
                () = self.control.reload.notified() => {
                    match config::load(self.control.config.as_deref(), config::environment()) {
                        Ok(loaded) => again = Some(loaded),
                        Err(errors) => error!("the configuration stays as it was: {errors}"),
                    }
                }
                () = self.control.stop.cancelled() => return false,
            }
        }
    }

    /// Does the work, but for a stop, which leaves it where it is; `None` then.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.control.stop.cancelled() => None,
        }
    }

    /// Ends the watch over a database that cannot be used yet. After a stop, one that is about to
    /// notify people by a server that does not answer is not waited for.
    async fn end_watch(&self, watch: Watch, reached: &CancellationToken) -> anyhow::Result<()> {
        reached.cancel();
        let end = watch.abort_handle();
        let impatience = async {
            self.control.stop.cancelled().await;
            tokio::time::sleep(LEAVE_TAKING_MAX).await;
        };
        tokio::select! {
            ended = watch => ended?,
            () = impatience => {
                end.abort();
                Ok(())
            }
        }
    }

    /// Why the schema is not brought up to date yet. Starts a private cluster that has died.
    async fn postponed(&self, loaded: &Loaded) -> anyhow::Result<Option<Postponed>> {
        if let Some(cluster) = self.database.cluster() {
            cluster.lock().await.ensure_running().await?;
        }
        let outlook = self.database.outlook().await?;
        let now = SystemClock.now();
        Ok(upgrade::postponed(&outlook, &loaded.config, now))
    }

    /// Writes it down for `blueteam doctor`.
    fn say_what_it_waits_for(&self, what: Option<String>) {
        if let Err(error) = RunningDaemon::this(what).write(self.state) {
            warn!("cannot say what the daemon waits for: {error:#}");
        }
    }

    /// What the self-check needs while the database cannot be used.
    fn watch(
        &self,
        loaded: &Loaded,
        database: &Database,
        intake: &Intake,
        withheld: Option<String>,
    ) -> anyhow::Result<self_check::Options> {
        let external = database.external();
        Ok(self_check::Options {
            database: external
                .context("there is no database to look for")?
                .clone(),
            channels: open_channels(loaded)?,
            patience: self_check::Patience::of(&loaded.config.watchdog),
            state: self.state.clone(),
            clock: intake.clock.clone(),
            signs: self_check::Signs::default(),
            verdict: Arc::default(),
            failures: None,
            withheld,
        })
    }

    /// Waits for a database that is unreachable at the start. Meanwhile people are notified, and
    /// the HTTP server takes in events and spools them. None when told to stop first. A database
    /// that answers, but not as expected, is a mistake of the configuration and ends the start.
    async fn await_database(
        &self,
        loaded: &Loaded,
        mut intake: Intake,
    ) -> anyhow::Result<Option<Intake>> {
        let Some(external) = self.database.external() else {
            return Ok(Some(intake));
        };

        let unreachable = async || {
            store::connect(external)
                .await
                .is_err_and(|error| error.is_outage())
        };
        match self.unless_stopped(unreachable()).await {
            Some(true) => {}
            Some(false) => return Ok(Some(intake)),
            None => return Ok(None),
        }

        error!("the database is unreachable; waiting for it, and nothing is detected");
        self.open_http(loaded, &mut intake).await?;
        if let Some(http) = &intake.http {
            let listen = http.address();
            info!(%listen, "events with a known API key are taken in and spooled meanwhile");
        }

        let options = self.watch(loaded, self.database, &intake, None)?;

        let stop = &self.control.stop;
        let reached = stop.child_token();
        let watch = tokio::spawn(self_check::run(options, reached.clone()));
        let mut up = false;
        while !up && !stop.is_cancelled() {
            let look = async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                unreachable().await
            };
            up = self.unless_stopped(look).await == Some(false);
        }

        self.end_watch(watch, &reached).await?;
        if up {
            return Ok(Some(intake));
        }

        intake.close().await;
        Ok(None)
    }

    async fn run(
        &self,
        loaded: Arc<Loaded>,
        mut intake: Intake,
        on_ready: impl FnOnce(Option<std::net::SocketAddr>),
    ) -> anyhow::Result<()> {
        // A migration may wait for minutes for a lock. Left in the middle, it is rolled back.
        match self
            .unless_stopped(self.prepare(&loaded, &mut intake))
            .await
        {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                intake.close().await;
                return Err(error);
            }
            None => {
                intake.close().await;
                return Ok(());
            }
        }

        let Intake {
            clock: watched_clock,
            certificates,
            health,
            http,
            stop: intake,
        } = intake;
        let clock: Arc<dyn Clock> = watched_clock.clone();
        let (failures, recorded) = Failures::new();

        // What takes in events ends first, what works on them after it.
        let work = CancellationToken::new();
        let mut context = TaskContext {
            calendar: Calendar::new(loaded.config.business_hours.clone())?,
            state: self.state.clone(),
            database: Connections::new(self.database)?,
            clock: Arc::clone(&clock),
            watched_clock,
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
        if let Err(error) = RunningSources::of(&context.loaded).write(self.state) {
            warn!("cannot say which sources run; `blueteam status` does not compare: {error:#}");
        }

        let writer = self_audit::write(
            recorded,
            context.database.ingest.clone(),
            Arc::clone(&clock),
            work.clone(),
        );
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

    /// Brings the database up to date and opens the HTTP server, if it is not open yet.
    async fn prepare(&self, loaded: &Loaded, intake: &mut Intake) -> anyhow::Result<()> {
        prepare_database(loaded, self.database).await?;

        // Before the first event is judged by it.
        let database = self.database.options(Role::Engine)?;
        if let Err(cause) = clock_watch::compare(&intake.clock, &database).await {
            warn!("the clock of the database cannot be read: {cause:#}");
        }
        self.open_http(loaded, intake).await
    }

    async fn open_http(&self, loaded: &Loaded, intake: &mut Intake) -> anyhow::Result<()> {
        if self.parts == Parts::Monitor || intake.http.is_some() {
            return Ok(());
        }

        let with = http_server::With {
            state: self.state,
            database: self.database,
            keys: self.keys,
            certificates: &intake.certificates,
            engine_stats: &intake.health.engine_stats,
            clock: intake.clock.clone(),
        };
        intake.http = Some(http_server::open(loaded, with, &intake.stop).await?);
        Ok(())
    }
}
