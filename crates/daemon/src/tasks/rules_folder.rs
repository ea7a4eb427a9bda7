//! Takes up custom rules that change on disk, as a reload would: all of them, or none while one
//! cannot be used.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};

/// The task.
pub const TASK: Task = Task {
    name: "rules folder",
    lifetime: Lifetime::Configuration,
    start,
};

/// How often the folder is looked at. A change counts once it is the same in two looks, because
/// files are not written in one step, so that it is in force within half a minute.
const LOOK: Duration = Duration::from_secs(10);

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    let folder = &context.loaded.config.detection.rules_dir;
    if folder.is_empty() {
        return Ok(None);
    }

    let watch = watch_folder(
        PathBuf::from(folder),
        Arc::clone(&context.reload),
        context.stop.clone(),
    );
    Ok(Some(Box::pin(watch)))
}

async fn watch_folder(
    folder: PathBuf,
    reload: Arc<Notify>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // What is in force, or has been tried.
    let mut known = look_at(&folder).await;
    let mut last = known;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return Ok(()),
        }

        let now = look_at(&folder).await;
        if now != known && now == last {
            info!("the rules in {} have changed", folder.display());
            known = now;
            reload.notify_one();
        }
        last = now;
    }
}

/// Returns a fingerprint of what the rule files hold, or of the error of reading them.
async fn look_at(folder: &Path) -> u64 {
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut hasher = DefaultHasher::new();
        config::rules::read_rules(&folder)
            .map_err(|error| error.to_string())
            .hash(&mut hasher);
        hasher.finish()
    });
    read.await.unwrap_or_default()
}
