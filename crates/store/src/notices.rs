//! What is told on schedule: the daily digest, the sign of life, and reminders. Each once, whatever restarts.

use model::{Alert, Channel, Severity, Timestamp};
use serde_json::Value;
use sqlx::PgConnection;

use crate::StoreError;
use crate::alerts::{self, AlertFilter};
use crate::db::Ts;

/// Writes a notice and its messages, unless it is written already. `kind` is `digest` or `heartbeat`, `key` its day or period. Without any
/// `channels` it is only noted. Returns how many messages were written; none when the notice was there.
pub async fn write(
    conn: &mut PgConnection,
    (kind, key): (&str, &str),
    payload: &Value,
    channels: &[Channel],
) -> Result<Option<u64>, StoreError> {
    let channels: Vec<String> = channels.iter().map(ToString::to_string).collect();
    let noted = sqlx::query_scalar!(
        r#"WITH noted AS (INSERT INTO blueteam.notices (kind, key) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING kind),
                written AS (INSERT INTO blueteam.deliveries (channel, kind, payload)
                            SELECT c, n.kind, $4 FROM noted n CROSS JOIN unnest($3::text[]) AS c RETURNING 1)
           SELECT (SELECT count(*) FROM written) AS "written!" FROM noted"#,
        kind,
        key,
        &channels,
        payload
    )
    .fetch_optional(conn)
    .await?;
    Ok(noted.map(i64::unsigned_abs))
}

/// Of these keys those that no notice of the kind has, in their order. Until the end of the transaction nobody else asks.
pub async fn unsaid(conn: &mut PgConnection, kind: &str, keys: &[String]) -> Result<Vec<String>, StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('blueteam.notices ' || $1, 0))", kind)
        .execute(&mut *conn)
        .await?;
    let unsaid = sqlx::query_scalar!(
        r#"SELECT k AS "key!" FROM unnest($2::text[]) WITH ORDINALITY AS u (k, n)
            WHERE NOT EXISTS (SELECT FROM blueteam.notices WHERE kind = $1 AND key = k) ORDER BY n"#,
        kind,
        keys
    )
    .fetch_all(conn)
    .await?;
    Ok(unsaid)
}

/// Notes several keys and writes one message about all of them for each channel. Returns how many messages.
pub async fn write_together(
    conn: &mut PgConnection,
    kind: &str,
    keys: &[String],
    payload: &Value,
    channels: &[Channel],
) -> Result<u64, StoreError> {
    let channels: Vec<String> = channels.iter().map(ToString::to_string).collect();
    let written = sqlx::query!(
        "WITH noted AS (INSERT INTO blueteam.notices (kind, key) SELECT $1, unnest($2::text[]))
         INSERT INTO blueteam.deliveries (channel, kind, payload) SELECT c, $1, $4 FROM unnest($3::text[]) AS c",
        kind,
        keys,
        &channels,
        payload
    )
    .execute(conn)
    .await?;
    Ok(written.rows_affected())
}

/// The newest notice of a kind: its key and when it was written.
pub async fn last(conn: &mut PgConnection, kind: &str) -> Result<Option<(String, Timestamp)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT key, at AS "at: Ts" FROM blueteam.notices WHERE kind = $1 ORDER BY at DESC LIMIT 1"#,
        kind
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.key, row.at.0)))
}

/// What happened in a period, for its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Events that were stored.
    pub events: u64,
    /// Sources that said something.
    pub alive: u64,
    /// Sources that are silent now, by name.
    pub silent: Vec<String>,
    /// How many alerts were written, the worst severity first.
    pub alerts: Vec<(Severity, u64)>,
    /// The newest medium and low ones, at most as many as were asked for.
    pub told: Vec<Alert>,
    /// Messages that could not be delivered, ever.
    pub dead: u64,
}

/// What happened from `from` to now. `own` is the name of our own account among the sources.
pub async fn summary(conn: &mut PgConnection, from: Timestamp, own: &str, most: usize) -> Result<Summary, StoreError> {
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM public.audit_events WHERE timestamp > $1 AND timestamp <= now())
                + (SELECT count(*) FROM blueteam.collected_events WHERE timestamp > $1 AND timestamp <= now()) AS "events!",
                  (SELECT count(*) FROM blueteam.sources WHERE last_received_at > $1 AND source_id <> $2) AS "alive!",
                  ARRAY(SELECT DISTINCT source_id FROM blueteam.source_gaps
                         WHERE cause = 'silence' AND ended_at IS NULL ORDER BY 1 LIMIT 50) AS "silent!: Vec<String>",
                  (SELECT count(*) FROM blueteam.deliveries WHERE state = 'dead') AS "dead!""#,
        Ts(from) as Ts,
        own
    )
    .fetch_one(&mut *conn)
    .await?;
    let counted = sqlx::query!(
        r#"SELECT severity, count(*) AS "count!" FROM blueteam.alert_history WHERE created_at > $1 GROUP BY severity"#,
        Ts(from) as Ts
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut counts = Vec::with_capacity(counted.len());
    for row in counted {
        let severity = row.severity.parse().map_err(|e| StoreError::corrupt("alert_history.severity", e))?;
        counts.push((severity, row.count.unsigned_abs()));
    }
    counts.sort_by_key(|(severity, _): &(Severity, u64)| std::cmp::Reverse(*severity));
    let filter = AlertFilter { since: Some(from), ..AlertFilter::default() };
    let mut told = alerts::list(conn, &filter, 10_000).await?;
    told.retain(|alert| matches!(alert.severity, Severity::Medium | Severity::Low));
    told.truncate(most);
    Ok(Summary {
        events: row.events.unsigned_abs(),
        alive: row.alive.unsigned_abs(),
        silent: row.silent,
        alerts: counts,
        told,
        dead: row.dead.unsigned_abs(),
    })
}
