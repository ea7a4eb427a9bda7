//! Follows the configured log files into the database. Events and position commit together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use collect::follow::{Batch, Follower, Position, Turn};
use collect::{Format, LineId, LineParser, Parsed, Reference};
use model::{Clock, SecurityEvent};
use store::{PgConnectOptions, PgConnection};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::failures::{Component, Failures};

/// Bytes read before they are committed.
const BATCH: usize = 1024 * 1024;
/// How often a file that had nothing new is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What a collector is told.
pub struct Options {
    /// How to connect, as the engine's role.
    pub database: PgConnectOptions,
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub format: &'static Format,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Where failures are told.
    pub failures: Failures,
}

impl Options {
    fn name(&self) -> String {
        format!("{}:{}", self.format.name, self.path.display())
    }
}

/// Follows the file until told to stop; starts over from the saved position after every failure.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut failures = 0_u32;
    loop {
        match follow(&options, &stop).await {
            Ok(()) => return Ok(()),
            Err(cause) => {
                failures += 1;
                error!("{} is not read for now: {cause:#}", options.path.display());
                // Once is a database that restarts; again and again is news.
                if failures == 5 {
                    options
                        .failures
                        .tell(Component::Collector, format!("{} cannot be read: {cause:#}", options.path.display()));
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn follow(options: &Options, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut conn = store::connect(&options.database).await.context("cannot connect to the database")?;
    let saved = match store::collected::position(&mut conn, &options.name()).await? {
        Some(position) => Some(serde_json::from_value(position).context("the saved position cannot be read")?),
        None => None,
    };
    let mut follower = Follower::new(&options.path, saved);
    let mut missing = false;
    while !stop.is_cancelled() {
        let batch;
        (follower, batch) = tokio::task::spawn_blocking(move || {
            let batch = follower.read(BATCH);
            (follower, batch)
        })
        .await?;
        let batch = batch.with_context(|| format!("cannot read {}", options.path.display()))?;
        if batch.position.is_none() && !missing {
            warn!("{} does not exist yet; it is read from its start when it does", options.path.display());
            missing = true;
        }
        if !batch.is_empty() {
            missing = false;
            store_batch(options, &mut conn, &batch).await?;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

async fn store_batch(options: &Options, conn: &mut PgConnection, batch: &Batch) -> anyhow::Result<()> {
    for turn in &batch.turns {
        match turn {
            Turn::Rotated | Turn::Truncated => info!("{} was rotated", options.path.display()),
            Turn::Damaged { at } => {
                let path = options.path.display();
                let message =
                    format!("{path}: a compressed piece of it is broken beyond byte {} of its text", at.offset);
                warn!("{message}");
                options.failures.tell(Component::Collector, message);
            }
            Turn::Lost { at } => {
                let path = options.path.display();
                let message =
                    format!("{path}: the file read before is gone; what it held beyond byte {} is lost", at.offset);
                warn!("{message}");
                options.failures.tell(Component::Collector, message);
            }
        }
    }
    let parser: Box<dyn LineParser> = (options.format.parser)(Reference { latest: options.clock.now() });
    let file = batch.position.as_ref().map_or(0, Position::file_number);
    let (mut events, mut rejected): (Vec<SecurityEvent<'_>>, _) = (Vec::new(), 0_u64);
    for (offset, line) in batch.lines() {
        match parser.parse(line, LineId { file, offset }) {
            Parsed::Event(event) => events.push(event),
            Parsed::Nothing => {}
            Parsed::Rejected(_) => rejected += 1,
        }
    }
    if rejected > 0 {
        warn!("{}: {rejected} lines are not in the format {}", options.path.display(), options.format.name);
    }
    let at = serde_json::to_value(batch.position)?;
    let position = store::collected::Position { collector: options.name(), at };
    let stored = store::collected::insert(conn, &events, Some(&position)).await.context("cannot store events")?;
    if !stored.rejected.is_empty() {
        warn!("{}: the database refused {} events", options.path.display(), stored.rejected.len());
    }
    Ok(())
}
