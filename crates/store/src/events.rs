//! Audit events into `audit_events`, in batches.
//!
//! The fast way is one binary COPY. A batch that it refuses goes the careful way: rows that are
//! there already are counted as duplicates, rows that the database cannot take are found by halving
//! and named, and no neighbor of theirs is lost. So are rows whose key another session's open
//! transaction holds: they are named as such, for the caller to try again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

mod known;

use known::insert_ignoring_known;
use model::{AuditRecord, EventId, FieldError, ServiceName, TenantId, Timestamp};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::StoreError;
use crate::binary_copy::{Encoder, audit_columns};
use crate::error::is_conflict;

/// A checked event with its id and time, as a row.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow<'a> {
    event_id: Uuid,
    timestamp: Timestamp,
    /// What its sender says of its time, where the row has that of its arrival.
    claim: Option<Claim>,
    /// Whose it is: that of the key or source by which it came.
    tenant: TenantId,
    record: AuditRecord<'a>,
}

/// What a sender that chose an event's id says of its time, where that is not the row's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing.
    NoTime,
    /// A time that cannot be.
    At(Timestamp),
}

impl Claim {
    fn micros(self) -> i64 {
        match self {
            Self::NoTime => i64::MIN,
            Self::At(at) => at.as_micros(),
        }
    }
}

impl<'a> AuditRow<'a> {
    /// Completes a record: `event_id` and `timestamp` are for those that carry none.
    pub fn new(
        record: AuditRecord<'a>,
        event_id: impl FnOnce() -> EventId,
        now: Timestamp,
    ) -> Self {
        Self {
            event_id: record.event_id.unwrap_or_else(|| event_id().0),
            timestamp: record.timestamp.unwrap_or(now),
            claim: None,
            tenant: TenantId::DEFAULT,
            record,
        }
    }

    /// The same with the time of its arrival, which is the first one's of all that claim the same:
    /// a retry is no other event.
    #[must_use]
    pub fn claiming(mut self, claim: Option<Claim>) -> Self {
        self.claim = claim;
        self
    }

    /// What its sender says of its time, where that is not the row's.
    pub fn claim(&self) -> Option<Claim> {
        self.claim
    }

    /// The row's id.
    pub fn event_id(&self) -> EventId {
        EventId(self.event_id)
    }

    /// The row's time.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The same as that tenant's.
    #[must_use]
    pub fn of_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = tenant;
        self
    }

    /// Whose it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The id that it has instead of its own where another tenant's event has that one: always the
    /// same, so that a retry is known.
    fn other_id(&self) -> Uuid {
        Uuid::new_v5(&self.tenant.0, self.event_id.as_bytes())
    }

    /// Under which id it is known what the sender claims of its time: another tenant's claims say
    /// nothing of it.
    fn id_of_claim(&self) -> Uuid {
        if self.tenant == TenantId::DEFAULT {
            self.event_id
        } else {
            self.other_id()
        }
    }

    /// The same as an event of that service, whatever it says of itself.
    #[must_use]
    pub fn of_service(mut self, service: &ServiceName) -> Self {
        self.record.metadata = self.record.metadata.with_service(service);
        self
    }

    /// What the row holds.
    pub fn record(&self) -> &AuditRecord<'a> {
        &self.record
    }

    /// About as many bytes as it takes on the wire.
    fn size(&self) -> usize {
        let text = |t: &Option<model::Text<'_>>| t.as_ref().map_or(0, |t| t.len());
        let r = &self.record;
        160 + r.action.len()
            + text(&r.session_id)
            + text(&r.user_agent)
            + text(&r.resource_type)
            + text(&r.resource_id)
            + r.metadata.as_json().len()
    }
}

/// What became of a batch. The counts and the lists add up to its length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// New rows.
    pub accepted: u64,
    /// Rows that were there already, or twice in the batch.
    pub duplicates: u64,
    /// Rows that the database cannot take: their place in the batch, and why.
    pub rejected: Vec<(usize, FieldError)>,
    /// Rows that were not written because another transaction has inserted their key and is still
    /// open: their places in the batch. Whether they are duplicates is known when that transaction
    /// ends.
    pub conflicting: Vec<usize>,
}

/// How long one row may wait for another transaction while the conflicting rows of a batch are
/// searched for. Whoever commits promptly is waited for by the fast way already; here each wait
/// delays every request of the batch.
const CONFLICT_WAIT: &str = "10ms";
/// How long the fast way waits for a row: longer than a commit takes, and no longer than everybody
/// else may wait for one writer.
const FAST_WAIT: &str = "300ms";

const COPY: &str = concat!(
    "COPY public.audit_events (",
    audit_columns!(),
    ") FROM STDIN (FORMAT binary)"
);
/// The same of rows that are not all of the tenant `default`, which a row is that names none.
const COPY_OF_TENANTS: &str = concat!(
    "COPY public.audit_events (",
    audit_columns!(),
    ", tenant_id) FROM STDIN (FORMAT binary)"
);

/// Writes a batch. Atomic: in the caller's transaction where there is one, else in one of its own.
/// An error means that nothing was written (rows that are refused are not an error).
pub async fn insert_audit(
    conn: &mut PgConnection,
    rows: &[AuditRow<'_>],
) -> Result<Inserted, StoreError> {
    if rows.is_empty() {
        return Ok(Inserted::default());
    }

    let mut tx = conn.begin().await?;
    if rows.iter().any(|row| row.claim.is_some()) {
        wait_briefly(&mut tx).await?;
        let inserted = insert_with_claims(&mut tx, rows, &Search::new()).await?;
        tx.commit().await?;
        return Ok(inserted);
    }

    match copy_rows(&mut tx, rows).await {
        Ok(accepted) => {
            tx.commit().await?;
            Ok(Inserted {
                accepted,
                ..Inserted::default()
            })
        }
        Err(error) if is_about_rows(&error) || is_refused_copy(&error) => {
            tx.rollback().await?;
            let mut tx = conn.begin().await?;
            wait_briefly(&mut tx).await?;
            let inserted = insert_carefully(&mut tx, rows, &Search::new()).await?;
            tx.commit().await?;
            Ok(inserted)
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes the batches of several requests as one, and says what became of each: `ends` holds the
/// end of each batch in `rows`, ascending, the last being `rows.len()`. Places of refused rows
/// count from the start of their batch. Atomic, like
/// [`insert_audit`], but must not be called inside a transaction: one COPY is a transaction by itself, and saves two trips.
pub async fn insert_audit_parts(
    conn: &mut PgConnection,
    rows: &[AuditRow<'_>],
    ends: &[usize],
) -> Result<Vec<Inserted>, StoreError> {
    let ranges: Vec<_> = ends
        .iter()
        .scan(0, |start, &end| Some(std::mem::replace(start, end)..end))
        .collect();
    let whole = |range: &std::ops::Range<usize>| Inserted {
        accepted: range.len() as u64,
        ..Inserted::default()
    };

    if rows.is_empty() {
        return Ok(ranges.iter().map(whole).collect());
    }

    if rows.iter().any(|row| row.claim.is_some()) {
        let mut tx = conn.begin().await?;
        wait_briefly(&mut tx).await?;
        let search = Search::new();
        let mut inserted = Vec::with_capacity(ranges.len());
        for range in ranges {
            inserted.push(insert_with_claims(&mut tx, &rows[range], &search).await?);
        }

        tx.commit().await?;
        return Ok(inserted);
    }

    match copy_rows(conn, rows).await {
        Ok(_) => Ok(ranges.iter().map(whole).collect()),
        Err(error) if is_about_rows(&error) || is_refused_copy(&error) => {
            let mut tx = conn.begin().await?;
            wait_briefly(&mut tx).await?;
            let inserted = insert_parts_carefully(&mut tx, rows, &ranges).await?;
            tx.commit().await?;
            Ok(inserted)
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes a batch some of whose rows claim another time than theirs. Where another session is about
/// to bring the same events, those rows conflict, and the others are written.
async fn insert_with_claims(
    conn: &mut PgConnection,
    rows: &[AuditRow<'_>],
    search: &Search,
) -> Result<Inserted, StoreError> {
    let mut savepoint = conn.begin().await?;
    match as_first_arrived(&mut savepoint, rows).await {
        Ok(known) => {
            savepoint.commit().await?;
            insert_carefully(conn, known.as_deref().unwrap_or(rows), search).await
        }
        Err(error) if error.is_conflict() => {
            savepoint.rollback().await?;
            let (claiming, others): (Vec<usize>, Vec<usize>) =
                (0..rows.len()).partition(|at| rows[*at].claim.is_some());
            let free: Vec<AuditRow<'_>> = others.iter().map(|at| rows[*at].clone()).collect();
            let mut done = insert_carefully(conn, &free, search).await?;
            for (at, _) in &mut done.rejected {
                *at = others[*at];
            }

            done.conflicting = done
                .conflicting
                .iter()
                .map(|at| others[*at])
                .chain(claiming)
                .collect();

            Ok(done)
        }
        Err(error) => Err(error),
    }
}

/// The rows with the times at which those that claim one first arrived; none when none does. Holds,
/// until the transaction ends, whoever brings the same events.
async fn as_first_arrived<'a>(
    conn: &mut PgConnection,
    rows: &[AuditRow<'a>],
) -> Result<Option<Vec<AuditRow<'a>>>, StoreError> {
    let claims: Vec<(Uuid, i64, i64)> = rows
        .iter()
        .filter_map(|row| {
            Some((
                row.id_of_claim(),
                row.claim?.micros(),
                row.timestamp.as_micros(),
            ))
        })
        .collect();
    if claims.is_empty() {
        return Ok(None);
    }

    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.0).collect();
    let claimed: Vec<i64> = claims.iter().map(|claim| claim.1).collect();
    let arrivals: Vec<i64> = claims.iter().map(|claim| claim.2).collect();
    let first = sqlx::query_scalar!(
        r#"SELECT arrived AS "arrived!" FROM blueteam.first_arrivals($1, $2, $3) AS arrived"#,
        &ids,
        &claimed,
        &arrivals,
    )
    .fetch_all(conn)
    .await?;

    let mut first = first.into_iter().map(Timestamp::from_micros);
    let mut known = rows.to_vec();
    for row in known.iter_mut().filter(|row| row.claim.is_some()) {
        row.timestamp = first.next().unwrap_or(row.timestamp);
    }

    Ok(Some(known))
}

/// Halves the list of batches until each half is wholly new or a single batch, whose rows are then
/// looked at one by one.
async fn insert_parts_carefully(
    conn: &mut PgConnection,
    rows: &[AuditRow<'_>],
    ranges: &[std::ops::Range<usize>],
) -> Result<Vec<Inserted>, StoreError> {
    let search = Search::new();
    let mut done = vec![Inserted::default(); ranges.len()];
    let mut todo = VecDeque::from([(0, ranges.len())]);
    while let Some((first, end)) = todo.pop_front() {
        if end - first == 1 {
            done[first] = insert_carefully(conn, &rows[ranges[first].clone()], &search).await?;
            continue;
        }

        let part = &rows[ranges[first].start..ranges[end - 1].end];
        let mut savepoint = conn.begin().await?;
        match insert_ignoring_known(&mut savepoint, part).await {
            Ok(accepted) if accepted == part.len() as u64 => {
                savepoint.commit().await?;
                for at in first..end {
                    done[at].accepted = ranges[at].len() as u64;
                }
            }
            Err(error) if !is_about_rows(&error) => return Err(error.into()),
            _ => {
                savepoint.rollback().await?;
                let middle = first.midpoint(end);
                todo.push_front((middle, end));
                todo.push_front((first, middle));
            }
        }
    }

    Ok(done)
}

/// Sends a COPY stream; returns how many rows it wrote.
pub(crate) async fn copy(
    conn: &mut PgConnection,
    statement: &str,
    stream: Vec<u8>,
) -> Result<u64, sqlx::Error> {
    let mut copy = conn.copy_in_raw(statement).await?;
    copy.send(stream).await?;
    copy.finish().await
}

async fn copy_rows(conn: &mut PgConnection, rows: &[AuditRow<'_>]) -> Result<u64, sqlx::Error> {
    let is_of_default = rows.iter().all(|row| row.tenant == TenantId::DEFAULT);
    let statement = if is_of_default { COPY } else { COPY_OF_TENANTS };
    copy(conn, statement, encode_rows(rows, !is_of_default)).await
}

fn encode_rows(rows: &[AuditRow<'_>], with_tenants: bool) -> Vec<u8> {
    let mut out = Encoder::with_capacity(rows.iter().map(AuditRow::size).sum());
    for row in rows {
        let r = &row.record;
        out.row(if with_tenants { 15 } else { 14 });
        out.uuid(Some(row.event_id));
        out.timestamp(row.timestamp);
        out.text(r.category.as_str());
        out.text(&r.action);
        out.text(r.result.as_str());
        out.uuid(r.user_id);

        out.opt_text(r.session_id.as_deref());
        out.inet(r.ip_address);
        out.opt_text(r.user_agent.as_deref());
        out.opt_text(r.resource_type.as_deref());
        out.opt_text(r.resource_id.as_deref());
        out.uuid(r.instance_id);
        out.boolean(r.cui_accessed);
        out.jsonb(r.metadata.as_json());
        if with_tenants {
            out.uuid(Some(row.tenant.0));
        }
    }

    out.finish()
}

/// Whether the server complains about what the rows hold: bad values (22), constraints (23), JSON
/// too deep for it (54).
pub(crate) fn is_about_data(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| {
            ["22", "23", "54"]
                .iter()
                .any(|class| code.starts_with(class))
        })
}

/// SQLSTATE of a COPY into a table whose policies hold whoever asks.
const FEATURE_NOT_SUPPORTED: &str = "0A000";

/// Whether the table takes no COPY of this login, because its policies hold it (decision 0049).
pub(crate) fn is_refused_copy(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == FEATURE_NOT_SUPPORTED)
}

/// Prepares a connection for writing batches of many senders: no row may hold them all up.
pub async fn prepare_writer(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT set_config('lock_timeout', $1, false)", FAST_WAIT)
        .fetch_one(conn)
        .await?;
    Ok(())
}

/// Whether the error concerns some of the rows, so that halving finds them: their values, or a key
/// that is held elsewhere.
fn is_about_rows(error: &sqlx::Error) -> bool {
    is_about_data(error) || is_conflict(error)
}

/// Makes the rest of the transaction give up quickly on rows that conflict with an open
/// transaction. An error when the whole table is locked, which no search for rows would help.
async fn wait_briefly(conn: &mut PgConnection) -> Result<(), StoreError> {
    // Takes the lock on the table that every row needs, with the patience of the connection.
    sqlx::query!(
        "INSERT INTO public.audit_events (event_id, timestamp) SELECT NULL, NULL WHERE false"
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("SELECT set_config('lock_timeout', $1, true)", CONFLICT_WAIT)
        .fetch_one(conn)
        .await?;

    Ok(())
}

/// How long conflicting rows are searched for, all batches of a group together: everybody in the
/// group waits meanwhile.
const SEARCH: Duration = Duration::from_secs(2);
/// Maximum number of conflicting rows of one batch that are separated from their neighbors.
const CONFLICTS_MAX: usize = 8;

/// A search for conflicting rows. Whoever holds many ids must not make it last: once it has found
/// enough, or taken long enough, what conflicts is taken for conflicting as a whole, neighbors
/// included. They are tried again like the others, and a few seconds late.
struct Search {
    until: Instant,
}

impl Search {
    fn new() -> Self {
        Self {
            until: Instant::now() + SEARCH,
        }
    }

    fn goes_on(&self, found: usize) -> bool {
        found < CONFLICTS_MAX && Instant::now() < self.until
    }
}

/// Writes what can be written of a batch, halving it around rows that the database refuses or that
/// conflict.
async fn insert_carefully(
    conn: &mut PgConnection,
    rows: &[AuditRow<'_>],
    search: &Search,
) -> Result<Inserted, StoreError> {
    let mut done = Inserted::default();
    let mut todo = VecDeque::from([(0, rows.len())]);
    while let Some((start, end)) = todo.pop_front() {
        let part = &rows[start..end];
        let mut savepoint = conn.begin().await?;
        match insert_ignoring_known(&mut savepoint, part).await {
            Ok(accepted) => {
                savepoint.commit().await?;
                done.accepted += accepted;
                done.duplicates += part.len() as u64 - accepted;
            }
            Err(error) if is_about_rows(&error) => {
                savepoint.rollback().await?;
                if is_conflict(&error)
                    && (part.len() == 1 || !search.goes_on(done.conflicting.len()))
                {
                    done.conflicting.extend(start..end);
                } else if part.len() == 1 {
                    done.rejected.push((start, refusal_reason(&error)));
                } else {
                    let middle = start + part.len() / 2;
                    // At the front, and in this order: rows keep the order of the batch.
                    todo.push_front((middle, end));
                    todo.push_front((start, middle));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }

    Ok(done)
}

/// The server's reason as an error of the field that it names, as far as it names one.
fn refusal_reason(error: &sqlx::Error) -> FieldError {
    let Some(error) = error.as_database_error() else {
        return FieldError::new("event", "cannot be stored");
    };
    let field = match error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        Some(pg) => pg.column().or_else(|| pg.constraint()).map(str::to_owned),
        None => None,
    };

    let message = error.message();
    let field = field.unwrap_or_else(|| {
        if message.contains("json") {
            "metadata"
        } else {
            "event"
        }
        .to_owned()
    });

    FieldError::new(field, format_args!("cannot be stored: {message}"))
}
