//! Deliveries: written with the alert, worked off later, retried with a back-off that the caller chooses.

use model::{AlertId, Channel, Span, Timestamp};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::Ts;

/// A message that has to leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its id; a receiver may use it to recognise a repetition.
    pub delivery_id: Uuid,
    /// The alert that it tells of; none of a digest and a sign of life.
    pub alert_id: Option<AlertId>,
    /// The way out.
    pub channel: Channel,
    /// What it tells: `opened`, `escalated`, `resolved`, `digest`, `heartbeat`, `reminder`.
    pub kind: String,
    /// The alert as it was then.
    pub payload: Value,
    /// Who is told by name; empty: the channel's usual readers.
    pub people: Vec<String>,
    /// How often it was tried, this time included.
    pub attempts: u32,
}

/// Takes up to `limit` due deliveries for the given channels, the longest due first. They come back to the queue when `lease`
/// is over, should the taker be killed: a delivery may so be repeated, but never lost. That an alert is over is told after it was told of.
pub async fn claim(
    conn: &mut PgConnection,
    channels: &[Channel],
    limit: u32,
    lease: Span,
) -> Result<Vec<Delivery>, StoreError> {
    let channels: Vec<String> = channels.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        "WITH due AS (
             SELECT delivery_id FROM blueteam.deliveries q
              WHERE state = 'pending' AND next_attempt_at <= now() AND channel = ANY ($1)
                AND (kind <> 'resolved' OR NOT EXISTS (
                     SELECT FROM blueteam.deliveries o WHERE o.alert_id = q.alert_id AND o.channel = q.channel
                        AND o.kind IN ('opened', 'escalated') AND o.state = 'pending'))
              ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         UPDATE blueteam.deliveries d
            SET attempts = attempts + 1, next_attempt_at = now() + $3::bigint * interval '1 microsecond'
           FROM due WHERE d.delivery_id = due.delivery_id
         RETURNING d.delivery_id, d.alert_id, d.channel, d.kind, d.payload, d.people, d.attempts",
        &channels,
        i64::from(limit),
        lease.as_micros()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Delivery {
                delivery_id: row.delivery_id,
                alert_id: row.alert_id.map(AlertId),
                channel: row.channel.parse().map_err(|e| StoreError::corrupt("deliveries.channel", e))?,
                kind: row.kind,
                payload: row.payload,
                people: row.people,
                attempts: row.attempts.unsigned_abs(),
            })
        })
        .collect()
}

/// The channels that have something due.
pub async fn due(conn: &mut PgConnection) -> Result<Vec<Channel>, StoreError> {
    let names = sqlx::query_scalar!(
        "SELECT DISTINCT channel FROM blueteam.deliveries WHERE state = 'pending' AND next_attempt_at <= now()"
    )
    .fetch_all(conn)
    .await?;
    names.iter().map(|name| name.parse().map_err(|e| StoreError::corrupt("deliveries.channel", e))).collect()
}

/// They have arrived; with each, what the other side said.
pub async fn delivered(conn: &mut PgConnection, told: &[(Uuid, &str)]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = told.iter().map(|(id, _)| *id).collect();
    let details: Vec<String> = told.iter().map(|(_, detail)| (*detail).to_owned()).collect();
    sqlx::query!(
        "WITH t AS (SELECT * FROM unnest($1::uuid[], $2::text[]) AS t (id, detail)),
              d AS (UPDATE blueteam.deliveries q SET state = 'delivered', delivered_at = now(), last_error = NULL
                      FROM t WHERE q.delivery_id = t.id AND q.state = 'pending' RETURNING q.delivery_id, q.attempts, t.detail)
         INSERT INTO blueteam.delivery_attempts (delivery_id, attempt, outcome, detail)
         SELECT delivery_id, attempts, 'delivered', left(detail, 1000) FROM d",
        &ids,
        &details
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// It has not; try again in `retry_in`. `error` must hold no secret (an address with a token in it, for one).
pub async fn failed(conn: &mut PgConnection, id: Uuid, error: &str, retry_in: Span) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH d AS (UPDATE blueteam.deliveries
                       SET last_error = left($2, 1000), next_attempt_at = now() + $3::bigint * interval '1 microsecond'
                     WHERE delivery_id = $1 AND state = 'pending' RETURNING delivery_id, attempts)
         INSERT INTO blueteam.delivery_attempts (delivery_id, attempt, outcome, detail)
         SELECT delivery_id, attempts, 'failed', left($2, 1000) FROM d",
        id,
        error,
        retry_in.as_micros()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// It never will, unless somebody has it [`resend`]t.
pub async fn dead(conn: &mut PgConnection, id: Uuid, error: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH d AS (UPDATE blueteam.deliveries SET state = 'dead', last_error = left($2, 1000)
                     WHERE delivery_id = $1 AND state = 'pending' RETURNING delivery_id, attempts)
         INSERT INTO blueteam.delivery_attempts (delivery_id, attempt, outcome, detail)
         SELECT delivery_id, attempts, 'dead', left($2, 1000) FROM d",
        id,
        error
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The state of the queue, for `status` and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Not yet delivered.
    pub pending: u64,
    /// Given up.
    pub dead: u64,
    /// When the next pending one is due.
    pub next_due: Option<Timestamp>,
}

/// How much is waiting.
pub async fn backlog(conn: &mut PgConnection) -> Result<Backlog, StoreError> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE state = 'pending') AS "pending!", count(*) FILTER (WHERE state = 'dead') AS "dead!",
                  min(next_attempt_at) FILTER (WHERE state = 'pending') AS "next: Ts"
             FROM blueteam.deliveries WHERE state <> 'delivered'"#
    )
    .fetch_one(conn)
    .await?;
    Ok(Backlog { pending: row.pending.unsigned_abs(), dead: row.dead.unsigned_abs(), next_due: row.next.map(|t| t.0) })
}
