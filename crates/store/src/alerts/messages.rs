//! The notifications of alerts: deliveries, written in the transaction of their alert.

use model::{Alert, AlertId, AlertState, EntityKind, Severity, SilencedBy, Span};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::WrittenAlert;
use crate::StoreError;
use crate::outbox::ChannelTraits;

/// What is announced of a part, in its order.
#[derive(Default)]
struct Announced<'a> {
    opened: Vec<&'a WrittenAlert>,
    over: Vec<&'a Alert>,
}

/// Enqueues what the alerts cause, in their order; returns how many deliveries were written.
pub(super) async fn enqueue(
    conn: &mut PgConnection,
    alerts: &[WrittenAlert],
    traits: &ChannelTraits,
) -> Result<u64, StoreError> {
    let mut announced = Announced::default();
    for (at, written) in alerts.iter().enumerate() {
        let later = &alerts[at + 1..];
        let goes_on = written.alert.state == AlertState::Open;
        let is_announced = if written.is_new {
            is_told(conn, written, later).await?
        } else if goes_on && written.is_silenced {
            lift_silence(conn, written, later).await?
        } else if goes_on && written.is_widened {
            concerns_other_tenants(conn, written, later).await?
        } else {
            false
        };

        if is_announced && !written.route.channels.is_empty() {
            announced.opened.push(written);
        }
        if !goes_on {
            announced.over.push(&written.alert);
        }
    }

    let opened = enqueue_opened(conn, &announced.opened, traits).await?;
    Ok(opened + enqueue_resolutions(conn, &announced.over, traits).await?)
}

/// Whether people are notified of a new alert. Notes what keeps it quiet.
async fn is_told(
    conn: &mut PgConnection,
    written: &WrittenAlert,
    later: &[WrittenAlert],
) -> Result<bool, StoreError> {
    let WrittenAlert { alert, route, .. } = written;
    let muted_by = match route.muted_by {
        Some(silence) => Some(SilencedBy::Silence(silence)),
        None => inhibiting_alerts(conn, alert, later)
            .await?
            .map(SilencedBy::Alert),
    };

    let (silence, critical) = match muted_by {
        None => return Ok(true),
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

    Ok(false)
}

/// Whether people are notified of a silenced alert that goes on: once no silence covers it any more,
/// because its events are another tenant's too, or the silence is over.
async fn lift_silence(
    conn: &mut PgConnection,
    written: &WrittenAlert,
    later: &[WrittenAlert],
) -> Result<bool, StoreError> {
    if written.route.muted_by.is_some() || written.route.channels.is_empty() {
        return Ok(false);
    }

    sqlx::query!(
        "UPDATE blueteam.alert_history SET muted_by_mute = NULL WHERE alert_id = $1",
        written.alert.alert_id.0
    )
    .execute(&mut *conn)
    .await?;

    is_told(conn, written, later).await
}

/// Whether an alert that went where one tenant's alerts go, and is no longer one tenant's, is told
/// to the readers of the others too. A channel that has had it does not get it again.
async fn concerns_other_tenants(
    conn: &mut PgConnection,
    written: &WrittenAlert,
    later: &[WrittenAlert],
) -> Result<bool, StoreError> {
    let WrittenAlert { alert, route, .. } = written;
    let is_quiet =
        route.muted_by.is_some() || inhibiting_alerts(conn, alert, later).await?.is_some();
    Ok(!is_quiet)
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

async fn enqueue_opened(
    conn: &mut PgConnection,
    opened: &[&WrittenAlert],
    traits: &ChannelTraits,
) -> Result<u64, StoreError> {
    if opened.is_empty() {
        return Ok(0);
    }

    let limited: Vec<String> = traits.limited.iter().map(ToString::to_string).collect();
    let given = opened
        .iter()
        .enumerate()
        .map(|(n, written)| message_row(n, written))
        .collect::<Result<_, StoreError>>()?;
    let done = sqlx::query_file!(
        "src/alerts/enqueue_opened.sql",
        Value::Array(given),
        &limited,
    )
    .execute(conn)
    .await?;

    Ok(done.rows_affected())
}

/// An alert as `enqueue_opened.sql` takes it.
fn message_row(n: usize, written: &WrittenAlert) -> Result<Value, StoreError> {
    let WrittenAlert { alert, route, .. } = written;
    let channels: Vec<String> = route.channels.iter().map(ToString::to_string).collect();
    let (messages, per) = route.most.unwrap_or((u32::MAX, Span::ZERO));

    Ok(json!({
        "n": n,
        "alert_id": alert.alert_id.0,
        "channels": channels,
        "payload": serde_json::to_value(alert)?,
        "most": messages,
        "per": per.as_micros(),
    }))
}

/// Enqueues that alerts are over, for the channels that keep them open until then and have had
/// them.
async fn enqueue_resolutions(
    conn: &mut PgConnection,
    over: &[&Alert],
    traits: &ChannelTraits,
) -> Result<u64, StoreError> {
    if over.is_empty() {
        return Ok(0);
    }

    let channels: Vec<String> = traits.resolving.iter().map(ToString::to_string).collect();
    let ids: Vec<Uuid> = over.iter().map(|alert| alert.alert_id.0).collect();
    let payloads = over
        .iter()
        .map(|alert| Ok(serde_json::to_value(alert)?))
        .collect::<Result<Vec<Value>, StoreError>>()?;
    let done = sqlx::query!(
        "INSERT INTO blueteam.notifications (alert_id, channel, kind, payload)
         SELECT DISTINCT ended.alert_id, d.channel, 'resolved', ended.payload
         FROM unnest($1::uuid[], $3::jsonb[]) AS ended (alert_id, payload)
         JOIN blueteam.notifications d USING (alert_id)
         WHERE d.kind IN ('opened', 'escalated') AND d.channel = ANY ($2)
         ON CONFLICT DO NOTHING",
        &ids,
        &channels,
        &payloads
    )
    .execute(conn)
    .await?;

    Ok(done.rows_affected())
}
