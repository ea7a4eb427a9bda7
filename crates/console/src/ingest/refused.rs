//! Events that are no good: their senders are told in the answer, and the completeness ledger has them too, so that what was
//! refused can be seen without asking every sender.

use std::mem::take;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{FieldError, Source};
use sqlx::Connection as _;
use store::StoreError;
use store::sources::{self, DeadLetter, ENTRY_MAX, Intake};
use tokio::time::{sleep, timeout};

use super::{Inner, locked};

/// The source that the ledger books events of the door under.
const TABLE: &str = "audit_db";
/// How often what was refused is booked.
const EVERY: Duration = Duration::from_secs(1);
/// Letters that wait for their booking; beyond it only the count goes on.
const LETTERS_MAX: usize = 1000;
/// What one booking may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What waits to be booked.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    count: u64,
    letters: Vec<DeadLetter>,
}

impl Refused {
    /// Notes an event that was refused: where it stood and who sent it, why, and its text as far as it is known.
    pub(super) fn note(&self, place: impl std::fmt::Display, error: &FieldError, entry: &[u8]) {
        let mut waiting = locked(&self.0);
        waiting.count += 1;
        if waiting.letters.len() < LETTERS_MAX {
            waiting.letters.push(DeadLetter {
                place: place.to_string(),
                reason: error.to_string(),
                entry: entry[..entry.len().min(ENTRY_MAX)].to_vec(),
                length: entry.len() as u64,
            });
        }
    }

    fn take(&self) -> Option<Waiting> {
        Some(take(&mut *locked(&self.0))).filter(|waiting| waiting.count > 0)
    }

    /// What could not be booked waits on, before what came since.
    fn put_back(&self, mut old: Waiting) {
        let mut waiting = locked(&self.0);
        old.count += waiting.count;
        old.letters.append(&mut waiting.letters);
        old.letters.truncate(LETTERS_MAX);
        *waiting = old;
    }
}

/// Books what was refused, each second, until it is stopped.
pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        sleep(EVERY).await;
        book(&inner).await;
    }
}

/// Books what waits; what the database does not take waits on.
pub(super) async fn book(inner: &Inner) {
    let Some(waiting) = inner.refused.take() else { return };
    match timeout(PATIENCE, write(inner, &waiting)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(%error, "refused events could not be booked yet");
            inner.refused.put_back(waiting);
        }
        Err(_) => inner.refused.put_back(waiting),
    }
}

async fn write(inner: &Inner, waiting: &Waiting) -> Result<(), StoreError> {
    let mut conn = inner.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let (intake, now) = (Intake { rejected: waiting.count, ..Intake::default() }, inner.clock.now());
    sources::book(&mut tx, TABLE, Source::AuditDb, &intake, now).await?;
    sources::bury(&mut tx, TABLE, &waiting.letters, now).await?;
    tx.commit().await?;
    Ok(())
}
