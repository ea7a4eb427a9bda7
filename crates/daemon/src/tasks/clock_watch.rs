//! Compares the machine's clock with the database's, and says when they cannot be believed: once,
//! and again when they can.

use std::sync::Arc;
use std::time::Duration;

use model::{Clock as _, SystemClock, Timestamp};
use serde_json::json;
use store::PgConnectOptions;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use app::self_audit::{Component, Failures};
use app::status::CLOCK_FILE;
use config::StateDir;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use crate::watched_clock::WatchedClock;

/// The task.
pub const TASK: Task = Task {
    name: "clock watch",
    lifetime: Lifetime::Daemon,
    start,
};

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(5);
/// An answer that takes longer says nothing of the time.
const PATIENCE: Duration = Duration::from_secs(5);

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let watch = ClockWatch {
        clock: Arc::clone(&context.watched_clock),
        database: context.database.engine.clone(),
        failures: context.failures.clone(),
        state: context.state.clone(),
        doubted: None,
    };
    Ok(Some(Box::pin(watch.run(context.stop.clone()))))
}

/// Asks the database for its time, and has the clock compare.
pub async fn compare(clock: &WatchedClock, database: &PgConnectOptions) -> anyhow::Result<()> {
    let mut conn = timeout(PATIENCE, store::connect(database)).await??;
    let before = SystemClock.now();
    let said = timeout(PATIENCE, store::overview::server_clock(&mut conn)).await??;
    let after = SystemClock.now();

    let taken = after.since(before);
    if taken.as_micros() >= 0 && taken.to_std() <= PATIENCE {
        clock.compare(said, after, !store::is_local(database));
    }
    Ok(())
}

struct ClockWatch {
    clock: Arc<WatchedClock>,
    database: PgConnectOptions,
    failures: Failures,
    state: StateDir,
    /// Since when the clocks cannot be believed, and why.
    doubted: Option<(Timestamp, String)>,
}

impl ClockWatch {
    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            if let Err(cause) = compare(&self.clock, &self.database).await {
                debug!("the clock of the database cannot be read: {cause:#}");
            }
            self.report();

            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    fn report(&mut self) {
        let now = self.clock.now();
        match (self.clock.doubt(), self.doubted.take()) {
            (Some(why), None) => {
                error!("{why}");
                self.failures.tell(Component::Clock, why.clone());
                self.remember(Some((now, &why)));
                self.doubted = Some((now, why));
            }
            (Some(_), doubted) => self.doubted = doubted,
            (None, Some((since, _))) => {
                info!(%since, "the clocks are right again, and times are judged");
                let message = format!("the clocks could not be believed from {since} to {now}");
                self.failures.tell_of(Component::Clock, "over", message);
                self.remember(None);
            }
            (None, None) => self.forget_former_run(),
        }
    }

    /// Says in a file, for `status`, what is wrong.
    fn remember(&self, doubt: Option<(Timestamp, &str)>) {
        let done = match doubt {
            Some((since, why)) => {
                let text = json!({ "since": since, "why": why }).to_string();
                self.state.replace(CLOCK_FILE, text.as_bytes())
            }
            None => std::fs::remove_file(self.state.join(CLOCK_FILE)).map_err(Into::into),
        };
        if let Err(cause) = done {
            warn!("cannot note for `status` what is wrong with the clock: {cause:#}");
        }
    }

    fn forget_former_run(&self) {
        if self.state.join(CLOCK_FILE).exists() {
            self.remember(None);
        }
    }
}
