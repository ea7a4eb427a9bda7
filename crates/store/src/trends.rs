//! Numbers over days, for people who would rather look than read.

use model::{Severity, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::Ts;

/// Alerts of a day and a severity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertsOfDay {
    /// The day, as `2026-11-30`.
    pub day: String,
    /// The severity.
    pub severity: Severity,
    /// How many.
    pub alerts: u64,
}

/// Alerts by day and severity since a time; a day is one of the named zone.
pub async fn alerts(
    conn: &mut PgConnection,
    since: Timestamp,
    zone: &str,
) -> Result<Vec<AlertsOfDay>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT to_char(created_at AT TIME ZONE $2, 'YYYY-MM-DD') AS "day!", severity, count(*) AS "alerts!"
           FROM blueteam.alert_history
           WHERE created_at >= $1
           GROUP BY 1, 2
           ORDER BY 1"#,
        Ts(since) as Ts,
        zone
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(AlertsOfDay {
                day: row.day,
                severity: row
                    .severity
                    .parse()
                    .map_err(|e| StoreError::corrupt("alert_history.severity", e))?,
                alerts: row.alerts.unsigned_abs(),
            })
        })
        .collect()
}

/// How long it took until alerts were acknowledged, by the day of that.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseOfDay {
    /// The day, as `2026-11-30`.
    pub day: String,
    /// How many alerts were acknowledged.
    pub alerts: u64,
    /// Half of them within so many seconds.
    pub median_s: f64,
    /// Nine of ten within so many seconds.
    pub most_s: f64,
}

/// Response times by day since a time; a day is one of the named zone.
pub async fn responses(
    conn: &mut PgConnection,
    since: Timestamp,
    zone: &str,
) -> Result<Vec<ResponseOfDay>, StoreError> {
    let rows = sqlx::query_file!("src/trends/responses.sql", Ts(since) as Ts, zone)
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| ResponseOfDay {
            day: row.day,
            alerts: row.alerts.unsigned_abs(),
            median_s: row.median_s,
            most_s: row.most_s,
        })
        .collect())
}

/// Events of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsOfDay {
    /// The day, as `2026-11-30`.
    pub day: String,
    /// Events that applications sent.
    pub applications: u64,
    /// Events of logs.
    pub logs: u64,
}

/// Events by day since a time; a day is one of the named zone.
pub async fn events(
    conn: &mut PgConnection,
    since: Timestamp,
    zone: &str,
) -> Result<Vec<EventsOfDay>, StoreError> {
    let rows = sqlx::query_file!("src/trends/events.sql", Ts(since) as Ts, zone)
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| EventsOfDay {
            day: row.day,
            applications: row.applications.unsigned_abs(),
            logs: row.logs.unsigned_abs(),
        })
        .collect())
}
