//! The compliance work on schedule: the checks run, the score is noted, and people are reminded of
//! what is due or late.
//!
//! A check is due when its last result is older than the configured time, whoever had it run; so a
//! restart repeats nothing and skips nothing. A lock in the database keeps two from running the
//! checks at once. People are reminded of an item once for each stage, through the channels of the
//! digest.

use std::sync::Arc;
use std::time::Duration;

use app::Session;
use app::compliance::checks::{self, Surroundings};
use app::compliance::claims;
use app::compliance::reminders::{due, line};
use compliance::reminders::Reminder;
use config::{Config, StateDir};
use model::{Actor, Clock, Span, Timestamp};
use store::tenants::Tenant;
use store::{PgConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::TaskContext;
use crate::reminders;
use crate::supervisor::{Lifetime, Running, Task};
use crate::tasks::scheduled_notifications as notices;

/// The task.
pub const TASK: Task = Task {
    name: "compliance checks",
    lifetime: Lifetime::Configuration,
    start,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let options = Options {
        operator: context.database.operator.clone(),
        database: context.database.engine.clone(),
        config: context.loaded.config.clone(),
        state: context.state.clone(),
        hostname: app::actor::hostname(),
        deliveries: Arc::clone(&context.outbox.wake),
        clock: Arc::clone(&context.clock),
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// The longest pause between two looks; checks that are due wait no longer.
const EVERY: Duration = Duration::from_mins(1);
/// How often people may be reminded; nothing here is due to the minute.
const REMIND: Span = Span::hours(1);
/// Items that one message names.
const NAMED: usize = 50;
/// Who runs the checks, for the record.
const ACTOR: &str = "blueteam daemon";

/// Configuration of the task.
pub struct Options {
    /// How to connect to run the checks, which look at accounts: as a person at work.
    pub operator: PgConnectOptions,
    /// How to connect for the rest, as the engine's role.
    pub database: PgConnectOptions,
    /// How often the checks run, the ways of reminders, and what the checks look at.
    pub config: Config,
    /// The state directory, which the checks look at.
    pub state: StateDir,
    /// This machine's name.
    pub hostname: String,
    /// Called when messages were written.
    pub deliveries: Arc<Notify>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// Runs what is due until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let every = options.config.compliance.interval;
    let pause = if every == Span::ZERO {
        EVERY
    } else {
        every.to_std().min(EVERY)
    };

    let (mut failing, mut reminded) = (false, None);
    loop {
        // A start has more to do than this.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }

        match run_due(&options, &mut reminded).await {
            Ok(()) => failing = false,
            Err(_) if failing => {}
            Err(cause) => {
                failing = true;
                warn!("cannot run compliance checks; retrying: {cause:#}");
            }
        }
    }
}

async fn run_due(options: &Options, reminded: &mut Option<Timestamp>) -> anyhow::Result<()> {
    let (now, every) = (options.clock.now(), options.config.compliance.interval);
    let mut conn = store::connect(&options.database).await?;
    let tenants = store::tenants::list(&mut conn).await?;
    let mut ran = false;
    for tenant in tenants.iter().filter(|_| every > Span::ZERO) {
        ran |= run_checks(options, tenant, now, every).await?;
    }
    let pause = if every == Span::ZERO {
        REMIND
    } else {
        every.min(REMIND)
    };

    if !ran && reminded.is_some_and(|at| now < at.plus(pause)) {
        return Ok(());
    }

    for tenant in &tenants {
        let mut session = session_for(options, tenant).await?;
        let due = due(&mut session, now).await?;
        claims::record_score(&mut session, &options.state, now).await?;
        app::posture::keep(&mut session, &options.config, &options.state, now).await?;
        session.close().await;
        store::tenants::act_for(&mut conn, tenant.id).await?;
        send_reminders(options, &mut conn, tenant, &due, now).await?;
    }
    *reminded = Some(now);

    Ok(())
}

/// A session for a tenant, in the role of a person at work, who sees nothing of another.
async fn session_for(options: &Options, tenant: &Tenant) -> anyhow::Result<Session> {
    let mut conn = store::connect(&options.operator).await?;
    store::tenants::act_for(&mut conn, tenant.id).await?;
    Ok(Session::new(conn, Actor::task(ACTOR)))
}

/// Runs the checks of a tenant that are due. Returns `false` when none is, or when another process
/// runs them.
async fn run_checks(
    options: &Options,
    tenant: &Tenant,
    now: Timestamp,
    every: Span,
) -> anyhow::Result<bool> {
    let mut session = session_for(options, tenant).await?;
    let around = Surroundings {
        config: &options.config,
        state: &options.state,
    };

    let found = checks::run_due(&mut session, &around, every, now).await?;
    if found.is_empty() {
        return Ok(false);
    }

    info!(
        tenant = %tenant.name,
        checks = found.len(),
        not_met = found.iter().filter(|f| f.is_not_met()).count(),
        "ran compliance checks on schedule"
    );

    Ok(true)
}

/// Sends the reminders that have not been sent yet, one message per channel.
async fn send_reminders(
    options: &Options,
    conn: &mut PgConnection,
    tenant: &Tenant,
    due: &[Reminder],
    now: Timestamp,
) -> anyhow::Result<()> {
    let config = &options.config;
    let own = config.compliance.channels(&config.channels);
    let channels = reminders::channels_of(config, tenant, own);
    let compose = |new: &[&Reminder]| {
        let (title, text) = (reminder_title(new), reminder_text(new));
        notices::notice(&options.hostname, title, text, now, now)
    };
    let told = reminders::tell(conn, &channels, due, |due| &due.key, compose).await?;
    if let Some(told) = told {
        info!(
            items = told.items,
            written = told.messages,
            "wrote reminders of compliance work"
        );
        options.deliveries.notify_one();
    }
    Ok(())
}

fn reminder_title(new: &[&Reminder]) -> String {
    let late = new.iter().filter(|r| r.late).count();
    match (new.len(), late) {
        (1, 1) => "Compliance: 1 item is late".to_owned(),
        (1, _) => "Compliance: 1 item is due soon".to_owned(),
        (n, 0) => format!("Compliance: {n} items are due soon"),
        (n, late) => format!("Compliance: {n} items are due, {late} of them late"),
    }
}

fn reminder_text(new: &[&Reminder]) -> String {
    let mut lines: Vec<String> = new.iter().take(NAMED).map(|r| line(r)).collect();
    if new.len() > NAMED {
        lines.push(format!(
            "and {} more; `blueteam compliance status` shows them",
            new.len() - NAMED
        ));
    }
    lines.join("\n")
}
