//! Makes partitions ahead of time, and drops those of logs that are past their age.

use std::time::Duration;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use store::PgConnectOptions;
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
        context.stop.clone(),
    ))))
}

/// Makes partitions ahead of time, and drops those of logs that are older than `keep_months`,
/// unless that is 0.
async fn run_partitions(
    database: PgConnectOptions,
    keep_months: u16,
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
            Ok(made) => info!(made, "partitions made for the coming months"),
            Err(cause) => warn!("partitions are not made for now: {cause}"),
        }

        if keep_months == 0 {
            continue;
        }

        let dropped = async {
            store::log_events::drop_old(&mut store::connect(&database).await?, keep_months).await
        };
        match dropped.await {
            Ok(months) if months.is_empty() => {}
            Ok(months) => info!(
                "events of logs past their age were dropped: {}",
                months.join(", ")
            ),
            Err(cause) => warn!("events of logs past their age are not dropped for now: {cause}"),
        }
    }
}
