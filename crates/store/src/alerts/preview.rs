//! What writing the engine's changes would make of them, for who tries a rule out: reading takes no
//! right to write alerts.

use model::{
    Alert, AlertId, Detection, DetectionUpdate, EntityKind, IncidentId, Severity, SilencedBy,
};
use sqlx::PgConnection;

use super::apply::unwritten;
use super::owners::event_owners;
use crate::StoreError;

/// An alert that a change would open.
#[derive(Debug)]
pub struct Preview {
    /// The alert; without an incident where a new one would be opened for it.
    pub alert: Alert,
    /// Whether one would.
    pub new_incident: bool,
}

/// Returns the alerts that [`super::apply`] would open, and writes nothing.
pub async fn preview(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
) -> Result<Vec<Preview>, StoreError> {
    let mut previews: Vec<Preview> = Vec::new();
    for change in changes {
        let d = &change.detection;
        if super::show(conn, AlertId(d.fingerprint.0)).await?.is_some() {
            continue;
        }

        let owners = event_owners(conn, &change.events).await?;
        let alert = Alert {
            services: owners.services,
            tenant: super::the_tenant(&owners.tenants),
            incident_id: if d.opens_incident() {
                open_incident(conn, d).await?
            } else {
                None
            },
            muted_by: inhibiting_alert(conn, d).await?,
            ..unwritten(change)
        };

        let has_one = |p: &Preview| {
            p.new_incident && p.alert.entity == alert.entity && p.alert.source == alert.source
        };
        previews.push(Preview {
            new_incident: d.opens_incident()
                && alert.incident_id.is_none()
                && !previews.iter().any(has_one),
            alert,
        });
    }

    Ok(previews)
}

/// The incident that is open about the same entity and source.
async fn open_incident(
    conn: &mut PgConnection,
    d: &Detection,
) -> Result<Option<IncidentId>, StoreError> {
    let id = sqlx::query_scalar!(
        "SELECT incident_id
         FROM blueteam.security_incidents
         WHERE tenant_id = (SELECT blueteam.tenant_of_new())
           AND source = $1
           AND entity_type = $2
           AND entity_value = $3
           AND status <> 'closed'",
        d.source.as_str(),
        d.entity.kind.as_str(),
        d.entity.value,
    )
    .fetch_optional(conn)
    .await?;

    Ok(id.map(IncidentId))
}

/// The critical alert that would keep this one quiet.
async fn inhibiting_alert(
    conn: &mut PgConnection,
    d: &Detection,
) -> Result<Option<SilencedBy>, StoreError> {
    if d.severity >= Severity::High || d.entity.kind == EntityKind::Source {
        return Ok(None);
    }

    let id = sqlx::query_file_scalar!(
        "src/alerts/inhibiting.sql",
        d.entity.kind.as_str(),
        d.entity.value,
        d.source.as_str(),
        &[],
        &[],
    )
    .fetch_optional(conn)
    .await?
    .flatten();

    Ok(id.map(|id| SilencedBy::Alert(AlertId(id))))
}
