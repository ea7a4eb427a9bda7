//! The notifications of alerts: deliveries, written in the transaction of their alert.

use model::{Alert, AlertId, AlertState, Channel, EntityKind, Severity, SilencedBy, Span};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::{Route, WrittenAlert};
use crate::StoreError;

/// Enqueues what the alerts cause, in their order; returns how many deliveries were written.
pub(super) async fn enqueue(
    conn: &mut PgConnection,
    alerts: &[WrittenAlert],
) -> Result<u64, StoreError> {
    let mut deliveries = 0;
    for (at, written) in alerts.iter().enumerate() {
        let later = &alerts[at + 1..];
        let goes_on = written.alert.state == AlertState::Open;
        if written.is_new {
            deliveries += announce_alerts(conn, written, later).await?;
        } else if goes_on && written.is_silenced {
            deliveries += lift_silence(conn, written, later).await?;
        } else if goes_on && written.is_widened {
            deliveries += notify_other_tenants(conn, written, later).await?;
        }

        if !goes_on {
            deliveries += enqueue_resolution(conn, &written.alert).await?;
        }
    }

    Ok(deliveries)
}

/// Writes the deliveries of a new alert, or what keeps it quiet.
async fn announce_alerts(
    conn: &mut PgConnection,
    written: &WrittenAlert,
    later: &[WrittenAlert],
) -> Result<u64, StoreError> {
    let WrittenAlert { alert, route, .. } = written;
    let muted_by = match route.muted_by {
        Some(silence) => Some(SilencedBy::Silence(silence)),
        None => inhibiting_alerts(conn, alert, later)
            .await?
            .map(SilencedBy::Alert),
    };

    let (silence, critical) = match muted_by {
        None => return enqueue_alert(conn, alert, route).await,
        Some(SilencedBy::Silence(id)) => (Some(id.0), None),
        Some(SilencedBy::Alert(id)) => (None, Some(id.0)),
    };

    sqlx::query!(
        "UPDATE blueteam.alert_history
         SET muted_by_mute = $2, muted_by_alert = $3
         WHERE alert_id = $1",
        alert.alert_id.0,
        silence,
        critical
    )
    .execute(conn)
    .await?;

    Ok(0)
}

/// A silenced alert that goes on is announced after all, once no silence covers it any more: its
/// events are another tenant's too, or the silence is over.
async fn lift_silence(
    conn: &mut PgConnection,
    written: &WrittenAlert,
    later: &[WrittenAlert],
) -> Result<u64, StoreError> {
    if written.route.muted_by.is_some() || written.route.channels.is_empty() {
        return Ok(0);
    }

    sqlx::query!(
        "UPDATE blueteam.alert_history SET muted_by_mute = NULL WHERE alert_id = $1",
        written.alert.alert_id.0
    )
    .execute(&mut *conn)
    .await?;

    announce_alerts(conn, written, later).await
}

/// An alert went where one tenant's alerts go, and is no longer one tenant's: the readers of the
/// others are notified too. A channel that has had it does not get it again.
async fn notify_other_tenants(
    conn: &mut PgConnection,
    written: &WrittenAlert,
    later: &[WrittenAlert],
) -> Result<u64, StoreError> {
    let WrittenAlert { alert, route, .. } = written;
    if route.muted_by.is_some() || inhibiting_alerts(conn, alert, later).await?.is_some() {
        return Ok(0);
    }
    enqueue_alert(conn, alert, route).await
}

/// The critical alert that is open about the same entity, for an alert that says less. It was
/// announced itself: one that a silence covers inhibits nothing. A source is no attacker: what is
/// wrong with it may be two things.
///
/// Alerts `later` in the same part count as they were before, so that what inhibits what does not
/// depend on how changes fall into parts.
async fn inhibiting_alerts(
    conn: &mut PgConnection,
    alert: &Alert,
    later: &[WrittenAlert],
) -> Result<Option<AlertId>, StoreError> {
    if alert.severity >= Severity::High || alert.entity.kind == EntityKind::Source {
        return Ok(None);
    }

    let later = later.iter().filter(|written| {
        written.alert.severity == Severity::Critical
            && written.alert.entity == alert.entity
            && written.alert.source == alert.source
    });
    let (open_before, not_open_before): (Vec<&WrittenAlert>, Vec<&WrittenAlert>) =
        later.partition(|written| written.was_open);

    let id = sqlx::query_file_scalar!(
        "src/alerts/inhibiting.sql",
        alert.entity.kind.as_str(),
        alert.entity.value,
        alert.source,
        &alert_ids(&open_before),
        &alert_ids(&not_open_before),
    )
    .fetch_optional(conn)
    .await?
    .flatten();

    Ok(id.map(AlertId))
}

fn alert_ids(alerts: &[&WrittenAlert]) -> Vec<Uuid> {
    alerts.iter().map(|w| w.alert.alert_id.0).collect()
}

async fn enqueue_alert(
    conn: &mut PgConnection,
    alert: &Alert,
    route: &Route,
) -> Result<u64, StoreError> {
    if route.channels.is_empty() {
        return Ok(0);
    }

    let channels: Vec<String> = route.channels.iter().map(ToString::to_string).collect();
    let limited: Vec<String> = Channel::READ_BY_PEOPLE
        .iter()
        .map(ToString::to_string)
        .collect();
    let (messages, per) = route.most.unwrap_or((u32::MAX, Span::ZERO));
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

/// Enqueues that an alert is over, for the channels that keep it open until then and have had it.
async fn enqueue_resolution(conn: &mut PgConnection, alert: &Alert) -> Result<u64, StoreError> {
    let channels: Vec<String> = Channel::RESOLVING.iter().map(ToString::to_string).collect();
    let done = sqlx::query!(
        "INSERT INTO blueteam.notifications (alert_id, channel, kind, payload)
         SELECT DISTINCT $1::uuid, d.channel, 'resolved', $3::jsonb
         FROM blueteam.notifications d
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
