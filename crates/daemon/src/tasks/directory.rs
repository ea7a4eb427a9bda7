//! Follows the directory: who has left it, or the groups that have a role, is disabled (3.1.1).

use std::sync::Arc;
use std::time::Duration;

use app::sign_in::{Directory, FollowError, follow_directory};
use store::PgConnectOptions;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};

/// The task.
pub const TASK: Task = Task {
    name: "directory",
    lifetime: Lifetime::Daemon,
    start,
};

/// How soon a directory that could not be asked is asked again.
const AGAIN: Duration = Duration::from_mins(1);

fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let Some(directory) = Directory::from_config(&context.loaded)? else {
        return Ok(None);
    };
    Ok(Some(Box::pin(run_directory(
        context.database.accounts.clone(),
        Arc::new(directory),
        context.stop.clone(),
    ))))
}

async fn run_directory(
    database: PgConnectOptions,
    directory: Arc<Directory>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut wait = Duration::ZERO;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
        wait = directory.sync_interval();

        let followed = async {
            let mut conn = store::connect(&database).await?;
            follow_directory(&mut conn, &directory).await
        };
        match followed.await {
            Ok(followed) => {
                for (name, why) in followed.disabled {
                    info!("disabled {name}: {why}");
                }
                for (name, role) in followed.roles {
                    info!("{name} is {role} now, by the groups of the directory");
                }
                for name in followed.kept {
                    warn!("{name} is the last system administrator, and stays as is");
                }
            }
            Err(cause @ FollowError::Doubt(_)) => error!("cannot follow the directory: {cause}"),
            Err(cause) => {
                wait = wait.min(AGAIN);
                warn!("cannot follow the directory; retrying: {cause}");
            }
        }
    }
}
