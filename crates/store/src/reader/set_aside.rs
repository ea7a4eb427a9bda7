//! Rows that the engine cannot be shown: set aside and counted, so that all others are processed.

use std::collections::BTreeMap;

use model::{Span, Timestamp};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::binary_copy::{EventTable, Unreadable};
use crate::db::Ts;

/// How many rows of a table and reason are named.
const SAMPLES_MAX: usize = 10;
/// How many rows the server itself cannot put out are left out, for each table. More of them are a
/// broken disk and not a row.
const WITHHELD_MAX: usize = 1_000;
/// The most bytes of a reason.
const REASON_BYTES_MAX: usize = 300;

/// Rows that could not be read, by table and reason.
#[derive(Debug, Default)]
pub struct SetAside(BTreeMap<(EventTable, String), Group>);

#[derive(Debug, Default)]
struct Group {
    rows: u64,
    samples: Vec<Value>,
}

impl SetAside {
    pub(crate) fn note(&mut self, table: EventTable, row: Unreadable) {
        let mut reason = row.reason;
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        let group = self.0.entry((table, reason)).or_default();
        group.rows += 1;

        if group.samples.len() < SAMPLES_MAX {
            let (event_id, timestamp) = (row.event_id.0, row.timestamp.to_string());
            group
                .samples
                .push(json!({ "seq": row.seq, "event_id": event_id, "timestamp": timestamp }));
        }
    }

    /// Adds what another read set aside.
    pub fn merge(&mut self, other: Self) {
        for (key, more) in other.0 {
            let group = self.0.entry(key).or_default();
            group.rows += more.rows;
            let room = SAMPLES_MAX.saturating_sub(group.samples.len());
            group.samples.extend(more.samples.into_iter().take(room));
        }
    }

    /// Whether every row could be read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.0.values().map(|group| group.rows).sum()
    }

    /// What happened, in a sentence for each table and reason.
    pub fn describe(&self) -> String {
        let parts = self.0.iter().map(|((table, reason), group)| {
            format!(
                "{} of {}: {reason}",
                model::text::counted(group.rows, "row"),
                table.name()
            )
        });
        parts.collect::<Vec<_>>().join("; ")
    }
}

/// Adds what was set aside to `blueteam.unreadable_events`; belongs in the transaction that saves
/// the cursor.
pub async fn record_set_aside(
    conn: &mut PgConnection,
    set_aside: &SetAside,
) -> Result<(), StoreError> {
    for ((table, reason), group) in &set_aside.0 {
        sqlx::query!(
            "INSERT INTO blueteam.unreadable_events AS u (source_table, reason, rows, samples)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (source_table, reason) DO UPDATE
             SET rows = u.rows + excluded.rows, last_at = now()",
            table.name(),
            reason,
            i64::try_from(group.rows).unwrap_or(i64::MAX),
            Value::Array(group.samples.clone()),
        )
        .execute(&mut *conn)
        .await?;
    }

    Ok(())
}

/// How many rows could not be read, by table and reason, of those that turned up within `lately`.
pub async fn unreadable(
    conn: &mut PgConnection,
    lately: Span,
) -> Result<Vec<(String, String, u64)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT source_table AS "table!", reason AS "reason!", rows AS "rows!"
           FROM blueteam.unreadable_events
           WHERE last_at > now() - $1::bigint * interval '1 microsecond'
           UNION ALL
           SELECT source_table, 'the server cannot put it out: ' || reason, count(*)
           FROM blueteam.withheld_events
           WHERE found_at > now() - $1::bigint * interval '1 microsecond'
           GROUP BY source_table, reason
           ORDER BY 1, 2"#,
        lately.as_micros()
    )
    .fetch_all(conn)
    .await?;

    Ok(rows
        .into_iter()
        .map(|r| (r.table, r.reason, r.rows.unsigned_abs()))
        .collect())
}

/// The rows that readers leave out because the server cannot put them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    audit: Vec<(i64, Uuid)>,
    collected: Vec<(i64, Uuid)>,
}

impl Withheld {
    /// The rows that are known so far.
    pub async fn load(conn: &mut PgConnection) -> Result<Self, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT source_table, timestamp AS "at: Ts", event_id FROM blueteam.withheld_events"#
        )
        .fetch_all(conn)
        .await?;

        let mut known = Self::default();
        for row in rows {
            let audit = row.source_table == EventTable::Audit.name();
            let list = if audit {
                &mut known.audit
            } else {
                &mut known.collected
            };
            list.push((row.at.0.as_micros(), row.event_id));
        }

        Ok(known)
    }

    /// An SQL condition, to be appended to others, that leaves them out; empty when there are none.
    pub(crate) fn condition(&self, table: EventTable) -> String {
        let list = if table == EventTable::Audit {
            &self.audit
        } else {
            &self.collected
        };

        if list.is_empty() {
            return String::new();
        }

        let keys: Vec<String> = list
            .iter()
            .map(|(micros, id)| {
                format!(
                    "({}, '{id}'::uuid)",
                    crate::stored_events::literal(Timestamp::from_micros(*micros))
                )
            })
            .collect();
        format!(" AND (timestamp, event_id) NOT IN ({})", keys.join(", "))
    }
}

/// Searches the rows of a table that meet `condition` for those that the server cannot put out, by
/// halving, and notes them in `blueteam.withheld_events`. Returns how many are new. Must not be
/// called inside a transaction.
async fn search_bad(
    conn: &mut PgConnection,
    table: EventTable,
    condition: &str,
) -> Result<u64, StoreError> {
    let sql = format!(
        "SELECT timestamp, event_id FROM {} WHERE {condition} ORDER BY 1, 2",
        table.qualified()
    );
    let keys: Vec<(Ts, Uuid)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_all(&mut *conn)
        .await?;

    let mut found = 0;
    let mut todo = vec![(0, keys.len())];
    while let Some((start, end)) = todo.pop() {
        if start == end {
            continue;
        }

        let Err(error) = put_out(conn, table, &keys[start..end]).await else {
            continue;
        };
        if !error.is_about_output() || found as usize >= WITHHELD_MAX {
            return Err(error);
        }

        if end - start == 1 {
            let (at, id) = keys[start];
            found += withhold_row(conn, table, at, id, &error).await?;
        } else {
            let middle = start.midpoint(end);
            todo.push((middle, end));
            todo.push((start, middle));
        }
    }

    Ok(found)
}

/// Makes the server output these rows, without reading them.
async fn put_out(
    conn: &mut PgConnection,
    table: EventTable,
    keys: &[(Ts, Uuid)],
) -> Result<(), StoreError> {
    let times: Vec<Ts> = keys.iter().map(|(at, _)| *at).collect();
    let ids: Vec<Uuid> = keys.iter().map(|(_, id)| *id).collect();
    let sql = format!(
        "SELECT e FROM unnest($1::timestamptz[], $2::uuid[]) AS k (at, id)
          CROSS JOIN LATERAL (SELECT {} FROM {} WHERE timestamp = k.at AND event_id = k.id) AS e",
        table.columns(),
        table.qualified()
    );

    // As text, row by row: what a row holds becomes the text that a COPY sends.
    let sql = format!("SELECT sum(length(e::text)) FROM ({sql}) AS whole");
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&times)
        .bind(&ids)
        .execute(conn)
        .await?;

    Ok(())
}

async fn withhold_row(
    conn: &mut PgConnection,
    table: EventTable,
    at: Ts,
    id: Uuid,
    error: &StoreError,
) -> Result<u64, StoreError> {
    let mut reason = error.to_string();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    let done = sqlx::query!(
        "INSERT INTO blueteam.withheld_events (source_table, timestamp, event_id, reason)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
        table.name(),
        at as Ts,
        id,
        reason
    )
    .execute(conn)
    .await?;

    Ok(done.rows_affected())
}

/// After a read failed because of its rows: finds the rows that the server cannot put out among
/// those that the cursor has not passed and those of the last `recent`, and has readers leave them
/// out from now on. Returns how many were found.
pub async fn withhold_unreadable(
    conn: &mut PgConnection,
    cursor: &super::Cursor,
    since: Timestamp,
) -> Result<u64, StoreError> {
    let known = Withheld::load(&mut *conn).await?;
    let recent = format!("timestamp >= {}", crate::stored_events::literal(since));
    let tables = [
        (EventTable::Audit, cursor.audit_unread()),
        (EventTable::Collected, cursor.collected_unread()),
    ];

    let mut found = 0;
    for (table, unread) in tables {
        let condition = format!("({unread} OR {recent}){}", known.condition(table));
        found += search_bad(conn, table, &condition).await?;
    }

    Ok(found)
}

/// What a stream of events left behind.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The highest `seq` that was read.
    pub(crate) last: i64,
    /// Rows that could not be read.
    pub(crate) set_aside: SetAside,
}

#[cfg(test)]
mod tests {
    use model::EventId;

    use super::*;

    #[test]
    fn rows_are_counted_by_reason_and_a_few_are_named() {
        let row = |n: i64, reason: &str| Unreadable {
            seq: n,
            timestamp: Timestamp::from_secs(n),
            event_id: EventId(Uuid::from_u128(1)),
            reason: reason.to_owned(),
        };

        let (mut set_aside, mut more) = (SetAside::default(), SetAside::default());
        for n in 0..100 {
            set_aside.note(EventTable::Audit, row(n, "an unknown category"));
        }

        more.note(EventTable::Collected, row(100, &"é".repeat(1_000)));
        set_aside.merge(more);

        assert_eq!(set_aside.rows(), 101);
        assert!(
            set_aside
                .describe()
                .starts_with("100 rows of audit_events: an unknown category; 1 row of ")
        );
        assert_eq!(
            set_aside.0.values().next().unwrap().samples.len(),
            SAMPLES_MAX
        );

        assert!(
            set_aside
                .0
                .keys()
                .all(|(_, reason)| reason.len() <= REASON_BYTES_MAX)
        );
    }
}
