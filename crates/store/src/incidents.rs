//! Incidents: lists of them, and everything that belongs to one.

mod case;
mod change;

use std::ops::RangeInclusive;

use model::{DutyDecided, DutySent, Entity, IncidentId, IncidentStatus, Severity, Timestamp};
use serde::de::DeserializeOwned;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::Ts;
use crate::{Before, StoreError};

pub use case::{
    Decided, Entry, EntryKind, Hold, Link, Merge, Observable, ObservableKind, Part, Report,
    StatusChange, Task, TaskState, decisions, entries, hold, links, merges, observables, part,
    reports, status_changes, tasks,
};
pub use change::{Answer, Change, NewIncident, Step};

/// A row of `security_incidents`, for a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Incident {
    /// Its id.
    pub incident_id: IncidentId,
    /// Counts its changes by people: whoever changes it says which they saw.
    pub version: u64,
    /// One line for a person.
    pub title: String,
    /// How bad: the worst of its alerts, until a person sets it.
    pub severity: Severity,
    /// Where it stands.
    pub status: IncidentStatus,
    /// When it was noticed.
    pub detected_at: Timestamp,
    /// What noticed it: `correlation_rule` or `manual`.
    pub detected_by: String,
    /// The person who opened it.
    pub opened_by: Option<String>,
    /// The account that leads it.
    pub assigned_to: Option<String>,
    /// The rule that opened it.
    pub correlation_rule: Option<String>,
    /// What it is about; incidents that people open may have none.
    pub entity: Option<Entity>,
    /// Where its events came from.
    pub source: Option<String>,
    /// Whose events they are, where they say it.
    pub services: Vec<String>,
    /// The title that a newer alert would give it, where a person has set another.
    pub proposed_title: Option<String>,
    /// The severity of a worse alert, where a person has set a lower one.
    pub proposed_severity: Option<Severity>,
    /// When it spread no further.
    pub contained_at: Option<Timestamp>,
    /// When the cause was gone.
    pub eradicated_at: Option<Timestamp>,
    /// When everything was back in service.
    pub recovered_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// The incident that it is part of now.
    pub merged_into: Option<IncidentId>,
    /// Whether CUI was touched, as far as events say.
    pub cui_involved: bool,
    /// Whether DFARS 252.204-7012 asks for a report: as people decided, or as events propose.
    pub dfars_reportable: bool,
    /// When it was discovered, which starts the law's clocks: of merged incidents the earliest.
    pub discovered_at: Timestamp,
    /// The first event of its alerts, by the clock of whoever logged it.
    pub first_event_at: Option<Timestamp>,
    /// How many alerts it has.
    pub alerts: u64,
    /// How many tasks are to be done.
    pub open_tasks: u64,
    /// An incident about the same that was closed up to 7 days before: this may be more of it.
    pub follows: Option<IncidentId>,
    /// What was decided about duties to report, the newest last.
    pub decided: Vec<DutyDecided>,
    /// What was reported, the first one first.
    pub sent: Vec<DutySent>,
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
            Ok(Incident {
                incident_id: IncidentId(row.incident_id),
                version: row.version.unsigned_abs(),
                title: row.title,
                severity: word(&row.severity, "severity")?,
                status: word(&row.status, "status")?,
                detected_at: row.detected_at.0,
                detected_by: row.detected_by,
                opened_by: row.opened_by,
                assigned_to: row.assigned_to,
                correlation_rule: row.correlation_rule,
                entity: entity(row.entity_type.as_deref(), row.entity_value)?,
                source: row.source,
                services: row.services,
                proposed_title: row.proposed_title,
                proposed_severity: row
                    .proposed_severity
                    .map(|severity| word(&severity, "proposed_severity"))
                    .transpose()?,
                contained_at: row.contained_at.map(|at| at.0),
                eradicated_at: row.eradicated_at.map(|at| at.0),
                recovered_at: row.recovered_at.map(|at| at.0),
                closed_at: row.closed_at.map(|at| at.0),
                merged_into: row.merged_into.map(IncidentId),
                cui_involved: row.cui,
                dfars_reportable: row.dfars,
                discovered_at: row.discovered_at.0,
                first_event_at: row.first_event_at.map(|at| at.0),
                alerts: row.alerts.unsigned_abs(),
                open_tasks: row.open_tasks.unsigned_abs(),
                follows: row.follows.map(IncidentId),
                decided: list_of(row.decided)?,
                sent: list_of(row.sent)?,
            })
        })
        .collect()
}

fn word<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
    column: &str,
) -> Result<T, StoreError> {
    text.parse()
        .map_err(|e| StoreError::corrupt("security_incidents", format_args!("{column}: {e}")))
}

fn entity(kind: Option<&str>, value: Option<String>) -> Result<Option<Entity>, StoreError> {
    let (Some(kind), Some(value)) = (kind, value) else {
        return Ok(None);
    };
    let kind = word(kind, "entity_type")?;
    Ok(Some(Entity { kind, value }))
}

fn list_of<T: DeserializeOwned>(given: serde_json::Value) -> Result<Vec<T>, StoreError> {
    serde_json::from_value(given).map_err(|e| StoreError::corrupt("incident duties", e))
}

/// The open incidents that have no tasks from a playbook yet, the oldest first, with the rule that
/// opened each; at most `limit`.
pub async fn unplanned(conn: &mut PgConnection, limit: u32) -> Result<Vec<Unplanned>, StoreError> {
    let rows = sqlx::query!(
        "SELECT incident_id, correlation_rule
           FROM blueteam.security_incidents i
          WHERE status <> 'closed'
            AND NOT EXISTS (SELECT FROM blueteam.incident_tasks t
                             WHERE t.incident_id = i.incident_id AND t.playbook IS NOT NULL)
          ORDER BY detected_at
          LIMIT $1",
        i64::from(limit)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Unplanned {
            incident_id: IncidentId(row.incident_id),
            rule: row.correlation_rule,
        })
        .collect())
}

/// The accounts of people that may sign in, by name; at most 500.
pub async fn leads(conn: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let names = sqlx::query_scalar!(
        "SELECT username FROM users.users
          WHERE is_active AND NOT is_service
            AND tenant_id = (SELECT blueteam.tenant_of_new())
          ORDER BY username
          LIMIT 500"
    )
    .fetch_all(conn)
    .await?;
    Ok(names)
}

/// An incident without tasks from a playbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplanned {
    /// The incident.
    pub incident_id: IncidentId,
    /// The rule that opened it.
    pub rule: Option<String>,
}
