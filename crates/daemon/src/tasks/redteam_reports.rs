//! Imports each new report of the red team, once. One that cannot be read is said once, and not
//! tried again until it changes.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use app::redteam::{Candidate, Request, candidates, import, may_grow, read_file};
use app::{AppError, Session};
use config::Config;
use model::text::sanitize;
use model::{Actor, Clock, Severity, TenantId};
use store::{Connection as _, PgConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::TaskContext;
use crate::supervisor::{Lifetime, Running, Task};
use crate::tasks::scheduled_notifications::notice;

/// The task.
pub const TASK: Task = Task {
    name: "red team reports",
    lifetime: Lifetime::Configuration,
    start,
};

/// How often new reports are looked for.
const EVERY: Duration = Duration::from_secs(10);
/// A file that was written within this time may not be complete.
const SETTLED: Duration = Duration::from_secs(3);
/// The same for a file of lines, which is complete at each of them: a scanner may look for minutes
/// before it finds the next thing.
const LINES_SETTLED: Duration = Duration::from_mins(5);
/// A file that cannot be read may still be written, as nmap writes its end hours after its beginning:
/// people are told when it has rested so long.
const ABANDONED: Duration = Duration::from_mins(10);
/// The kind, as the database and the channels call it.
const KIND: &str = "reminder";
/// Who acts.
const ACTOR: &str = "blueteam-engine";

#[expect(
    clippy::unnecessary_wraps,
    reason = "the list takes starts that may fail"
)]
fn start(context: &TaskContext) -> anyhow::Result<Option<Running>> {
    if context.loaded.config.redteam.reports.is_empty() {
        return Ok(None);
    }
    let options = Options {
        database: context.database.engine.clone(),
        config: context.loaded.config.clone(),
        hostname: app::actor::hostname(),
        deliveries: Arc::clone(&context.outbox.wake),
        clock: Arc::clone(&context.clock),
    };
    Ok(Some(Box::pin(run(options, context.stop.clone()))))
}

/// Configuration of the task.
struct Options {
    /// How to connect, as the engine's role.
    database: PgConnectOptions,
    /// Where the reports are, and who is told.
    config: Config,
    /// This machine's name.
    hostname: String,
    /// Called when messages were written.
    deliveries: Arc<Notify>,
    /// The present.
    clock: Arc<dyn Clock>,
}

/// What is known of a file.
#[derive(Debug)]
struct Watched {
    /// As it was when it was last looked at.
    version: (SystemTime, u64),
    /// Since when it has been so.
    since: Instant,
    /// Not looked into before it has rested so long; none when it was dealt with.
    due_after: Option<Duration>,
}

impl Watched {
    fn of(file: &Candidate) -> Self {
        Self {
            version: (file.written, file.bytes),
            since: Instant::now(),
            due_after: Some(SETTLED),
        }
    }

    /// How long the file has not changed, by its own time or by ours, whichever is longer: a file
    /// server whose clock is ahead delays no report for good.
    fn rest(&self) -> Duration {
        let by_file = self.version.0.elapsed().unwrap_or_default();
        by_file.max(self.since.elapsed())
    }
}

type Files = HashMap<PathBuf, Watched>;

async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut files = Files::new();
    loop {
        if let Err(cause) = look(&options, &mut files).await {
            warn!("cannot import reports of the red team; retrying: {cause:#}");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Imports what is due. A file that fails does not keep the others from being imported.
async fn look(options: &Options, files: &mut Files) -> anyhow::Result<()> {
    let all = candidates(&options.config.redteam.reports)?;
    let there: HashSet<&PathBuf> = all.iter().map(|file| &file.path).collect();
    files.retain(|path, _| there.contains(path));
    let mut failed = None;
    for file in &all {
        let watched = files
            .entry(file.path.clone())
            .or_insert_with(|| Watched::of(file));
        if watched.version != (file.written, file.bytes) {
            *watched = Watched::of(file);
        }
        let rest = watched.rest();
        if watched.due_after.is_none_or(|due| rest < due) {
            continue;
        }
        match deal_with(options, file, rest).await {
            Ok(due_after) => watched.due_after = due_after,
            // The database may answer later.
            Err(error) => failed = Some(error.context(file.path.display().to_string())),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Imports a file, or says that it cannot be read. Returns how long it must have rested before it is
/// looked into again; none when it was dealt with.
async fn deal_with(
    options: &Options,
    file: &Candidate,
    rest: Duration,
) -> anyhow::Result<Option<Duration>> {
    let name = file.path.display().to_string();
    let path = file.path.clone();
    let read = tokio::task::spawn_blocking(move || {
        let bytes = read_file(&path)?;
        let may_grow = may_grow(&bytes);
        Ok::<_, AppError>((bytes, may_grow))
    });
    let imported = match read.await? {
        Ok((_, true)) if rest < LINES_SETTLED => return Ok(Some(LINES_SETTLED)),
        Ok((bytes, _)) => import_one(options, &bytes, &name).await,
        Err(error) => Err(error),
    };
    match imported {
        Ok(()) => Ok(None),
        Err(AppError::Store(error)) => Err(error.into()),
        Err(_) if rest < ABANDONED => Ok(Some(ABANDONED)),
        Err(error) => {
            warn!("cannot import {}: {error}", sanitize(&name));
            tell(options, file, &name, &error).await?;
            Ok(None)
        }
    }
}

async fn connect(options: &Options) -> Result<PgConnection, AppError> {
    let mut conn = store::connect(&options.database).await?;
    store::tenants::act_for(&mut conn, TenantId::DEFAULT).await?;
    Ok(conn)
}

async fn import_one(options: &Options, bytes: &[u8], name: &str) -> Result<(), AppError> {
    let mut session = Session::new(connect(options).await?, Actor::task(ACTOR));
    let request = Request {
        file_name: name,
        bytes,
        format: None,
        target: None,
        opens_plans: false,
    };
    let done = import(&mut session, &request).await;
    session.close().await;
    let done = done?;
    if !done.already {
        info!(
            findings = done.run.findings,
            new = done.new.len(),
            gone = done.gone.len(),
            back = done.back.len(),
            "imported {}",
            sanitize(name)
        );
    }
    Ok(())
}

/// Notifies people once that a report cannot be read, and again when it was written again.
async fn tell(
    options: &Options,
    file: &Candidate,
    name: &str,
    error: &AppError,
) -> anyhow::Result<()> {
    let channels = options.config.compliance.channels(&options.config.channels);
    if channels.is_empty() {
        return Ok(());
    }
    let written = file.written.duration_since(SystemTime::UNIX_EPOCH);
    let key = format!("redteam {name} {} {}", written?.as_secs(), file.bytes);
    let now = options.clock.now();
    let mut conn = connect(options).await?;
    let mut tx = conn.begin().await?;
    let unsaid = store::notices::unsaid(&mut tx, KIND, &[key]).await?;
    if unsaid.is_empty() {
        return Ok(());
    }

    let title = "A report of the red team cannot be imported".to_owned();
    let text = format!("{}: {error}", sanitize(name));
    let mut said = notice(&options.hostname, title, text, now, now);
    said.severity = Severity::Low;
    store::notices::write_together(&mut tx, KIND, &unsaid, &said, &channels).await?;
    tx.commit().await?;
    options.deliveries.notify_one();
    Ok(())
}
