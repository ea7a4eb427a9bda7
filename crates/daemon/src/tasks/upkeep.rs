//! Upkeep: keeps a sample of the sizes once a day, and takes the statistics of blueteam's tables
//! (ANALYZE) once a week, which autovacuum does not do for partitioned tables.

use std::sync::Arc;
use std::time::Duration;

use app::upkeep;
use config::{Loaded, StateDir};
use model::{Actor, Clock};
use store::PgConnectOptions;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};

/// The task.
pub const TASK: Task = Task {
    name: "upkeep",
    lifetime: Lifetime::Configuration,
    start,
};

/// A start has better things to do than this.
const FIRST: Duration = Duration::from_mins(1);
/// How often it is looked for what is due.
const EVERY: Duration = Duration::from_hours(1);

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    Ok(Some(Box::pin(run(
        context.database.engine.clone(),
        Arc::clone(&context.loaded),
        context.state.clone(),
        Arc::clone(&context.clock),
        context.stop.clone(),
    ))))
}

async fn run(
    database: PgConnectOptions,
    loaded: Arc<Loaded>,
    state: StateDir,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
        wait = EVERY;

        let done = async {
            let mut conn = store::connect(&database).await?;
            let disk = upkeep::disk_of_database(&loaded, &state);
            upkeep::run_due(&mut conn, &Actor::task("upkeep"), disk, clock.now()).await
        };
        // One table may take long, and whoever stops the daemon does not wait for it.
        let done = tokio::select! {
            done = done => done,
            () = stop.cancelled() => return Ok(()),
        };
        match done {
            Ok(done) => {
                if let Some(run) = done.analyzed {
                    info!(
                        tables = run.analyzed,
                        skipped = run.skipped.len(),
                        "took the statistics of the tables"
                    );
                }
            }
            Err(cause) => warn!("cannot do the upkeep; retrying in an hour: {cause}"),
        }
    }
}
