//! Counts the events of each tenant, and tells people when one has used 80 or 100 percent of what it
//! has subscribed to. Nothing else follows: no event and no alert is refused, dropped or delayed
//! (decision 0058).

use std::sync::Arc;
use std::time::Duration;

use app::tenants::{Limits, Pressure, Use, pressures};
use config::Config;
use model::{Clock, Severity, TenantId, Timestamp};
use store::tenants::Tenant;
use store::{Connection as _, PgConnectOptions, PgConnection, subscriptions};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use crate::tasks::scheduled_notifications::notice;

/// The task.
pub const TASK: Task = Task {
    name: "subscriptions",
    lifetime: Lifetime::Configuration,
    start,
};

/// How often events are counted; a month's limit is not reached within minutes.
const EVERY: Duration = Duration::from_mins(10);
/// A start has more to do than this.
const FIRST: Duration = Duration::from_secs(20);
/// The kind, as the database and the channels call it.
const KIND: &str = "reminder";

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let options = Options {
        database: context.database.engine.clone(),
        accounts: context.database.accounts.clone(),
        config: context.loaded.config.clone(),
        hostname: app::actor::hostname(),
        deliveries: Arc::clone(&context.outbox.wake),
        clock: Arc::clone(&context.clock),
    };
    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// Configuration of the task.
struct Options {
    /// How to connect as the engine's role, which counts events.
    database: PgConnectOptions,
    /// How to connect as the role that sees accounts and keys.
    accounts: PgConnectOptions,
    /// Who is told.
    config: Config,
    /// This machine's name.
    hostname: String,
    /// Called when messages were written.
    deliveries: Arc<Notify>,
    /// The present.
    clock: Arc<dyn Clock>,
}

async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
        wait = EVERY;

        if let Err(cause) = look(&options).await {
            warn!("cannot compare tenants with their plans; retrying: {cause:#}");
        }
    }
}

async fn look(options: &Options) -> anyhow::Result<()> {
    let now = options.clock.now();
    let mut conn = store::connect(&options.database).await?;
    subscriptions::count_events(&mut conn).await?;

    let mut people = store::connect(&options.accounts).await?;
    let mut due = Vec::new();
    for tenant in store::tenants::list(&mut people).await? {
        due.extend(unheard(options, &tenant));
        let Some(subscription) = subscriptions::of(&mut people, tenant.id).await? else {
            continue;
        };
        let usage = subscriptions::usage(&mut people, tenant.id, now).await?;
        let found = pressures(&Limits::from(subscription), &Use::from(usage));
        due.extend(found.iter().map(|one| used_up(&tenant, one)));
    }
    tell(options, &mut conn, due, now).await
}

/// Something that people are told once a month.
struct Item {
    /// What keeps it from being said twice.
    key: String,
    /// What is said.
    line: String,
}

/// That nobody is notified of a tenant's alerts.
fn unheard(options: &Options, tenant: &Tenant) -> Option<Item> {
    let name = &tenant.name;
    (!options.config.alerts.tells_of(name)).then(|| Item {
        key: format!("unheard {name}"),
        line: format!(
            "{name}: nobody is notified of its alerts. Name `channels` in [alerts.organizations.{name}] of \
             the configuration."
        ),
    })
}

/// That a limit is nearly reached, or passed.
fn used_up(tenant: &Tenant, one: &Pressure) -> Item {
    Item {
        key: format!("plan {} {} {}", tenant.name, one.of, one.mark),
        line: format!("{}: {}; {}.", tenant.name, one.amount(), one.meaning()),
    }
}

/// Tells the people of `default`, who run the installation.
async fn tell(
    options: &Options,
    conn: &mut PgConnection,
    mut due: Vec<Item>,
    now: Timestamp,
) -> anyhow::Result<()> {
    let channels = options.config.compliance.channels(&options.config.channels);
    if due.is_empty() || channels.is_empty() {
        return Ok(());
    }

    let today = now.to_string();
    let month = &today[..today.len().min("2026-11".len())];
    for item in &mut due {
        item.key = format!("{} {month}", item.key);
    }
    let keys: Vec<String> = due.iter().map(|item| item.key.clone()).collect();

    let mut tx = conn.begin().await?;
    store::tenants::act_for_now(&mut tx, TenantId::DEFAULT).await?;
    let unsaid = store::notices::unsaid(&mut tx, KIND, &keys).await?;
    let new = due.iter().filter(|item| unsaid.contains(&item.key));
    let lines: Vec<&str> = new.map(|item| item.line.as_str()).collect();
    if lines.is_empty() {
        return Ok(());
    }

    let title = "Tenants: plans that are used up, or alerts that nobody gets".to_owned();
    let mut said = notice(&options.hostname, title, lines.join("\n"), now, now);
    said.severity = Severity::Low;
    store::notices::write_together(&mut tx, KIND, &unsaid, &said, &channels).await?;
    tx.commit().await?;
    info!(lines = lines.len(), "wrote what is due about tenants");
    options.deliveries.notify_one();
    Ok(())
}
