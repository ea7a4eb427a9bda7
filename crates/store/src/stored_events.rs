//! The stored past, as fast as the server sends it: for back-tests, and to rebuild windows at
//! start.

use model::{Lookback, SecurityEvent, TenantId, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::binary_copy::EventTable;
use crate::db::Ts;
use crate::reader::{
    Cursor, Progress, SetAside, Snapshot, Withheld, arrival, select as statement,
    stream as copy_out,
};

/// Hands out every event with `since <= timestamp < until`, audit events first, each table in order
/// of time. Returns how many, and the rows that cannot be read. Lookback is bounded.
pub async fn stream(
    conn: &mut PgConnection,
    since: Timestamp,
    until: Timestamp,
    each: impl FnMut(&SecurityEvent<'_>) + Send,
) -> Result<(u64, SetAside), StoreError> {
    let withheld = Withheld::load(&mut *conn).await?;
    select_events(
        conn,
        since,
        until,
        |table| format!("true{}", withheld.condition(table)),
        each,
    )
    .await
}

/// The same, of the events that the cursor has passed: those that a poll from it will not hand out.
pub async fn stream_read(
    conn: &mut PgConnection,
    since: Timestamp,
    until: Timestamp,
    cursor: &Cursor,
    each: impl FnMut(&SecurityEvent<'_>) + Send,
) -> Result<u64, StoreError> {
    let passed = |table| {
        let unread = if table == EventTable::Audit {
            cursor.audit_unread()
        } else {
            cursor.collected_unread()
        };
        format!("NOT {unread}{}", cursor.withheld.condition(table))
    };
    Ok(select_events(conn, since, until, passed, each).await?.0)
}

async fn select_events(
    conn: &mut PgConnection,
    since: Timestamp,
    until: Timestamp,
    condition: impl Fn(EventTable) -> String,
    mut each: impl FnMut(&SecurityEvent<'_>) + Send,
) -> Result<(u64, SetAside), StoreError> {
    // COPY takes no parameters; these are numbers.
    let range = format!(
        "timestamp >= {} AND timestamp < {}",
        literal(since),
        literal(until)
    );
    let mut progress = Progress::default();
    let mut count = 0;

    for table in [EventTable::Audit, EventTable::Collected] {
        let sql = format!(
            "SELECT {} FROM {} WHERE {range} AND {} ORDER BY timestamp",
            table.columns(),
            table.of_tenant(),
            condition(table)
        );
        count += copy_out(conn, table, &sql, &mut each, &mut progress).await?;
    }

    Ok((count, progress.set_aside))
}

/// Of the events that came in lately, at most this many of a table are seen again for that reason
/// alone: a start stays fast.
const RECEIVED_MAX: u32 = 250_000;

/// What of the past an engine must see again after a restart.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// How much of it.
    pub memory: Lookback,
    /// The present.
    pub now: Timestamp,
    /// How far events were read.
    pub cursor: &'a Cursor,
    /// The snapshot at which profiles were saved.
    pub learned: Option<&'a Snapshot>,
    /// Whose; none: everybody's.
    pub tenant: Option<TenantId>,
}

/// Hands out what an engine must see again after a restart: of each table the events of the last
/// `memory` before its newest one that the cursor has passed; those that came in during the last
/// `memory` before its last arrival, whatever their own time, up to [`RECEIVED_MAX`]; and of all
/// times those that it has passed since `learned`, the snapshot at which profiles were saved.
/// `each` is told whether the saved profiles know the event.
///
/// Of one tenant, where one is named: how much another one sent must push nothing of it out. An
/// installation that has but one need not name it.
///
/// By arrival as well as by time, because one event from the present amid a backlog (we tell of our
/// own failures so) would else push the backlog out of what is seen again, and with it the windows
/// that the rest of the backlog continues.
pub async fn rebuild(
    conn: &mut PgConnection,
    past: &Past<'_>,
    mut each: impl FnMut(&SecurityEvent<'_>, bool) + Send,
) -> Result<u64, StoreError> {
    let Past {
        memory,
        now,
        cursor,
        learned,
        tenant,
    } = *past;
    let nothing = Snapshot::BEGINNING;
    let saved = Cursor {
        snapshot: learned.unwrap_or(&nothing).clone(),
        ..cursor.clone()
    };

    let of_tenant = tenant.map_or_else(String::new, |id| format!(" AND tenant_id = '{id}'"));
    // Rows that cannot be read were counted when they were new.
    let (mut count, mut progress) = (0, Progress::default());
    let tables = [
        (
            EventTable::Audit,
            cursor.audit_unread(),
            saved.audit_unread(),
        ),
        (
            EventTable::Collected,
            cursor.collected_unread(),
            saved.collected_unread(),
        ),
    ];

    for (events, unread, unlearned) in tables {
        let (table, columns) = (events.qualified(), events.columns());
        let withheld = format!("{}{of_tenant}", cursor.withheld.condition(events));

        // Of what was read: a backlog must not push what came before it out of the windows.
        let newest = format!(
            "SELECT max(timestamp) FROM {table} WHERE timestamp <= {} AND NOT {unread}{of_tenant}",
            literal(now)
        );
        let newest: Option<Ts> = sqlx::query_scalar(sqlx::AssertSqlSafe(newest))
            .fetch_one(&mut *conn)
            .await?;
        let recent = since_condition("timestamp", newest.map_or(now, |newest| newest.0), memory);

        let mut known = |event: &SecurityEvent<'_>| each(event, true);
        if let Some(received) =
            received_events(conn, table, &cursor.snapshot, memory, &of_tenant).await?
        {
            // Its own step, or the planner would walk all of the past in order of time.
            let older = format!(
                "WITH received AS MATERIALIZED (
                     SELECT {columns}
                     FROM {table}
                     WHERE {received}
                       AND NOT {recent}
                       AND NOT {unread}
                       AND NOT {unlearned}{withheld}
                 )
                 SELECT *
                 FROM received
                 ORDER BY timestamp"
            );
            count += copy_out(conn, events, &older, &mut known, &mut progress).await?;
        }

        let recent = format!("{recent} AND NOT {unread} AND NOT {unlearned}{withheld}");
        count += copy_out(
            conn,
            events,
            &statement(events, &recent, "timestamp"),
            &mut known,
            &mut progress,
        )
        .await?;

        let unlearned = format!("NOT {unread} AND {unlearned}{withheld}");
        let mut unknown = |event: &SecurityEvent<'_>| each(event, false);
        count += copy_out(
            conn,
            events,
            &statement(events, &unlearned, arrival(events)),
            &mut unknown,
            &mut progress,
        )
        .await?;
    }

    Ok(count)
}

/// An SQL condition: rows whose time in `column` lies within the memory before `newest`.
fn since_condition(column: &str, newest: Timestamp, memory: Lookback) -> String {
    let (all, logins) = (
        literal(newest.minus(memory.all)),
        literal(newest.minus(memory.logins.max(memory.all))),
    );
    // The first half stands alone so that an index on time bounds both.
    format!("({column} >= {logins} AND (category = 'auth' OR {column} >= {all}))")
}

/// An SQL condition: rows that came in during the last `memory` before the last arrival that the
/// snapshot sees, without those of the transaction in which [`RECEIVED_MAX`] is reached. None when
/// nothing came in.
async fn received_events(
    conn: &mut PgConnection,
    table: &str,
    snapshot: &Snapshot,
    memory: Lookback,
    of_tenant: &str,
) -> Result<Option<String>, StoreError> {
    let passed = format!("xact_id < '{}'::xid8{of_tenant}", snapshot.xmax());
    let sql = format!(
        "SELECT
             max(created_at),
             (
                 SELECT e.xact_id::text
                 FROM {table} e
                 WHERE {passed}
                 ORDER BY e.xact_id DESC
                 OFFSET {RECEIVED_MAX}
                 LIMIT 1
             )
         FROM (
             SELECT created_at FROM {table} WHERE {passed} ORDER BY xact_id DESC LIMIT 1000
         ) latest"
    );
    let row: (Option<Ts>, Option<String>) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_one(conn)
        .await?;

    let (Some(arrived), beyond) = row else {
        return Ok(None);
    };
    let beyond = beyond.as_deref().unwrap_or("0");
    let beyond: u64 = beyond
        .parse()
        .map_err(|_| StoreError::corrupt("xact_id", "it is not a number"))?;
    let lately = since_condition("created_at", arrived.0, memory);

    Ok(Some(format!(
        "xact_id > '{beyond}'::xid8 AND {passed} AND {lately}"
    )))
}

/// How many events [`stream`] would hand out, as far as the planner's statistics know: for a
/// progress bar.
pub async fn estimate(
    conn: &mut PgConnection,
    since: Timestamp,
    until: Timestamp,
) -> Result<u64, StoreError> {
    let mut total = 0.0;
    for table in [EventTable::Audit, EventTable::Collected].map(EventTable::of_tenant) {
        let sql = format!(
            "EXPLAIN (FORMAT json) SELECT FROM {table} WHERE timestamp >= {} AND timestamp < {}",
            literal(since),
            literal(until)
        );
        let plan: serde_json::Value = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut *conn)
            .await?;
        total += plan
            .pointer("/0/Plan/Plan Rows")
            .and_then(serde_json::Value::as_f64)
            .unwrap_or(0.0);
    }

    Ok(total as u64)
}

/// A time as an SQL expression, exact to the microsecond. Clamped to what PostgreSQL can hold.
pub(crate) fn literal(at: Timestamp) -> String {
    // 4713 BC to AD 294276; a margin of some years keeps the arithmetic inside.
    const EARLIEST: i64 = -210_000_000_000_000_000;
    const LATEST: i64 = 9_000_000_000_000_000_000;
    let micros = at.as_micros().clamp(EARLIEST, LATEST);

    // `bigint * interval` goes through a double, which is exact only up to 2^53; seconds and the
    // rest are.
    let (secs, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    format!(
        "('epoch'::timestamptz + {secs} * interval '1 second' + {rest} * interval '1 microsecond')"
    )
}
