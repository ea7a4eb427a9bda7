//! Reading every committed event exactly once, in the manner of PgQ.
//!
//! Rows commit in another order than they are inserted, so neither a time nor a sequence number is
//! a safe place to continue from. The place is a snapshot: a poll takes the rows that its own
//! snapshot sees and the last one did not, that is, rows of transactions that had not begun then
//! (`xact_id >= xmax`) or were still running then (`xact_id = any(xip)`). A transaction that is
//! open for minutes is one number in `xip`: it delays nobody, and nothing is scanned again because
//! of it.

mod cursor;
mod lease;
mod pulse;
mod set_aside;
mod snapshot;
mod wake;

use futures_util::{StreamExt as _, TryStreamExt as _};
use model::SecurityEvent;
use sqlx::{Connection, PgConnection};

use crate::StoreError;
use crate::binary_copy::{self, EventTable, Message};

pub use cursor::{Check, Cursor, Start, Witness, check, commit_early, initialize, load, save};
pub use lease::claim;
pub use pulse::{Pulse, beat, pulse};
pub(crate) use set_aside::Progress;
pub use set_aside::{SetAside, Withheld, record_set_aside, unreadable, withhold_unreadable};
pub use snapshot::Snapshot;
pub use wake::Wake;

/// The name of the cursor by which events are read as they arrive.
pub const LIVE_CURSOR: &str = "monitor";

/// The order in which the rows of a table arrived. Audit events that were there when the table was
/// adopted share one `seq`: their order of arrival is unknown, and are read in that of their times.
pub(crate) const fn arrival(table: EventTable) -> &'static str {
    match table {
        EventTable::Audit => "seq, timestamp, event_id",
        EventTable::Collected => "seq",
    }
}

/// What a poll found.
#[derive(Debug)]
pub struct Polled {
    /// Where to continue, once it is [`save`]d.
    pub cursor: Cursor,
    /// How many events were handed out.
    pub events: u64,
    /// Whether events were left for the next poll.
    pub more: bool,
    /// Rows that cannot be read; they are skipped, and must be given to [`record_set_aside`].
    pub set_aside: SetAside,
}

/// Hands out the events that became visible since the cursor, in order of insertion, audit events
/// first. Lookback is bounded whatever the backlog. Moves nothing: process the events, then
/// [`save`] the returned cursor together with what they caused.
///
/// Must not be called inside a transaction.
pub async fn poll(
    conn: &mut PgConnection,
    cursor: &Cursor,
    each: impl FnMut(&SecurityEvent<'_>) + Send,
) -> Result<Polled, StoreError> {
    poll_some(conn, cursor, None, each).await
}

/// The same, of about `most` events at a time, so that what a storm causes is committed bit by bit
/// and an interruption loses little. The rows of one transaction stay together, however many they
/// are: the cursor can stand between transactions only.
pub async fn poll_some(
    conn: &mut PgConnection,
    cursor: &Cursor,
    most: Option<u64>,
    mut each: impl FnMut(&SecurityEvent<'_>) + Send,
) -> Result<Polled, StoreError> {
    let mut tx = conn
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;

    // Without statistics (a new partition) the planner would take a third of the table for new: it
    // would read all of it, or start workers, whose making costs more than what there is to read.
    let now = sqlx::query_scalar!(
        r#"SELECT pg_current_snapshot()::text AS "now!"
           FROM
               set_config('enable_seqscan', 'off', true) AS a,
               set_config('max_parallel_workers_per_gather', '0', true) AS b"#
    )
    .fetch_one(&mut *tx)
    .await?;
    let mut next = Cursor {
        snapshot: now.parse()?,
        ..cursor.clone()
    };

    let (mut events, mut more) = (0, false);
    let mut set_aside = SetAside::default();
    if let Some(most) = most
        && !next.snapshot.sees_as_much_as(&cursor.snapshot)
        && let Some(last) = last_of_batch(&mut tx, cursor, most).await?
    {
        let part = next.snapshot.up_to(last, &cursor.snapshot);
        more = part.xmax() < next.snapshot.xmax();
        next.snapshot = part;
    }

    let seen = next.snapshot.seen();
    if !next.snapshot.sees_as_much_as(&cursor.snapshot) {
        for (table, unread, last) in [
            (
                EventTable::Audit,
                cursor.audit_unread(),
                &mut next.audit_last,
            ),
            (
                EventTable::Collected,
                cursor.collected_unread(),
                &mut next.collected_last,
            ),
        ] {
            let sql = select(
                table,
                &format!("{unread} AND {seen}{}", cursor.withheld.condition(table)),
                arrival(table),
            );
            let mut progress = Progress {
                last: *last,
                ..Progress::default()
            };

            events += stream(&mut tx, table, &sql, &mut each, &mut progress).await?;
            *last = progress.last;
            set_aside.merge(progress.set_aside);
        }
    }

    tx.commit().await?;
    Ok(Polled {
        cursor: next,
        events,
        more,
        set_aside,
    })
}

/// The transaction with which a batch of about `most` unread events of each table ends; none when
/// there are fewer.
async fn last_of_batch(
    conn: &mut PgConnection,
    cursor: &Cursor,
    most: u64,
) -> Result<Option<u64>, StoreError> {
    let mut last: Option<u64> = None;
    for (table, unread) in [
        (EventTable::Audit, cursor.audit_unread()),
        (EventTable::Collected, cursor.collected_unread()),
    ] {
        let sql = format!(
            "SELECT xact_id::text FROM {} WHERE {unread} ORDER BY xact_id OFFSET {} LIMIT 1",
            table.qualified(),
            most.saturating_sub(1).min(i64::MAX.unsigned_abs())
        );
        let id: Option<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_optional(&mut *conn)
            .await?;
        let id = id
            .map(|id| id.parse::<u64>())
            .transpose()
            .map_err(|_| StoreError::corrupt("a row", "its xact_id is not a number"))?;
        last = [last, id].into_iter().flatten().min();
    }

    Ok(last)
}

/// The statement that reads the rows of a table which meet a condition.
pub(crate) fn select(table: EventTable, condition: &str, order: &str) -> String {
    format!(
        "SELECT {} FROM {} WHERE {condition} ORDER BY {order}",
        table.columns(),
        table.qualified()
    )
}

/// Finds its place again in a database whose transaction ids are not those of the cursor
/// ([`Check::Elsewhere`]). Hands out what is unread: rows that the cursor's snapshot did not see in
/// the ids of the old cluster, and rows inserted since (their `seq` is higher than any that was
/// read). From then on, rows up to today's highest `seq` are past, and the ids of this cluster
/// count for the rest.
///
/// Must be called in a transaction, which holds back writers until it ends, and must [`save`] the
/// cursor in it.
pub async fn rebase(
    conn: &mut PgConnection,
    cursor: &Cursor,
    mut each: impl FnMut(&SecurityEvent<'_>) + Send,
) -> Result<Polled, StoreError> {
    sqlx::query!("SELECT blueteam.hold_writers()")
        .execute(&mut *conn)
        .await?;
    let mut next = cursor::present(&mut *conn, &cursor.name).await?;
    let mut events = 0;
    let mut progress = Progress::default();

    for (table, last, unread) in [
        (EventTable::Audit, cursor.audit_last, cursor.audit_unread()),
        (
            EventTable::Collected,
            cursor.collected_last,
            cursor.collected_unread(),
        ),
    ] {
        let condition = format!(
            "(seq > {last} OR {unread}){}",
            cursor.withheld.condition(table)
        );
        events += stream(
            conn,
            table,
            &select(table, &condition, arrival(table)),
            &mut each,
            &mut progress,
        )
        .await?;
    }

    next.version = cursor.version;
    next.checkpoint.clone_from(&cursor.checkpoint);
    next.withheld = cursor.withheld.clone();

    Ok(Polled {
        cursor: next,
        events,
        more: false,
        set_aside: progress.set_aside,
    })
}

/// Runs a query of event columns through COPY; notes the highest `seq`, and the rows that cannot be
/// read.
pub(crate) async fn stream(
    conn: &mut PgConnection,
    table: EventTable,
    select: &str,
    each: &mut (impl FnMut(&SecurityEvent<'_>) + Send),
    progress: &mut Progress,
) -> Result<u64, StoreError> {
    let mut rows = conn
        .copy_out_raw(&format!("COPY ({select}) TO STDOUT (FORMAT binary)"))
        .await?;
    let mut count = 0;

    // To the end even after an error: the connection is usable only then.
    let mut failed = None;
    while let Some(message) = rows.next().await.transpose()? {
        match binary_copy::event(&message) {
            Ok(Message::Event(seq, event)) => {
                progress.last = seq.max(progress.last);
                count += 1;
                each(&event);
            }
            Ok(Message::Unreadable(row)) => {
                progress.last = row.seq.max(progress.last);
                progress.set_aside.note(table, row);
            }
            Ok(Message::Nothing) => {}
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }

    if let Some(error) = failed {
        while rows.try_next().await?.is_some() {}
        return Err(error);
    }

    Ok(count)
}
