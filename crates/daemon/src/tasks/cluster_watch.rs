//! Starts the private cluster again when it has died.

use std::sync::Arc;
use std::time::Duration;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use cluster::Cluster;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// The task.
pub const TASK: Task = Task {
    name: "cluster watch",
    lifetime: Lifetime::Daemon,
    start,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let Some(cluster) = context.database.cluster.clone() else {
        return Ok(None);
    };

    Ok(Some(Box::pin(watch_cluster(cluster, context.stop.clone()))))
}

/// Starts the private cluster again when it has died.
async fn watch_cluster(
    cluster: Arc<Mutex<Cluster>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = stop.cancelled() => return Ok(()),
        }

        match cluster.lock().await.ensure_running().await {
            Ok(false) => {}
            Ok(true) => warn!("the private PostgreSQL cluster had died and was restarted"),
            Err(cause) => {
                error!("cannot restart the private PostgreSQL cluster; retrying: {cause}");
            }
        }
    }
}
