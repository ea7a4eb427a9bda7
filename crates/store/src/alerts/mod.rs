//! Alerts: what the engine says, kept; and what people do with it. What is written, and what it is
//! compared with, is of the tenant that the transaction is for ([`crate::tenants`]).

mod apply;
mod batch;
mod inhibition;
mod join;
mod messages;
mod owners;
mod pending;
mod preview;
mod written;

use model::Actor;
use model::{
    Alert, AlertId, AlertState, ControlId, Detection, Entity, EventId, Fingerprint, IncidentId,
    RuleId, Severity, SilenceId, SilencedBy, Timestamp,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::{Ts, begin};
use crate::{Before, StoreError};

pub use apply::{apply, take_turn};
pub use batch::{Applied, Batch, Next, Part, Route, WrittenAlert};
pub use pending::{Pending, Waiting, pending, retry_pending};
pub use preview::{Preview, preview};

/// Selects alerts as [`AlertRow`]: `alerts!("WHERE …", arguments)`. The columns are written once.
macro_rules! alerts {
    ($which:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            AlertRow,
            r#"SELECT
                   alert_id, fingerprint, rule_id, severity, title, description, nist_controls,
                   entity_type, entity_value, entity_name, accounts, hosts, source, services, tenants, cui_involved,
                   event_ids, event_count, episode, incident_id, state,
                   first_seen AS "first_seen: Ts", last_seen AS "last_seen: Ts",
                   created_at AS "created_at: Ts",
                   acknowledged_by, acknowledged_at AS "acknowledged_at: Ts",
                   muted_by_mute, muted_by_alert,
                   (
                       SELECT r.name
                       FROM blueteam.alert_rules r
                       WHERE r.rule_id = alert_history.rule_id
                   ) AS rule_name
               FROM blueteam.alert_history "# + $which
            $(, $argument)*
        )
    };
}

/// A row of `alert_history`. Rows from before the adoption lack the columns that blueteam added.
struct AlertRow {
    alert_id: Uuid,
    rule_id: Option<String>,
    severity: String,
    title: String,
    description: Option<String>,
    event_ids: Option<Vec<Uuid>>,
    incident_id: Option<Uuid>,
    acknowledged_by: Option<String>,
    acknowledged_at: Option<Ts>,
    created_at: Ts,
    fingerprint: Option<Uuid>,
    entity_type: Option<String>,
    entity_value: Option<String>,
    entity_name: Option<String>,
    accounts: Vec<String>,
    hosts: Vec<String>,
    source: Option<String>,
    services: Vec<String>,
    tenants: Vec<Uuid>,
    first_seen: Option<Ts>,
    last_seen: Option<Ts>,
    event_count: i64,
    nist_controls: Vec<String>,
    cui_involved: bool,
    state: String,
    episode: i64,
    muted_by_mute: Option<Uuid>,
    muted_by_alert: Option<Uuid>,
    rule_name: Option<String>,
}

impl AlertRow {
    fn entity(&self) -> Result<Entity, StoreError> {
        let kind = self.entity_type.as_deref().unwrap_or("source");
        let kind = kind
            .parse()
            .map_err(|e| StoreError::corrupt("alert_history.entity_type", e))?;
        Ok(Entity {
            kind,
            value: self.entity_value.clone().unwrap_or_default(),
        })
    }

    fn severity(&self) -> Result<Severity, StoreError> {
        self.severity
            .parse()
            .map_err(|e| StoreError::corrupt("alert_history.severity", e))
    }

    fn into_alert(self) -> Result<Alert, StoreError> {
        Ok(Alert {
            alert_id: AlertId(self.alert_id),
            severity: self.severity()?,
            entity: self.entity()?,
            entity_name: self.entity_name,
            accounts: self.accounts,
            hosts: self.hosts,
            rule_name: custom_name(self.rule_name, self.rule_id.as_deref()),
            rule_id: RuleId(self.rule_id.unwrap_or_default().into()),
            title: self.title,
            description: self.description.unwrap_or_default(),
            source: self.source.unwrap_or_default(),
            services: self.services,
            tenant: the_tenant(&self.tenants),
            first_seen: self.first_seen.unwrap_or(self.created_at).0,
            last_seen: self.last_seen.unwrap_or(self.created_at).0,
            event_count: self.event_count.unsigned_abs(),
            event_ids: self
                .event_ids
                .unwrap_or_default()
                .into_iter()
                .map(EventId)
                .collect(),
            nist_controls: parse_controls(self.nist_controls),
            cui_involved: self.cui_involved,
            incident_id: self.incident_id.map(IncidentId),
            state: if self.state == "open" {
                AlertState::Open
            } else {
                AlertState::Closed
            },
            fingerprint: Fingerprint(self.fingerprint.unwrap_or(self.alert_id)),
            acknowledged_by: self.acknowledged_by,
            acknowledged_at: self.acknowledged_at.map(|t| t.0),
            created_at: self.created_at.0,
            muted_by: self
                .muted_by_mute
                .map(|id| SilencedBy::Silence(SilenceId(id)))
                .or(self.muted_by_alert.map(|id| SilencedBy::Alert(AlertId(id)))),
        })
    }

    fn into_detection(self) -> Result<Detection, StoreError> {
        let source = self.source.as_deref().unwrap_or_default();
        Ok(Detection {
            severity: self.severity()?,
            entity: self.entity()?,
            entity_name: self.entity_name.clone(),
            source: source
                .parse()
                .map_err(|e| StoreError::corrupt("alert_history.source", e))?,
            rule_id: RuleId(self.rule_id.unwrap_or_default().into()),
            title: self.title,
            description: self.description.unwrap_or_default(),
            first_seen: self.first_seen.unwrap_or(self.created_at).0,
            last_seen: self.last_seen.unwrap_or(self.created_at).0,
            event_count: self.event_count.unsigned_abs(),
            event_ids: self
                .event_ids
                .unwrap_or_default()
                .into_iter()
                .map(EventId)
                .collect(),
            nist_controls: parse_controls(self.nist_controls),
            cui_involved: self.cui_involved,
            tenant: the_tenant(&self.tenants),
            fingerprint: Fingerprint(self.fingerprint.unwrap_or(self.alert_id)),
            episode: self.episode,
        })
    }
}

/// The name of a rule whose ID is a UUID, as those of public Sigma rules are.
fn custom_name(name: Option<String>, id: Option<&str>) -> Option<String> {
    name.filter(|_| id.is_some_and(|id| Uuid::try_parse(id).is_ok()))
}

/// The one tenant that all events name: the column holds those that they name, and the nil UUID
/// where one of them names none.
fn the_tenant(tenants: &[Uuid]) -> Option<Uuid> {
    match tenants {
        [one] if !one.is_nil() => Some(*one),
        _ => None,
    }
}

fn parse_controls(names: Vec<String>) -> Vec<ControlId> {
    names.into_iter().map(|c| ControlId(c.into())).collect()
}

/// Which alerts to list; everything that is not set matches all.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    /// At least this severity.
    pub severity: Option<Severity>,
    /// Of this service.
    pub service: Option<String>,
    /// Of this tenant alone.
    pub tenant: Option<Uuid>,
    /// Of this rule.
    pub rule_id: Option<RuleId>,
    /// Of this state.
    pub state: Option<AlertState>,
    /// Acknowledged, or not.
    pub acknowledged: Option<bool>,
    /// Written at or after this time.
    pub since: Option<Timestamp>,
    /// Of this incident.
    pub incident_id: Option<IncidentId>,
    /// Muted by anything, or notified.
    pub silenced: Option<bool>,
    /// About this.
    pub entity: Option<Entity>,
    /// After this one in the list.
    pub before: Option<Before>,
}

/// The newest alerts first, at most `limit`.
pub async fn list(
    conn: &mut PgConnection,
    filter: &AlertFilter,
    limit: u32,
) -> Result<Vec<Alert>, StoreError> {
    let severities = filter.severity.map(at_least);
    let state = filter.state.map(state_name);

    let rows = alerts!(
        "WHERE ($1::text[] IS NULL OR severity = ANY ($1))
           AND ($2::text IS NULL OR rule_id = $2)
           AND ($3::text IS NULL OR state = $3)
           AND ($4::boolean IS NULL OR coalesce(acknowledged, false) = $4)
           AND ($5::timestamptz IS NULL OR created_at >= $5)
           AND ($6::uuid IS NULL OR incident_id = $6)
           AND (
               $7::boolean IS NULL
               OR (muted_by_mute IS NOT NULL OR muted_by_alert IS NOT NULL) = $7
           )
           AND ($9::text IS NULL OR services @> ARRAY[$9])
           AND ($10::uuid IS NULL OR tenants = ARRAY[$10])
           AND ($11::timestamptz IS NULL OR (created_at, alert_id) < ($11, $12::uuid))
           AND ($13::text IS NULL OR (entity_type = $13 AND entity_value = $14))
         ORDER BY created_at DESC, alert_id DESC
         LIMIT $8",
        severities.as_deref(),
        filter.rule_id.as_ref().map(RuleId::as_str),
        state,
        filter.acknowledged,
        filter.since.map(Ts) as Option<Ts>,
        filter.incident_id.map(|id| id.0),
        filter.silenced,
        i64::from(limit),
        filter.service,
        filter.tenant,
        filter.before.map(|before| Ts(before.at)) as Option<Ts>,
        filter.before.map(|before| before.id),
        filter.entity.as_ref().map(|entity| entity.kind.as_str()),
        filter.entity.as_ref().map(|entity| entity.value.as_str()),
    )
    .fetch_all(conn)
    .await?;

    rows.into_iter().map(AlertRow::into_alert).collect()
}

/// How many alerts there are.
pub async fn count(conn: &mut PgConnection, filter: &AlertFilter) -> Result<u64, StoreError> {
    let severities = filter.severity.map(at_least);
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
           FROM blueteam.alert_history
           WHERE ($1::text[] IS NULL OR severity = ANY ($1))
             AND ($2::text IS NULL OR rule_id = $2)
             AND ($3::text IS NULL OR state = $3)
             AND ($4::boolean IS NULL OR coalesce(acknowledged, false) = $4)
             AND ($5::timestamptz IS NULL OR created_at >= $5)
             AND ($6::uuid IS NULL OR incident_id = $6)
             AND (
                 $7::boolean IS NULL
                 OR (muted_by_mute IS NOT NULL OR muted_by_alert IS NOT NULL) = $7
             )
             AND ($8::text IS NULL OR services @> ARRAY[$8])
             AND ($9::uuid IS NULL OR tenants = ARRAY[$9])
             AND ($10::text IS NULL OR (entity_type = $10 AND entity_value = $11))"#,
        severities.as_deref(),
        filter.rule_id.as_ref().map(RuleId::as_str),
        filter.state.map(state_name),
        filter.acknowledged,
        filter.since.map(Ts) as Option<Ts>,
        filter.incident_id.map(|id| id.0),
        filter.silenced,
        filter.service,
        filter.tenant,
        filter.entity.as_ref().map(|entity| entity.kind.as_str()),
        filter.entity.as_ref().map(|entity| entity.value.as_str()),
    )
    .fetch_one(conn)
    .await?;
    Ok(count.unsigned_abs())
}

/// The names of a severity and those above it.
fn at_least(least: Severity) -> Vec<String> {
    let above = Severity::ALL.into_iter().filter(|s| *s >= least);
    above.map(|s| s.as_str().to_owned()).collect()
}

fn state_name(state: AlertState) -> &'static str {
    match state {
        AlertState::Open => "open",
        AlertState::Closed => "closed",
    }
}

/// One alert.
pub async fn show(conn: &mut PgConnection, id: AlertId) -> Result<Option<Alert>, StoreError> {
    let row = alerts!("WHERE alert_id = $1", id.0)
        .fetch_optional(conn)
        .await?;

    row.map(AlertRow::into_alert).transpose()
}

/// The alerts whose ids begin with the given hexadecimal digits (hyphens do not count), at most
/// `limit`; none for a text that cannot begin an id.
pub async fn starting_with(
    conn: &mut PgConnection,
    prefix: &str,
    limit: u32,
) -> Result<Vec<AlertId>, StoreError> {
    let digits: String = prefix.chars().filter(|c| *c != '-').collect();
    let bound = |fill: &str| {
        let missing = 32_usize.saturating_sub(digits.len());
        Uuid::try_parse(&format!("{digits}{}", fill.repeat(missing)))
    };

    let (Ok(from), Ok(to)) = (bound("0"), bound("f")) else {
        return Ok(Vec::new());
    };
    let ids = sqlx::query_scalar!(
        "SELECT alert_id
         FROM blueteam.alert_history
         WHERE alert_id BETWEEN $1 AND $2
         ORDER BY alert_id
         LIMIT $3",
        from,
        to,
        i64::from(limit)
    )
    .fetch_all(conn)
    .await?;

    Ok(ids.into_iter().map(AlertId).collect())
}

/// The tenant's detections that may still grow: state that the engine takes back at start. Oldest first.
pub async fn open_detections(conn: &mut PgConnection) -> Result<Vec<Detection>, StoreError> {
    let rows = alerts!(
        "WHERE tenant_id = (SELECT blueteam.tenant_of_new())
           AND state = 'open'
           AND fingerprint IS NOT NULL
         ORDER BY first_seen, alert_id"
    )
    .fetch_all(conn)
    .await?;

    // An alert that cannot be read back starts again as a new one when it goes on; the others must
    // not wait for it.
    Ok(rows
        .into_iter()
        .filter_map(|row| row.into_detection().ok())
        .collect())
}

/// Acknowledges an alert. Returns `false` when there is no such alert; the first to see it stays on
/// record.
pub async fn ack(conn: &mut PgConnection, actor: &Actor, id: AlertId) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let found = sqlx::query_scalar!(r#"SELECT blueteam.acknowledge_alert($1) AS "found!""#, id.0)
        .fetch_one(&mut *tx)
        .await?;

    tx.commit().await?;
    Ok(found)
}

/// The alerts that someone acknowledged at this very time: in one transaction.
pub async fn acknowledged_at(
    conn: &mut PgConnection,
    who: &str,
    at: Timestamp,
) -> Result<Vec<AlertId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT alert_id
         FROM blueteam.alert_history
         WHERE acknowledged_by = $1 AND acknowledged_at = $2
         ORDER BY alert_id
         LIMIT 500",
        who,
        Ts(at) as Ts
    )
    .fetch_all(conn)
    .await?;

    Ok(ids.into_iter().map(AlertId).collect())
}

/// What came of taking an acknowledgment back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenBack {
    /// It is taken back.
    Done,
    /// There is no such alert.
    Absent,
    /// The alert is not acknowledged.
    NotAcknowledged,
    /// Another person has acknowledged it.
    Others,
    /// It is too long ago.
    Late,
}

/// Takes back an acknowledgment that the actor gave within the last ten minutes. The audit log keeps
/// both.
pub async fn take_back_ack(
    conn: &mut PgConnection,
    actor: &Actor,
    id: AlertId,
) -> Result<TakenBack, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let word = sqlx::query_scalar!(
        r#"SELECT blueteam.take_back_acknowledgment($1) AS "word!""#,
        id.0
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(match word.as_str() {
        "done" => TakenBack::Done,
        "open" => TakenBack::NotAcknowledged,
        "other" => TakenBack::Others,
        "late" => TakenBack::Late,
        _ => TakenBack::Absent,
    })
}
