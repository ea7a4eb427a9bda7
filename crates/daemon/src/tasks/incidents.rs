//! Incidents: gives new ones the tasks of their playbooks, and warns people of the clocks of the law
//! and of contracts, when 48, 24, 12 and 4 hours are left, and none. Each once, whatever restarts.

use std::sync::Arc;
use std::time::Duration;

use app::Session;
use app::incidents::{self, Warning};
use config::Config;
use model::{Actor, Clock, Notice, Severity, Timestamp};
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
    name: "incidents",
    lifetime: Lifetime::Configuration,
    start,
};

/// How often new incidents and clocks are looked at.
const EVERY: Duration = Duration::from_secs(20);
/// Clocks that one message names.
const NAMED: usize = 50;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let options = Options {
        operator: context.database.operator.clone(),
        database: context.database.engine.clone(),
        config: context.loaded.config.clone(),
        hostname: app::actor::hostname(),
        deliveries: Arc::clone(&context.outbox.wake),
        clock: Arc::clone(&context.clock),
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

struct Options {
    /// How to connect as a person at work, who sees one tenant.
    operator: PgConnectOptions,
    /// How to connect to write messages, as the engine's role.
    database: PgConnectOptions,
    config: Config,
    hostname: String,
    deliveries: Arc<Notify>,
    clock: Arc<dyn Clock>,
}

async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut failing = false;
    loop {
        match look(&options).await {
            Ok(()) => failing = false,
            Err(_) if failing => {}
            Err(cause) => {
                failing = true;
                warn!("cannot look after incidents; retrying: {cause:#}");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn look(options: &Options) -> anyhow::Result<()> {
    let mut conn = store::connect(&options.database).await?;
    let mut failed = None;
    // What fails for one tenant keeps nobody else from being warned.
    for tenant in store::tenants::list(&mut conn).await? {
        if let Err(cause) = look_for(options, &mut conn, &tenant).await {
            failed.get_or_insert(cause);
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn look_for(
    options: &Options,
    conn: &mut PgConnection,
    tenant: &Tenant,
) -> anyhow::Result<()> {
    let mut operator = store::connect(&options.operator).await?;
    store::tenants::act_for(&mut operator, tenant.id).await?;
    let mut session = Session::new(operator, Actor::task("blueteam daemon"));
    let now = options.clock.now();
    // Nor does a playbook that cannot be read.
    let planned = incidents::plan_new(&mut session, &options.config).await;
    let due = incidents::due(&mut session, &options.config, now).await;
    session.close().await;
    store::tenants::act_for(conn, tenant.id).await?;
    send(options, conn, tenant, &due?, now).await?;
    let planned = planned?;
    if planned > 0 {
        info!(tenant = %tenant.name, planned, "gave incidents the tasks of their playbooks");
    }
    Ok(())
}

/// Sends the warnings that have not been sent yet, one message per channel.
async fn send(
    options: &Options,
    conn: &mut PgConnection,
    tenant: &Tenant,
    due: &[Warning],
    now: Timestamp,
) -> anyhow::Result<()> {
    let config = &options.config;
    let own = config.incidents.channels(&config.channels);
    let channels = reminders::channels_of(config, tenant, own);
    let compose = |new: &[&Warning]| message(&options.hostname, new, now);
    let told = reminders::tell(conn, &channels, due, |due| &due.key, compose).await?;
    if let Some(told) = told {
        info!(
            clocks = told.items,
            written = told.messages,
            "warned of duties to report"
        );
        options.deliveries.notify_one();
    }
    Ok(())
}

fn message(hostname: &str, new: &[&Warning], now: Timestamp) -> Notice {
    let title = match new {
        [one] => format!("Report due: {}", one.line),
        several => format!("{} duties to report are due", several.len()),
    };
    let mut lines: Vec<&str> = new
        .iter()
        .take(NAMED)
        .map(|one| one.line.as_str())
        .collect();
    if new.len() > NAMED {
        lines.push("and more; `blueteam incidents list --all` shows them");
    }
    let how = "`blueteam incidents report ID` writes the worksheet; `incidents decide` and \
               `incidents reported` end the clock.";
    let text = format!("{}\n{how}", lines.join("\n"));
    let worst = new.iter().map(|one| one.severity).max();
    Notice {
        severity: worst.unwrap_or(Severity::High).max(Severity::High),
        count: new.len() as u64,
        ..notices::notice(hostname, title, text, now, now)
    }
}
