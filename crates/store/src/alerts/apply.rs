//! The engine's changes into alerts and incidents, in the caller's transaction.

use model::{
    Actor, Alert, AlertId, AlertState, Detection, DetectionUpdate, EventKey, Fingerprint,
    IncidentId, Phase,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::{Batch, Route, WrittenAlert};
use crate::StoreError;
use crate::db::{Ts, set_actor, take_exclusively};

/// The services and the accounts that an alert names at most; events that no key vouches for may name any.
const SERVICES_MAX: i64 = 20;

/// Takes the right to write alerts until the end of the transaction: one writer at a time, so that
/// there is neither a second incident for one attack nor a deadlock over the order of rows.
pub async fn take_turn(conn: &mut PgConnection) -> Result<(), StoreError> {
    take_exclusively(conn, "alerts").await
}

/// Starts to write the engine's changes: alerts by fingerprint, and for high and critical ones the
/// open incident of their entity and source, or a new one. The caller routes what was written, part
/// by part, and has the notifications enqueued. Idempotent: the same changes again do nothing.
pub fn apply(changes: &[DetectionUpdate]) -> Batch<'_> {
    Batch::of_changes(changes)
}

/// Writes all of the changes or, with an error, none; waits for rows that others hold no longer
/// than `patience`. Returns the alerts, and the incidents that were opened.
pub(super) async fn write_part(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
    patience: &str,
) -> Result<(Vec<WrittenAlert>, Vec<IncidentId>), StoreError> {
    sqlx::query!("SELECT set_config('lock_timeout', $1, true)", patience)
        .fetch_one(&mut *conn)
        .await?;
    set_actor(conn, &Actor::task("blueteam-engine")).await?;
    ensure_rules_exist(conn, changes).await?;

    let mut alerts = Vec::with_capacity(changes.len());
    let mut incidents = Vec::new();
    for change in changes {
        let owners = event_owners(conn, &change.events).await?;
        let Some(written) = write_alert(conn, change, &owners).await? else {
            continue;
        };

        let incident = if change.detection.opens_incident() {
            let joined = join_incident(conn, change, &written).await?;
            incidents.extend(joined.is_new.then_some(joined.incident_id));
            Some(joined.incident_id)
        } else {
            None
        };
        mark_cui(conn, &change.detection).await?;

        alerts.push(WrittenAlert {
            alert: alert_of(change, &written, incident),
            is_new: written.new,
            route: Route::default(),
            was_open: written.was_open,
            is_silenced: written.silenced,
            is_widened: written.widened,
        });
    }

    Ok((alerts, incidents))
}

/// A rule that is not in the table yet must not keep its alert from being stored.
async fn ensure_rules_exist(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
) -> Result<(), StoreError> {
    let ids: Vec<String> = changes
        .iter()
        .map(|c| c.detection.rule_id.to_string())
        .collect();
    let severities: Vec<String> = changes
        .iter()
        .map(|c| c.detection.severity.to_string())
        .collect();
    sqlx::query!(
        "INSERT INTO blueteam.alert_rules (rule_id, name, severity)
         SELECT DISTINCT ON (r.id) r.id, r.id, r.severity
         FROM unnest($1::text[], $2::text[]) AS r (id, severity)
         WHERE NOT EXISTS (SELECT FROM blueteam.alert_rules k WHERE k.rule_id = r.id)
         ON CONFLICT DO NOTHING",
        &ids,
        &severities
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Whose the events are, as they say.
#[derive(Default)]
pub(super) struct Owners {
    pub(super) services: Vec<String>,
    /// The first two tenants: whether it is one is all that anybody asks. The nil UUID stands for
    /// an event without a tenant.
    pub(super) tenants: Vec<Uuid>,
    /// Those that failed logins tried.
    pub(super) accounts: Vec<String>,
    /// The machines that logged them.
    pub(super) hosts: Vec<String>,
}

/// The services, tenants, accounts and machines that the events name. Asked of the tables, so that
/// windows need not remember them; one look-up by the key for each event.
pub(super) async fn event_owners(
    conn: &mut PgConnection,
    events: &[EventKey],
) -> Result<Owners, StoreError> {
    if events.is_empty() {
        return Ok(Owners::default());
    }

    let times: Vec<Ts> = events.iter().map(|event| Ts(event.timestamp)).collect();
    let ids: Vec<Uuid> = events.iter().map(|event| event.event_id.0).collect();
    let owners = sqlx::query_file_as!(
        Owners,
        "src/alerts/event_owners.sql",
        &times as &[Ts],
        &ids,
        SERVICES_MAX,
    )
    .fetch_one(conn)
    .await?;

    Ok(owners)
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fact of the row, not a state"
)]
struct Written {
    services: Vec<String>,
    tenants: Vec<Uuid>,
    accounts: Vec<String>,
    hosts: Vec<String>,
    new: bool,
    /// Whether it was there and open before.
    was_open: bool,
    rule_name: Option<String>,
    /// How many events counted until now.
    events_before: Option<i64>,
    /// Whether a silence has kept it quiet so far.
    silenced: bool,
    /// Whether its events were one tenant's until now.
    widened: bool,
    incident_id: Option<Uuid>,
    created_at: Ts,
}

/// Inserts or extends; none when the row already says as much.
async fn write_alert(
    conn: &mut PgConnection,
    change: &DetectionUpdate,
    owners: &Owners,
) -> Result<Option<Written>, StoreError> {
    let d = &change.detection;
    let event_ids: Vec<Uuid> = d.event_ids.iter().map(|id| id.0).collect();
    let controls: Vec<String> = d.nist_controls.iter().map(ToString::to_string).collect();
    let state = if change.phase == Phase::Closed {
        "closed"
    } else {
        "open"
    };

    // A replay of the past may say again what the row already knows, and even less: the row only
    // ever grows.
    let row = sqlx::query_file_as!(
        Written,
        "src/alerts/write_alert.sql",
        d.fingerprint.0,
        d.rule_id.as_str(),
        d.severity.as_str(),
        d.title,
        d.description,
        &event_ids,
        d.entity.kind.as_str(),
        d.entity.value,
        d.source.as_str(),
        Ts(d.first_seen) as Ts,
        Ts(d.last_seen) as Ts,
        i64::try_from(d.event_count).unwrap_or(i64::MAX),
        &controls,
        d.cui_involved,
        state,
        d.episode,
        &owners.services,
        SERVICES_MAX,
        &owners.tenants,
        d.entity_name,
        &owners.accounts,
        &owners.hosts,
    )
    .fetch_optional(conn)
    .await?;

    Ok(row)
}

/// The incident of an alert.
struct Joined {
    incident_id: IncidentId,
    is_new: bool,
}

/// Links an alert to the incident that is open for its entity and source, or to a new one. An alert
/// that has an incident keeps it, whatever became of the incident.
async fn join_incident(
    conn: &mut PgConnection,
    change: &DetectionUpdate,
    written: &Written,
) -> Result<Joined, StoreError> {
    let d = &change.detection;
    let controls: Vec<String> = d.nist_controls.iter().map(ToString::to_string).collect();
    if let Some(id) = written.incident_id {
        // CUI that turns up late makes the incident reportable late (design 3.2.5).
        sqlx::query!(
            "UPDATE blueteam.security_incidents
             SET cui_involved = true, dfars_reportable = true, updated_at = now()
             WHERE incident_id = $1
               AND $2
               AND status <> 'closed'
               AND NOT (cui_involved IS TRUE AND dfars_reportable IS TRUE)",
            id,
            d.cui_involved
        )
        .execute(&mut *conn)
        .await?;

        retitle_incident(conn, id, change, written).await?;
        name_services(conn, id, &written.services).await?;
        return Ok(Joined {
            incident_id: IncidentId(id),
            is_new: false,
        });
    }

    let row = sqlx::query_file!(
        "src/alerts/join_incident.sql",
        d.title,
        d.description,
        d.severity.as_str(),
        d.rule_id.as_str(),
        &controls,
        d.cui_involved,
        d.entity.kind.as_str(),
        d.entity.value,
        d.source.as_str(),
    )
    .fetch_one(&mut *conn)
    .await?;

    sqlx::query!(
        "UPDATE blueteam.alert_history SET incident_id = $2 WHERE fingerprint = $1",
        d.fingerprint.0,
        row.incident_id
    )
    .execute(&mut *conn)
    .await?;
    name_services(conn, row.incident_id, &written.services).await?;

    Ok(Joined {
        incident_id: IncidentId(row.incident_id),
        is_new: row.new,
    })
}

/// The incident that has the title of an alert follows it as the alert grows. Each change of an
/// incident is recorded for people, so it is told of only when the number has doubled, and at the
/// end.
async fn retitle_incident(
    conn: &mut PgConnection,
    incident: Uuid,
    change: &DetectionUpdate,
    written: &Written,
) -> Result<(), StoreError> {
    let d = &change.detection;
    let doublings = |n: u64| n.max(1).ilog2();
    let before = written.events_before.map_or(0, i64::unsigned_abs);
    if change.phase != Phase::Closed && doublings(before) == doublings(d.event_count) {
        return Ok(());
    }

    sqlx::query!(
        "UPDATE blueteam.security_incidents
         SET title = $3, description = $4, updated_at = now()
         WHERE incident_id = $1
           AND correlation_rule = $2
           AND status <> 'closed'
           AND title <> $3",
        incident,
        d.rule_id.as_str(),
        d.title,
        d.description
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// CUI that any alert about the same entity saw makes its incident reportable (DFARS 252.204-7012),
/// also when that alert is none that opens incidents.
async fn mark_cui(conn: &mut PgConnection, d: &Detection) -> Result<(), StoreError> {
    if !d.opens_incident() && !d.cui_involved {
        return Ok(());
    }

    sqlx::query_file!(
        "src/alerts/mark_cui.sql",
        d.source.as_str(),
        d.entity.kind.as_str(),
        d.entity.value,
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// An incident names the services of its alerts.
async fn name_services(
    conn: &mut PgConnection,
    incident: Uuid,
    services: &[String],
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.security_incidents i
         SET services = ARRAY(
             SELECT DISTINCT s FROM unnest(i.services || $2) AS s ORDER BY s LIMIT $3
         )
         WHERE incident_id = $1
           AND status <> 'closed'
           AND NOT services @> $2
           AND cardinality(services)::bigint < $3",
        incident,
        services,
        SERVICES_MAX,
    )
    .execute(conn)
    .await?;

    Ok(())
}

fn alert_of(change: &DetectionUpdate, written: &Written, incident_id: Option<IncidentId>) -> Alert {
    Alert {
        rule_name: super::custom_name(
            written.rule_name.clone(),
            Some(change.detection.rule_id.as_str()),
        ),
        accounts: written.accounts.clone(),
        hosts: written.hosts.clone(),
        services: written.services.clone(),
        tenant: super::the_tenant(&written.tenants),
        incident_id,
        created_at: written.created_at.0,
        ..unwritten(change)
    }
}

/// The alert of a change, as far as the change says.
pub(super) fn unwritten(change: &DetectionUpdate) -> Alert {
    let d = &change.detection;
    Alert {
        alert_id: AlertId(d.fingerprint.0),
        rule_name: None,
        rule_id: d.rule_id.clone(),
        severity: d.severity,
        title: d.title.clone(),
        description: d.description.clone(),
        entity: d.entity.clone(),
        entity_name: d.entity_name.clone(),
        accounts: Vec::new(),
        hosts: Vec::new(),
        source: d.source.to_string(),
        services: Vec::new(),
        tenant: None,
        first_seen: d.first_seen,
        last_seen: d.last_seen,
        event_count: d.event_count,
        event_ids: d.event_ids.clone(),
        nist_controls: d.nist_controls.clone(),
        cui_involved: d.cui_involved,
        incident_id: None,
        state: if change.phase == Phase::Closed {
            AlertState::Closed
        } else {
            AlertState::Open
        },
        fingerprint: Fingerprint(d.fingerprint.0),
        acknowledged_by: None,
        acknowledged_at: None,
        created_at: d.last_seen,
        muted_by: None,
    }
}
