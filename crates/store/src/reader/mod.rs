//! Reading every committed event exactly once, in the manner of PgQ.
//!
//! Rows commit in another order than they are inserted, so neither a time nor a sequence number is a safe place to go on from.
//! The place is a snapshot: a poll takes the rows that its own snapshot sees and the last one did not, that is, rows of
//! transactions that had not begun then (`xact_id >= xmax`) or were still running then (`xact_id = any(xip)`). A transaction
//! that is open for minutes is one number in `xip`: it delays nobody, and nothing is scanned again because of it.

mod cursor;
mod pulse;
mod snapshot;
mod wake;

use futures_util::{StreamExt as _, TryStreamExt as _};
use model::SecurityEvent;
use sqlx::{Connection, PgConnection};

use crate::StoreError;
use crate::wire::{self, AUDIT_COLUMNS, COLLECTED_COLUMNS};

pub use cursor::{Check, Cursor, Start, Witness, check, commit_early, initialise, load, save};
pub use pulse::{Pulse, beat, pulse};
pub use snapshot::Snapshot;
pub use wake::{Wake, claim};

/// What a poll found.
#[derive(Clone, Debug)]
pub struct Polled {
    /// Where to go on from, once [`save`]d.
    pub cursor: Cursor,
    /// How many events were handed out.
    pub events: u64,
}

/// Hands out the events that became visible since the cursor, in order of insertion, audit events first. Memory is bounded
/// whatever the backlog. Moves nothing: process the events, then [`save`] the returned cursor together with what they caused.
///
/// Must not be called inside a transaction.
pub async fn poll(
    conn: &mut PgConnection,
    cursor: &Cursor,
    mut each: impl FnMut(&SecurityEvent<'_>) + Send,
) -> Result<Polled, StoreError> {
    let mut tx = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    // Without statistics (a new partition) the planner would take a third of the table for new: it would read all of it, or start workers, whose
    // making costs more than what there is to read.
    let now = sqlx::query_scalar!(
        r#"SELECT pg_current_snapshot()::text AS "now!"
             FROM set_config('enable_seqscan', 'off', true) AS a, set_config('max_parallel_workers_per_gather', '0', true) AS b"#
    )
    .fetch_one(&mut *tx)
    .await?;
    let mut next = Cursor { snapshot: now.parse()?, ..cursor.clone() };
    let mut events = 0;
    if !next.snapshot.sees_as_much_as(&cursor.snapshot) {
        let unread = cursor.audit_unread();
        let sql = format!("SELECT {AUDIT_COLUMNS} FROM public.audit_events WHERE {unread} ORDER BY seq");
        events += stream(&mut tx, &sql, &mut each, &mut next.audit_last).await?;
        let unread = cursor.collected_unread();
        let sql = format!("SELECT {COLLECTED_COLUMNS} FROM blueteam.collected_events WHERE {unread} ORDER BY seq");
        events += stream(&mut tx, &sql, &mut each, &mut next.collected_last).await?;
    }
    tx.commit().await?;
    Ok(Polled { cursor: next, events })
}

/// Finds its place again in a database whose transaction ids are not those of the cursor ([`Check::Elsewhere`]). Hands out
/// what is unread: rows that the cursor's snapshot did not see in the ids of the old cluster, and rows inserted since (their
/// `seq` is higher than any that was read). From then on, rows up to today's highest `seq` are past, and the ids of this
/// cluster count for the rest.
///
/// Must be called in a transaction, which holds back writers until it ends, and must [`save`] the cursor in it.
pub async fn rebase(
    conn: &mut PgConnection,
    cursor: &Cursor,
    mut each: impl FnMut(&SecurityEvent<'_>) + Send,
) -> Result<Polled, StoreError> {
    sqlx::query!("SELECT blueteam.hold_writers()").execute(&mut *conn).await?;
    let mut next = cursor::present(&mut *conn, &cursor.name).await?;
    let mut ignored = 0;
    let sql = format!(
        "SELECT {AUDIT_COLUMNS} FROM public.audit_events WHERE seq > {} OR {} ORDER BY seq",
        cursor.audit_last,
        cursor.audit_unread()
    );
    let mut events = stream(conn, &sql, &mut each, &mut ignored).await?;
    let sql = format!(
        "SELECT {COLLECTED_COLUMNS} FROM blueteam.collected_events WHERE seq > {} OR {} ORDER BY seq",
        cursor.collected_last,
        cursor.collected_unread()
    );
    events += stream(conn, &sql, &mut each, &mut ignored).await?;
    next.version = cursor.version;
    next.checkpoint.clone_from(&cursor.checkpoint);
    Ok(Polled { cursor: next, events })
}

/// Runs a query of event columns through COPY; notes the highest `seq`.
pub(crate) async fn stream(
    conn: &mut PgConnection,
    select: &str,
    each: &mut (impl FnMut(&SecurityEvent<'_>) + Send),
    last: &mut i64,
) -> Result<u64, StoreError> {
    let mut rows = conn.copy_out_raw(&format!("COPY ({select}) TO STDOUT (FORMAT binary)")).await?;
    let mut count = 0;
    // To the end even after a bad row: the connection is usable only then.
    let mut failed = None;
    while let Some(message) = rows.next().await.transpose()? {
        match wire::event(&message) {
            Ok(Some((seq, event))) => {
                *last = seq.max(*last);
                count += 1;
                each(&event);
            }
            Ok(None) => {}
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
