//! Incidents: gives new ones the tasks of their playbooks, and warns people of the clocks of the law
//! and of contracts, when 48, 24, 12 and 4 hours are left, and none. Each once, whatever restarts.

use std::sync::Arc;
use std::time::Duration;

use app::Session;
use app::incidents::{self, Warning};
use config::Config;
use model::{Actor, Channel, Clock, Severity, TenantId, Timestamp};
use store::tenants::Tenant;
use store::{Connection as _, PgConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::TaskContext;
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
/// The kind, as the database and the channels call it.
const KIND: &str = "reminder";
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
    for tenant in store::tenants::list(&mut conn).await? {
        let mut operator = store::connect(&options.operator).await?;
        store::tenants::act_for(&mut operator, tenant.id).await?;
        let mut session = Session::new(operator, Actor::task("blueteam daemon"));
        let now = options.clock.now();
        // A playbook that cannot be read keeps nobody from being warned.
        let planned = incidents::plan_new(&mut session, &options.config).await;
        let due = incidents::due(&mut session, &options.config, now).await;
        session.close().await;
        store::tenants::act_for(&mut conn, tenant.id).await?;
        send(options, &mut conn, &tenant, &due?, now).await?;
        let planned = planned?;
        if planned > 0 {
            info!(tenant = %tenant.name, planned, "gave incidents the tasks of their playbooks");
        }
    }
    Ok(())
}

/// Where a tenant is warned: of another than `default` only where its alerts go.
fn channels(config: &Config, tenant: &Tenant) -> Vec<Channel> {
    if tenant.id == TenantId::DEFAULT {
        return config.incidents.channels(&config.channels);
    }
    let named = config.alerts.organizations.get(&tenant.name);
    named
        .and_then(|lists| lists.channels.clone())
        .unwrap_or_default()
}

/// Sends the warnings that have not been sent yet, one message per channel.
async fn send(
    options: &Options,
    conn: &mut PgConnection,
    tenant: &Tenant,
    due: &[Warning],
    now: Timestamp,
) -> anyhow::Result<()> {
    let channels = channels(&options.config, tenant);
    if due.is_empty() || channels.is_empty() {
        return Ok(());
    }

    let keys: Vec<String> = due.iter().map(|one| one.key.clone()).collect();
    let mut tx = conn.begin().await?;
    let unsaid = store::notices::unsaid(&mut tx, KIND, &keys).await?;
    let new: Vec<&Warning> = due.iter().filter(|one| unsaid.contains(&one.key)).collect();
    let Some(worst) = new.iter().map(|one| one.severity).max() else {
        return Ok(());
    };

    let title = match new.as_slice() {
        [one] => format!("Report due: {}", one.line),
        several => format!("{} duties to report are due", several.len()),
    };
    let mut lines: Vec<&str> = new
        .iter()
        .take(NAMED)
        .map(|one| one.line.as_str())
        .collect();
    let more = "and more; `blueteam incidents list --all` shows them";
    if new.len() > NAMED {
        lines.push(more);
    }
    let how = "`blueteam incidents report ID` writes the worksheet; `incidents decide` and \
               `incidents reported` end the clock.";
    let text = format!("{}\n{how}", lines.join("\n"));
    let notice = model::Notice {
        severity: worst.max(Severity::High),
        count: new.len() as u64,
        ..notices::notice(&options.hostname, title, text, now, now)
    };
    let written =
        store::notices::write_together(&mut tx, KIND, &unsaid, &notice, &channels).await?;

    tx.commit().await?;
    info!(clocks = new.len(), written, "warned of duties to report");
    options.deliveries.notify_one();
    Ok(())
}
