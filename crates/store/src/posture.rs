//! What the posture is counted from, and what it was.

use model::period::{AlertsOf, Happened, Period};
use model::posture::{Handled, Posture, SourceShare};
use model::{Actor, Severity, Span, Timestamp};
use serde_json::json;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// Each source that is not gone, with the share of the time from `from` to `until` in which it could be
/// seen: without its gaps, and of what came the part that could be read.
pub async fn sources(
    conn: &mut PgConnection,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<SourceShare>, StoreError> {
    let rows = sqlx::query_file!("src/posture/sources.sql", Ts(from) as Ts, Ts(until) as Ts)
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| SourceShare {
            source_id: row.source_id,
            share: row.share,
        })
        .collect())
}

/// How long an alert may wait for someone to see it, and an incident to be contained.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Of this severity.
    pub severity: Severity,
    /// Until an alert is acknowledged.
    pub alert: Span,
    /// Until an incident is contained.
    pub incident: Span,
}

/// What was due since a time, and what of it was handled in time. `overdue_clocks`: how many duties to
/// report are overdue, which the caller counts.
pub async fn handled(
    conn: &mut PgConnection,
    since: Timestamp,
    now: Timestamp,
    patience: &[Patience],
    overdue_clocks: u64,
) -> Result<Handled, StoreError> {
    let seconds = |span: Span| span.as_micros() as f64 / 1e6;
    let severities: Vec<String> = patience
        .iter()
        .map(|one| one.severity.to_string())
        .collect();
    let alerts: Vec<f64> = patience.iter().map(|one| seconds(one.alert)).collect();
    let incidents: Vec<f64> = patience.iter().map(|one| seconds(one.incident)).collect();
    let row = sqlx::query_file!(
        "src/posture/handled.sql",
        Ts(since) as Ts,
        Ts(now) as Ts,
        &severities,
        &alerts,
        &incidents
    )
    .fetch_one(conn)
    .await?;
    Ok(Handled {
        due: row.due.unsigned_abs(),
        in_time: row.in_time.unsigned_abs(),
        overdue_clocks,
    })
}

/// Keeps a posture.
pub async fn keep(
    conn: &mut PgConnection,
    actor: &Actor,
    posture: &Posture,
) -> Result<(), StoreError> {
    let details = json!({ "kind": "posture", "posture": posture });
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "INSERT INTO blueteam.posture_scores
             (scored_at, overall_score, compliance_score, redteam_score, monitoring_score, incident_score, details)
         VALUES ($1, $2::float8::numeric, $3::float8::numeric, $4::float8::numeric, $5::float8::numeric,
                 $6::float8::numeric, $7)",
        Ts(posture.at) as Ts,
        posture.overall,
        posture.compliance.score,
        posture.redteam.score,
        posture.monitoring.score,
        posture.incident.score,
        details
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}

/// The newest posture that was kept at or before a time.
pub async fn at(conn: &mut PgConnection, at: Timestamp) -> Result<Option<Posture>, StoreError> {
    let kept = sqlx::query_scalar!(
        r#"SELECT details->'posture' AS "posture!"
           FROM blueteam.posture_scores
           WHERE details->>'kind' = 'posture' AND scored_at <= $1
             AND tenant_id = (SELECT blueteam.tenant_of_new())
           ORDER BY scored_at DESC
           LIMIT 1"#,
        Ts(at) as Ts
    )
    .fetch_optional(conn)
    .await?;
    kept.map(serde_json::from_value)
        .transpose()
        .map_err(|error| StoreError::corrupt("posture_scores.details", error))
}

/// Every posture that was kept since a time, the oldest first; at most 1,000.
pub async fn since(conn: &mut PgConnection, since: Timestamp) -> Result<Vec<Posture>, StoreError> {
    let kept = sqlx::query_scalar!(
        r#"SELECT details->'posture' AS "posture!"
           FROM blueteam.posture_scores
           WHERE details->>'kind' = 'posture' AND scored_at >= $1
             AND tenant_id = (SELECT blueteam.tenant_of_new())
           ORDER BY scored_at
           LIMIT 1000"#,
        Ts(since) as Ts
    )
    .fetch_all(conn)
    .await?;
    kept.into_iter()
        .map(|posture| {
            serde_json::from_value(posture)
                .map_err(|error| StoreError::corrupt("posture_scores.details", error))
        })
        .collect()
}

/// What happened from one time to another.
pub async fn period(
    conn: &mut PgConnection,
    from: Timestamp,
    until: Timestamp,
) -> Result<Period, StoreError> {
    let alerts = sqlx::query!(
        r#"SELECT severity, count(*) AS "alerts!",
                  count(*) FILTER (WHERE acknowledged) AS "acknowledged!"
           FROM blueteam.alert_history
           WHERE created_at >= $1 AND created_at < $2
             AND tenant_id = (SELECT blueteam.tenant_of_new())
           GROUP BY severity
           ORDER BY array_position('{critical,high,medium,low,info}', severity)"#,
        Ts(from) as Ts,
        Ts(until) as Ts
    )
    .fetch_all(&mut *conn)
    .await?;
    let incidents = sqlx::query!(
        r#"SELECT detected_at AS "detected_at: Ts", title, severity, status,
                  coalesce(cui_involved, false) AS "cui!"
           FROM blueteam.security_incidents
           WHERE detected_at >= $1 AND detected_at < $2
             AND tenant_id = (SELECT blueteam.tenant_of_new())
           ORDER BY array_position('{critical,high,medium,low}', severity), detected_at DESC
           LIMIT 5"#,
        Ts(from) as Ts,
        Ts(until) as Ts
    )
    .fetch_all(&mut *conn)
    .await?;
    let counts = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE detected_at >= $1 AND detected_at < $2) AS "detected!",
                  count(*) FILTER (WHERE closed_at >= $1 AND closed_at < $2) AS "closed!",
                  count(*) FILTER (WHERE status <> 'closed') AS "open!",
                  (SELECT count(*) FROM blueteam.reports_due) AS "unreported!"
           FROM blueteam.security_incidents
           WHERE tenant_id = (SELECT blueteam.tenant_of_new())"#,
        Ts(from) as Ts,
        Ts(until) as Ts
    )
    .fetch_one(conn)
    .await?;

    let severity = |text: String, column| {
        text.parse::<Severity>()
            .map_err(|error| StoreError::corrupt(column, error))
    };
    Ok(Period {
        from,
        until,
        alerts: alerts
            .into_iter()
            .map(|row| {
                Ok(AlertsOf {
                    severity: severity(row.severity, "alert_history.severity")?,
                    alerts: row.alerts.unsigned_abs(),
                    acknowledged: row.acknowledged.unsigned_abs(),
                })
            })
            .collect::<Result<_, StoreError>>()?,
        incidents: incidents
            .into_iter()
            .map(|row| {
                Ok(Happened {
                    at: row.detected_at.0,
                    title: row.title,
                    severity: severity(row.severity, "security_incidents.severity")?,
                    status: row
                        .status
                        .parse()
                        .map_err(|error| StoreError::corrupt("security_incidents.status", error))?,
                    cui_involved: row.cui,
                })
            })
            .collect::<Result<_, StoreError>>()?,
        detected: counts.detected.unsigned_abs(),
        closed: counts.closed.unsigned_abs(),
        open: counts.open.unsigned_abs(),
        unreported: counts.unreported.unsigned_abs(),
    })
}
