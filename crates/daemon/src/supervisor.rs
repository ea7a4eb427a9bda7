//! The parts of the daemon that run, by name.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// How long a reload waits for the parts that it replaces.
const RETIRE: Duration = Duration::from_secs(5);

/// The parts that run, by name.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<(&'static str, anyhow::Result<()>)>,
    failed: Option<anyhow::Error>,
}

impl Tasks {
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.set.spawn(async move { (name, task.await) });
    }

    /// Returns when told to stop, or when a part has ended that should not have.
    pub async fn ended_or(&mut self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = self.set.join_next() => self.note(ended, true),
        }
    }

    fn note(
        &mut self,
        ended: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>,
        unexpected: bool,
    ) {
        let failure = match ended {
            Ok((name, Err(cause))) => cause.context(format!("the {name} failed")),
            Ok((name, Ok(()))) if unexpected => anyhow::anyhow!("the {name} ended by itself"),
            Ok(_) => return,
            Err(panic) => anyhow::anyhow!("a part of the daemon ended with a bug: {panic}"),
        };
        error!("{failure:#}");
        self.failed.get_or_insert(failure);
    }

    /// Waits a moment for parts that were told to end. Those that take longer, such as a message on
    /// its way, go on and are ended in their time.
    pub async fn retire(mut self) -> anyhow::Result<()> {
        let all = async {
            while let Some(ended) = self.set.join_next().await {
                self.note(ended, false);
            }
        };

        if tokio::time::timeout(RETIRE, all).await.is_err() {
            tokio::spawn(self.finish());
            return Ok(());
        }

        self.failed.map_or(Ok(()), Err)
    }

    pub async fn finish(mut self) -> anyhow::Result<()> {
        let all = async {
            while let Some(ended) = self.set.join_next().await {
                self.note(ended, false);
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), all)
            .await
            .is_err()
        {
            warn!("some parts did not end in time and were cut off; nothing committed is lost");
            // Not before they are gone: the cluster can be stopped only when nobody holds on to it.
            self.set.shutdown().await;
        }
        self.failed.map_or(Ok(()), Err)
    }
}
