//! The engine's changes into alerts, in the caller's transaction: many of them with each statement,
//! because an attack by many is many alerts at once.

use std::collections::HashMap;

use model::{Actor, Alert, AlertId, AlertState, DetectionUpdate, Fingerprint, IncidentId, Phase};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::{Batch, Route, WrittenAlert};
use super::join::{self, Joined};
use super::owners::{Owners, owners_of_changes};
use super::written::{SERVICES_MAX, Written, rounds};
use crate::StoreError;
use crate::db::{Ts, set_actor, take_exclusively};

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
    // Rows are looked up by their keys. In a storm the tables grow faster than their statistics,
    // and a plan that scans a table it takes for empty, once for each alert, never ends.
    sqlx::query("SET LOCAL enable_seqscan = off")
        .execute(&mut *conn)
        .await?;
    set_actor(conn, &Actor::task("blueteam-engine")).await?;
    ensure_rules_exist(conn, changes).await?;

    let owners = owners_of_changes(conn, changes).await?;
    let joined = Joined::of_new_alerts(conn, changes, &owners).await?;
    let rows: Vec<Value> = changes
        .iter()
        .zip(&owners)
        .zip(&joined.of_changes)
        .map(|((change, owners), incident)| alert_row(change, owners, *incident))
        .collect();

    let mut written: Vec<Option<Written>> = changes.iter().map(|_| None).collect();
    for round in rounds(changes, |change| change.detection.fingerprint.0) {
        write_alerts(conn, changes, &rows, &round, &mut written).await?;
    }

    let joined = join::incidents(conn, changes, &written, joined).await?;
    let alerts = changes
        .iter()
        .zip(written)
        .zip(joined.of_changes)
        .filter_map(|((change, written), incident)| {
            let written = written?;
            Some(WrittenAlert {
                alert: alert_of(change, &written, incident),
                is_new: written.new,
                route: Route::default(),
                was_open: written.was_open,
                is_silenced: written.silenced,
                is_widened: written.widened,
            })
        })
        .collect();

    Ok((alerts, joined.opened))
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

/// Inserts or extends the alerts of the changes at these places; nothing is noted of those whose
/// row says as much already. A replay of the past may say again what the row knows, and even less:
/// the row only ever grows.
async fn write_alerts(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
    rows: &[Value],
    round: &[usize],
    written: &mut [Option<Written>],
) -> Result<(), StoreError> {
    let given: Vec<&Value> = round.iter().map(|at| &rows[*at]).collect();
    let rows = sqlx::query_file_as!(
        Written,
        "src/alerts/write_alerts.sql",
        serde_json::to_value(given)?,
        SERVICES_MAX,
    )
    .fetch_all(conn)
    .await?;

    let places: HashMap<Uuid, usize> = round
        .iter()
        .map(|at| (changes[*at].detection.fingerprint.0, *at))
        .collect();
    for row in rows {
        if let Some(at) = places.get(&row.fingerprint) {
            written[*at] = Some(row);
        }
    }
    Ok(())
}

/// An alert as `write_alerts.sql` takes it.
fn alert_row(change: &DetectionUpdate, owners: &Owners, incident: Option<IncidentId>) -> Value {
    let d = &change.detection;
    let state = if change.phase == Phase::Closed {
        "closed"
    } else {
        "open"
    };

    json!({
        "fingerprint": d.fingerprint.0,
        "rule_id": d.rule_id.as_str(),
        "severity": d.severity.as_str(),
        "title": d.title,
        "description": d.description,
        "event_ids": d.event_ids.iter().map(|id| id.0).collect::<Vec<_>>(),
        "entity_type": d.entity.kind.as_str(),
        "entity_value": d.entity.value,
        "source": d.source.as_str(),
        "first_seen": d.first_seen,
        "last_seen": d.last_seen,
        "event_count": i64::try_from(d.event_count).unwrap_or(i64::MAX),
        "nist_controls": d.nist_controls.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "cui_involved": d.cui_involved,
        "state": state,
        "episode": d.episode,
        "services": owners.services,
        "tenants": owners.tenants,
        "entity_name": d.entity_name,
        "accounts": owners.accounts,
        "hosts": owners.hosts,
        "incident_id": incident.map(|id| id.0),
    })
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
