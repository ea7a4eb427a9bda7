//! Alerts that were not acknowledged in time, and who was notified then.

use model::{Alert, AlertId, AlertState, Channel, Severity, Span, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::alerts;
use crate::db::Ts;
use crate::outbox::ChannelTraits;

/// The most alerts that one look finds.
const LIMIT: i64 = 1000;
/// How much older than its last tier an alert may be: what was overdue before escalation was
/// switched on is old news.
const STALE: Span = Span::hours(24);

/// An alert whose next tier is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The alert.
    pub alert: Alert,
    /// The tier to notify, from 1.
    pub tier: u16,
}

/// A tier that was notified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// From 1.
    pub tier: u16,
    /// When.
    pub at: Timestamp,
    /// Who, by name; empty: a channel's usual readers.
    pub people: Vec<String>,
    /// By which ways.
    pub channels: Vec<String>,
}

/// Returns the alerts of which people were notified, and that have not been acknowledged for longer
/// than `patience` says for their severity: since they were written, or since their last tier of
/// `tiers` was notified. One that was folded is not among them: a storm must not come back through
/// the tiers. Holds them until the transaction ends, so that an acknowledgment comes before or
/// after.
pub async fn due(
    conn: &mut PgConnection,
    patience: &[(Severity, Span)],
    tiers: u16,
) -> Result<Vec<Due>, StoreError> {
    let severities: Vec<String> = patience
        .iter()
        .map(|(severity, _)| severity.to_string())
        .collect();
    let micros: Vec<i64> = patience.iter().map(|(_, span)| span.as_micros()).collect();
    let rows = sqlx::query_file!(
        "src/escalations/due.sql",
        &severities,
        &micros,
        i32::from(tiers),
        STALE.as_micros(),
        LIMIT
    )
    .fetch_all(&mut *conn)
    .await?;

    let mut due = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(alert) = alerts::show(conn, AlertId(row.alert_id)).await? {
            due.push(Due {
                alert,
                tier: row.tier.unsigned_abs(),
            });
        }
    }

    Ok(due)
}

/// Records that a tier is notified, and writes the messages. Returns `false` when it was notified
/// already.
pub async fn escalate(
    conn: &mut PgConnection,
    due: &Due,
    people: &[String],
    channels: &[Channel],
    traits: &ChannelTraits,
) -> Result<bool, StoreError> {
    // A way that keeps an alert open until it hears of its end would open it again, and nobody
    // would ever close it there.
    let over = due.alert.state == AlertState::Closed;
    let told = channels
        .iter()
        .filter(|channel| !(over && traits.resolving.contains(channel)));
    let channels: Vec<String> = told.map(ToString::to_string).collect();
    let tier = i16::try_from(due.tier).unwrap_or(i16::MAX);
    let noted = sqlx::query!(
        "INSERT INTO blueteam.escalations (alert_id, tier, people, channels)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
        due.alert.alert_id.0,
        tier,
        people,
        &channels
    )
    .execute(&mut *conn)
    .await?;

    if noted.rows_affected() == 0 {
        return Ok(false);
    }

    sqlx::query!(
        "INSERT INTO blueteam.notifications (alert_id, channel, kind, payload, tier, people)
         SELECT $1, c, 'escalated', $3, $4, $5 FROM unnest($2::text[]) AS c ON CONFLICT DO NOTHING",
        due.alert.alert_id.0,
        &channels,
        serde_json::to_value(&due.alert)?,
        tier,
        people
    )
    .execute(conn)
    .await?;

    Ok(true)
}

/// Returns the tiers that were notified of an alert, in order.
pub async fn of_alert(conn: &mut PgConnection, id: AlertId) -> Result<Vec<Escalation>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT tier, at AS "at: Ts", people, channels
           FROM blueteam.escalations
           WHERE alert_id = $1
           ORDER BY tier"#,
        id.0
    )
    .fetch_all(conn)
    .await?;

    let of = |tier: i16, at: Ts, people, channels| Escalation {
        tier: tier.unsigned_abs(),
        at: at.0,
        people,
        channels,
    };

    Ok(rows
        .into_iter()
        .map(|row| of(row.tier, row.at, row.people, row.channels))
        .collect())
}
