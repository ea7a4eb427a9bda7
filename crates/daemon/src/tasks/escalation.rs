//! Escalates alerts that are not acknowledged: past the response time of their severity, the next
//! tier is notified.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use model::{Clock, Severity, Span, TenantId};
use notify::Silences;
use notify::rotation::Rota;
use store::{Connection as _, PgConnectOptions};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use config::Tier;

/// The task.
pub const TASK: Task = Task {
    name: "escalation",
    lifetime: Lifetime::Configuration,
    start,
};

fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let config = &context.loaded.config;
    if config.escalation.tiers.is_empty() {
        return Ok(None);
    }

    let options = Options {
        database: context.database.engine.clone(),
        patience: config.escalation.patience(),
        tiers: config.escalation.tiers.clone(),
        rota: config.on_call.schedule(),
        zone: context.zone()?,
        clock: Arc::clone(&context.clock),
        deliveries: Arc::clone(&context.outbox.wake),
    };

    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// How often unacknowledged alerts are looked for.
const EVERY: Duration = Duration::from_secs(1);

/// Configuration of the escalation.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// How long an alert of each severity may wait before each tier.
    pub patience: [(Severity, Span); 4],
    /// Whom each tier notifies, and by which channels.
    pub tiers: Vec<Tier>,
    /// Whose turn it is.
    pub rota: Rota,
    /// Where the rota's days begin.
    pub zone: TimeZone,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Wakes the dispatcher when notifications were written.
    pub deliveries: Arc<Notify>,
}

/// Escalates due alerts until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut failing = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }

        match escalate_due(&options).await {
            Ok(escalated) => {
                failing = false;
                if escalated > 0 {
                    info!(
                        escalated,
                        "escalated unacknowledged alerts to the next tier"
                    );
                    options.deliveries.notify_one();
                }
            }
            Err(_) if failing => {}
            Err(cause) => {
                failing = true;
                warn!("cannot escalate alerts; retrying: {cause:#}");
            }
        }
    }
}

async fn escalate_due(options: &Options) -> anyhow::Result<usize> {
    let mut conn = store::connect(&options.database).await?;
    let mut tx = conn.begin().await?;
    let now = options.clock.now();
    // The people of the tiers are those of `default`: of another tenant's alerts they hear nothing.
    store::tenants::act_for_now(&mut tx, TenantId::DEFAULT).await?;
    let tiers = u16::try_from(options.tiers.len()).unwrap_or(u16::MAX);
    let due = store::escalations::due(&mut tx, &options.patience, tiers).await?;
    if due.is_empty() {
        return Ok(0);
    }

    // A silence that was added since the alert opened suppresses its escalation, too.
    let silences = Silences::new(store::silences::ending_after(&mut tx, now).await?);
    let today = now.to_jiff().to_zoned(options.zone.clone()).date();

    let traits = app::channels::traits();
    let mut escalated = 0;
    for due in due
        .iter()
        .filter(|due| silences.covering(&due.alert, now).is_none())
    {
        let Some(tier) = options.tiers.get(usize::from(due.tier).saturating_sub(1)) else {
            continue;
        };

        let mut people = tier.people.clone();
        let on_call = options
            .rota
            .on_duty(today)
            .filter(|_| tier.on_call)
            .map(str::to_owned);
        people.extend(on_call.filter(|name| !tier.people.contains(name)));

        let channels = &tier.channels;
        if store::escalations::escalate(&mut tx, due, &people, channels, &traits).await? {
            escalated += 1;
        }
    }

    tx.commit().await?;
    Ok(escalated)
}
