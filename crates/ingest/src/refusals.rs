//! Rejected events: their senders learn of it from the answer, and the completeness ledger counts
//! them, so that an operator sees them without asking every sender.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{FieldError, Source, TenantId};
use sqlx::Connection as _;
use store::StoreError;
use store::sources::{self, DeadLetter, ENTRY_MAX, Intake};
use tokio::time::{sleep, timeout};

use crate::sender::{Sender, Voice};
use crate::{Inner, lock_mutex};

/// The source that rejected events are booked under: `ingest:SERVICE`, or `ingest` if the service
/// is not known. Not the source of the table itself: a producer whose events are all rejected still
/// counts as silent.
const SOURCE: &str = "ingest";
/// How often rejected events are booked.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum number of dead letters of a source per booking; further ones are only counted. Garbage
/// at full speed must not fill the database.
const LETTERS_MAX: usize = 20;
/// The time limit of one booking.
const PATIENCE: Duration = Duration::from_secs(5);

/// What waits to be booked, by source. There are few sources: API keys name the services.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<BTreeMap<Origin, Pile>>);

/// Under what an event that is refused is booked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    tenant: TenantId,
    source: String,
}

impl Origin {
    /// What a sender sent.
    pub(super) fn of(sender: &Sender) -> Self {
        let source = match &sender.voice {
            Voice::Service(name) => format!("{SOURCE}:{name}"),
            Voice::Relay { .. } => SOURCE.to_owned(),
        };
        Self {
            tenant: sender.tenant,
            source,
        }
    }

    /// What one of a tenant's senders sent: which one, is not known any more.
    pub(super) fn of_tenant(tenant: TenantId) -> Self {
        Self {
            tenant,
            source: SOURCE.to_owned(),
        }
    }
}

#[derive(Debug, Default)]
struct Pile {
    count: u64,
    ignored: u64,
    letters: Vec<DeadLetter>,
}

impl Pile {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.ignored += other.ignored;
        let room = LETTERS_MAX.saturating_sub(self.letters.len());
        self.letters.extend(other.letters.into_iter().take(room));
    }
}

impl Refused {
    /// Records a rejected event: who sent it, its position in the request, why, and its
    /// text.
    pub(super) fn note(
        &self,
        origin: Origin,
        place: impl std::fmt::Display,
        error: &FieldError,
        entry: &[u8],
    ) {
        let letter = DeadLetter {
            place: place.to_string(),
            reason: error.to_string(),
            entry: entry[..entry.len().min(ENTRY_MAX)].to_vec(),
            length: entry.len() as u64,
        };

        let pile = Pile {
            count: 1,
            letters: vec![letter],
            ..Pile::default()
        };
        lock_mutex(&self.0).entry(origin).or_default().add(pile);
    }

    /// Notes log records that were understood and are no events.
    pub(super) fn note_ignored(&self, sender: &Sender, count: u64) {
        if count > 0 {
            let mut waiting = lock_mutex(&self.0);
            waiting.entry(Origin::of(sender)).or_default().ignored += count;
        }
    }

    fn take(&self) -> BTreeMap<Origin, Pile> {
        take(&mut *lock_mutex(&self.0))
    }

    /// Puts back what could not be booked.
    fn put_back(&self, piles: BTreeMap<Origin, Pile>) {
        let mut waiting = lock_mutex(&self.0);
        for (origin, pile) in piles {
            waiting.entry(origin).or_default().add(pile);
        }
    }
}

/// Books rejected events each second, until it is stopped.
pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        sleep(EVERY).await;
        book(&inner).await;
    }
}

/// Books what waits; what the database does not take stays for the next time.
pub(super) async fn book(inner: &Inner) {
    let waiting = inner.refused.take();
    if waiting.is_empty() {
        return;
    }

    match timeout(PATIENCE, write_refused(inner, &waiting)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(%error, "refused events could not be booked yet");
            inner.refused.put_back(waiting);
        }
        Err(_) => inner.refused.put_back(waiting),
    }
}

async fn write_refused(inner: &Inner, waiting: &BTreeMap<Origin, Pile>) -> Result<(), StoreError> {
    let mut conn = inner.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let now = inner.clock.now();
    for (Origin { tenant, source }, pile) in waiting {
        store::tenants::act_for_now(&mut tx, *tenant).await?;
        let intake = Intake {
            rejected: pile.count,
            ignored: pile.ignored,
            ..Intake::default()
        };
        sources::book(&mut tx, source, Source::AuditDb, &intake, now).await?;
        sources::bury(&mut tx, source, &pile.letters, now).await?;
    }

    tx.commit().await?;
    Ok(())
}
