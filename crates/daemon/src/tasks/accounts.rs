//! Ends sessions that have had their time (3.1.11), and disables accounts that nobody uses (3.5.6).

use std::sync::Arc;
use std::time::Duration;

use app::sign_in::{self, SessionSettings};
use model::Clock;
use store::PgConnectOptions;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};

/// The task.
pub const TASK: Task = Task {
    name: "accounts",
    lifetime: Lifetime::Daemon,
    start,
};

/// A session that nobody asks for does no harm for so long.
const EVERY: Duration = Duration::from_mins(5);

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    Ok(Some(Box::pin(run_accounts(
        context.loaded.config.console.sessions.settings(),
        context.database.accounts.clone(),
        Arc::clone(&context.clock),
        context.stop.clone(),
    ))))
}

async fn run_accounts(
    sessions: SessionSettings,
    database: PgConnectOptions,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }

        let done = async {
            let mut conn = store::connect(&database).await?;
            sign_in::tidy_up(&mut conn, &sessions, clock.now()).await
        };
        match done.await {
            Ok(names) if names.is_empty() => {}
            Ok(names) => info!("disabled accounts that nobody uses: {}", names.join(", ")),
            Err(cause) => warn!("cannot look after accounts; retrying: {cause}"),
        }
    }
}
