//! Events that conflict with an open transaction, which has inserted the same id and has not
//! committed. They wait on disk, apart from all others, and are tried again until that transaction
//! ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use store::events::AuditRow;
use tokio::time::sleep;

use crate::drain::{self, DrainError};
use crate::spool::{self, Spool, SpoolError};
use crate::writer::Conn;
use crate::{Inner, add_to, lock_mutex, record};

/// The folder, below the spool's.
const FOLDER: &str = "held";
/// Bytes of events that may wait: a sender has no honest reason for many of them.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes tried at once.
const BATCH: usize = 256 * 1024;
/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// Opens the folder and checks what it holds.
pub(super) fn open(spool_dir: &std::path::Path) -> Result<(Spool, Vec<spool::Cut>), SpoolError> {
    Spool::open(&spool_dir.join(FOLDER), MAX_BYTES)
}

/// Returns the folder's path, for readers.
pub(super) fn folder(spool_dir: &std::path::Path) -> PathBuf {
    spool_dir.join(FOLDER)
}

/// Whether so many bytes leave no room for a batch more.
pub(super) const fn is_full(bytes: u64) -> bool {
    bytes + BATCH as u64 > MAX_BYTES
}

/// Puts the rows at these places on disk, all or none. True when they are safe there.
pub(super) async fn keep(inner: &Arc<Inner>, rows: &[AuditRow<'_>], places: &[usize]) -> bool {
    let events = places.len();
    match append_batch(inner, rows, places).await {
        Ok(()) => {
            tracing::warn!(
                events,
                "events conflict with an open transaction and wait for its end"
            );
            *lock_mutex(&inner.held_full) = None;
            inner.hold.notify_one();
            true
        }
        Err(error) => {
            add_to(&inner.counters.refused, events as u64);
            let why = format!(
                "events that conflict with an open transaction are refused, there is no room for \
                    them on disk: {error}"
            );
            let before = lock_mutex(&inner.held_full).replace(why);
            if before.is_none() {
                tracing::error!(%error, "events that conflict with an open transaction are refused");
            }
            false
        }
    }
}

/// Retries what waits, forever.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut conn = Conn::new(&inner);
    loop {
        if lock_mutex(&inner.held).is_empty() {
            inner.hold.notified().await;
        }
        // During an outage the spool goes first, and what it holds may be the same events.
        if !inner.spooling.load(Ordering::SeqCst)
            && let Err(error) = drain_step(&inner, &mut conn).await
        {
            tracing::warn!(%error, "events that conflicted with a transaction are not written yet");
        }
        sleep(PAUSE).await;
    }
}

/// Retries one batch. What still conflicts is appended at the end of the queue before it is removed
/// from the front, so that no crash loses it.
async fn drain_step(inner: &Arc<Inner>, conn: &mut Conn) -> Result<(), DrainError> {
    let peeked = with_held(inner, |held| held.peek(BATCH)).await;
    let batch = match peeked {
        Ok(Some(batch)) => batch,
        Ok(None) => return Ok(()),
        Err(DrainError::Spool(error @ SpoolError::Damaged { .. })) => {
            tracing::error!(%error, "the events that wait for an open transaction are damaged");
            return Ok(());
        }
        Err(error) => return Err(error),
    };

    let (rows, mut letters) = drain::decode(&batch);
    let ends = drain::part_ends(rows.len());
    let done = conn.write(&rows, &ends).await?;
    drain::collect_refused(&rows, &ends, &done, &mut letters);
    let conflicting = drain::conflicting_rows(&ends, &done);
    if !conflicting.is_empty() {
        match append_batch(inner, &rows, &conflicting).await {
            Ok(()) => {}
            // They stay at the front until there is room.
            Err(DrainError::Spool(SpoolError::Full { .. })) => return Ok(()),
            Err(error) => return Err(error),
        }
    }

    drain::keep_dead_letters(inner, letters).await?;
    inner.note_committed(&done);
    if conflicting.len() < rows.len() {
        *lock_mutex(&inner.held_full) = None;
    }
    with_held(inner, move |held| held.advance(&batch)).await
}

/// Appends the rows at these positions.
async fn append_batch(
    inner: &Arc<Inner>,
    rows: &[AuditRow<'_>],
    places: &[usize],
) -> Result<(), DrainError> {
    let mut framed = Vec::new();
    for row in places.iter().filter_map(|at| rows.get(*at)) {
        let mut encoded = Ok(());
        spool::frame_record(&mut framed, |out| encoded = record::encode(row, out));
        encoded.map_err(|error| DrainError::DeadLetter(error.into()))?;
    }
    let (count, now) = (places.len() as u64, inner.clock.now());
    with_held(inner, move |held| held.append(&framed, count, now)).await
}

async fn with_held<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&mut Spool) -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, DrainError> {
    let task = Arc::clone(inner);
    let done = tokio::task::spawn_blocking(move || work(&mut lock_mutex(&task.held))).await;
    Ok(done.map_err(|_| DrainError::Task)??)
}
