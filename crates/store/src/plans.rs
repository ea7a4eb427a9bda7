//! Plans of action.

use model::Actor;
use model::{ControlId, EvidenceId, Plan, PlanId, PlanNumber, RiskLevel, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// Every item, the next due first.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<Plan>, StoreError> {
    let rows = sqlx::query_file!("src/plans/list.sql")
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|r| {
            Ok(Plan {
                poam_id: PlanId(r.poam_id),
                item_number: Some(parse_number(&r.item_number)?),
                control_id: ControlId(r.control_id.into()),
                kind: r
                    .kind
                    .parse()
                    .map_err(|e| StoreError::corrupt("poam_items.kind", e))?,
                weakness: r.weakness_description,
                risk: r
                    .risk_level
                    .parse()
                    .map_err(|e| StoreError::corrupt("poam_items.risk_level", e))?,
                likelihood: parse_level("poam_items.likelihood", r.likelihood)?,
                impact: parse_level("poam_items.impact", r.impact)?,
                residual_risk: parse_level("poam_items.residual_risk", r.residual_risk)?,
                remediation: r.remediation_plan,
                milestones: r.milestone,
                milestone_changes: r.milestone_changes,
                due: r.due.map(|t| t.0),
                completed: r.completed.map(|t| t.0),
                status: r
                    .status
                    .parse()
                    .map_err(|e| StoreError::corrupt("poam_items.status", e))?,
                resources: r.resources_required,
                owner: r.owner,
                identified_by: r.identified_by,
                mitigation: r.mitigation,
                tasks: r.tasks,
                conditional_since: r.conditional.map(|t| t.0),
                closed_by: r.closed_by,
                closing_evidence: r.closing_evidence.map(EvidenceId),
                created_at: r.created_at.0,
            })
        })
        .collect()
}

fn parse_number(text: &str) -> Result<PlanNumber, StoreError> {
    text.parse()
        .map_err(|e| StoreError::corrupt("poam_items.item_number", e))
}

fn parse_level(
    column: &'static str,
    text: Option<String>,
) -> Result<Option<RiskLevel>, StoreError> {
    text.map(|text| text.parse().map_err(|e| StoreError::corrupt(column, e)))
        .transpose()
}

/// Writes items: a new one is added, one that is there is brought in line with what is given. Each
/// then has its number; a new one keeps the one that it comes with unless another item has it.
pub async fn save(
    conn: &mut PgConnection,
    actor: &Actor,
    plans: &mut [Plan],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    for p in plans {
        let number = sqlx::query_file_scalar!(
            "src/plans/save.sql",
            p.poam_id.0,
            p.control_id.0.as_ref(),
            p.kind.as_str(),
            p.weakness,
            p.risk.as_str(),
            p.remediation,
            p.milestones,
            p.milestone_changes,
            p.due.map(Ts) as Option<Ts>,
            p.completed.map(Ts) as Option<Ts>,
            p.status.as_str(),
            p.resources,
            p.owner,
            p.identified_by,
            p.mitigation,
            &p.tasks,
            p.conditional_since.map(Ts) as Option<Ts>,
            p.closed_by,
            p.closing_evidence.map(|e| e.0),
            Ts(now) as Ts,
            p.item_number.map(|number| number.to_string()),
            p.likelihood.map(RiskLevel::as_str),
            p.impact.map(RiskLevel::as_str),
            p.residual_risk.map(RiskLevel::as_str)
        )
        .fetch_one(&mut *tx)
        .await?;
        p.item_number = Some(parse_number(&number)?);
    }

    tx.commit().await?;
    Ok(())
}

/// Completes an item, with the evidence that shows it. False when there is no such item, or it is
/// completed.
pub async fn close(
    conn: &mut PgConnection,
    actor: &Actor,
    id: PlanId,
    evidence: EvidenceId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query_scalar!(
        r#"SELECT blueteam.close_plan($1, $2, $3) AS "done!""#,
        id.0,
        evidence.0,
        Ts(now) as Ts
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done)
}
