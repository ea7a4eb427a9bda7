//! Notifications and their attempts: who was notified of what, when, after how many attempts, and
//! what the other side said.

use model::Actor;
use model::{AlertId, Channel, Timestamp};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::{Ts, begin};
use crate::{Before, StoreError};

/// A delivery as people look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its id, which receivers get.
    pub delivery_id: Uuid,
    /// The alert that it is about; `None` for a digest or a heartbeat.
    pub alert_id: Option<AlertId>,
    /// The title of the alert, digest or sign of life.
    pub title: String,
    /// The way out.
    pub channel: Channel,
    /// What it tells: `opened`, `escalated`, `resolved`, `digest`, `heartbeat`, `reminder`.
    pub kind: String,
    /// `pending`, `delivered` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// When it was written, with its alert.
    pub created_at: Timestamp,
    /// When it is tried again, of a pending one.
    pub next_attempt_at: Option<Timestamp>,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
}

/// One attempt, or the record that a person had it resent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Attempts so far, this one included.
    pub attempt: i32,
    /// When it ended.
    pub at: Timestamp,
    /// `delivered`, `failed`, `dead`, `resent`.
    pub outcome: String,
    /// What the other side said.
    pub detail: String,
}

/// Which deliveries to list; everything that is not set matches all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `pending`, `delivered` or `dead`.
    pub state: Option<String>,
    /// By this way.
    pub channel: Option<Channel>,
    /// Of this alert.
    pub alert_id: Option<AlertId>,
    /// Written at or after this time.
    pub since: Option<Timestamp>,
    /// After this one in the list.
    pub before: Option<Before>,
}

/// How many notifications there are.
pub async fn count(conn: &mut PgConnection, filter: &Filter) -> Result<u64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
           FROM blueteam.notifications
           WHERE ($1::text IS NULL OR state = $1)
             AND ($2::text IS NULL OR channel = $2)
             AND ($3::uuid IS NULL OR alert_id = $3)
             AND ($4::timestamptz IS NULL OR created_at >= $4)"#,
        filter.state,
        filter.channel.as_ref().map(Channel::as_str),
        filter.alert_id.map(|id| id.0),
        filter.since.map(Ts) as Option<Ts>
    )
    .fetch_one(conn)
    .await?;
    Ok(count.unsigned_abs())
}

/// The newest deliveries first, at most `limit`.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query_file!(
        "src/deliveries/list.sql",
        filter.state,
        filter.channel.as_ref().map(Channel::as_str),
        filter.alert_id.map(|id| id.0),
        filter.since.map(Ts) as Option<Ts>,
        i64::from(limit),
        filter.before.map(|before| Ts(before.at)) as Option<Ts>,
        filter.before.map(|before| before.id)
    )
    .fetch_all(conn)
    .await?;

    rows.into_iter()
        .map(|row| {
            let pending = row.state == "pending";
            Ok(Entry {
                delivery_id: row.delivery_id,
                alert_id: row.alert_id.map(AlertId),
                title: row.title,
                channel: row
                    .channel
                    .parse()
                    .map_err(|e| StoreError::corrupt("notifications.channel", e))?,
                kind: row.kind,
                state: row.state,
                attempts: row.attempts.unsigned_abs(),
                last_error: row.last_error,
                created_at: row.created_at.0,
                next_attempt_at: pending.then_some(row.next_attempt_at.0),
                delivered_at: row.delivered_at.map(|t| t.0),
            })
        })
        .collect()
}

/// Returns the channels where an alert was folded into a summary, because there were too many at
/// once.
pub async fn folded(conn: &mut PgConnection, id: AlertId) -> Result<Vec<Channel>, StoreError> {
    let names = sqlx::query_scalar!(
        "SELECT channel FROM blueteam.rate_limited_alerts WHERE alert_id = $1 ORDER BY channel",
        id.0
    )
    .fetch_all(conn)
    .await?;
    names
        .iter()
        .map(|name| {
            name.parse()
                .map_err(|e| StoreError::corrupt("folded_alerts.channel", e))
        })
        .collect()
}

/// Every attempt of a delivery, the first first.
pub async fn attempts(conn: &mut PgConnection, id: Uuid) -> Result<Vec<Attempt>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT attempt, at AS "at: Ts", outcome, detail
           FROM blueteam.notification_attempts
           WHERE delivery_id = $1
           ORDER BY attempt_id"#,
        id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Attempt {
            attempt: row.attempt,
            at: row.at.0,
            outcome: row.outcome,
            detail: row.detail,
        })
        .collect())
}

/// Has deliveries that were given up tried again, from the first attempt on: those of `ids`, or
/// all. Returns how many.
pub async fn resend(
    conn: &mut PgConnection,
    actor: &Actor,
    ids: Option<&[Uuid]>,
) -> Result<u64, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let resent = sqlx::query_scalar!(
        r#"SELECT blueteam.resend_notifications($1) AS "resent!""#,
        ids
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(resent.unsigned_abs())
}
