//! Failures of blueteam's own reader, writer and channels, recorded as audit events (3.3.4):
//! `audit_log_gap` raises an alert for them as for any other logging failure, and they stay in the
//! record.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{AuditRecord, Clock, EventId, SystemClock};
use serde_json::json;
use store::PgConnectOptions;
use store::events::AuditRow;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::health::Stalls;

/// Which part failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// The detection task.
    Reader,
    /// A channel to people.
    Channel,
    /// A collector.
    Collector,
    /// What writes accepted events.
    Writer,
    /// The database itself.
    Database,
    /// A certificate that blueteam presents.
    Certificate,
    /// The configuration.
    Configuration,
    /// The clock of this machine, or the database's.
    Clock,
}

impl Component {
    /// Its name in `metadata.component`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Channel => "channel",
            Self::Collector => "collector",
            Self::Writer => "writer",
            Self::Database => "database",
            Self::Certificate => "certificate",
            Self::Configuration => "configuration",
            Self::Clock => "clock",
        }
    }
}

/// A failure to be recorded.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which part.
    pub component: Component,
    /// What happened, for a person; no payload, no secret.
    pub message: String,
}

/// After one failure of a part, further ones of the same part within this time are not recorded.
const REPEAT_AFTER: Duration = Duration::from_mins(10);
/// Failures that wait to be written; more than all parts record in ten minutes.
const QUEUE: usize = 64;

/// Where the parts of blueteam report their failures.
#[derive(Clone, Debug)]
pub struct Failures {
    queue: mpsc::Sender<Failure>,
    told: Arc<Mutex<HashMap<(Component, String), Instant>>>,
    stalls: Stalls,
}

impl Failures {
    /// Creates the queue and its receiving end.
    pub fn new() -> (Self, mpsc::Receiver<Failure>) {
        let (queue, end) = mpsc::channel(QUEUE);
        (
            Self {
                queue,
                told: Arc::default(),
                stalls: Stalls::default(),
            },
            end,
        )
    }

    /// Returns what cannot be stored at the moment. A failure of the database cannot be recorded in
    /// the database.
    pub fn stalls(&self) -> &Stalls {
        &self.stalls
    }

    /// Records that `who` could not store what it has read, if the database is the cause.
    pub fn not_stored(&self, who: &str, cause: &anyhow::Error) {
        if cause
            .chain()
            .any(<dyn std::error::Error>::is::<store::StoreError>)
        {
            self.stalls
                .stalled(who, format!("{cause:#}"), SystemClock.now());
        }
    }

    /// Records a failure, unless the same part has just had one.
    pub fn tell(&self, component: Component, message: String) {
        self.tell_of(component, "", message);
    }

    /// Records a failure that concerns `subject`, one of many that a part looks after, unless there
    /// has just been one about the same subject.
    pub fn tell_of(&self, component: Component, subject: &str, message: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| at.elapsed() < REPEAT_AFTER);
        let key = (component, subject.to_owned());
        if told.contains_key(&key) {
            return;
        }

        // A full queue holds 64 failures already; the log has this one too.
        if self.queue.try_send(Failure { component, message }).is_ok() {
            told.insert(key, Instant::now());
        }
    }
}

/// Writes failures as audit events; waits for the database as long as it takes.
pub async fn write(
    mut told: mpsc::Receiver<Failure>,
    database: PgConnectOptions,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let failure = tokio::select! {
            failure = told.recv() => failure,
            () = stop.cancelled() => return Ok(()),
        };

        let Some(failure) = failure else {
            stop.cancelled().await;
            return Ok(());
        };

        while let Err(cause) = write_one(&failure, &database, &*clock).await {
            warn!(
                "a failure of the {} waits to be recorded: {cause:#}",
                failure.component.as_str()
            );
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
}

async fn write_one(
    failure: &Failure,
    database: &PgConnectOptions,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let event = json!({
        "category": "system", "action": "audit_failure", "result": "failure", "resource_type": model::event::OURSELVES,
        "metadata": { "component": failure.component.as_str(), "message": failure.message },
    });

    let bytes = serde_json::to_vec(&event)?;
    let record = AuditRecord::from_json(&bytes, model::audit::Strangers::Refuse)?;
    let row = AuditRow::new(record, || EventId(uuid::Uuid::now_v7()), clock.now());
    let mut conn = store::connect(database).await?;
    store::events::insert_audit(&mut conn, &[row]).await?;

    Ok(())
}
