//! What tasks and sources are started with.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::sync::{Arc, MutexGuard, PoisonError};

use app::certificates::Certificates;
use app::database::{Database, Role};
use app::health::{Pulse, Verdict};
use app::self_audit::Failures;
use cluster::Cluster;
use config::{Loaded, StateDir};
use ingest::Ingest;
use jiff::tz::TimeZone;
use model::time::Calendar;
use model::{Clock, Span, Timestamp};
use notify::Channels;
use store::PgConnectOptions;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::engine_stats::EngineStats;
use crate::spool_backlog::SpoolBacklog;
use crate::tenancy::TenantSource;
use crate::watched_clock::WatchedClock;

/// How to connect to the database, by role.
#[derive(Clone)]
pub struct Connections {
    /// Reads events, writes alerts and notifications.
    pub engine: PgConnectOptions,
    /// Writes events.
    pub ingest: PgConnectOptions,
    /// Does people's work.
    pub operator: PgConnectOptions,
    /// Signs people in.
    pub accounts: PgConnectOptions,
    /// The private cluster, if there is one.
    pub cluster: Option<Arc<Mutex<Cluster>>>,
}

impl Connections {
    /// Those to an open database.
    pub fn new(database: &Database) -> anyhow::Result<Self> {
        Ok(Self {
            engine: database.options(Role::Engine)?,
            ingest: database.options(Role::Ingest)?,
            operator: database.options(Role::Operator)?,
            accounts: database.options(Role::Accounts)?,
            cluster: database.cluster(),
        })
    }
}

/// The signs of life that tasks give and others look at.
#[derive(Clone, Default)]
pub struct Health {
    /// Beats as long as events are read.
    pub pulse: Arc<Pulse>,
    /// What the self-check has found.
    pub verdict: Arc<Verdict>,
    /// What the engine does, for metrics.
    pub engine_stats: Arc<EngineStats>,
    /// Notified when events are read for the first time.
    pub ready: Arc<Notify>,
}

/// How notifications leave.
#[derive(Clone)]
pub struct Outbox {
    /// The configured channels.
    pub channels: Arc<Channels>,
    /// Notified when notifications were written.
    pub wake: Arc<Notify>,
}

/// The names of the sources that folders and patterns of log files have found.
#[derive(Clone, Debug, Default)]
pub struct FoundSources(Arc<std::sync::Mutex<BTreeSet<TenantSource>>>);

impl FoundSources {
    /// Returns whether a source is among them.
    pub fn contains(&self, source: &TenantSource) -> bool {
        self.names().contains(source)
    }

    /// Adds one.
    pub fn insert(&self, source: TenantSource) {
        self.names().insert(source);
    }

    /// Removes one: its file is gone.
    pub fn remove(&self, source: &TenantSource) {
        self.names().remove(source);
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<TenantSource>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in a listener's spool for less than this is not counted as waiting.
const PASSING: Span = Span::secs(5);

/// What waits on its way into the database.
#[derive(Clone, Default)]
pub struct Arrivals {
    /// Events of the HTTP server, unless the daemon runs without it.
    pub ingest: Option<Ingest>,
    /// What waits in the spools of listeners.
    pub waiting: Arc<SpoolBacklog>,
}

impl Arrivals {
    /// Whether everything that was accepted is in the database, or nearly: the engine's clock does
    /// not overtake what waits in a spool.
    pub fn settled(&self, now: Timestamp) -> bool {
        let stored = self.ingest.as_ref().is_none_or(Ingest::spool_is_empty);
        stored && self.waiting_since(now).is_none()
    }

    /// Why accepted events do not get from the spool into the table although the database is there.
    pub fn stuck(&self) -> Option<String> {
        self.ingest.as_ref().and_then(|ingest| ingest.stats().stuck)
    }

    /// Why accepted events are not in their tables, or cannot be accepted at all; none when they
    /// are.
    pub fn unstored(&self, now: Timestamp) -> Option<String> {
        self.unstored_events().or_else(|| {
            let since = self.waiting_since(now)?;
            Some(format!(
                "messages of a listener wait in its spool since {since}"
            ))
        })
    }

    fn unstored_events(&self) -> Option<String> {
        let stats = self.ingest.as_ref()?.stats();
        let Some(since) = stats.outage_since else {
            return stats.stuck;
        };
        let waiting = model::text::counted(stats.spool_events, "event");
        let why = stats
            .stuck
            .or(stats.outage)
            .map(|why| format!(": {why}"))
            .unwrap_or_default();

        Some(format!("{waiting} in the spool since {since}{why}"))
    }

    fn waiting_since(&self, now: Timestamp) -> Option<Timestamp> {
        let since = self.waiting.oldest()?;
        (now.since(since) > PASSING).then_some(since)
    }
}

/// What tasks and sources are started with. A reload makes another one of the new configuration;
/// whatever has to outlive it is shared between the two.
#[derive(Clone)]
pub struct TaskContext {
    /// The configuration and its secrets.
    pub loaded: Arc<Loaded>,
    /// Business hours.
    pub calendar: Calendar,
    /// The state directory.
    pub state: StateDir,
    /// How to connect to the database.
    pub database: Connections,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// The same, for who compares it with the database's clock.
    pub watched_clock: Arc<WatchedClock>,
    /// Where failures of the daemon are recorded.
    pub failures: Failures,
    /// The certificates that the daemon presents.
    pub certificates: Certificates,
    /// Signs of life.
    pub health: Health,
    /// How notifications leave.
    pub outbox: Outbox,
    /// What waits on its way into the database.
    pub arrivals: Arrivals,
    /// The names of the sources that the configuration has.
    pub configured: Arc<BTreeSet<TenantSource>>,
    /// The names of those that folders and patterns have found.
    pub found: FoundSources,
    /// Makes the daemon read its configuration again.
    pub reload: Arc<Notify>,
    /// Ends the task.
    pub stop: CancellationToken,
}

impl TaskContext {
    /// The same for another configuration, with an end of its own.
    pub fn with_configuration(&self, loaded: Arc<Loaded>) -> anyhow::Result<Self> {
        let outbox = Outbox {
            channels: open_channels(&loaded)?,
            wake: Arc::clone(&self.outbox.wake),
        };

        Ok(Self {
            calendar: Calendar::new(loaded.config.business_hours.clone())?,
            outbox,
            loaded,
            stop: CancellationToken::new(),
            ..self.clone()
        })
    }

    /// The same with another end.
    pub fn with_stop(&self, stop: &CancellationToken) -> Self {
        Self {
            stop: stop.clone(),
            ..self.clone()
        }
    }

    /// The time zone of business hours.
    pub fn zone(&self) -> anyhow::Result<TimeZone> {
        Ok(TimeZone::get(&self.loaded.config.business_hours.time_zone)?)
    }
}

/// Opens the configured channels, for a daemon that writes to its standard output.
pub fn open_channels(loaded: &Loaded) -> anyhow::Result<Arc<Channels>> {
    let stdout = std::io::stdout();
    let color = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let channels = loaded.open_channels(Box::new(stdout), color, &app::actor::hostname())?;
    Ok(Arc::new(channels))
}
