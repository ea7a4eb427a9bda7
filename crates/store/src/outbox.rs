//! Deliveries: written with the alert, worked off later, retried with a back-off that the caller
//! chooses.

use model::{AlertId, Channel, Span, Timestamp};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use crate::StoreError;
use crate::db::Ts;

/// A message that has to leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its id; a receiver may use it to recognize a repetition.
    pub delivery_id: Uuid,
    /// The alert that it is about; `None` for a digest or a heartbeat.
    pub alert_id: Option<AlertId>,
    /// The way out.
    pub channel: Channel,
    /// What it tells: `opened`, `escalated`, `resolved`, `digest`, `heartbeat`, `reminder`.
    pub kind: String,
    /// What it is about, to be read by [`model::Content::from_stored`].
    pub payload: Value,
    /// People to notify by name; empty: the channel's usual readers.
    pub people: Vec<String>,
    /// How often it was tried, this time included.
    pub attempts: u32,
}

/// What the outbox must know of channels, which are defined elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelTraits {
    /// Those that people read message by message, so that new alerts are limited in number.
    pub limited: Vec<Channel>,
    /// Those whose receiver keeps an alert open until a message says that it is over.
    pub resolving: Vec<Channel>,
}

/// What is wanted of a channel's deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The channel.
    pub channel: Channel,
    /// So many at most.
    pub most: u32,
    /// Whether whoever asks can send by it. What they cannot send they take when nobody else has
    /// for an hour, to give it up and say so.
    pub ours: bool,
}

impl Wanted {
    /// Of a channel that whoever asks has.
    pub const fn of(channel: Channel, most: u32) -> Self {
        Self {
            channel,
            most,
            ours: true,
        }
    }
}

/// Takes due deliveries, of each channel as many as are asked for at most, the longest due first.
/// They come back to the queue when `lease` is over, should the taker be killed: a delivery may so
/// be repeated, but never lost. The message that an alert is over is sent after the one that opened
/// it.
pub async fn claim(
    conn: &mut PgConnection,
    wanted: &[Wanted],
    lease: Span,
) -> Result<Vec<Delivery>, StoreError> {
    let channels: Vec<String> = wanted.iter().map(|w| w.channel.to_string()).collect();
    let most: Vec<i64> = wanted.iter().map(|w| i64::from(w.most)).collect();
    let ours: Vec<bool> = wanted.iter().map(|w| w.ours).collect();
    let rows = sqlx::query_file!(
        "src/outbox/claim.sql",
        &channels,
        &most,
        lease.as_micros(),
        &ours
    )
    .fetch_all(conn)
    .await?;

    rows.into_iter()
        .map(|row| {
            Ok(Delivery {
                delivery_id: row.delivery_id,
                alert_id: row.alert_id.map(AlertId),
                channel: row
                    .channel
                    .parse()
                    .map_err(|e| StoreError::corrupt("notifications.channel", e))?,
                kind: row.kind,
                payload: row.payload,
                people: row.people,
                attempts: row.attempts.unsigned_abs(),
            })
        })
        .collect()
}

/// Gives back what was claimed and not begun: as if it had not been taken.
pub async fn put_back(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.notifications
         SET attempts = greatest(attempts - 1, 0), next_attempt_at = now()
         WHERE delivery_id = ANY ($1) AND state = 'pending'",
        ids
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// A connection for working off the queue: its commits do not wait for the disk. Should the machine
/// of the database crash, the notes of the last instants are gone, and what they were about is sent
/// again under the same id.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let mut conn = crate::connect(options).await?;
    sqlx::query!("SET synchronous_commit = off")
        .execute(&mut conn)
        .await?;
    Ok(conn)
}

/// They have arrived; with each, what the other side said.
pub async fn delivered(conn: &mut PgConnection, told: &[(Uuid, &str)]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = told.iter().map(|(id, _)| *id).collect();
    let details: Vec<String> = told
        .iter()
        .map(|(_, detail)| (*detail).to_owned())
        .collect();
    sqlx::query!(
        "WITH t AS (
             SELECT * FROM unnest($1::uuid[], $2::text[]) AS t (id, detail)
         ),
         d AS (
             UPDATE blueteam.notifications q
             SET state = 'delivered', delivered_at = now(), last_error = NULL
             FROM t
             WHERE q.delivery_id = t.id AND q.state = 'pending'
             RETURNING q.delivery_id, q.attempts, q.tenant_id, t.detail
         )
         INSERT INTO blueteam.notification_attempts
             (delivery_id, attempt, outcome, detail, tenant_id)
         SELECT delivery_id, attempts, 'delivered', left(detail, 1000), tenant_id FROM d",
        &ids,
        &details
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// They have not; each is tried again in its time. What went wrong must hold no secret (an address
/// with a token in it, for one).
pub async fn failed(
    conn: &mut PgConnection,
    told: &[(Uuid, &str, Span)],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = told.iter().map(|(id, ..)| *id).collect();
    let errors: Vec<String> = told
        .iter()
        .map(|(_, error, _)| (*error).to_owned())
        .collect();
    let waits: Vec<i64> = told
        .iter()
        .map(|(_, _, retry_in)| retry_in.as_micros())
        .collect();
    sqlx::query!(
        "WITH t AS (
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS t (id, error, wait)
         ),
         d AS (
             UPDATE blueteam.notifications q
             SET
                 last_error = left(t.error, 1000),
                 next_attempt_at = now() + t.wait * interval '1 microsecond'
             FROM t
             WHERE q.delivery_id = t.id AND q.state = 'pending'
             RETURNING q.delivery_id, q.attempts, q.tenant_id, t.error
         )
         INSERT INTO blueteam.notification_attempts
             (delivery_id, attempt, outcome, detail, tenant_id)
         SELECT delivery_id, attempts, 'failed', left(error, 1000), tenant_id FROM d",
        &ids,
        &errors,
        &waits
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Gives up notifications: they are not sent unless a person has them resent.
pub async fn dead(conn: &mut PgConnection, told: &[(Uuid, &str)]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = told.iter().map(|(id, _)| *id).collect();
    let errors: Vec<String> = told.iter().map(|(_, error)| (*error).to_owned()).collect();
    sqlx::query!(
        "WITH t AS (
             SELECT * FROM unnest($1::uuid[], $2::text[]) AS t (id, error)
         ),
         d AS (
             UPDATE blueteam.notifications q
             SET state = 'dead', last_error = left(t.error, 1000)
             FROM t
             WHERE q.delivery_id = t.id AND q.state = 'pending'
             RETURNING q.delivery_id, q.attempts, q.tenant_id, t.error
         )
         INSERT INTO blueteam.notification_attempts
             (delivery_id, attempt, outcome, detail, tenant_id)
         SELECT delivery_id, attempts, 'dead', left(error, 1000), tenant_id FROM d",
        &ids,
        &errors
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
        r#"SELECT
               count(*) FILTER (WHERE state = 'pending') AS "pending!",
               count(*) FILTER (WHERE state = 'dead') AS "dead!",
               min(next_attempt_at) FILTER (WHERE state = 'pending') AS "next: Ts"
           FROM blueteam.notifications
           WHERE state <> 'delivered'"#
    )
    .fetch_one(conn)
    .await?;
    Ok(Backlog {
        pending: row.pending.unsigned_abs(),
        dead: row.dead.unsigned_abs(),
        next_due: row.next.map(|t| t.0),
    })
}
