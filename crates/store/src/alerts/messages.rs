//! The notifications of alerts: deliveries, written in the transaction of their alert.

use model::{Alert, AlertState, SilencedBy, Span};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::WrittenAlert;
use super::inhibition::Inhibition;
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
    let mut inhibition = Inhibition::of(conn, alerts).await?;
    for (at, written) in alerts.iter().enumerate() {
        let later = &alerts[at + 1..];
        let goes_on = written.alert.state == AlertState::Open;
        let is_announced = if written.is_new {
            is_told(conn, &mut inhibition, written, later).await?
        } else if goes_on && written.is_silenced {
            lift_silence(conn, &mut inhibition, written, later).await?
        } else if goes_on && written.is_widened {
            concerns_other_tenants(conn, &inhibition, written, later).await?
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
    inhibition.record(conn).await?;

    let opened = enqueue_opened(conn, &announced.opened, traits).await?;
    Ok(opened + enqueue_resolutions(conn, &announced.over, traits).await?)
}

/// Whether people are notified of a new alert. Notes what keeps it quiet.
async fn is_told(
    conn: &mut PgConnection,
    inhibition: &mut Inhibition,
    written: &WrittenAlert,
    later: &[WrittenAlert],
) -> Result<bool, StoreError> {
    let muted_by = match written.route.muted_by {
        Some(silence) => Some(SilencedBy::Silence(silence)),
        None => inhibition
            .inhibiting(conn, &written.alert, later)
            .await?
            .map(SilencedBy::Alert),
    };

    if muted_by.is_none() {
        return Ok(true);
    }

    inhibition.mute(conn, &written.alert, muted_by).await?;
    Ok(false)
}

/// Whether people are notified of a silenced alert that goes on: once no silence covers it any
/// more, because its events are another tenant's too, or the silence is over.
async fn lift_silence(
    conn: &mut PgConnection,
    inhibition: &mut Inhibition,
    written: &WrittenAlert,
    later: &[WrittenAlert],
) -> Result<bool, StoreError> {
    if written.route.muted_by.is_some() || written.route.channels.is_empty() {
        return Ok(false);
    }

    let critical = inhibition.inhibiting(conn, &written.alert, later).await?;
    let muted_by = critical.map(SilencedBy::Alert);
    inhibition.mute(conn, &written.alert, muted_by).await?;
    Ok(muted_by.is_none())
}

/// Whether an alert that went where one tenant's alerts go, and is no longer one tenant's, is told
/// to the readers of the others too. A channel that has had it does not get it again.
async fn concerns_other_tenants(
    conn: &mut PgConnection,
    inhibition: &Inhibition,
    written: &WrittenAlert,
    later: &[WrittenAlert],
) -> Result<bool, StoreError> {
    let WrittenAlert { alert, route, .. } = written;
    let is_quiet =
        route.muted_by.is_some() || inhibition.inhibiting(conn, alert, later).await?.is_some();
    Ok(!is_quiet)
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
