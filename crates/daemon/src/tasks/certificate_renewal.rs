//! Renews the certificate that the private authority has issued, if there is one.

use std::sync::Arc;
use std::time::Duration;

use app::private_ca;
use app::self_audit::{Component, Failures};
use config::StateDir;
use model::Clock;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};

/// The task.
pub const TASK: Task = Task {
    name: "certificate renewal",
    lifetime: Lifetime::Daemon,
    start,
};

/// A certificate is renewed weeks before its end.
const EVERY: Duration = Duration::from_hours(1);

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    Ok(Some(Box::pin(run(
        context.state.clone(),
        Arc::clone(&context.clock),
        context.failures.clone(),
        context.stop.clone(),
    ))))
}

/// The file is replaced; the certificate watch presents it.
async fn run(
    state: StateDir,
    clock: Arc<dyn Clock>,
    failures: Failures,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let (state, now) = (state.clone(), clock.now());
        match tokio::task::spawn_blocking(move || private_ca::renew(&state, now)).await? {
            Ok(None) => {}
            Ok(Some(issued)) => info!(
                "renewed the certificate of {}, until {}",
                issued.names.join(", "),
                issued.until
            ),
            Err(cause) => {
                let message = format!("the certificate cannot be renewed: {cause:#}");
                error!("{message}");
                failures.tell_of(Component::Certificate, "renewal", message);
            }
        }

        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}
