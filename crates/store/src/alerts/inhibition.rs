//! Which alerts keep others quiet, and the record of it.

use std::collections::{BTreeMap, HashSet};

use model::{Alert, AlertId, EntityKind, Severity, SilencedBy};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::WrittenAlert;
use crate::StoreError;

/// The critical alerts that may inhibit those of a part, and what is to be recorded of that.
#[derive(Default)]
pub(super) struct Inhibition {
    /// Entities that a critical alert is about, of the part or before it. A storm is about
    /// thousands that none is about, and these are not asked for one by one.
    entities: HashSet<EntityKey>,
    /// What keeps alerts quiet, to be recorded with [`Self::record`].
    muted: BTreeMap<Uuid, Option<SilencedBy>>,
}

/// Source, type and value.
type EntityKey = (String, &'static str, String);

fn entity_key(alert: &Alert) -> EntityKey {
    let entity = &alert.entity;
    (
        alert.source.clone(),
        entity.kind.as_str(),
        entity.value.clone(),
    )
}

/// Whether a critical alert keeps the alert quiet, where there is one. A source is not an attacker:
/// what is wrong with it may be two things.
fn can_be_inhibited(alert: &Alert) -> bool {
    alert.severity < Severity::High && alert.entity.kind != EntityKind::Source
}

impl Inhibition {
    /// Looks up which entities of these alerts have critical ones.
    pub(super) async fn of(
        conn: &mut PgConnection,
        alerts: &[WrittenAlert],
    ) -> Result<Self, StoreError> {
        let (mut sources, mut kinds, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for written in alerts.iter().filter(|w| can_be_inhibited(&w.alert)) {
            let (source, kind, value) = entity_key(&written.alert);
            sources.push(source);
            kinds.push(kind);
            values.push(value);
        }

        if sources.is_empty() {
            return Ok(Self::default());
        }

        let known: HashSet<EntityKey> = alerts
            .iter()
            .filter(|written| written.alert.severity == Severity::Critical)
            .map(|written| entity_key(&written.alert))
            .collect();
        let rows = sqlx::query_file!(
            "src/alerts/inhibited_entities.sql",
            &sources,
            &kinds as &[&str],
            &values,
        )
        .fetch_all(conn)
        .await?;

        let stored = rows.into_iter().filter_map(|row| {
            let kind: EntityKind = row.entity_type.parse().ok()?;
            Some((row.source, kind.as_str(), row.entity_value))
        });
        Ok(Self {
            entities: known.into_iter().chain(stored).collect(),
            muted: BTreeMap::new(),
        })
    }

    /// The critical alert that is open about the same entity, for an alert that says less. It was
    /// announced itself: one that a silence covers inhibits nothing.
    ///
    /// Alerts `later` in the same part count as they were before, so that what inhibits what does
    /// not depend on how changes fall into parts.
    pub(super) async fn inhibiting(
        &self,
        conn: &mut PgConnection,
        alert: &Alert,
        later: &[WrittenAlert],
    ) -> Result<Option<AlertId>, StoreError> {
        if !can_be_inhibited(alert) || !self.entities.contains(&entity_key(alert)) {
            return Ok(None);
        }

        let later = later.iter().filter(|written| {
            written.alert.severity == Severity::Critical
                && written.alert.entity == alert.entity
                && written.alert.source == alert.source
        });
        let (open_before, not_open_before): (Vec<&WrittenAlert>, Vec<&WrittenAlert>) =
            later.partition(|written| written.was_open);

        let id = sqlx::query_file_scalar!(
            "src/alerts/inhibiting.sql",
            alert.entity.kind.as_str(),
            alert.entity.value,
            alert.source,
            &alert_ids(&open_before),
            &alert_ids(&not_open_before),
        )
        .fetch_optional(conn)
        .await?
        .flatten();

        Ok(id.map(AlertId))
    }

    /// Notes what keeps an alert quiet from now on, if anything does. That of a critical alert is
    /// recorded at once, because it decides what the alert inhibits.
    pub(super) async fn mute(
        &mut self,
        conn: &mut PgConnection,
        alert: &Alert,
        by: Option<SilencedBy>,
    ) -> Result<(), StoreError> {
        self.muted.insert(alert.alert_id.0, by);
        if alert.severity == Severity::Critical {
            self.record(conn).await?;
        }
        Ok(())
    }

    /// Records what was noted, in one statement for all alerts.
    pub(super) async fn record(&mut self, conn: &mut PgConnection) -> Result<(), StoreError> {
        let muted = std::mem::take(&mut self.muted);
        if muted.is_empty() {
            return Ok(());
        }

        let (mut ids, mut silences, mut criticals) = (Vec::new(), Vec::new(), Vec::new());
        for (id, by) in muted {
            ids.push(id);
            let (silence, critical) = match by {
                None => (None, None),
                Some(SilencedBy::Silence(silence)) => (Some(silence.0), None),
                Some(SilencedBy::Alert(critical)) => (None, Some(critical.0)),
            };
            silences.push(silence);
            criticals.push(critical);
        }

        sqlx::query!(
            "UPDATE blueteam.alert_history alert
             SET muted_by_mute = muted.silence, muted_by_alert = muted.critical
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS muted (id, silence, critical)
             WHERE alert.alert_id = muted.id",
            &ids,
            &silences as &[Option<Uuid>],
            &criticals as &[Option<Uuid>],
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

fn alert_ids(alerts: &[&WrittenAlert]) -> Vec<Uuid> {
    alerts.iter().map(|w| w.alert.alert_id.0).collect()
}
