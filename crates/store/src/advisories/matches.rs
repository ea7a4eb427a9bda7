//! Matches of advisories with the components in use, and the response to each.

use model::Actor;
use model::{AlertId, Timestamp};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoredComponent;
use crate::StoreError;
use crate::db::{Ts, begin, set_actor};

/// An advisory that concerns a component, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the columns of advisory_matches")]
pub struct Found {
    pub vulnerability: String,
    pub feed: String,
    pub advisory_id: String,
    #[serde(flatten)]
    pub component: StoredComponent,
    pub confidence: &'static str,
    /// A severity's word, or `unknown`.
    pub severity: &'static str,
    pub exploited: bool,
    pub fixed_in: Option<String>,
}

/// The same with what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the columns of advisory_matches")]
pub struct Match {
    pub match_id: Uuid,
    pub vulnerability: String,
    pub feed: String,
    pub advisory_id: String,
    pub title: String,
    pub inventory: String,
    pub ecosystem: String,
    pub name: String,
    pub version: String,
    pub confidence: String,
    pub severity: String,
    pub exploited: bool,
    pub fixed_in: Option<String>,
    pub state: String,
    pub resolution: Option<String>,
    pub reason: Option<String>,
    pub owner: Option<String>,
    /// Until when: as a person decided, otherwise as the publisher asks (KEV).
    pub due: Option<String>,
    pub ticket: Option<String>,
    pub decided_by: Option<String>,
    pub decided_at: Option<Timestamp>,
    pub alert_id: Option<AlertId>,
    pub created_at: Timestamp,
}

/// What a person decides about a match.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// `open`, `in_progress` or `closed`.
    pub state: String,
    /// With `closed`: `fixed`, `mitigated`, `not_affected` or `accepted`.
    pub resolution: Option<String>,
    /// Why; what is none stays as it was.
    pub reason: Option<String>,
    /// Who deals with it.
    pub owner: Option<String>,
    /// Until when, `YYYY-MM-DD`.
    pub due: Option<String>,
    /// Where else it is tracked.
    pub ticket: Option<String>,
}

/// Writes what was found now: new matches; what changed of open ones, of which what became worse is
/// told again; those that no longer hold are closed as gone. One that was closed as gone and is
/// found again is opened again, and so is one that was closed as fixed and is in a list that was
/// read since: the list has the last word. What a person accepted, mitigated or found not to be
/// affected stays closed. Returns how many are new or opened again. Must run in a transaction.
pub async fn save_matches(
    conn: &mut PgConnection,
    actor: &Actor,
    found: &[Found],
) -> Result<u64, StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('blueteam.advisory_matches', 0))")
        .execute(&mut *conn)
        .await?;
    set_actor(conn, actor).await?;
    let found = serde_json::to_value(found)?;
    let changed = sqlx::query_file_scalar!("src/advisories/save_matches.sql", found)
        .fetch_one(&mut *conn)
        .await?;

    sqlx::query!(
        "UPDATE blueteam.advisory_matches m
         SET
             state = 'closed', resolution = 'gone', decided_by = $1, decided_at = now(),
             updated_at = now(),
             reason = 'no longer in the inventory in this version, '
                 'or no advisory that is still published names it'
         WHERE m.tenant_id = (SELECT blueteam.tenant_of_new())
           AND m.state <> 'closed'
           AND (m.vulnerability, m.inventory, m.ecosystem, m.name, m.version) NOT IN (
               SELECT f.vulnerability, f.inventory, f.ecosystem, f.name, f.version
               FROM jsonb_to_recordset($2) AS f (
                   vulnerability text, inventory text, ecosystem text, name text, version text
               )
           )",
        actor.to_string(),
        found
    )
    .execute(&mut *conn)
    .await?;

    Ok(changed.unsigned_abs())
}

/// Which matches to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Closed ones too.
    pub all: bool,
    /// Of this inventory alone.
    pub inventory: Option<String>,
    /// Of this vulnerability, advisory or match alone; of a match, the beginning of its id will do.
    pub about: Option<String>,
}

/// Matches, the worst and newest first, at most 10,000.
pub async fn matches(conn: &mut PgConnection, filter: &Filter) -> Result<Vec<Match>, StoreError> {
    let rows = sqlx::query_file!(
        "src/advisories/list_matches.sql",
        filter.all,
        filter.inventory,
        filter
            .about
            .as_deref()
            .map(|id| id.replace(['%', '_', '\\'], ""))
    )
    .fetch_all(conn)
    .await?;

    Ok(rows
        .into_iter()
        .map(|r| Match {
            match_id: r.match_id,
            vulnerability: r.vulnerability,
            feed: r.feed,
            advisory_id: r.advisory_id,
            title: r.title,
            inventory: r.inventory,
            ecosystem: r.ecosystem,
            name: r.name,
            version: r.version,
            confidence: r.confidence,
            severity: r.severity,
            exploited: r.exploited,
            fixed_in: r.fixed_in,
            state: r.state,
            resolution: r.resolution,
            reason: r.reason,
            owner: r.owner,
            due: r.due,
            ticket: r.ticket,
            decided_by: r.decided_by,
            decided_at: r.decided_at.map(|at| at.0),
            alert_id: r.alert_id.map(AlertId),
            created_at: r.created_at.0,
        })
        .collect())
}

/// Writes a decision about matches. What the decision leaves out stays as it was; a match that is
/// opened again has no resolution. Returns how many there are.
pub async fn decide(
    conn: &mut PgConnection,
    actor: &Actor,
    ids: &[Uuid],
    decision: &Decision,
) -> Result<u64, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE blueteam.advisory_matches
         SET
             state = $2,
             resolution = $3,
             reason = coalesce($4, reason),
             owner = coalesce($5, owner),
             due = coalesce($6::text::date, due),
             ticket = coalesce($7, ticket),
             decided_by = $8,
             decided_at = now(),
             updated_at = now()
         WHERE match_id = ANY ($1) AND tenant_id = (SELECT blueteam.tenant_of_new())",
        ids,
        decision.state,
        decision.resolution,
        decision.reason,
        decision.owner,
        decision.due,
        decision.ticket,
        actor.to_string()
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected())
}

/// Returns open matches that have no alert yet; locked until the transaction ends, so that two
/// daemons do not both tell.
pub async fn untold(conn: &mut PgConnection) -> Result<Vec<Match>, StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('blueteam.advisory_matches', 0))")
        .execute(&mut *conn)
        .await?;
    let all = matches(conn, &Filter::default()).await?;
    Ok(all.into_iter().filter(|m| m.alert_id.is_none()).collect())
}

/// Records which alert is about matches.
pub async fn told(conn: &mut PgConnection, ids: &[Uuid], alert: AlertId) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.advisory_matches SET alert_id = $2 WHERE match_id = ANY ($1)",
        ids,
        alert.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Open alerts of `rule` all of whose matches are closed.
pub async fn over(conn: &mut PgConnection, rule: &str) -> Result<Vec<AlertId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT h.alert_id
         FROM blueteam.alert_history h
         WHERE h.tenant_id = (SELECT blueteam.tenant_of_new())
           AND h.state = 'open'
           AND h.rule_id = $1
           AND NOT EXISTS (
               SELECT
               FROM blueteam.advisory_matches m
               WHERE m.alert_id = h.alert_id AND m.state <> 'closed'
           )",
        rule
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(AlertId).collect())
}
