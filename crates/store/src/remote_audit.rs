//! Reading the `audit_events` of another database, where blueteam may do nothing but SELECT, each
//! committed row once.
//!
//! The table is the documents': it has no column that says which transaction wrote a row, but every
//! row of PostgreSQL has `xmin`. How that is read without loss is in `position`; why so, in
//! decision 0016.

mod keep;
mod position;

use model::audit::limits;
use model::event::Details;
use model::{
    AuditRecord, Category, EventId, FieldError, Outcome, ServiceName, TenantId, Text, Timestamp,
};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Row, Transaction};
use uuid::Uuid;

use crate::StoreError;
use crate::db::Ts;
use crate::events::AuditRow;
use crate::reader::Snapshot;

pub use keep::{Account, Kept, keep, position};
pub use position::Position;

/// Rows fetched at once. With what a row may hold, some 75 MB at the very most.
const FETCH: usize = 1000;

/// What is read of a row. Texts are cut where the HTTP API would reject them: a writer of that
/// table must not be able to hide an event by its length. Metadata that is too large or too deep
/// for us (without a bound of its own, the search through it would end on the stack of that
/// server), or holds numbers that explode when they are written out, is withheld.
fn column_list() -> String {
    format!(
        include_str!("remote_audit/columns.sql"),
        session_id = limits::SESSION_ID / 4,
        user_agent = limits::USER_AGENT,
        resource_type = limits::RESOURCE_TYPE / 4,
        resource_id = limits::RESOURCE_ID / 4,
        too_deep = limits::DEPTH + 1,
        depth = limits::DEPTH,
        metadata = limits::METADATA,
    )
}

/// The microseconds of the years 1 to 9999: a database's times go on for ever in both directions.
const CALENDAR: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// A row as it was found.
#[derive(Debug)]
pub struct Found {
    /// The event, or why the row is not a valid one and what it looked like.
    pub event: Result<AuditRow<'static>, (FieldError, String)>,
}

/// One reading of the table: what became visible since the last, as of one moment.
#[derive(Debug)]
pub struct Pass<'c> {
    tx: Transaction<'c, Postgres>,
    snapshot: Snapshot,
    /// What is read after the present query.
    queries: Vec<String>,
    open: bool,
    next: Position,
}

/// What the login may do to the table beyond reading it, in SQL's words. It needs none of them, and
/// whoever takes over its reader should find none.
pub async fn excess_rights(conn: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let rights = sqlx::query_scalar(
        "SELECT right_name
         FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS rights (right_name)
         WHERE CASE
             WHEN right_name IN ('INSERT', 'UPDATE')
                 THEN has_any_column_privilege('public.audit_events', right_name)
             ELSE has_table_privilege('public.audit_events', right_name)
         END",
    )
    .fetch_all(conn)
    .await?;

    Ok(rights)
}

/// Begins to read from where the last reading stood. `floor` is the time from which events are
/// looked for at each reading; older ones (spools that come late) are found by a `sweep`, which
/// goes through the whole table.
///
/// Whoever may SELECT from the table, and nothing else, can do this.
pub async fn begin<'c>(
    conn: &'c mut PgConnection,
    last: Option<&Position>,
    sweep: bool,
    floor: Timestamp,
) -> Result<Pass<'c>, StoreError> {
    let identity = database_identity(conn).await?;
    let mut tx = conn
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    // Row security that hides rows from this login is an error, and never fewer events.
    sqlx::query("SET LOCAL row_security = off")
        .execute(&mut *tx)
        .await?;
    let now: String = sqlx::query_scalar("SELECT pg_current_snapshot()::text")
        .fetch_one(&mut *tx)
        .await?;
    let snapshot: Snapshot = now.parse()?;

    // Another cluster, a table that was created again, or one that was restored to an earlier
    // point: its transactions are not the known ones.
    let last = last.filter(|last| last.holds_for(&identity, &snapshot));
    let (conditions, next) =
        position::plan(last, &identity, &snapshot, sweep.then_some(floor), floor);
    let queries = conditions
        .iter()
        .rev()
        .map(|condition| {
            format!(
                "DECLARE events NO SCROLL CURSOR FOR
                 SELECT {}
                 FROM public.audit_events
                 WHERE {condition}",
                column_list()
            )
        })
        .collect();

    // An estimate for a new table is as good as none, and would have it read whole.
    if !sweep && last.is_some() {
        sqlx::query("SET LOCAL enable_seqscan = off")
            .execute(&mut *tx)
            .await?;
    }

    Ok(Pass {
        tx,
        snapshot,
        queries,
        open: false,
        next,
    })
}

impl Pass<'_> {
    /// The next rows, in no order; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Found>>, StoreError> {
        loop {
            if !self.open {
                let Some(query) = self.queries.pop() else {
                    return Ok(None);
                };
                sqlx::query(AssertSqlSafe(query))
                    .persistent(false)
                    .execute(&mut *self.tx)
                    .await?;
                self.open = true;
            }

            let fetch = AssertSqlSafe(format!("FETCH {FETCH} FROM events"));
            let rows = sqlx::query(fetch)
                .persistent(false)
                .fetch_all(&mut *self.tx)
                .await?;
            if rows.is_empty() {
                sqlx::query("CLOSE events")
                    .persistent(false)
                    .execute(&mut *self.tx)
                    .await?;
                self.open = false;
                continue;
            }

            let mut found = Vec::with_capacity(rows.len());
            for row in &rows {
                let xmin: String = row.try_get(0)?;
                let xmin = xmin.parse().map_err(|e| StoreError::corrupt("xmin", e))?;
                self.next.saw(xmin, &self.snapshot);
                found.push(Found {
                    event: decode_event(row),
                });
            }

            return Ok(Some(found));
        }
    }

    /// Where the next reading continues, once everything that this one returned is stored.
    pub async fn end(self) -> Result<Position, StoreError> {
        self.tx.commit().await?;
        Ok(self.next)
    }
}

/// What says that transaction ids still mean the same: the cluster, its timeline, the database and
/// the table.
async fn database_identity(conn: &mut PgConnection) -> Result<String, StoreError> {
    let place = "(SELECT oid::text FROM pg_database WHERE datname = current_database())
                || '/' || 'public.audit_events'::regclass::oid";
    let whole = format!(
        "SELECT (SELECT system_identifier::text FROM pg_control_system()) || '/' ||
                (SELECT timeline_id::text FROM pg_control_checkpoint()) || '/' || {place}"
    );
    match sqlx::query_scalar(AssertSqlSafe(whole))
        .fetch_one(&mut *conn)
        .await
    {
        Ok(identity) => Ok(identity),
        // Every login may call this, unless the right was revoked.
        Err(error)
            if error
                .as_database_error()
                .is_some_and(|e| e.code().is_some_and(|code| code == "42501")) =>
        {
            let part = format!("SELECT current_setting('server_version_num') || '/' || {place}");
            Ok(sqlx::query_scalar(AssertSqlSafe(part))
                .fetch_one(conn)
                .await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// A row as an event; else what is wrong with it, and the row for a person to look at.
fn decode_event(row: &PgRow) -> Result<AuditRow<'static>, (FieldError, String)> {
    let strange = |error: sqlx::Error| {
        (
            FieldError::new("event", format_args!("cannot be read: {error}")),
            String::new(),
        )
    };

    let id: Uuid = row.try_get(1).map_err(strange)?;
    let at: Ts = row.try_get(2).map_err(strange)?;
    decode_record(row, id, at.0)
        .map_err(|error| (error, format!("event_id {id}, timestamp {}", at.0)))
}

fn decode_record(row: &PgRow, id: Uuid, at: Timestamp) -> Result<AuditRow<'static>, FieldError> {
    let strange =
        |error: sqlx::Error| FieldError::new("event", format_args!("cannot be read: {error}"));
    let text = |n: usize| row.try_get::<Option<String>, _>(n).map_err(strange);
    let owned = |n: usize| text(n).map(|t| t.map(Text::from));
    let uuid = |n: usize| row.try_get::<Option<Uuid>, _>(n).map_err(strange);

    if !CALENDAR.contains(&at.as_micros()) {
        return Err(FieldError::new(
            "timestamp",
            "is not a time that a calendar has (`infinity`, or a year beyond 9999)",
        ));
    }

    let (category, result) = (text(3)?.unwrap_or_default(), text(5)?.unwrap_or_default());
    let category = Category::parse(&category)
        .filter(|c| *c != Category::Network)
        .ok_or_else(|| {
            FieldError::new(
                "category",
                "is not one of auth, access, admin, data, ai, system",
            )
        })?;

    let result = Outcome::parse(&result)
        .ok_or_else(|| FieldError::new("result", "is not one of success, failure, denied"))?;
    let action = text(4)?.filter(|action| !action.is_empty() && action.len() <= limits::ACTION);
    let action = action.ok_or_else(|| {
        FieldError::new(
            "action",
            format_args!("is empty, or longer than {} bytes", limits::ACTION),
        )
    })?;

    let address = text(8)?
        .map(|ip| model::audit::parse_ip(&ip).map_err(|e| FieldError::new("ip_address", e)))
        .transpose()?;
    let record = AuditRecord {
        event_id: Some(id),
        timestamp: Some(at),
        category,
        action: action.into(),
        result,
        user_id: uuid(6)?,
        session_id: owned(7)?,
        ip_address: address,
        user_agent: owned(9)?,
        resource_type: owned(10)?,
        resource_id: owned(11)?,
        instance_id: uuid(12)?,
        cui_accessed: row.try_get(13).map_err(strange)?,
        metadata: Details::from_json(text(14)?.unwrap_or_default()),
    };

    Ok(AuditRow::new(record, || EventId(id), at))
}

impl Found {
    /// The same as an event of a tenant's service.
    #[must_use]
    pub fn of(self, tenant: TenantId, service: &ServiceName) -> Self {
        Self {
            event: self
                .event
                .map(|event| event.of_service(service).of_tenant(tenant)),
        }
    }
}
