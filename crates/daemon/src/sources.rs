//! What the daemon reads from outside: files, sockets, journals, and databases of applications.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use model::time::Calendar;
use model::{Clock, Source};
use store::PgConnectOptions;
use tokio_util::sync::CancellationToken;

use crate::sources::files as collector;
use crate::sources::journald as journal;
use crate::sources::listener::Waiting;
use crate::sources::remote_audit as applications;
use crate::supervisor::Tasks;
use crate::tasks::source_health as watch;
use app::certificates::Certificates;
use app::database::Database;
use app::self_audit::Failures;
use config::Loaded;
use config::StateDir;

pub mod files;
pub mod journald;
pub mod listener;
pub mod remote_audit;

/// What all sources are read with.
pub struct Common<'a> {
    /// How to connect, as the engine's role.
    pub engine_role: &'a PgConnectOptions,
    /// Business hours.
    pub calendar: &'a Calendar,
    /// The present.
    pub clock: &'a Arc<dyn Clock>,
    /// Where failures are reported.
    pub failures: &'a Failures,
    /// The certificates that listeners present.
    pub certificates: &'a Certificates,
    /// Where spools are.
    pub state: &'a StateDir,
    /// What waits in the listeners' spools.
    pub waiting: &'a Arc<Waiting>,
}

/// Starts whatever reads from outside, and the watch over it.
pub fn start_sources(
    (loaded, door): (&Loaded, &crate::http::Door),
    database: &Database,
    common: &Common<'_>,
    tasks: &mut Tasks,
    (outer, inner): (&CancellationToken, &CancellationToken),
) -> anyhow::Result<()> {
    let Common {
        engine_role,
        calendar,
        clock,
        failures,
        ..
    } = *common;
    let mut configured = start_collectors(loaded, common, tasks, outer)?;
    configured.extend(start_listeners(loaded, common, tasks, outer)?);

    configured.extend(applications::start(
        loaded,
        (database, calendar, clock, failures),
        outer,
        |task| {
            tasks.spawn("reader of another database", task);
        },
    )?);

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
    common: &Common<'_>,
    tasks: &mut Tasks,
    outer: &CancellationToken,
) -> anyhow::Result<BTreeSet<String>> {
    let Common {
        engine_role: database,
        calendar,
        clock,
        failures,
        ..
    } = *common;
    let mut configured = BTreeSet::from([Source::AuditDb.as_str().to_owned()]);

    for file in &loaded.config.collect.files {
        let options = collector::Options {
            database: database.clone(),
            path: file.path.clone().into(),
            format: file.format().context("no such format")?,
            every: file.expected_interval,
            service: file.service.clone(),
            zone: file.zone().context("no such time zone")?,
            calendar: calendar.clone(),
            settle: loaded.config.detection.allowed_lateness,
            clock: Arc::clone(clock),
            failures: failures.clone(),
        };

        configured.insert(options.name());
        tasks.spawn("collector", collector::run(options, outer.clone()));
    }

    for journal in &loaded.config.collect.journals {
        let options = journal::Options {
            database: database.clone(),
            directory: journal.directory.clone(),
            every: journal.expected_interval,
            service: journal.service.clone(),
            calendar: calendar.clone(),
            settle: loaded.config.detection.allowed_lateness,
            clock: Arc::clone(clock),
            failures: failures.clone(),
        };

        configured.insert(options.name());
        tasks.spawn(
            "follower of the journal",
            journal::run(options, outer.clone()),
        );
    }

    Ok(configured)
}

/// Starts each configured listener, and stores what others have left in their spools. Returns their
/// names in the ledger.
fn start_listeners(
    loaded: &Loaded,
    common: &Common<'_>,
    tasks: &mut Tasks,
    outer: &CancellationToken,
) -> anyhow::Result<BTreeSet<String>> {
    let mut configured = BTreeSet::new();
    for listener in &loaded.config.collect.listeners {
        let options = listener::Options {
            database: common.engine_role.clone(),
            address: listener.address.parse().map_err(anyhow::Error::msg)?,
            tls: common.certificates.listener(&listener.address).cloned(),
            format: listener.format().context("no such format")?,
            every: listener.expected_interval,
            service: listener.service.clone(),
            calendar: common.calendar.clone(),
            settle: loaded.config.detection.allowed_lateness,
            clock: Arc::clone(common.clock),
            failures: common.failures.clone(),
            state: common.state.clone(),
            spool_max_bytes: loaded.config.collect.listener_spool_max_bytes,
            waiting: Arc::clone(common.waiting),
        };

        configured.insert(options.name());
        tasks.spawn("listener", listener::run(options, outer.clone()));
    }

    let left = listener::LeftBehind {
        database: common.engine_role.clone(),
        state: common.state.clone(),
        calendar: common.calendar.clone(),
        settle: loaded.config.detection.allowed_lateness,
        failures: common.failures.clone(),
        waiting: Arc::clone(common.waiting),
    };

    let task = listener::drain_left_behind(left, configured.clone(), outer.clone());
    tasks.spawn("spools of former listeners", task);
    Ok(configured)
}
