//! The messages that alerts cause: deliveries, written in the transaction of their alert.

use model::{Alert, AlertId, Channel, EntityKind, MutedBy, Severity, Span};
use sqlx::PgConnection;

use super::apply::Route;
use crate::StoreError;

/// Writes the deliveries of a new alert, or what muted it.
pub(super) async fn tell(
    conn: &mut PgConnection,
    alert: &Alert,
    route: Route,
) -> Result<u64, StoreError> {
    let muted_by = match route.muted_by {
        Some(mute) => Some(MutedBy::Mute(mute)),
        None => inhibiting(conn, alert).await?.map(MutedBy::Alert),
    };

    let (mute, critical) = match muted_by {
        None => return deliver(conn, alert, route.channels, route.most).await,
        Some(MutedBy::Mute(id)) => (Some(id.0), None),
        Some(MutedBy::Alert(id)) => (None, Some(id.0)),
    };

    sqlx::query!(
        "UPDATE blueteam.alert_history
         SET muted_by_mute = $2, muted_by_alert = $3
         WHERE alert_id = $1",
        alert.alert_id.0,
        mute,
        critical
    )
    .execute(conn)
    .await?;

    Ok(0)
}

/// A muted alert that goes on is told after all, once no mute covers it any more: its events are
/// another tenant's too, or the mute is over.
pub(super) async fn unmute(
    conn: &mut PgConnection,
    alert: &Alert,
    route: Route,
) -> Result<u64, StoreError> {
    if route.muted_by.is_some() || route.channels.is_empty() {
        return Ok(0);
    }

    sqlx::query!(
        "UPDATE blueteam.alert_history SET muted_by_mute = NULL WHERE alert_id = $1",
        alert.alert_id.0
    )
    .execute(&mut *conn)
    .await?;

    tell(conn, alert, route).await
}

/// An alert went where one tenant's alerts go, and is no longer one tenant's: the others' readers
/// are told too. Who knows of it is not told again.
pub(super) async fn widen(
    conn: &mut PgConnection,
    alert: &Alert,
    route: Route,
) -> Result<u64, StoreError> {
    if route.muted_by.is_some() || inhibiting(conn, alert).await?.is_some() {
        return Ok(0);
    }
    deliver(conn, alert, route.channels, route.most).await
}

/// The critical alert that is open about the same entity, for an alert that says less. It was told
/// itself: one that was muted mutes nothing. A source is no attacker: what is wrong with it may be
/// two things.
async fn inhibiting(conn: &mut PgConnection, alert: &Alert) -> Result<Option<AlertId>, StoreError> {
    if alert.severity >= Severity::High || alert.entity.kind == EntityKind::Source {
        return Ok(None);
    }

    let id = sqlx::query_scalar!(
        "SELECT alert_id
         FROM blueteam.alert_history
         WHERE state = 'open'
           AND severity = 'critical'
           AND entity_type = $1
           AND entity_value = $2
           AND source = $3
           AND muted_by_mute IS NULL
         ORDER BY created_at
         LIMIT 1",
        alert.entity.kind.as_str(),
        alert.entity.value,
        alert.source
    )
    .fetch_optional(conn)
    .await?;

    Ok(id.map(AlertId))
}

async fn deliver(
    conn: &mut PgConnection,
    alert: &Alert,
    channels: Vec<Channel>,
    most: Option<(u32, Span)>,
) -> Result<u64, StoreError> {
    if channels.is_empty() {
        return Ok(0);
    }

    let channels: Vec<String> = channels.iter().map(ToString::to_string).collect();
    let limited: Vec<String> = Channel::READ_BY_PEOPLE
        .iter()
        .map(ToString::to_string)
        .collect();
    let (messages, per) = most.unwrap_or((u32::MAX, Span::ZERO));
    let done = sqlx::query_file!(
        "src/alerts/enqueue_opened.sql",
        alert.alert_id.0,
        &channels,
        serde_json::to_value(alert)?,
        &limited,
        i64::from(messages),
        per.as_micros()
    )
    .execute(conn)
    .await?;

    Ok(done.rows_affected())
}

/// Tells that an alert is over, by the ways that keep it open until then and were told of it.
pub(super) async fn resolve(conn: &mut PgConnection, alert: &Alert) -> Result<u64, StoreError> {
    let channels: Vec<String> = Channel::RESOLVING.iter().map(ToString::to_string).collect();
    let done = sqlx::query!(
        "INSERT INTO blueteam.deliveries (alert_id, channel, kind, payload)
         SELECT DISTINCT $1::uuid, d.channel, 'resolved', $3::jsonb
         FROM blueteam.deliveries d
         WHERE d.alert_id = $1
           AND d.kind IN ('opened', 'escalated')
           AND d.channel = ANY ($2)
         ON CONFLICT DO NOTHING",
        alert.alert_id.0,
        &channels,
        serde_json::to_value(alert)?
    )
    .execute(conn)
    .await?;

    Ok(done.rows_affected())
}
