//! Presents certificates that change on disk.

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};

/// The task.
pub const TASK: Task = Task {
    name: "certificate watch",
    lifetime: Lifetime::Daemon,
    start,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let watch = context
        .certificates
        .clone()
        .watch(context.failures.clone(), context.stop.clone());
    Ok(Some(Box::pin(watch)))
}
