//! Draining the spool: when the database is reachable again, its events are written to the table,
//! in order, before anything new.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::event::Details;
use model::{AuditRecord, Category, FieldError, Outcome, Text};
use store::events::{AuditRow, Inserted};
use tokio::time::{Instant, sleep};

use super::refusals::Origin;
use super::spool::{Batch, Spool, SpoolError};
use super::writer::Conn;
use super::{
    Inner, Outage, add_to, dead_letters, fill_random, held, lock_mutex, preparation, record,
};

/// Bytes of the spool written at once.
const BATCH: usize = 4 * 1024 * 1024;
/// With so few records left, new requests wait until they are written.
const NEAR: u64 = 10_000;
/// After draining for so long, new requests wait in any case: as much comes in as goes out.
const LONG: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a step of the drain failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DrainError {
    #[error("{0}")]
    Write(#[from] super::writer::WriteError),
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    DeadLetter(std::io::Error),
    #[error("there is no room for the events that conflict with an open transaction")]
    NoRoom,
    #[error("its work was aborted")]
    Task,
}

/// Drains whenever the spool holds something, forever.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut conn = Conn::new(&inner);
    let mut pause = FIRST_PAUSE;
    let mut since: Option<Instant> = None;
    let mut said = String::new();
    loop {
        if !inner.spooling.load(Ordering::SeqCst) {
            (since, pause) = (None, FIRST_PAUSE);
            said.clear();
            inner.drain.notified().await;
            continue;
        }

        let long = since.is_some_and(|since| since.elapsed() > LONG);
        match drain_step(&inner, &mut conn, long).await {
            Ok(()) => {
                *lock_mutex(&inner.stuck) = None;
                since.get_or_insert_with(Instant::now);
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                since = None;
                let ours = !matches!(error, DrainError::Write(_));
                let error = error.to_string();
                *lock_mutex(&inner.stuck) = ours.then(|| error.clone());

                // Logged once, not every few seconds for hours.
                if error != said {
                    tracing::warn!(%error, "the spool cannot be written to the database yet");
                    said = error;
                }

                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Writes a batch; or, if little is left, all of it while new requests wait.
async fn drain_step(inner: &Arc<Inner>, conn: &mut Conn, long: bool) -> Result<(), DrainError> {
    // Before the gate is closed: no request must wait for an unreachable database.
    conn.ready().await?;
    let last = long || lock_mutex(&inner.spool).records() <= NEAR;
    if !last {
        return drain_batch(inner, conn).await.map(|_| ());
    }

    let _alone = inner.gate.write().await;
    while drain_batch(inner, conn).await? {}
    end_outage(inner, conn).await
}

/// Writes the next records. False when there are none.
async fn drain_batch(inner: &Arc<Inner>, conn: &mut Conn) -> Result<bool, DrainError> {
    let peeked = with_spool(inner, |spool| spool.peek(BATCH)).await;
    let batch = match peeked {
        Ok(None) => return Ok(false),
        Ok(Some(batch)) => batch,
        Err(DrainError::Spool(error @ SpoolError::Damaged { .. })) => {
            tracing::error!(%error, "the spool is damaged");
            return Ok(true);
        }
        Err(error) => return Err(error),
    };

    let (rows, mut letters) = decode(&batch);
    let ends = part_ends(rows.len());
    let done = conn.write(&rows, &ends).await?;
    collect_refused(&rows, &ends, &done, &mut letters);
    let conflicting = conflicting_rows(&ends, &done);
    if !conflicting.is_empty() && !held::keep(inner, &rows, &conflicting).await {
        return Err(DrainError::NoRoom);
    }

    keep_dead_letters(inner, letters).await?;
    inner.note_committed(&done);
    delete_batch(inner, batch).await?;

    Ok(true)
}

/// Returns the rows of a batch, and the payloads that are not rows.
pub(super) fn decode(batch: &Batch) -> (Vec<AuditRow<'static>>, Vec<(Vec<u8>, FieldError)>) {
    let (mut rows, mut letters) = (Vec::new(), Vec::new());
    for payload in batch.payloads() {
        match record::decode(payload) {
            Ok(row) => rows.push(row),
            Err(error) => letters.push((payload.to_vec(), error)),
        }
    }
    (rows, letters)
}

/// Returns the ends of the parts of a batch. A spool holds events of many senders: a conflict in
/// one part does not affect the others.
pub(super) fn part_ends(rows: usize) -> Vec<usize> {
    const PART: usize = 50;
    (0..rows.div_ceil(PART))
        .map(|part| rows.min((part + 1) * PART))
        .collect()
}

/// Returns the starts of the parts with these ends.
fn part_starts(ends: &[usize]) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(ends.iter().copied())
}

/// Returns the positions in the batch of rows that conflict with an open transaction.
pub(super) fn conflicting_rows(ends: &[usize], done: &[Inserted]) -> Vec<usize> {
    part_starts(ends)
        .zip(done)
        .flat_map(|(start, done)| done.conflicting.iter().map(move |at| start + at))
        .collect()
}

/// Adds the rows that the database refused to the dead letters.
pub(super) fn collect_refused(
    rows: &[AuditRow<'_>],
    ends: &[usize],
    done: &[Inserted],
    letters: &mut Vec<(Vec<u8>, FieldError)>,
) {
    for (start, done) in part_starts(ends).zip(done) {
        for (at, error) in &done.rejected {
            let Some(row) = rows.get(start + at) else {
                continue;
            };
            let mut json = Vec::new();
            if record::encode(row, &mut json).is_ok() {
                letters.push((json, error.clone()));
            }
        }
    }
}

async fn delete_batch(inner: &Arc<Inner>, batch: Batch) -> Result<(), DrainError> {
    with_spool(inner, move |spool| spool.advance(&batch)).await
}

async fn with_spool<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&mut Spool) -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, DrainError> {
    let task = Arc::clone(inner);
    let done = tokio::task::spawn_blocking(move || work(&mut lock_mutex(&task.spool))).await;
    Ok(done.map_err(|_| DrainError::Task)??)
}

pub(super) async fn keep_dead_letters(
    inner: &Arc<Inner>,
    letters: Vec<(Vec<u8>, FieldError)>,
) -> Result<(), DrainError> {
    if letters.is_empty() {
        return Ok(());
    }

    let count = letters.len() as u64;
    for (entry, error) in &letters {
        let origin = Origin::of_tenant(record::tenant_of(entry));
        inner
            .refused
            .note(origin, store::sources::FROM_SPOOL, error, entry);
    }

    let task = Arc::clone(inner);
    let done = tokio::task::spawn_blocking(move || {
        dead_letters::append(&task.settings.spool_dir, &letters, task.clock.now())
            .map_err(DrainError::DeadLetter)
    });

    let beyond = done.await.map_err(|_| DrainError::Task)??;
    add_to(&inner.counters.dead_letters, count);
    if beyond > 0 {
        tracing::error!(
            events = beyond,
            "dead-letter.ndjson is full: refused events are counted and no longer kept"
        );
    }

    tracing::error!(
        events = count,
        "the database refuses events of the spool permanently; see dead-letter.ndjson"
    );

    Ok(())
}

/// Records the outage as an event, and lets new events into the table again. The caller holds the
/// gate.
async fn end_outage(inner: &Arc<Inner>, conn: &mut Conn) -> Result<(), DrainError> {
    let outage = *lock_mutex(&inner.outage);
    if let Some(row) = outage.and_then(|outage| outage_row(inner, outage)) {
        let done = conn.write(&[row], &[1]).await?;
        if done.iter().any(|d| !d.rejected.is_empty()) {
            tracing::error!("the database refuses the event that records its outage");
        }
        inner.note_committed(&done);
    }

    *lock_mutex(&inner.outage) = None;
    *lock_mutex(&inner.outage_reason) = None;
    inner.refusing.store(false, Ordering::SeqCst);
    inner.spooling.store(false, Ordering::SeqCst);

    if let Some(Outage {
        since,
        spooled,
        refused,
    }) = outage
    {
        tracing::info!(%since, spooled, refused, "the database takes events again; the spool is \
            empty");
    }
    Ok(())
}

/// Returns the `system/audit_failure` event that reports the outage (3.3.4).
fn outage_row(inner: &Inner, outage: Outage) -> Option<AuditRow<'static>> {
    let now = inner.clock.now();
    let metadata = serde_json::json!({
        "component": "ingest",
        "from": outage.since,
        "to": now,
        "spooled": outage.spooled,
        "refused": outage.refused,
    });

    let record = AuditRecord {
        event_id: None,
        timestamp: Some(now),
        category: Category::System,
        action: Text::from("audit_failure"),
        result: Outcome::Failure,
        user_id: None,
        session_id: None,
        ip_address: None,
        user_agent: None,
        resource_type: Some(Text::from(model::event::OURSELVES)),
        resource_id: Some(Text::from("audit_events")),
        instance_id: None,
        cui_accessed: false,
        metadata: Details::from_json(metadata.to_string()),
    };

    preparation::complete(record, now, fill_random).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_batch_and_places_are_those_of_the_batch() {
        assert_eq!(part_ends(0), [0; 0]);
        assert_eq!(part_ends(50), [50]);
        assert_eq!(part_ends(120), [50, 100, 120]);
        let done = [vec![], vec![3], vec![0, 19]].map(|conflicting| Inserted {
            conflicting,
            ..Inserted::default()
        });
        assert_eq!(conflicting_rows(&part_ends(120), &done), [53, 100, 119]);
    }
}
