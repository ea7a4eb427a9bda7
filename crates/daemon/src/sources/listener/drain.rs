//! From the spool into the database: in order, and each message once, whatever is killed meanwhile.
//!
//! The place of the last record is committed with the events, so that a spool that is read again
//! after a crash is taken up where the database stands, its dead letters and gaps included.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use collect::spool::{Batch, SpoolError};
use collect::{Format, LineId};
use model::Network;
use model::civil::Zone;
use model::time::Calendar;
use model::{Clock as _, ServiceName, Span, SystemClock};
use serde_json::json;
use store::log_events::Position;
use store::sources::{Cause, Gap};
use store::{Connection as _, PgConnectOptions, PgConnection, StoreError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::keeper::Shelf;
use super::record::{Content, Place, Record, decode};
use super::{LAST_TRY, LINGER};
use crate::log_pipeline::{Beside, Intake, Run};
use crate::spool_backlog::SpoolBacklog;
use crate::tenancy::{self, TenantSource};
use app::self_audit::{Component, Failures};

/// Bytes of the spool that are stored at once.
const BATCH: usize = 1024 * 1024;
/// So many messages are not made to wait for others.
const ENOUGH: u64 = 1000;
/// How long a database that cannot be reached is left alone.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Where messages go, and how they are read.
#[derive(Clone)]
pub(super) struct Sink {
    pub database: PgConnectOptions,
    /// The source in the ledger.
    pub source: TenantSource,
    pub format: &'static Format,
    pub every: Option<Span>,
    pub service: Option<ServiceName>,
    pub zone: Zone,
    pub trusted_proxies: Vec<Network>,
    pub calendar: Calendar,
    pub settle: Span,
    pub keep_raw: Span,
    pub failures: Failures,
    pub waiting: Arc<SpoolBacklog>,
}

/// Stores what a listener has kept.
pub(super) struct Drain {
    sink: Sink,
    open: Option<Open>,
}

struct Open {
    conn: PgConnection,
    intake: Intake,
    /// The last record that the database has.
    stored: Option<Place>,
}

/// What is stored in one transaction.
#[derive(Default)]
struct Work<'a> {
    /// Messages, with when they were read and who sent them.
    runs: Vec<Run<'a>>,
    gaps: Vec<Gap>,
    last: Option<Place>,
}

impl<'a> Work<'a> {
    fn of(records: impl IntoIterator<Item = Record<'a>>, stored: Option<Place>) -> Self {
        let is_stored =
            |place: Place| stored.is_some_and(|s| s.run == place.run && place.number <= s.number);
        let mut work = Self::default();
        for Record {
            place,
            received,
            content,
        } in records.into_iter().filter(|r| !is_stored(r.place))
        {
            work.last = Some(place);
            match content {
                Content::Lost(loss) => work.gaps.push(loss.gap()),
                Content::Message(message, peer) => {
                    let entry = (
                        LineId {
                            file: place.run,
                            offset: place.number,
                        },
                        message.into(),
                    );

                    match work.runs.last_mut() {
                        Some(run) if run.received == received && run.peer == peer => {
                            run.entries.push(entry);
                        }
                        _ => work.runs.push(Run {
                            received,
                            peer,
                            entries: vec![entry],
                        }),
                    }
                }
            }
        }
        work
    }
}

impl Drain {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, open: None }
    }

    async fn open(&mut self) -> anyhow::Result<&mut Open> {
        if self.open.is_none() {
            let sink = &self.sink;
            let tenant = sink.source.tenant.as_ref();
            let (mut conn, _) = tenancy::connect(&sink.database, tenant).await?;
            let intake = Intake::open(
                &mut conn,
                sink.source.name.clone(),
                sink.format,
                sink.every,
                sink.calendar.clone(),
                sink.settle,
            )
            .await?;
            let stored = store::log_events::position(&mut conn, &sink.source.key()).await?;
            self.open = Some(Open {
                conn,
                intake: intake
                    .of_socket()
                    .in_zone(sink.zone.clone())
                    .behind(sink.trusted_proxies.clone())
                    .keeping_raw(sink.keep_raw)
                    .of_service(sink.service.clone()),
                stored: stored.and_then(|at| serde_json::from_value(at).ok()),
            });
        }

        self.open.as_mut().context("there is no connection")
    }

    /// Stores records that the database does not have yet.
    pub(super) async fn store(&mut self, records: &[Record<'_>]) -> anyhow::Result<()> {
        let done = self.try_store(records).await;
        if done.is_err() {
            // Whether it was committed is what the next connection asks first.
            self.open = None;
        }
        done
    }

    /// Stores the events that have waited long enough for other messages; all of them at the end.
    async fn store_held(&mut self, at_end: bool) -> anyhow::Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if !open.intake.holds_events() {
            return Ok(());
        }

        let now = SystemClock.now();
        let stored = if at_end {
            open.intake.finish(&mut open.conn, now).await
        } else {
            open.intake
                .store(&mut open.conn, Vec::new(), Beside::default(), now)
                .await
        };
        if stored.is_err() {
            self.open = None;
        }
        stored
    }

    async fn try_store(&mut self, records: &[Record<'_>]) -> anyhow::Result<()> {
        let (name, key) = (self.sink.source.name.clone(), self.sink.source.key());
        let open = self.open().await?;
        let Work { runs, gaps, last } = Work::of(records.iter().cloned(), open.stored);
        let Some(last) = last else { return Ok(()) };
        let mut tx = open.conn.begin().await.map_err(StoreError::from)?;
        for gap in &gaps {
            store::sources::note_gap(&mut tx, &name, gap).await?;
        }

        let at = json!(last);
        let position = Position { collector: key, at };

        if runs.is_empty() {
            store::log_events::insert(&mut tx, &[], Some(&position), None).await?;
        } else {
            let beside = Beside {
                position: Some(position),
                gaps: Vec::new(),
            };
            open.intake.store_received(&mut tx, runs, beside).await?;
        }

        tx.commit().await.map_err(StoreError::from)?;
        open.stored = Some(last);
        for gap in gaps.iter().filter(|gap| gap.cause == Cause::Dropped) {
            let message = format!("{name}: {}", gap.detail);
            warn!("{message}");
            self.sink
                .failures
                .tell_of(Component::Collector, &name, message);
        }

        Ok(())
    }
}

/// Stores whatever the spool holds, until `ended` says that nothing more comes and it is empty;
/// then a database that is away is waited for only for a while.
pub(super) async fn run(
    drain: Arc<tokio::sync::Mutex<Drain>>,
    shelf: Arc<Shelf>,
    ended: CancellationToken,
) {
    let sink = drain.lock().await.sink.clone();
    let (mut failures, mut last_try) = (0_u32, None);

    // Makes the source known, even if nothing ever comes.
    let mut step = match drain.lock().await.open().await {
        Ok(_) => Ok(true),
        Err(cause) => Err(cause),
    };

    loop {
        match step {
            Ok(true) => failures = 0,
            Ok(false) if ended.is_cancelled() => {
                if let Err(cause) = drain.lock().await.store_held(true).await {
                    warn!(
                        "{}: the last events cannot be stored: {cause:#}",
                        sink.source.name
                    );
                }
                return;
            }
            Ok(false) => {
                if let Err(cause) = drain.lock().await.store_held(false).await {
                    warn!(
                        "{}: held events cannot be stored: {cause:#}",
                        sink.source.name
                    );
                }
                tokio::select! {
                    () = shelf.filled.notified() => {}
                    () = sleep(Duration::from_secs(1)) => {}
                    () = ended.cancelled() => {}
                }
            }
            Err(cause) => {
                failures += 1;
                if failures == 1 || failures.is_multiple_of(120) {
                    warn!(
                        "{}: messages wait in the spool for the database: {cause:#}",
                        sink.source.name
                    );
                }
                if ended.is_cancelled()
                    && last_try.get_or_insert_with(Instant::now).elapsed() > LAST_TRY
                {
                    let left = shelf
                        .with(|spool| Ok(spool.records()))
                        .await
                        .unwrap_or_default();
                    info!(
                        "{}: {left} messages stay in the spool for the next start",
                        sink.source.name
                    );

                    return;
                }
                sleep(TRY_AGAIN).await;
            }
        }

        step = drain_step(&drain, &shelf, &sink, &ended).await;
    }
}

/// Stores what a spool holds that nobody puts anything into any more.
pub(super) async fn run_to_end(drain: Drain, shelf: Arc<Shelf>, stop: &CancellationToken) {
    let (sink, drain) = (drain.sink.clone(), tokio::sync::Mutex::new(drain));
    while !stop.is_cancelled() {
        match drain_step(&drain, &shelf, &sink, stop).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(cause) => {
                warn!(
                    "{}: messages wait in the spool for the database: {cause:#}",
                    sink.source.name
                );
                let _ = timeout(Duration::from_secs(30), stop.cancelled()).await;
            }
        }
    }
}

/// Stores a batch. False when there was none.
async fn drain_step(
    drain: &tokio::sync::Mutex<Drain>,
    shelf: &Arc<Shelf>,
    sink: &Sink,
    ended: &CancellationToken,
) -> anyhow::Result<bool> {
    let records = shelf.with(|spool| Ok(spool.records())).await?;
    if records == 0 {
        sink.waiting.record(&sink.source.name, None);
        return Ok(false);
    }

    if records < ENOUGH && !ended.is_cancelled() {
        sleep(LINGER).await;
    }

    let peeked = shelf.with(|spool| match spool.peek(BATCH) {
        Err(SpoolError::Damaged { path, at, lost }) => {
            Ok(Err(SpoolError::Damaged { path, at, lost }))
        }
        other => other.map(Ok),
    });

    let batch = match peeked.await? {
        Ok(Some(batch)) => batch,
        Ok(None) => return Ok(false),
        Err(damaged) => {
            let message = format!("{}: {damaged}", sink.source.name);
            error!("{message}");
            sink.failures
                .tell_of(Component::Collector, &sink.source.name, message);
            return Ok(true);
        }
    };

    let records = decode_batch(sink, &batch);
    sink.waiting.record(
        &sink.source.name,
        records.first().map(|record| record.received),
    );
    drain.lock().await.store(&records).await?;
    drop(records);
    shelf.with(move |spool| spool.advance(&batch)).await?;

    Ok(true)
}

fn decode_batch<'a>(sink: &Sink, batch: &'a Batch) -> Vec<Record<'a>> {
    let mut records = Vec::new();
    for payload in batch.payloads() {
        if let Some(record) = decode(payload) {
            records.push(record);
        } else {
            // Whole by its checksum, so another version of the program wrote it.
            error!(
                "{}: a record of the spool cannot be read: {} bytes",
                sink.source.name,
                payload.len()
            );
        }
    }

    records
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::super::record::Loss;
    use super::*;

    #[test]
    fn what_the_database_has_is_not_stored_again() {
        let at = Timestamp::from_micros;
        let message = |run, number, received| Record {
            place: Place { run, number },
            received: at(received),
            content: Content::Message(b"x", None),
        };

        let loss = Loss {
            from: at(1),
            to: at(2),
            messages: Some(3),
            why: String::new(),
        };

        let lost = Record {
            place: Place { run: 2, number: 2 },
            received: at(6),
            content: Content::Lost(loss),
        };

        let records = [
            message(1, 7, 4),
            message(2, 0, 5),
            message(2, 1, 5),
            lost,
            message(2, 3, 6),
        ];
        let offsets = |stored| {
            let work = Work::of(records.clone(), stored);
            let runs: Vec<(i64, Vec<u64>)> = work
                .runs
                .iter()
                .map(|run| {
                    let offsets = run.entries.iter().map(|entry| entry.0.offset);
                    (run.received.as_micros(), offsets.collect())
                })
                .collect();
            (runs, work.gaps.len())
        };

        let all = vec![(4, vec![7]), (5, vec![0, 1]), (6, vec![3])];
        assert_eq!(offsets(None), (all.clone(), 1));
        assert_eq!(
            offsets(Some(Place { run: 9, number: 99 })),
            (all, 1),
            "another run's place says nothing"
        );
        assert_eq!(
            offsets(Some(Place { run: 2, number: 0 })),
            (vec![(4, vec![7]), (5, vec![1]), (6, vec![3])], 1)
        );

        assert_eq!(
            offsets(Some(Place { run: 2, number: 3 })),
            (vec![(4, vec![7])], 0)
        );
    }
}
