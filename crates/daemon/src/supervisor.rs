//! Starts tasks and sources, reports those that fail, and stops them.
//!
//! A task that ends by itself ends the daemon: whoever runs it starts it again, and every start
//! recovers the same way (decision 0001). A reload stops the tasks of the old configuration and
//! starts those of the new one.

use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::context::TaskContext;
use crate::tenancy::TenantSource;

/// How long a reload waits for the tasks that it replaces.
const RETIRE: Duration = Duration::from_secs(5);
/// How long a stop waits for the tasks.
const FINISH: Duration = Duration::from_secs(20);

/// A task that runs until its `stop` is cancelled.
pub type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// How long a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the daemon.
    Daemon,
    /// As long as the configuration: a reload replaces it.
    Configuration,
}

/// A task of the daemon: one file, one line in [`crate::tasks::ALL`].
pub struct Task {
    /// What it is called in the log.
    pub name: &'static str,
    /// How long it runs.
    pub lifetime: Lifetime,
    /// Makes it; returns `None` when the configuration does not ask for it.
    pub start: fn(&TaskContext) -> anyhow::Result<Option<Running>>,
}

/// A kind of source: one file, one line in [`crate::sources::ALL`].
pub struct SourceKind {
    /// What it is called in the log.
    pub name: &'static str,
    /// Makes a reader for each source of the kind that the configuration has.
    pub start: fn(&TaskContext) -> anyhow::Result<Vec<Reader>>,
}

/// The reader of one source.
pub struct Reader {
    /// The source in the completeness ledger; none for a reader that has none of its own.
    pub source: Option<TenantSource>,
    /// What reads it.
    pub run: Running,
}

/// The tasks that run, by name.
#[derive(Default)]
pub struct Supervisor {
    set: JoinSet<(&'static str, anyhow::Result<()>)>,
    failed: Option<anyhow::Error>,
}

impl Supervisor {
    /// Starts every task of `tasks` that lives as long as `lifetime` and that the configuration
    /// wants.
    pub fn start(
        &mut self,
        tasks: &[&Task],
        lifetime: Lifetime,
        context: &TaskContext,
    ) -> anyhow::Result<()> {
        for task in tasks.iter().filter(|task| task.lifetime == lifetime) {
            if let Some(running) = (task.start)(context)? {
                self.spawn(task.name, running);
            }
        }

        Ok(())
    }

    /// Starts one.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.set.spawn(async move { (name, task.await) });
    }

    /// Returns when a task has ended that should not have.
    pub async fn unexpected_end(&mut self) {
        if let Some(ended) = self.set.join_next().await {
            self.report(ended, true);
        } else {
            std::future::pending::<()>().await;
        }
    }

    fn report(
        &mut self,
        ended: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>,
        unexpected: bool,
    ) {
        let failure = match ended {
            Ok((name, Err(cause))) => cause.context(format!("the task `{name}` failed")),
            Ok((name, Ok(()))) if unexpected => {
                anyhow::anyhow!("the task `{name}` ended by itself")
            }
            Ok(_) => return,
            Err(panic) => anyhow::anyhow!("a task ended with a bug: {panic}"),
        };

        error!("{failure:#}");
        self.failed.get_or_insert(failure);
    }

    /// Waits a moment for tasks whose `stop` was cancelled. Those that take longer, such as a
    /// notification that is being sent, continue in the background and get the time of
    /// [`Self::finish`].
    pub async fn retire(mut self) -> anyhow::Result<()> {
        if tokio::time::timeout(RETIRE, self.all_ended())
            .await
            .is_err()
        {
            tokio::spawn(self.finish());
            return Ok(());
        }

        self.failed.map_or(Ok(()), Err)
    }

    /// Waits for tasks whose `stop` was cancelled, and aborts those that do not end in time.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        if tokio::time::timeout(FINISH, self.all_ended())
            .await
            .is_err()
        {
            warn!("some tasks did not end in time and were aborted; nothing committed is lost");
            // Waits until they are gone: the cluster can be stopped only when no task holds it.
            self.set.shutdown().await;
        }

        self.failed.map_or(Ok(()), Err)
    }

    async fn all_ended(&mut self) {
        while let Some(ended) = self.set.join_next().await {
            self.report(ended, false);
        }
    }
}
