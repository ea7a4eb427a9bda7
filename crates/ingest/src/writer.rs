//! Group commit: a free writer takes everything that waits and writes it with one COPY and one
//! commit.
//!
//! A lone request does not wait for others; while a group is being written, the next one gathers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use store::events::{AuditRow, Inserted, insert_audit_parts, prepare_writer};
use tokio::time::{sleep, timeout};

use crate::Timeouts;
use crate::refusals::Origin;
use crate::spool::{self, SpoolError};
use crate::{Answer, IngestError, Inner, Job, Outage, add_to, held, lock_mutex, record};

/// The most rows of a group, unless a single request has more.
const GROUP_ROWS: usize = 5_000;
/// The most bytes of a group, as received, unless a single request has more.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// How often a group is tried when the database is reachable but fails: deadlocks, stale
/// connections.
const TRIES: u32 = 3;

/// Writes groups until the queue is closed and empty.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut conn = Conn::new(&inner);
    loop {
        let (jobs, closed) = take_jobs(&inner);
        if !jobs.is_empty() {
            let _gate = inner.gate.read().await;
            write_jobs(&inner, &mut conn, jobs).await;
        } else if closed {
            // Wakes the next writer, so that it ends too.
            inner.wake.notify_one();
            return;
        } else {
            inner.wake.notified().await;
        }
    }
}

fn take_jobs(inner: &Inner) -> (Vec<Job>, bool) {
    let mut queue = lock_mutex(&inner.queue);
    let (mut jobs, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while let Some(job) = queue.jobs.front() {
        rows += job.rows.len();
        bytes += job.bytes;
        if !jobs.is_empty() && (rows > GROUP_ROWS || bytes > GROUP_BYTES) {
            break;
        }
        jobs.extend(queue.jobs.pop_front());
    }

    (jobs, queue.closed)
}

async fn write_jobs(inner: &Arc<Inner>, conn: &mut Conn, mut jobs: Vec<Job>) {
    let mut rows = Vec::with_capacity(jobs.iter().map(|job| job.rows.len()).sum());
    let mut ends = Vec::with_capacity(jobs.len());
    for job in &mut jobs {
        rows.append(&mut job.rows);
        ends.push(rows.len());
    }

    if !inner.spooling.load(Ordering::SeqCst) {
        match conn.write(&rows, &ends).await {
            Ok(done) => {
                inner.note_committed(&done);
                inner.note_refused(&rows, &ends, &done);
                answer_jobs(inner, jobs, &rows, &ends, done).await;
                return;
            }
            Err(why) => inner.begin_outage(&why),
        }
    }

    let kept = spool_rows(inner, rows).await;
    let mut start = 0;
    for (job, end) in jobs.into_iter().zip(ends) {
        let answer = if kept {
            Ok(Answer::Spooled((end - start) as u64))
        } else {
            Err(IngestError::NotKept)
        };
        start = end;
        let _ = job.reply.send(answer);
    }
}

/// Answers the requests of a group that was written. Events that conflict with an open transaction
/// are put on disk first; where that fails, their request is asked to send everything again, which
/// is a no-op for what was written.
async fn answer_jobs(
    inner: &Arc<Inner>,
    jobs: Vec<Job>,
    rows: &[AuditRow<'_>],
    ends: &[usize],
    done: Vec<Inserted>,
) {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    for ((job, start), done) in jobs.into_iter().zip(starts).zip(done) {
        let places: Vec<usize> = done.conflicting.iter().map(|at| start + at).collect();
        let kept = places.is_empty() || held::keep(inner, rows, &places).await;
        let answer = if kept {
            Ok(Answer::Written(done))
        } else {
            Err(IngestError::Open)
        };

        // The client may have gone; its events are written in any case.
        let _ = job.reply.send(answer);
    }
}

/// Puts rows into the spool, all or none.
async fn spool_rows(inner: &Arc<Inner>, rows: Vec<AuditRow<'static>>) -> bool {
    let count = rows.len() as u64;
    let task = Arc::clone(inner);
    let appended = tokio::task::spawn_blocking(move || {
        let mut framed = Vec::new();
        let mut encoded = Ok(());
        for row in &rows {
            spool::frame_record(&mut framed, |out| {
                if let Err(error) = record::encode(row, out) {
                    encoded = Err(error);
                }
            });
        }

        encoded.map_err(|error| SpoolError::Io {
            path: task.settings.spool_dir.clone(),
            error: error.into(),
        })?;

        let now = task.clock.now();
        lock_mutex(&task.spool).append(&framed, count, now)
    });

    let appended = appended.await;
    let kept = matches!(appended, Ok(Ok(())));
    let before = inner.refusing.swap(!kept, Ordering::SeqCst);
    let c = &inner.counters;
    add_to(if kept { &c.spooled } else { &c.refused }, count);

    if let Some(outage) = &mut *lock_mutex(&inner.outage) {
        *(if kept {
            &mut outage.spooled
        } else {
            &mut outage.refused
        }) += count;
    }

    match appended {
        Ok(Err(error)) if !before => {
            tracing::error!(%error, "events are refused: the spool cannot take them");
        }
        Err(_) if !before => {
            tracing::error!("events are refused: writing to the spool was aborted");
        }
        Ok(Ok(())) if before => tracing::info!("the spool takes events again"),
        _ => {}
    }

    kept
}

impl Inner {
    pub(super) fn note_committed(&self, done: &[Inserted]) {
        let c = &self.counters;
        let accepted = done.iter().map(|d| d.accepted).sum();
        add_to(&c.accepted, accepted);
        add_to(&c.duplicates, done.iter().map(|d| d.duplicates).sum());
        add_to(
            &c.rejected,
            done.iter().map(|d| d.rejected.len() as u64).sum(),
        );

        c.last_commit
            .store(self.clock.now().as_micros(), Ordering::Relaxed);
        if accepted > 0 {
            self.committed.send_modify(|n| *n += accepted);
        }
    }

    /// Records the events that only the database could refuse.
    fn note_refused(&self, rows: &[AuditRow<'_>], ends: &[usize], done: &[Inserted]) {
        let starts = std::iter::once(0).chain(ends.iter().copied());
        for (start, done) in starts.zip(done) {
            for (at, error) in &done.rejected {
                let Some(row) = rows.get(start + at) else {
                    continue;
                };
                let mut text = Vec::new();
                let encoded = record::encode(row, &mut text);
                self.refused.note(
                    Origin::of_tenant(row.tenant()),
                    store::sources::BY_DATABASE,
                    error,
                    if encoded.is_ok() { &text } else { b"" },
                );
            }
        }
    }

    fn begin_outage(&self, why: &WriteError) {
        let mut outage = lock_mutex(&self.outage);
        if outage.is_none() {
            *outage = Some(Outage {
                since: self.clock.now(),
                spooled: 0,
                refused: 0,
            });
            tracing::error!(error = %why, "the database takes no events; they go to the spool");
            *lock_mutex(&self.outage_reason) = Some(why.to_string());
        }

        self.spooling.store(true, Ordering::SeqCst);
        drop(outage);
        self.drain.notify_one();
    }
}

/// Why a group could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("no connection within {} ms", .0.as_millis())]
    NoConnection(Duration),
    #[error("no commit within {} ms", .0.as_millis())]
    NoCommit(Duration),
    #[error("{0}")]
    Store(String),
}

/// A connection that is kept between groups: the pool would ping the server each time.
pub(super) struct Conn {
    pool: PgPool,
    timeouts: Timeouts,
    held: Option<PoolConnection<Postgres>>,
}

impl Conn {
    pub(super) fn new(inner: &Inner) -> Self {
        Self {
            pool: inner.pool.clone(),
            timeouts: inner.settings.timeouts.clone(),
            held: None,
        }
    }

    /// Connects when there is no connection.
    pub(super) async fn ready(&mut self) -> Result<(), WriteError> {
        if self.held.is_none() {
            let patience = self.timeouts.acquire;
            match timeout(patience, self.pool.acquire()).await {
                Ok(Ok(mut conn)) => {
                    let prepared = timeout(patience, prepare_writer(&mut conn)).await;
                    prepared
                        .map_err(|_| WriteError::NoConnection(patience))?
                        .map_err(|e| WriteError::Store(describe_error(&e)))?;
                    self.held = Some(conn);
                }
                Ok(Err(error)) => return Err(WriteError::Store(describe_error(&error.into()))),
                Err(_) => return Err(WriteError::NoConnection(patience)),
            }
        }

        Ok(())
    }

    /// Writes a group, or says why the database does not take it. An error leaves open whether it
    /// was written.
    pub(super) async fn write(
        &mut self,
        rows: &[AuditRow<'_>],
        ends: &[usize],
    ) -> Result<Vec<Inserted>, WriteError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let fresh = self.held.is_none();
            self.ready().await?;
            let patience = self.timeouts.write;
            let Some(mut conn) = self.held.take() else {
                return Err(WriteError::NoConnection(patience));
            };

            match timeout(patience, insert_audit_parts(&mut conn, rows, ends)).await {
                Ok(Ok(done)) => {
                    self.held = Some(conn);
                    return Ok(done);
                }
                // The state of a connection after an error is unknown, so it is closed.
                Ok(Err(error)) => {
                    drop(conn.detach());
                    if tries >= TRIES || (fresh && error.is_outage()) {
                        return Err(WriteError::Store(describe_error(&error)));
                    }
                    if fresh {
                        sleep(Duration::from_millis(20)).await;
                    }
                }
                Err(_) => {
                    drop(conn.detach());
                    return Err(WriteError::NoCommit(patience));
                }
            }
        }
    }
}

/// The error without the server's DETAIL, which may quote a row.
fn describe_error(error: &store::StoreError) -> String {
    error.to_string()
}
