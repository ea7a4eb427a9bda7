//! The live reader: committed events in, alerts out, each exactly once.
//!
//! Crash-only: the engine's state is whatever the database says it is. Changes, cursor, alerts,
//! incidents and notifications commit in one transaction; when anything fails on the way there, the
//! engine is thrown away and rebuilt from the stored past, exactly as after a `kill -9`. There is
//! no second way to recover, so the one there is gets used.

mod engines;
mod pace;
mod routes;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use detect::{Engine, StoredProfile};
use model::event::UserId;
use model::time::Calendar;
use model::{Clock, SecurityEvent, Span, TenantId, Timestamp};
use notify::{Routing, Silences};
use serde_json::json;
use store::alerts::{Applied, Pending};
use store::baselines::Baseline;
use store::reader::{self, Cursor, SetAside, Wake, Witness};
use store::rules::RuleSetting;
use store::tenants::Tenant;
use store::{Connection as _, PgConnectOptions, PgConnection, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::engine_stats::EngineStats;
use crate::source_accounting::AuditTableLedger;
use app::health::Pulse;
use app::self_audit::{Component, Failures};
use config::StateDir;

use self::engines::{Change, Engines, by_tenant};
use self::pace::Pace;
use self::routes::{alert_router, silences_of};
use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use config::Loaded;
pub use store::reader::LIVE_CURSOR as CURSOR;

/// The task.
pub const TASK: Task = Task {
    name: "detection",
    lifetime: Lifetime::Configuration,
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let config = &context.loaded.config;
    let (arrivals, clock) = (context.arrivals.clone(), Arc::clone(&context.clock));
    let options = Options {
        database: context.database.engine.clone(),
        engine: engine_maker(&context.loaded),
        routing: config.alerts.routing(&config.channels)?,
        state: context.state.clone(),
        poll: config.detection.poll_interval,
        batch: config.detection.batch_max_events,
        checkpoint: CHECKPOINT,
        max_clock_ahead: config.ingest.max_clock_ahead,
        expect_unheard: config.detection.expect_unheard,
        calendar: context.calendar.clone(),
        settle: config.detection.allowed_lateness,
        clock: Arc::clone(&context.clock),
        settled: Box::new(move || arrivals.settled(clock.now())),
        deliveries: Arc::clone(&context.outbox.wake),
        failures: context.failures.clone(),
        pulse: Arc::clone(&context.health.pulse),
        engine_stats: Arc::clone(&context.health.engine_stats),
    };

    let ready = Arc::clone(&context.health.ready);
    Ok(Some(Box::pin(run(options, ready, context.stop.clone()))))
}

/// Makes the engine as the configuration and the rules table want it, for each start of the task.
pub fn engine_maker(loaded: &Loaded) -> MakeEngine {
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

/// How long a detection that closed may still be extended by an event that arrives late.
const GRACE: Span = Span::mins(10);
/// How often user profiles are saved.
const CHECKPOINT: Span = Span::mins(1);
/// How often the database records that events are read; far more often than anyone takes for
/// stopped.
const BEAT_EVERY: Duration = Duration::from_secs(10);
/// The file that remembers, outside of the database, how far it was.
const WITNESS: &str = "witness.json";
/// Detections of events older than this are stored without a notification: they come from a log's
/// or a database's past.
const STALE_NEWS: Span = Span::hours(24);
/// Longer than any event is kept.
const NEVER: Span = Span::days(365 * 100);
/// Since a read of few events, no more than a batch can have come for this long.
const RECENT: Duration = Duration::from_millis(250);
/// How often alerts that could not be written are tried again.
const RETRY_EVERY: Span = Span::secs(2);

/// Makes an engine as the table of rules wants it.
pub type MakeEngine = Box<dyn Fn(&[RuleSetting]) -> anyhow::Result<Engine> + Send + Sync>;

/// Configuration of the detection task.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// Makes the engine as the table of rules wants it.
    pub engine: MakeEngine,
    /// Which alert takes which channel.
    pub routing: Routing,
    /// Where the witness is kept.
    pub state: StateDir,
    /// How often the database is asked when it does not say by itself that rows came.
    pub poll: Span,
    /// About how many events are read and committed at once.
    pub batch: u64,
    /// How often user profiles are saved.
    pub checkpoint: Span,
    /// How far ahead of the clock an event's time may be.
    pub max_clock_ahead: Span,
    /// Whether a source that has never spoken can be silent.
    pub expect_unheard: bool,
    /// Business hours.
    pub calendar: Calendar,
    /// How far events may be out of order before they count as late.
    pub settle: Span,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Whether everything that was accepted has reached the database: while events wait in a spool,
    /// silence says nothing.
    pub settled: Box<dyn Fn() -> bool + Send + Sync>,
    /// Called when deliveries were written.
    pub deliveries: Arc<Notify>,
    /// Where blueteam's own failures are recorded.
    pub failures: Failures,
    /// Beats as long as events are read.
    pub pulse: Arc<Pulse>,
    /// What the engine does, for metrics.
    pub engine_stats: Arc<EngineStats>,
}

/// Events that the server cannot hand out.
#[derive(Debug, thiserror::Error)]
#[error("cannot read events: {0}")]
struct Unreadable(#[source] StoreError);

/// Why a run of the monitor ended.
enum End {
    /// `stop` was cancelled.
    Stopped,
    /// Another process holds the lease.
    Taken,
    /// The rules table, or the list of tenants, has changed since the engines were made.
    Changed,
}

/// Reads until `stop` is cancelled; starts over after every failure.
pub async fn run(
    options: Options,
    ready: Arc<Notify>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut failed_since: Option<Timestamp> = None;
    let mut told_taken = false;
    loop {
        let began = std::time::Instant::now();
        let result = try_detect(&options, &ready, &stop, &mut failed_since).await;
        let pause = match result {
            Ok(End::Stopped) => return Ok(()),
            Ok(End::Taken) => {
                if !told_taken {
                    warn!("another daemon reads this database; waiting to take over");
                    told_taken = true;
                }
                // It makes progress; how far it is behind is recorded in the database.
                options.pulse.beat(options.clock.now());
                Duration::from_secs(2)
            }
            Ok(End::Changed) => {
                info!("rules or tenants changed: starting the engine again");
                continue;
            }
            Err(cause) => {
                failed_since.get_or_insert(options.clock.now());
                error!("detection failed; starting over: {cause:#}");
                options.pulse.failed(format!("{cause:#}"));
                if cause
                    .downcast_ref::<Unreadable>()
                    .is_some_and(|Unreadable(error)| error.is_about_output())
                    && let Err(cause) = Monitor::withhold_unreadable(&options).await
                {
                    warn!("cannot search for the rows that cannot be read: {cause:#}");
                }
                // At once after a long good run, slower when it fails again and again.
                if began.elapsed() > Duration::from_secs(10) {
                    Duration::from_millis(100)
                } else {
                    Duration::from_secs(1)
                }
            }
        };

        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn try_detect(
    options: &Options,
    ready: &Notify,
    stop: &CancellationToken,
    failed_since: &mut Option<Timestamp>,
) -> anyhow::Result<End> {
    let mut wake = Wake::listen(options.database.clone())
        .await
        .context("cannot listen for events")?;
    let mut conn = store::connect(&options.database)
        .await
        .context("cannot connect")?;
    let holder = uuid::Uuid::now_v7();
    if !reader::claim(&mut conn, CURSOR, holder).await? {
        return Ok(End::Taken);
    }

    let mut monitor = Monitor::start(options, conn).await?;
    if let Some(since) = failed_since.take() {
        let now = options.clock.now();
        options.failures.tell(
            Component::Reader,
            format!("events were not analyzed from {since} to {now}"),
        );
    }

    // What arrived while nothing was read must be processed before the clock may call anything
    // late.
    loop {
        monitor.catch_up(options).await?;
        options.pulse.beat(options.clock.now());
        if !monitor.behind || stop.is_cancelled() {
            break;
        }
    }

    ready.notify_one();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut polled = std::time::Instant::now();
    let mut beaten: Option<std::time::Instant> = None;

    loop {
        let ticked = tokio::select! {
            biased;
            () = stop.cancelled() => {
                monitor.end(options, wake).await?;
                return Ok(End::Stopped);
            }
            // Before the events, so that the clock advances however many there are.
            _ = tick.tick() => true,
            () = std::future::ready(()), if monitor.behind => false,
            result = wake.woken() => { result.context("notifications of new events ended")?; false }
        };

        if ticked && !reader::claim(&mut monitor.conn, CURSOR, holder).await? {
            return Ok(End::Taken);
        }

        if ticked && monitor.setting_changed().await? {
            monitor.end(options, wake).await?;
            return Ok(End::Changed);
        }

        if ticked {
            monitor.read_silences(options).await?;
        }

        if ticked && !monitor.behind && polled.elapsed() < options.poll.to_std() {
            monitor.pass_time(options).await?;
        } else {
            polled = std::time::Instant::now();
            monitor.catch_up(options).await?;
        }

        options.pulse.beat(options.clock.now());
        if beaten.is_none_or(|at| at.elapsed() >= BEAT_EVERY) {
            reader::beat(&mut monitor.conn, CURSOR, options.clock.now()).await?;
            beaten = Some(std::time::Instant::now());
        }

        if ticked {
            options
                .engine_stats
                .record(monitor.engines.all(), options.clock.now());
        }
    }
}

struct Monitor {
    conn: PgConnection,
    engines: Engines,
    /// Whom they are for, with their names.
    tenants: Vec<Tenant>,
    ledger: AuditTableLedger,
    pace: Pace,
    cursor: Cursor,
    /// The table of rules as the engine was made from it.
    rules: Vec<RuleSetting>,
    /// The silences, and the stamp of the table that they were read from.
    silences: BTreeMap<TenantId, Silences>,
    silences_stamp: i64,
    saved_profiles: Timestamp,
    users_read: Timestamp,
    /// Rows that could not be read and are not recorded yet.
    set_aside: SetAside,
    /// Whether the last read left events for the next.
    behind: bool,
    /// When the last read that found few events ended: little can have arrived since then.
    idle_since: Option<std::time::Instant>,
    /// When pending alerts were last retried.
    retried: Timestamp,
    /// The cursor as the database has it: the one in memory is ahead after a poll that found
    /// nothing.
    committed: Witness,
    /// The witness that is written next: a second old by then, so that the database has synced it
    /// to disk.
    next_witness: Witness,
    /// When the witness was last written, and its version.
    witnessed: Option<(std::time::Instant, i64)>,
    /// Whether the last attempt to remember failed.
    is_forgetful: bool,
}

fn to_baseline(stored: &StoredProfile) -> Baseline {
    let kind = if matches!(stored.user, UserId::Uuid(_)) {
        "uuid"
    } else {
        "name"
    };

    let profile = json!({ "kind": kind, "profile": stored.profile });
    Baseline {
        source: stored.source,
        user_key: stored.user.to_string(),
        profile,
    }
}

/// An event whose time lies in the future happened now, as far as anyone can tell.
fn sane_time<'a>(
    event: &SecurityEvent<'a>,
    now: Timestamp,
    max_ahead: Span,
) -> Option<SecurityEvent<'a>> {
    (event.timestamp > now.plus(max_ahead)).then(|| SecurityEvent {
        timestamp: now,
        ..event.clone()
    })
}

/// Whether the tenants are the same; a title is for documents.
fn is_same_tenants(now: &[Tenant], before: &[Tenant]) -> bool {
    let of =
        |tenants: &[Tenant]| -> Vec<_> { tenants.iter().map(|t| (t.id, t.name.clone())).collect() };
    of(now) == of(before)
}

impl Monitor {
    /// Reads what became visible, and commits what it caused.
    async fn catch_up(&mut self, options: &Options) -> anyhow::Result<()> {
        let now = options.clock.now();
        let (engines, ledger, max_ahead) =
            (&mut self.engines, &mut self.ledger, options.max_clock_ahead);
        // A read has to be cut only when much may have gathered.
        let recent = self.idle_since.is_some_and(|at| at.elapsed() < RECENT);
        let most = (!recent).then_some(self.pace.events());
        let polled = reader::poll_some(&mut self.conn, &self.cursor, most, |event| {
            ledger.record_event(event, now);
            let fixed = sane_time(event, now, max_ahead);
            engines.push(fixed.as_ref().unwrap_or(event));
        })
        .await
        .map_err(Unreadable)?;
        self.settle_strangers(options).await?;

        self.behind = polled.more;
        self.idle_since =
            (polled.events < self.pace.events() / 2 && !polled.more).then(std::time::Instant::now);
        self.cursor = polled.cursor;
        self.set_aside.merge(polled.set_aside);
        if polled.events > 0 || !self.set_aside.is_empty() {
            let began = std::time::Instant::now();
            let changes = self.engines.drain();
            self.commit(options, changes, false).await?;
            self.pace.committed(began.elapsed());
        }

        self.pass_time(options).await
    }

    /// Returns whether a rule was enabled, disabled or changed since the engines were made, or a
    /// tenant was added.
    async fn setting_changed(&mut self) -> anyhow::Result<bool> {
        Ok(store::rules::settings(&mut self.conn).await? != self.rules
            || !is_same_tenants(&store::tenants::list(&mut self.conn).await?, &self.tenants))
    }

    /// Sees to events of tenants that no engine is for. A tenant that was just added gets an engine
    /// by a start over, which reads its events again; of one that is not there, which only who has
    /// the writer's password can have written, people are told.
    async fn settle_strangers(&mut self, options: &Options) -> anyhow::Result<()> {
        let strangers = self.engines.take_strangers();
        if strangers.is_empty() {
            return Ok(());
        }

        let tenants = store::tenants::list(&mut self.conn).await?;
        if tenants.iter().any(|tenant| strangers.contains(&tenant.id)) {
            anyhow::bail!("a tenant was added");
        }
        let message = "the rules did not see events of a tenant that is not there".to_owned();
        error!("{message}");
        options
            .failures
            .tell_of(Component::Reader, "strangers", message);
        Ok(())
    }

    /// Follows what people decide: a silence counts within a second.
    async fn read_silences(&mut self, options: &Options) -> anyhow::Result<()> {
        let stamp = store::silences::stamp(&mut self.conn).await?;
        if stamp != self.silences_stamp {
            let (tenants, now) = (self.engines.tenants(), options.clock.now());
            self.silences = silences_of(&mut self.conn, &tenants, now).await?;
            self.silences_stamp = stamp;
        }
        Ok(())
    }

    /// Commits everything, and lets go of the database.
    async fn end(mut self, options: &Options, wake: Wake) -> anyhow::Result<()> {
        let mut changes = self.pace.take_closes();
        changes.extend(self.engines.drain());
        self.commit(options, changes, true).await?;
        self.witness(options, true);
        wake.close().await;
        // The right to read ends with the connection, and whoever comes next should find it free.
        self.conn
            .close()
            .await
            .context("cannot close the connection")
    }

    /// Lets the clock close detections and notice silence.
    async fn pass_time(&mut self, options: &Options) -> anyhow::Result<()> {
        let now = options.clock.now();
        if now.since(self.users_read) > Span::mins(1) {
            self.users_read = now;
            for tenant in self.engines.tenants() {
                let users = Self::users(&mut self.conn, tenant).await?;
                self.engines.set_users(tenant, users);
            }
        }

        // Events in the spool, or left for the next read, are older than the clock: it must not
        // overtake them.
        if (options.settled)() && !self.behind && options.clock.is_trusted() {
            self.engines.advance_clock(now);
        }

        if now.since(self.retried) >= RETRY_EVERY {
            self.retried = now;
            self.retry_pending(options).await?;
        }

        let checkpoint = now.since(self.saved_profiles) >= options.checkpoint;
        if checkpoint || self.engines.has_changes() || self.pace.has_closes() {
            let drained = self.engines.drain();
            let changes = self.pace.of_clock(drained);
            self.commit(options, changes, checkpoint).await?;
        }

        self.witness(options, false);
        Ok(())
    }

    /// Tries alerts once more that could not be written when they were due.
    async fn retry_pending(&mut self, options: &Options) -> anyhow::Result<()> {
        if store::alerts::pending(&mut self.conn, Span::ZERO)
            .await?
            .is_none()
        {
            return Ok(());
        }
        let mut tx = self.conn.begin().await.map_err(StoreError::from)?;
        store::alerts::take_turn(&mut tx).await?;
        let mut applied = Applied::default();
        for tenant in &self.tenants {
            store::tenants::act_for_now(&mut tx, tenant.id).await?;
            let router = alert_router(options, &self.silences, tenant);
            applied.add(router.retry_pending(&mut tx).await?);
        }
        tx.commit()
            .await
            .map_err(StoreError::from)
            .context("cannot commit alerts")?;

        let written = applied.opened.len() as u64 + applied.updated;
        if written > 0 {
            info!(alerts = written, "wrote pending alerts");
            options.deliveries.notify_one();
        }
        Ok(())
    }

    /// Commits changes of the engines with the cursor, and with the profiles when it is time.
    async fn commit(
        &mut self,
        options: &Options,
        changes: Vec<Change>,
        checkpoint: bool,
    ) -> anyhow::Result<()> {
        let changes = by_tenant(changes);
        let mut tx = self.conn.begin().await.map_err(StoreError::from)?;

        // A cursor that only moved on may be lost with the machine; what people are told of may
        // not.
        let durable = checkpoint || !changes.is_empty();
        if !durable {
            reader::commit_early(&mut tx).await?;
        }

        if !changes.is_empty() {
            store::alerts::take_turn(&mut tx).await?;
        }

        let mut applied = Applied::default();
        for tenant in &self.tenants {
            let Some(changes) = changes.get(&tenant.id) else {
                continue;
            };
            store::tenants::act_for_now(&mut tx, tenant.id).await?;
            let router = alert_router(options, &self.silences, tenant);
            applied.add(router.apply(&mut tx, changes).await?);
        }
        reader::record_set_aside(&mut tx, &self.set_aside).await?;
        let mut cursor = self.cursor.clone();
        if checkpoint {
            for (tenant, profiles) in self.engines.take_dirty_profiles() {
                let baselines: Vec<Baseline> = profiles.iter().map(to_baseline).collect();
                store::tenants::act_for_now(&mut tx, tenant).await?;
                store::baselines::save(&mut tx, &baselines).await?;
            }
            cursor.checkpoint = Some(json!({ "profiles": cursor.snapshot.to_string() }));
            self.saved_profiles = options.clock.now();
        }

        self.ledger
            .save(&mut tx, options.clock.now(), &options.failures)
            .await?;
        self.cursor = reader::save(&mut tx, cursor).await?;
        tx.commit()
            .await
            .map_err(StoreError::from)
            .context("cannot commit alerts")?;

        self.committed = self.cursor.witness();
        if durable {
            self.next_witness = self.committed.clone();
        }

        if applied.deliveries > 0 {
            options.deliveries.notify_one();
        }

        self.report(options, &applied.pending);
        for change in changes.values().flatten().filter(|c| c.opened) {
            let d = &change.detection;
            info!(rule.id = %d.rule_id, severity = %d.severity, "alert opened");
        }

        Ok(())
    }

    /// Reports, once they are committed, rows that were set aside and alerts that wait.
    fn report(&mut self, options: &Options, pending: &[Pending]) {
        let set_aside = std::mem::take(&mut self.set_aside);
        if !set_aside.is_empty() {
            let message = format!(
                "the rules did not see events that cannot be read: {}",
                set_aside.describe()
            );
            error!("{message}");
            options
                .failures
                .tell_of(Component::Reader, "unreadable", message);
        }

        if let Some(first) = pending.first() {
            let (count, rule) = (
                model::text::counted(pending.len() as u64, "alert"),
                &first.rule_id,
            );
            let message = format!(
                "{count} not written yet, the first of {rule}: {}",
                first.reason
            );
            error!("{message}");

            // A row that another transaction locks for a moment is not worth a report.
            if pending.iter().any(|p| !p.conflict) {
                options
                    .failures
                    .tell_of(Component::Reader, "pending", message);
            }
        }
    }

    /// Remembers outside of the database how far it was; at most once a second. Never more than its
    /// disk has: after a crash of its machine it would seem to have gone back.
    fn witness(&mut self, options: &Options, now: bool) {
        let due = match self.witnessed {
            Some((at, _)) => now || at.elapsed() >= Duration::from_secs(1),
            None => true,
        };

        if !due {
            return;
        }

        let witness = std::mem::replace(&mut self.next_witness, self.committed.clone());
        let news = self
            .witnessed
            .is_none_or(|(_, version)| version != witness.version);
        self.witnessed = Some((std::time::Instant::now(), witness.version));

        if news {
            let written = serde_json::to_vec(&witness).map_err(anyhow::Error::from);
            let written = written.and_then(|bytes| options.state.replace(WITNESS, &bytes));
            // Once, not each second for hours.
            if let (Err(cause), false) = (&written, self.is_forgetful) {
                warn!("cannot remember how far the database was: {cause:#}");
            }
            self.is_forgetful = written.is_err();
        }
    }
}
