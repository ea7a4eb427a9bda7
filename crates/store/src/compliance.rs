//! Requirements, what was found about their objectives, and every decision there ever was (3.12.1).

use std::collections::HashMap;

use model::Actor;
use model::{
    Control, ControlId, Decision, EvidenceType, Finding, Method, Objective, ObjectiveId, Proposal,
    Responsibility, Support, Timestamp,
};
use serde::Serialize;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// A requirement as the catalog has it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// `3.1.1`
    pub control_id: &'a str,
    /// `3.1`
    pub family_id: &'a str,
    /// `Access Control`
    pub family: &'a str,
    /// Its wording.
    pub requirement: &'a str,
    /// Where its evidence comes from, unless people have said otherwise.
    pub evidence_type: EvidenceType,
    /// Why, where that needs a reason.
    pub assessor_notes: Option<&'a str>,
}

/// Writes the requirements and the ids of their objectives. What people wrote about them stays; the
/// words of an adopted database's status become proposals, because nobody said which objectives
/// they were about. Returns how many rows are new or have another wording.
pub async fn load(
    conn: &mut PgConnection,
    actor: &Actor,
    entries: &[Entry<'_>],
    objectives: &[&str],
) -> Result<u64, StoreError> {
    let column = |of: for<'e> fn(&'e Entry<'_>) -> &'e str| {
        entries
            .iter()
            .map(|e| of(e).to_owned())
            .collect::<Vec<String>>()
    };

    let mut tx = begin(conn, actor).await?;
    let controls = sqlx::query_file!(
        "src/compliance/load_controls.sql",
        &column(|e| e.control_id),
        &column(|e| e.family_id),
        &column(|e| e.family),
        &column(|e| e.requirement),
        &column(|e| e.evidence_type.as_str()),
        &column(|e| e.assessor_notes.unwrap_or_default()),
    )
    .execute(&mut *tx)
    .await?;

    let ids: Vec<String> = objectives.iter().map(ToString::to_string).collect();
    let added = sqlx::query_file!("src/compliance/insert_objectives.sql", &ids)
        .execute(&mut *tx)
        .await?;

    tx.commit().await?;
    Ok(controls.rows_affected() + added.rows_affected())
}

/// Every requirement with its objectives, in order, as they stand at `now`.
pub async fn all(conn: &mut PgConnection, now: Timestamp) -> Result<Vec<Control>, StoreError> {
    let rows = sqlx::query_file!("src/compliance/list_controls.sql")
        .fetch_all(&mut *conn)
        .await?;

    let mut objectives = read_objectives(conn, now).await?;
    let mut controls = Vec::with_capacity(rows.len());
    for row in rows {
        controls.push(Control {
            objectives: objectives.remove(&row.control_id).unwrap_or_default(),
            control_id: ControlId(row.control_id.into()),
            notes: row.implementation_notes,
            evidence_type: row
                .evidence_type
                .map(|word| word.parse())
                .transpose()
                .map_err(|e| StoreError::corrupt("compliance_controls.evidence_type", e))?,
            assessor_notes: row.assessor_notes,
            owner: row.responsible_party,
            due: row.due.map(|at| at.0),
            responsibility: (row.responsibility.parse::<Responsibility>())
                .map_err(|e| StoreError::corrupt("compliance_controls.responsibility", e))?,
            provider: row.provider,
            provider_duties: row.provider_duties,
            customer_duties: row.customer_duties,
            partial_credit: row.partial_credit,
            planned: row.planned,
        });
    }

    controls.sort_by_key(|c| c.control_id.order());
    Ok(controls)
}

async fn read_objectives(
    conn: &mut PgConnection,
    now: Timestamp,
) -> Result<HashMap<String, Vec<Objective>>, StoreError> {
    let rows = sqlx::query_file!("src/compliance/list_objectives.sql", Ts(now) as Ts)
        .fetch_all(conn)
        .await?;

    let mut found: HashMap<String, Vec<Objective>> = HashMap::new();
    for row in rows {
        let decision = match (
            parse_finding(&row.finding)?,
            row.reason,
            row.decided_by,
            row.decided_at,
        ) {
            (Some(finding), Some(reason), Some(by), Some(at)) => Some(Decision {
                finding,
                reason,
                methods: parse_methods(&row.methods)?,
                by,
                at: at.0,
            }),
            _ => None,
        };

        let proposal = match (
            row.proposed,
            row.proposed_reason,
            row.proposed_by,
            row.proposed_at,
        ) {
            (Some(finding), Some(reason), Some(by), Some(at)) => {
                parse_finding(&finding)?.map(|finding| Proposal {
                    finding,
                    reason,
                    by,
                    at: at.0,
                })
            }

            _ => None,
        };

        found.entry(row.control_id).or_default().push(Objective {
            objective_id: ObjectiveId(row.objective_id),
            decision,
            proposal,
            support: Support {
                valid: to_u32(row.valid),
                lapsed: to_u32(row.lapsed),
                drafts: to_u32(row.drafts),
                tampered: 0,
            },
        });
    }

    Ok(found)
}

fn to_u32(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The finding of a word; none for `not_assessed`.
fn parse_finding(word: &str) -> Result<Option<Finding>, StoreError> {
    if word == "not_assessed" {
        return Ok(None);
    }
    word.parse()
        .map(Some)
        .map_err(|e| StoreError::corrupt("compliance_objectives.finding", e))
}

fn parse_methods(words: &[String]) -> Result<Vec<Method>, StoreError> {
    let parse = |w: &String| {
        w.parse()
            .map_err(|e| StoreError::corrupt("compliance_objectives.methods", e))
    };
    words.iter().map(parse).collect()
}

/// A decision about one objective; no finding withdraws an earlier one.
#[derive(Clone, Debug)]
pub struct NewDecision {
    /// The objective.
    pub objective_id: ObjectiveId,
    /// The finding.
    pub finding: Option<Finding>,
    /// Why, 3 to 4,000 characters.
    pub reason: String,
    /// How it was looked at.
    pub methods: Vec<Method>,
}

/// Changes to a requirement; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in model::Control")]
pub struct Changes {
    pub notes: Option<String>,
    pub owner: Option<String>,
    pub due: Option<Timestamp>,
    pub responsibility: Option<Responsibility>,
    pub provider: Option<String>,
    pub provider_duties: Option<String>,
    pub customer_duties: Option<String>,
    pub partial_credit: Option<bool>,
    pub evidence_type: Option<EvidenceType>,
    pub assessor_notes: Option<String>,
}

/// Writes decisions, all or none, each into the history as well.
pub async fn decide(
    conn: &mut PgConnection,
    actor: &Actor,
    now: Timestamp,
    decisions: &[NewDecision],
) -> Result<(), StoreError> {
    let column = |of: fn(&NewDecision) -> String| decisions.iter().map(of).collect::<Vec<String>>();
    let mut tx = begin(conn, actor).await?;
    let written = sqlx::query_scalar!(
        r#"SELECT blueteam.decide_objectives($1, $2, $3, $4, $5) AS "objective_id!""#,
        &column(|d| d.objective_id.0.clone()),
        &column(|d| d.finding.map_or("not_assessed", Finding::as_str).to_owned()),
        &column(|d| d.reason.clone()),
        &column(|d| d
            .methods
            .iter()
            .map(|m| m.as_str())
            .collect::<Vec<_>>()
            .join(" ")),
        Ts(now) as Ts
    )
    .fetch_all(&mut *tx)
    .await?;
    if let Some(missing) = decisions
        .iter()
        .find(|d| !written.contains(&d.objective_id.0))
    {
        return Err(StoreError::Missing(
            "compliance_objectives",
            missing.objective_id.to_string(),
        ));
    }
    tx.commit().await?;
    Ok(())
}

/// Writes changes to a requirement.
pub async fn change(
    conn: &mut PgConnection,
    actor: &Actor,
    control: &ControlId,
    changes: &Changes,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query_file!(
        "src/compliance/change_control.sql",
        control.0.as_ref(),
        changes.notes,
        changes.owner,
        changes.due.map(Ts) as Option<Ts>,
        changes.responsibility.map(Responsibility::as_str),
        changes.provider,
        changes.provider_duties,
        changes.customer_duties,
        changes.partial_credit,
        changes.evidence_type.map(EvidenceType::as_str),
        changes.assessor_notes
    )
    .execute(&mut *tx)
    .await?;

    if done.rows_affected() == 0 {
        return Err(StoreError::Missing(
            "compliance_controls",
            control.to_string(),
        ));
    }

    tx.commit().await?;
    Ok(())
}

/// Writes what a check proposes.
pub async fn propose(
    conn: &mut PgConnection,
    objective: &ObjectiveId,
    proposal: &Proposal,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.compliance_objectives
         SET proposed = $2, proposed_reason = $3, proposed_by = $4, proposed_at = $5
         WHERE objective_id = $1 AND tenant_id = blueteam.tenant_of_new()",
        objective.0,
        proposal.finding.as_str(),
        proposal.reason,
        proposal.by,
        Ts(proposal.at) as Ts
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// Takes back what a check proposed, because it can't tell any more.
pub async fn withdraw(
    conn: &mut PgConnection,
    objective: &ObjectiveId,
    check_id: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE blueteam.compliance_objectives
            SET proposed = NULL, proposed_reason = NULL, proposed_by = NULL, proposed_at = NULL
          WHERE objective_id = $1 AND proposed_by = $2
            AND tenant_id = blueteam.tenant_of_new()",
        objective.0,
        check_id
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// A decision that was taken, as the history has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The objective.
    pub objective_id: ObjectiveId,
    /// What was found before.
    pub previous: String,
    /// What was found then.
    pub finding: String,
    /// Why.
    pub reason: Option<String>,
    /// Who decided.
    pub by: Option<String>,
    /// Who was logged in to the database.
    pub login: String,
    /// When.
    pub at: Timestamp,
}

/// The decisions about one requirement, or all, the oldest first.
pub async fn history(
    conn: &mut PgConnection,
    control: Option<&ControlId>,
) -> Result<Vec<Change>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               objective_id, previous, finding, reason, decided_by, login,
               changed_at AS "changed_at: Ts"
           FROM blueteam.objective_history
           WHERE $1::text IS NULL OR control_id = $1
           ORDER BY change_id"#,
        control.map(|c| c.0.as_ref())
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Change {
            objective_id: ObjectiveId(row.objective_id),
            previous: row.previous,
            finding: row.finding,
            reason: row.reason,
            by: row.decided_by,
            login: row.login,
            at: row.changed_at.0,
        })
        .collect())
}
