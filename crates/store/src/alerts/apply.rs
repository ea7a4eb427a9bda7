//! The engine's changes into alerts, incidents and deliveries, all in the caller's transaction.

use std::collections::VecDeque;

use model::{
    Alert, AlertId, AlertState, Change, Channel, Detection, Fingerprint, IncidentId, MuteId, Phase,
    Span,
};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::messages::{resolve, tell, unmute, widen};
use super::pending::{Pending, postpone};
use model::Actor;

use crate::StoreError;
use crate::db::{Ts, set_actor, take_exclusively};

/// The services that an alert names at most; events that no key vouches for may name any.
const SERVICES_MAX: i64 = 20;

/// What applying a batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Alerts that were not there before.
    pub opened: Vec<AlertId>,
    /// Alerts that grew or closed.
    pub updated: u64,
    /// Incidents that were opened.
    pub incidents: Vec<IncidentId>,
    /// Deliveries written.
    pub deliveries: u64,
    /// Changes that could not be written and wait to be tried again.
    pub pending: Vec<Pending>,
}

impl Applied {
    pub(super) fn add(&mut self, other: Self) {
        self.opened.extend(other.opened);
        self.updated += other.updated;
        self.incidents.extend(other.incidents);
        self.deliveries += other.deliveries;
        self.pending.extend(other.pending);
    }
}

/// Who is told of a new alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// By which ways.
    pub channels: Vec<Channel>,
    /// Why by none of them: somebody decided so.
    pub muted_by: Option<MuteId>,
    /// How many messages of new alerts a channel that people read takes, and in how long; beyond,
    /// they are folded into a summary. None: all.
    pub most: Option<(u32, Span)>,
}

impl From<Vec<Channel>> for Route {
    fn from(channels: Vec<Channel>) -> Self {
        Self {
            channels,
            muted_by: None,
            most: None,
        }
    }
}

/// How long a batch of changes waits for a row that another session holds. People hold one for as
/// long as a click takes.
const PATIENTLY: &str = "2s";
/// The same once it is known that something in the batch is held, and the rest must not wait for
/// it.
pub(super) const BRIEFLY: &str = "50ms";

/// Takes the right to write alerts until the end of the transaction: one writer at a time, so that
/// there is neither a second incident for one attack nor a deadlock over the order of rows.
pub async fn take_turn(conn: &mut PgConnection) -> Result<(), StoreError> {
    take_exclusively(conn, "alerts").await
}

/// Writes the engine's changes: alerts by fingerprint; for high and critical ones the open incident
/// of their entity and source, or a new one; and a delivery for each new alert and channel that
/// `route` names, unless the alert is muted: by the route, or, for less than a high one, by an open
/// critical alert about the same entity. Idempotent: the same changes again do nothing. Must run in
/// a transaction, after [`take_turn`].
///
/// A change that cannot be written, because the database refuses it or another session holds its
/// rows, is found by halving, kept for [`super::retry_pending`], and named in the result; all
/// others are written.
pub async fn apply(
    conn: &mut PgConnection,
    changes: &[Change],
    route: &(dyn Fn(&Alert) -> Route + Sync),
) -> Result<Applied, StoreError> {
    let mut applied = Applied::default();
    if changes.is_empty() {
        return Ok(applied);
    }

    let failed = apply_halving(conn, changes, route, PATIENTLY, &mut applied).await?;
    for (at, failure) in failed {
        let pending = postpone(conn, &changes[at], failure).await?;
        applied.pending.push(pending);
    }

    Ok(applied)
}

/// Why a change could not be written.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// In the database's words.
    pub(super) reason: String,
    /// Whether another session was in the way.
    pub(super) conflict: bool,
}

/// Failures one after the other, without a change between them that could be written, after which
/// the rest is taken to fail too: each costs a wait, and a table that is locked fails them all.
const FAILURES_MAX: usize = 20;

/// Writes what can be written; returns the places of the changes that cannot, and why.
pub(super) async fn apply_halving(
    conn: &mut PgConnection,
    changes: &[Change],
    route: &(dyn Fn(&Alert) -> Route + Sync),
    mut patience: &str,
    applied: &mut Applied,
) -> Result<Vec<(usize, Failure)>, StoreError> {
    let mut failed: Vec<(usize, Failure)> = Vec::new();
    let mut in_a_row = 0;
    let mut todo = VecDeque::from([(0, changes.len())]);
    while let Some((start, end)) = todo.pop_front() {
        if in_a_row >= FAILURES_MAX
            && let Some((_, failure)) = failed.last().cloned()
        {
            failed.extend((start..end).map(|at| (at, failure.clone())));
            continue;
        }

        let mut savepoint = conn.begin().await?;
        match apply_part(&mut savepoint, &changes[start..end], route, patience).await {
            Ok(done) => {
                savepoint.commit().await?;
                applied.add(done);
                in_a_row = 0;
            }
            Err(error) if error.concerns_rows() => {
                savepoint.rollback().await?;
                patience = BRIEFLY;
                if end - start == 1 {
                    failed.push((
                        start,
                        Failure {
                            reason: error.to_string(),
                            conflict: error.is_conflict(),
                        },
                    ));
                    in_a_row += 1;
                } else {
                    let middle = start.midpoint(end);
                    todo.push_front((middle, end));
                    todo.push_front((start, middle));
                }
            }
            Err(error) => return Err(error),
        }
    }

    Ok(failed)
}

/// Writes all of the changes or, with an error, none; waits for rows that others hold no longer
/// than `patience`.
async fn apply_part(
    conn: &mut PgConnection,
    changes: &[Change],
    route: &(dyn Fn(&Alert) -> Route + Sync),
    patience: &str,
) -> Result<Applied, StoreError> {
    let mut applied = Applied::default();
    sqlx::query!("SELECT set_config('lock_timeout', $1, true)", patience)
        .fetch_one(&mut *conn)
        .await?;
    set_actor(conn, &Actor::task("blueteam-engine")).await?;
    know_rules(conn, changes).await?;

    for change in changes {
        let owners = owners(conn, &change.detection).await?;
        let Some(written) = write_alert(conn, change, &owners).await? else {
            continue;
        };
        let incident = if change.detection.opens_incident() {
            Some(join_incident(conn, &change.detection, &written, &mut applied).await?)
        } else {
            None
        };

        if written.new {
            let alert = alert_of(change, &written, incident);
            applied.deliveries += tell(conn, &alert, route(&alert)).await?;
            applied.opened.push(alert.alert_id);
        } else {
            applied.updated += 1;
            let open = change.phase != Phase::Closed;
            if open && (written.muted || written.widened) {
                let alert = alert_of(change, &written, incident);
                let route = route(&alert);
                applied.deliveries += if written.muted {
                    unmute(conn, &alert, route).await?
                } else {
                    widen(conn, &alert, route).await?
                };
            }
        }

        if change.phase == Phase::Closed {
            let alert = alert_of(change, &written, incident);
            applied.deliveries += resolve(conn, &alert).await?;
        }
    }

    Ok(applied)
}

/// A rule that nobody has loaded into the table yet must not keep its alert out.
async fn know_rules(conn: &mut PgConnection, changes: &[Change]) -> Result<(), StoreError> {
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
struct Owners {
    services: Vec<String>,
    /// The first two tenants: whether it is one is all that anybody asks. The nil UUID stands for
    /// an event without a tenant.
    tenants: Vec<Uuid>,
}

/// The services and tenants that the events name. Asked of the tables, so that windows need not
/// remember them; one look-up by the key for each event.
async fn owners(conn: &mut PgConnection, d: &Detection) -> Result<Owners, StoreError> {
    if d.rows.0.is_empty() {
        return Ok(Owners::default());
    }

    let times: Vec<Ts> = d.rows.0.iter().map(|(at, _)| Ts(*at)).collect();
    let ids: Vec<Uuid> = d.rows.0.iter().map(|(_, id)| id.0).collect();
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

struct Written {
    services: Vec<String>,
    tenants: Vec<Uuid>,
    new: bool,
    /// Somebody's mute kept it quiet so far.
    muted: bool,
    /// Its events were one tenant's until now.
    widened: bool,
    incident_id: Option<Uuid>,
    created_at: Ts,
}

/// Inserts or extends; none when the row already says as much.
async fn write_alert(
    conn: &mut PgConnection,
    change: &Change,
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
    )
    .fetch_optional(conn)
    .await?;

    Ok(row)
}

/// Links an alert to the incident that is open for its entity and source, or to a new one. An alert
/// that has an incident keeps it, whatever became of the incident.
async fn join_incident(
    conn: &mut PgConnection,
    d: &Detection,
    written: &Written,
    applied: &mut Applied,
) -> Result<IncidentId, StoreError> {
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

        name_services(conn, id, &written.services).await?;
        return Ok(IncidentId(id));
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

    if row.new {
        applied.incidents.push(IncidentId(row.incident_id));
    }

    Ok(IncidentId(row.incident_id))
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

fn alert_of(change: &Change, written: &Written, incident_id: Option<IncidentId>) -> Alert {
    let d = &change.detection;
    Alert {
        alert_id: AlertId(d.fingerprint.0),
        rule_id: d.rule_id.clone(),
        severity: d.severity,
        title: d.title.clone(),
        description: d.description.clone(),
        entity: d.entity.clone(),
        source: d.source.to_string(),
        services: written.services.clone(),
        tenant: super::the_tenant(&written.tenants),
        first_seen: d.first_seen,
        last_seen: d.last_seen,
        event_count: d.event_count,
        event_ids: d.event_ids.clone(),
        nist_controls: d.nist_controls.clone(),
        cui_involved: d.cui_involved,
        incident_id,
        state: if change.phase == Phase::Closed {
            AlertState::Closed
        } else {
            AlertState::Open
        },
        fingerprint: Fingerprint(d.fingerprint.0),
        acknowledged_by: None,
        acknowledged_at: None,
        created_at: written.created_at.0,
        muted_by: None,
    }
}
