//! Alerts that open incidents, and the incidents that they belong to.

use std::collections::{BTreeSet, HashMap, HashSet};

use model::{DetectionUpdate, IncidentId, Phase};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::owners::Owners;
use super::written::{SERVICES_MAX, Written, rounds};
use crate::StoreError;

/// The incidents of changes.
#[derive(Default)]
pub(super) struct Joined {
    /// Of each change, where it has one.
    pub(super) of_changes: Vec<Option<IncidentId>>,
    /// Those that were opened.
    pub(super) opened: Vec<IncidentId>,
}

impl Joined {
    /// Opens or extends the incidents of alerts that are not stored yet, so that these are written
    /// once, with their incident, and the audit log has one record of each.
    pub(super) async fn of_new_alerts(
        conn: &mut PgConnection,
        changes: &[DetectionUpdate],
        owners: &[Owners],
    ) -> Result<Self, StoreError> {
        let mut joined = Self {
            of_changes: vec![None; changes.len()],
            opened: Vec::new(),
        };

        let new = not_stored(conn, changes).await?;
        if new.is_empty() {
            return Ok(joined);
        }

        // Of alerts about the same entity, the first opens the incident, and the next ones join it.
        for round in rounds(changes, entity_key) {
            let concerned: Vec<(usize, &[String])> = round
                .into_iter()
                .filter(|at| new.contains(at))
                .map(|at| (at, owners[at].services.as_slice()))
                .collect();
            open_or_join(conn, changes, &concerned, &mut joined).await?;
        }
        Ok(joined)
    }
}

/// The places of the first changes of alerts that open incidents and are not stored.
async fn not_stored(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
) -> Result<HashSet<usize>, StoreError> {
    let mut first: HashMap<Uuid, usize> = HashMap::new();
    for (at, change) in changes.iter().enumerate() {
        if change.detection.opens_incident() {
            first.entry(change.detection.fingerprint.0).or_insert(at);
        }
    }

    if first.is_empty() {
        return Ok(HashSet::new());
    }

    let fingerprints: Vec<Uuid> = first.keys().copied().collect();
    let stored = sqlx::query_scalar!(
        r#"SELECT fingerprint AS "fingerprint!"
           FROM blueteam.alert_history
           WHERE fingerprint = ANY ($1)"#,
        &fingerprints
    )
    .fetch_all(conn)
    .await?;

    for fingerprint in stored {
        first.remove(&fingerprint);
    }
    Ok(first.into_values().collect())
}

/// Links alerts that were there before to their incidents, or to the ones that are open for their
/// entities and sources, or to new ones. An alert that has an incident keeps it, whatever became of
/// the incident.
pub(super) async fn incidents(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
    written: &[Option<Written>],
    mut joined: Joined,
) -> Result<Joined, StoreError> {
    for round in rounds(changes, entity_key) {
        let concerned: Vec<(usize, &Written)> = round
            .into_iter()
            .filter(|at| joined.of_changes[*at].is_none())
            .filter(|at| changes[*at].detection.opens_incident())
            .filter_map(|at| Some((at, written[at].as_ref()?)))
            // What a person has taken out of its incident stays out.
            .filter(|(_, written)| written.incident_id.is_some() || !written.unlinked)
            .collect();
        let (known, without): (Vec<_>, Vec<_>) = concerned
            .into_iter()
            .partition(|(_, written)| written.incident_id.is_some());

        extend_known(conn, changes, &known, &mut joined).await?;
        name_services(conn, &known, &joined).await?;
        link(conn, changes, &without, &mut joined).await?;
    }

    mark_cui(conn, changes, written).await?;
    Ok(joined)
}

type EntityKey = (&'static str, &'static str, String);

fn entity_key(change: &DetectionUpdate) -> EntityKey {
    let d = &change.detection;
    (
        d.source.as_str(),
        d.entity.kind.as_str(),
        d.entity.value.clone(),
    )
}

/// Alerts that have their incident already: it learns of CUI, and follows the alert that it has its
/// title from.
async fn extend_known(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
    known: &[(usize, &Written)],
    joined: &mut Joined,
) -> Result<(), StoreError> {
    let mut with_cui = Vec::new();
    let mut retitled: (Vec<Uuid>, Vec<&str>, Vec<&str>, Vec<&str>) = Default::default();
    for (at, written) in known {
        let (change, Some(id)) = (&changes[*at], written.incident_id) else {
            continue;
        };
        joined.of_changes[*at] = Some(IncidentId(id));

        if change.detection.cui_involved {
            with_cui.push(id);
        }
        if is_news(change, written) {
            let d = &change.detection;
            retitled.0.push(id);
            retitled.1.push(d.rule_id.as_str());
            retitled.2.push(&d.title);
            retitled.3.push(&d.description);
        }
    }

    if !with_cui.is_empty() {
        // CUI that turns up late makes the incident reportable late (design 3.2.5).
        sqlx::query!(
            "UPDATE blueteam.security_incidents
             SET cui_involved = true, dfars_reportable = true, updated_at = now()
             WHERE incident_id = ANY ($1)
               AND status <> 'closed'
               AND NOT (cui_involved IS TRUE AND dfars_reportable IS TRUE)",
            &with_cui
        )
        .execute(&mut *conn)
        .await?;
    }

    if !retitled.0.is_empty() {
        let (ids, rules, titles, descriptions) = retitled;
        sqlx::query_file!(
            "src/alerts/retitle_incidents.sql",
            &ids,
            &rules as &[&str],
            &titles as &[&str],
            &descriptions as &[&str],
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Whether an incident follows the alert now. Each change of an incident is recorded for people, so
/// that is when the number of events has doubled, and at the end.
fn is_news(change: &DetectionUpdate, written: &Written) -> bool {
    let doublings = |n: u64| n.max(1).ilog2();
    let before = written.events_before.map_or(0, i64::unsigned_abs);
    change.phase == Phase::Closed || doublings(before) != doublings(change.detection.event_count)
}

/// Finds incidents for stored alerts that have none.
async fn link(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
    without: &[(usize, &Written)],
    joined: &mut Joined,
) -> Result<(), StoreError> {
    let concerned: Vec<(usize, &[String])> = without
        .iter()
        .map(|(at, written)| (*at, written.services.as_slice()))
        .collect();
    open_or_join(conn, changes, &concerned, joined).await?;

    let (mut fingerprints, mut incidents) = (Vec::new(), Vec::new());
    for (at, written) in without {
        if let Some(IncidentId(id)) = joined.of_changes[*at] {
            fingerprints.push(written.fingerprint);
            incidents.push(id);
        }
    }

    if fingerprints.is_empty() {
        return Ok(());
    }

    sqlx::query!(
        "UPDATE blueteam.alert_history alert
         SET incident_id = joined.incident_id
         FROM unnest($1::uuid[], $2::uuid[]) AS joined (fingerprint, incident_id)
         WHERE alert.fingerprint = joined.fingerprint",
        &fingerprints,
        &incidents
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Opens incidents for the changes at these places, each with the services that its alert names, or
/// extends the open ones of their entities. No entity may be there twice.
async fn open_or_join(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
    concerned: &[(usize, &[String])],
    joined: &mut Joined,
) -> Result<(), StoreError> {
    if concerned.is_empty() {
        return Ok(());
    }

    let given: Vec<Value> = concerned
        .iter()
        .map(|(at, services)| incident_row(&changes[*at], services))
        .collect();
    let rows = sqlx::query_file!(
        "src/alerts/join_incidents.sql",
        Value::Array(given),
        SERVICES_MAX
    )
    .fetch_all(conn)
    .await?;

    let mut by_entity = HashMap::with_capacity(rows.len());
    for row in rows {
        if row.new {
            joined.opened.push(IncidentId(row.incident_id));
        }
        let key = (row.source, row.entity_type, row.entity_value);
        by_entity.insert(key, row.incident_id);
    }

    for (at, _) in concerned {
        let (source, kind, value) = entity_key(&changes[*at]);
        let key = (source.to_owned(), kind.to_owned(), value);
        joined.of_changes[*at] = by_entity.get(&key).copied().map(IncidentId);
    }
    Ok(())
}

fn incident_row(change: &DetectionUpdate, services: &[String]) -> Value {
    let d = &change.detection;
    json!({
        "title": d.title,
        "description": d.description,
        "severity": d.severity.as_str(),
        "rule_id": d.rule_id.as_str(),
        "nist_controls": d.nist_controls.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "cui_involved": d.cui_involved,
        "entity_type": d.entity.kind.as_str(),
        "entity_value": d.entity.value,
        "source": d.source.as_str(),
        "services": services,
    })
}

/// Incidents name the services of their alerts.
async fn name_services(
    conn: &mut PgConnection,
    alerts: &[(usize, &Written)],
    joined: &Joined,
) -> Result<(), StoreError> {
    let mut named: HashMap<Uuid, BTreeSet<&str>> = HashMap::new();
    for (at, written) in alerts {
        if let Some(IncidentId(id)) = joined.of_changes[*at]
            && !written.services.is_empty()
        {
            let services = written.services.iter().map(String::as_str);
            named.entry(id).or_default().extend(services);
        }
    }

    if named.is_empty() {
        return Ok(());
    }

    let given = named
        .into_iter()
        .map(|(id, services)| json!({ "incident_id": id, "services": services }))
        .collect();
    sqlx::query_file!(
        "src/alerts/name_services.sql",
        Value::Array(given),
        SERVICES_MAX
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// CUI that any alert about the same entity saw makes its incident reportable (DFARS 252.204-7012),
/// also when that alert is none that opens incidents.
async fn mark_cui(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
    written: &[Option<Written>],
) -> Result<(), StoreError> {
    let (mut sources, mut kinds, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (change, written) in changes.iter().zip(written) {
        let d = &change.detection;
        if written.is_some() && (d.opens_incident() || d.cui_involved) {
            sources.push(d.source.as_str());
            kinds.push(d.entity.kind.as_str());
            values.push(d.entity.value.as_str());
        }
    }

    if sources.is_empty() {
        return Ok(());
    }

    sqlx::query_file!(
        "src/alerts/mark_cui.sql",
        &sources as &[&str],
        &kinds as &[&str],
        &values as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}
