//! Changes of alerts that could not be written when they were due, kept until they are.

use model::{
    ControlId, Detection, DetectionUpdate, Entity, EventId, EventKey, Fingerprint, Phase, RuleId,
    Severity, Source, Span, Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::{Batch, Failure};
use crate::StoreError;
use crate::db::Ts;

/// How many are tried in one go.
const RETRIES_MAX: i64 = 500;
/// The most bytes of a reason.
const REASON_BYTES_MAX: usize = 900;

/// A change that could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The rule that fired.
    pub rule_id: RuleId,
    /// Why not, in the database's words.
    pub reason: String,
    /// Whether another session holds the alert's rows, so that trying again soon is likely to help.
    pub conflict: bool,
}

/// Changes that wait to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub alerts: u64,
    /// When the first of them could not be written.
    pub since: Timestamp,
    /// Why not, in the database's words.
    pub reason: String,
}

/// A [`DetectionUpdate`] with all that it takes to write it later.
#[derive(Serialize, Deserialize)]
struct StoredChange {
    opened: bool,
    phase: Phase,
    rule_id: RuleId,
    severity: Severity,
    title: String,
    description: String,
    entity: Entity,
    first_seen: Timestamp,
    last_seen: Timestamp,
    event_count: u64,
    event_ids: Vec<EventId>,
    rows: Vec<(Timestamp, EventId)>,
    #[serde(default)]
    entity_name: Option<String>,
    nist_controls: Vec<ControlId>,
    source: Source,
    cui_involved: bool,
    tenant: Option<Uuid>,
    fingerprint: Uuid,
    episode: i64,
}

impl From<&DetectionUpdate> for StoredChange {
    fn from(change: &DetectionUpdate) -> Self {
        let d = change.detection.clone();
        Self {
            opened: change.opened,
            phase: change.phase,
            rule_id: d.rule_id,
            severity: d.severity,
            title: d.title,
            description: d.description,
            entity: d.entity,
            entity_name: d.entity_name,
            first_seen: d.first_seen,
            last_seen: d.last_seen,
            event_count: d.event_count,
            event_ids: d.event_ids,
            rows: change
                .events
                .iter()
                .map(|e| (e.timestamp, e.event_id))
                .collect(),
            nist_controls: d.nist_controls,
            source: d.source,
            cui_involved: d.cui_involved,
            tenant: d.tenant,
            fingerprint: d.fingerprint.0,
            episode: d.episode,
        }
    }
}

impl From<StoredChange> for DetectionUpdate {
    fn from(c: StoredChange) -> Self {
        Self {
            opened: c.opened,
            phase: c.phase,
            detection: Detection {
                rule_id: c.rule_id,
                severity: c.severity,
                title: c.title,
                description: c.description,
                entity: c.entity,
                entity_name: c.entity_name,
                first_seen: c.first_seen,
                last_seen: c.last_seen,
                event_count: c.event_count,
                event_ids: c.event_ids,
                nist_controls: c.nist_controls,
                source: c.source,
                cui_involved: c.cui_involved,
                tenant: c.tenant,
                fingerprint: Fingerprint(c.fingerprint),
                episode: c.episode,
            },
            events: c
                .rows
                .into_iter()
                .map(|(timestamp, event_id)| EventKey {
                    timestamp,
                    event_id,
                })
                .collect(),
        }
    }
}

/// Keeps a change for later, in the caller's transaction. Of two of one detection the later one
/// counts, since detections only grow.
pub(super) async fn postpone(
    conn: &mut PgConnection,
    change: &DetectionUpdate,
    failure: Failure,
) -> Result<Pending, StoreError> {
    let Failure {
        mut reason,
        conflict,
    } = failure;
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));

    sqlx::query!(
        "INSERT INTO blueteam.pending_alerts AS p (
             fingerprint, rule_id, change, reason, next_try_at
         )
         VALUES ($1, $2, $3, $4, now() + interval '1 second')
         ON CONFLICT (fingerprint) DO UPDATE
         SET change = excluded.change, reason = excluded.reason",
        change.detection.fingerprint.0,
        change.detection.rule_id.as_str(),
        serde_json::to_value(StoredChange::from(change))?,
        reason,
    )
    .execute(conn)
    .await?;

    Ok(Pending {
        rule_id: change.detection.rule_id.clone(),
        reason,
        conflict,
    })
}

/// Starts to try the tenant's changes that are due once more; those that are written then are forgotten. The
/// pause between two tries of one doubles, up to a minute where another session is in the way and
/// up to an hour where the database refuses. Must run in a transaction, after [`super::take_turn`].
pub async fn retry_pending(conn: &mut PgConnection) -> Result<Batch<'static>, StoreError> {
    let due = sqlx::query!(
        "SELECT fingerprint, change
         FROM blueteam.pending_alerts
         WHERE next_try_at <= now() AND tenant_id = (SELECT blueteam.tenant_of_new())
         ORDER BY next_try_at
         LIMIT $1",
        RETRIES_MAX
    )
    .fetch_all(&mut *conn)
    .await?;

    let mut changes = Vec::new();
    let mut fingerprints = Vec::new();
    for row in due {
        match serde_json::from_value::<StoredChange>(row.change) {
            Ok(change) => {
                changes.push(DetectionUpdate::from(change));
                fingerprints.push(row.fingerprint);
            }
            // Written by another version; it stays for that one.
            Err(_) => put_off(conn, row.fingerprint, false).await?,
        }
    }

    Ok(Batch::of_pending(changes, fingerprints))
}

pub(super) async fn forget(conn: &mut PgConnection, fingerprint: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM blueteam.pending_alerts WHERE fingerprint = $1",
        fingerprint
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn put_off(
    conn: &mut PgConnection,
    fingerprint: Uuid,
    conflict: bool,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.pending_alerts
         SET
             tries = tries + 1,
             next_try_at = now() + least(
                 interval '1 second' * 2.0 ^ least(tries, 12),
                 CASE WHEN $2 THEN interval '1 minute' ELSE interval '1 hour' END
             )
         WHERE fingerprint = $1",
        fingerprint,
        conflict
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// The changes that have waited for longer than `patience` to be written; none when there are none.
pub async fn pending(
    conn: &mut PgConnection,
    patience: Span,
) -> Result<Option<Waiting>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT count(*) OVER () AS "alerts!", since AS "since: Ts", reason
           FROM blueteam.pending_alerts
           WHERE since <= now() - $1::bigint * interval '1 microsecond'
           ORDER BY since
           LIMIT 1"#,
        patience.as_micros()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Waiting {
        alerts: row.alerts.unsigned_abs(),
        since: row.since.0,
        reason: row.reason,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_survives_being_stored() {
        let change = DetectionUpdate {
            opened: true,
            phase: Phase::Extended,
            detection: Detection {
                rule_id: RuleId::builtin("brute_force"),
                severity: Severity::High,
                title: "title".to_owned(),
                description: "description".to_owned(),
                entity: Entity {
                    kind: model::EntityKind::Ip,
                    value: "203.0.113.9".to_owned(),
                },
                entity_name: Some("ann".to_owned()),
                first_seen: Timestamp::from_secs(1),
                last_seen: Timestamp::from_secs(2),
                event_count: 7,
                event_ids: vec![EventId(Uuid::from_u128(3))],
                nist_controls: vec![ControlId::known("3.1.8")],
                source: Source::Syslog,
                cui_involved: true,
                tenant: Some(Uuid::from_u128(4)),
                fingerprint: Fingerprint(Uuid::from_u128(5)),
                episode: 6,
            },
            events: vec![EventKey {
                timestamp: Timestamp::from_secs(1),
                event_id: EventId(Uuid::from_u128(3)),
            }],
        };

        let stored = serde_json::to_value(StoredChange::from(&change)).unwrap();
        let read: DetectionUpdate = serde_json::from_value::<StoredChange>(stored)
            .unwrap()
            .into();

        assert_eq!(read, change);
    }
}
