//! Incidents, as far as alerts open them.

use std::ops::RangeInclusive;

use model::{Actor, Entity, IncidentId, IncidentStatus, Severity, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::{Ts, begin};
use crate::{Before, StoreError};

/// A row of `security_incidents`, for a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Incident {
    /// Its id.
    pub incident_id: IncidentId,
    /// One line for a person.
    pub title: String,
    /// How bad: the worst of its alerts.
    pub severity: Severity,
    /// Where it stands.
    pub status: IncidentStatus,
    /// When it was noticed.
    pub detected_at: Timestamp,
    /// Who or what noticed it.
    pub detected_by: String,
    /// The rule that opened it.
    pub correlation_rule: Option<String>,
    /// What it is about; incidents that people open may have none.
    pub entity: Option<Entity>,
    /// Where its events came from.
    pub source: Option<String>,
    /// Whose events they are, where they say it.
    pub services: Vec<String>,
    /// Whether CUI was touched.
    pub cui_involved: bool,
    /// Whether DFARS 252.204-7012 asks for a report.
    pub dfars_reportable: bool,
    /// How many alerts it has.
    pub alerts: u64,
}

/// A change of an incident's status that a person made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StatusChange {
    /// Where it stood.
    pub previous: IncidentStatus,
    /// Where it stands since.
    pub status: IncidentStatus,
    /// Why.
    pub reason: String,
    /// Who changed it, and for whom.
    pub changed_by: String,
    /// When.
    pub changed_at: Timestamp,
}

/// Moves an incident on to a later phase, and records who did so, when and why. False when it is
/// that far already, or there is none.
pub async fn advance(
    conn: &mut PgConnection,
    actor: &Actor,
    incident: IncidentId,
    to: IncidentStatus,
    reason: &str,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let advanced = sqlx::query_scalar!(
        r#"SELECT blueteam.advance_incident($1, $2, $3) AS "advanced!""#,
        incident.0,
        to.as_str(),
        reason
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(advanced)
}

/// The changes of an incident's status, the first one first.
pub async fn status_changes(
    conn: &mut PgConnection,
    incident: IncidentId,
) -> Result<Vec<StatusChange>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT previous, status, reason, changed_by, changed_at AS "changed_at: Ts"
           FROM blueteam.incident_history
           WHERE incident_id = $1
           ORDER BY change_id"#,
        incident.0
    )
    .fetch_all(conn)
    .await?;

    let status = |text: String| {
        text.parse()
            .map_err(|e| StoreError::corrupt("incident_history.status", e))
    };
    rows.into_iter()
        .map(|row| {
            Ok(StatusChange {
                previous: status(row.previous)?,
                status: status(row.status)?,
                reason: row.reason,
                changed_by: row.changed_by,
                changed_at: row.changed_at.0,
            })
        })
        .collect()
}

/// The newest incidents first, at most `limit`; closed ones only when asked for.
pub async fn list(
    conn: &mut PgConnection,
    closed_too: bool,
    limit: u32,
) -> Result<Vec<Incident>, StoreError> {
    page(conn, closed_too, None, limit).await
}

/// How many incidents there are.
pub async fn count(conn: &mut PgConnection, closed_too: bool) -> Result<u64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
           FROM blueteam.security_incidents
           WHERE $1 OR status <> 'closed'"#,
        closed_too
    )
    .fetch_one(conn)
    .await?;
    Ok(count.unsigned_abs())
}

/// The newest incidents after `before`, at most `limit`.
pub async fn page(
    conn: &mut PgConnection,
    closed_too: bool,
    before: Option<Before>,
    limit: u32,
) -> Result<Vec<Incident>, StoreError> {
    select(conn, closed_too, before, None, limit).await
}

/// The incidents, closed ones too, with an id from the first to the last of these, at most `limit`.
pub async fn between(
    conn: &mut PgConnection,
    ids: RangeInclusive<Uuid>,
    limit: u32,
) -> Result<Vec<Incident>, StoreError> {
    select(conn, true, None, Some(ids), limit).await
}

async fn select(
    conn: &mut PgConnection,
    closed_too: bool,
    before: Option<Before>,
    ids: Option<RangeInclusive<Uuid>>,
    limit: u32,
) -> Result<Vec<Incident>, StoreError> {
    let rows = sqlx::query_file!(
        "src/incidents/list.sql",
        closed_too,
        i64::from(limit),
        before.map(|before| Ts(before.at)) as Option<Ts>,
        before.map(|before| before.id),
        ids.as_ref().map(|ids| *ids.start()),
        ids.as_ref().map(|ids| *ids.end())
    )
    .fetch_all(conn)
    .await?;

    rows.into_iter()
        .map(|row| {
            let entity = match (row.entity_type, row.entity_value) {
                (Some(kind), Some(value)) => {
                    let kind = kind
                        .parse()
                        .map_err(|e| StoreError::corrupt("security_incidents.entity_type", e))?;
                    Some(Entity { kind, value })
                }
                _ => None,
            };

            Ok(Incident {
                incident_id: IncidentId(row.incident_id),
                title: row.title,
                severity: row
                    .severity
                    .parse()
                    .map_err(|e| StoreError::corrupt("security_incidents.severity", e))?,
                status: row
                    .status
                    .parse()
                    .map_err(|e| StoreError::corrupt("security_incidents.status", e))?,
                detected_at: row.detected_at.0,
                detected_by: row.detected_by,
                correlation_rule: row.correlation_rule,
                entity,
                source: row.source,
                services: row.services,
                cui_involved: row.cui,
                dfars_reportable: row.dfars,
                alerts: row.alerts.unsigned_abs(),
            })
        })
        .collect()
}
