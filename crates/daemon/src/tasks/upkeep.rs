//! What keeps the database in order while the daemon runs.

use std::sync::Arc;
use std::time::Duration;

use store::PgConnectOptions;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Makes partitions ahead of time, and drops those of logs that are older than `keep_months`,
/// unless that is 0.
pub async fn keep_partitions(
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
            store::collected::drop_old(&mut store::connect(&database).await?, keep_months).await
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

/// Starts the private cluster again when it has died.
pub async fn watch_cluster(
    cluster: Arc<Mutex<cluster::Cluster>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = stop.cancelled() => return Ok(()),
        }

        match cluster.lock().await.ensure_running().await {
            Ok(false) => {}
            Ok(true) => warn!("the private PostgreSQL cluster had died and was started again"),
            Err(cause) => error!("the private PostgreSQL cluster does not start again: {cause}"),
        }
    }
}
