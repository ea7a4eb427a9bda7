//! Plans of action.

use model::Actor;
use model::{ControlId, EvidenceId, Plan, PlanId, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// Every item, the next due first.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<Plan>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT poam_id, control_id, kind, weakness_description, risk_level, remediation_plan, milestone, milestone_changes,
                  scheduled_completion AS "due: Ts", actual_completion AS "completed: Ts", status, resources_required, owner, identified_by,
                  mitigation, tasks, conditional_since AS "conditional: Ts", closed_by, closing_evidence, created_at AS "created_at: Ts"
             FROM blueteam.poam_items ORDER BY scheduled_completion NULLS LAST, created_at, poam_id"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(Plan {
                poam_id: PlanId(r.poam_id),
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

/// Writes items: a new one is added, one that is there is brought in line with what is given.
pub async fn save(
    conn: &mut PgConnection,
    actor: &Actor,
    plans: &[Plan],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    for p in plans {
        sqlx::query!(
            "INSERT INTO blueteam.poam_items
                (poam_id, control_id, kind, weakness_description, risk_level, remediation_plan, \
                milestone, milestone_changes,
                 scheduled_completion, actual_completion, status, resources_required, owner, \
                 identified_by, mitigation, tasks,
                 conditional_since, closed_by, closing_evidence, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
             $18, $19, $20)
             ON CONFLICT (poam_id) DO UPDATE SET kind = excluded.kind, weakness_description = \
             excluded.weakness_description,
                 risk_level = excluded.risk_level, remediation_plan = excluded.remediation_plan, \
                 milestone = excluded.milestone,
                 milestone_changes = excluded.milestone_changes, scheduled_completion = \
                 excluded.scheduled_completion,
                 actual_completion = excluded.actual_completion, status = excluded.status,
                 resources_required = excluded.resources_required, owner = excluded.owner, \
                 identified_by = excluded.identified_by,
                 mitigation = excluded.mitigation, tasks = excluded.tasks, conditional_since = \
                 excluded.conditional_since,
                 closed_by = excluded.closed_by, closing_evidence = excluded.closing_evidence, \
                 updated_at = excluded.updated_at",
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
            Ts(now) as Ts
        )
        .execute(&mut *tx)
        .await?;
    }

    tx.commit().await?;
    Ok(())
}
