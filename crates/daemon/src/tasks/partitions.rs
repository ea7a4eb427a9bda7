//! Makes partitions ahead of time, drops those of logs that are past their retention, and empties
//! raw lines that are past theirs.

use std::time::Duration;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use model::Span;
use store::{PgConnectOptions, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The task.
pub const TASK: Task = Task {
    name: "partitions",
    lifetime: Lifetime::Daemon,
    start,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    Ok(Some(Box::pin(run_partitions(
        context.database.engine.clone(),
        context.loaded.config.collect.retention_months,
        context.loaded.config.collect.keep_raw,
        context.stop.clone(),
    ))))
}

/// Makes partitions ahead of time, and drops those of logs that are older than `keep_months` and
/// than any tenant has subscribed to, unless that is 0. Empties raw lines that are older than `keep_raw`.
async fn run_partitions(
    database: PgConnectOptions,
    keep_months: u16,
    keep_raw: Span,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_hours(1)) => {}
            () = stop.cancelled() => return Ok(()),
        }

        let made =
            async { store::ensure_partitions(&mut store::connect(&database).await?, 2).await };
        match made.await {
            Ok(0) => {}
            Ok(made) => info!(made, "made partitions for the coming months"),
            Err(cause) => warn!("cannot make partitions; retrying in an hour: {cause}"),
        }

        if let Err(cause) = empty_raw_lines(&database, keep_raw, &stop).await {
            warn!("cannot empty raw lines past their retention; retrying in an hour: {cause}");
        }

        if keep_months == 0 {
            continue;
        }

        let dropped = async {
            let mut conn = store::connect(&database).await?;
            // One partition holds the events of every tenant: the one that keeps them longest decides.
            let plans = store::subscriptions::longest_retention(&mut conn).await?;
            let months = keep_months.max(plans.unwrap_or(0));
            store::log_events::drop_old(&mut conn, months).await
        };
        match dropped.await {
            Ok(months) if months.is_empty() => {}
            Ok(months) => info!(
                "dropped log events past their retention: {}",
                months.join(", ")
            ),
            Err(cause) => warn!("cannot drop old log events; retrying in an hour: {cause}"),
        }
    }
}

/// Empties the raw lines of events that are older than `keep_raw`, one day of events at a time.
/// With `keep_raw` 0 no raw lines are stored, and earlier ones are kept for the minimum of 30 days.
async fn empty_raw_lines(
    database: &PgConnectOptions,
    keep_raw: Span,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let mut conn = store::connect(database).await?;
    let days = u32::try_from(keep_raw.as_micros() / Span::days(1).as_micros()).unwrap_or(u32::MAX);
    let mut emptied = 0;
    while !stop.is_cancelled() {
        match store::log_events::empty_raw_lines(&mut conn, days).await? {
            Some(lines) => emptied += lines,
            None => break,
        }
    }

    if emptied > 0 {
        info!("emptied {emptied} raw lines past their retention");
    }
    Ok(())
}
