//! Evidence, and which objectives it supports.

use model::{ControlId, Evidence, EvidenceId, ObjectiveId, Recorded, Timestamp};
use sqlx::{Connection, PgConnection};

use crate::StoreError;
use crate::db::{Ts, set_actor};

/// Takes a piece in, with the objectives that it supports.
pub async fn add(conn: &mut PgConnection, actor: &str, e: &Evidence) -> Result<(), StoreError> {
    let mut tx = conn.begin().await?;
    set_actor(&mut tx, actor).await?;
    let size = e.size_bytes.map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    sqlx::query!(
        "INSERT INTO blueteam.compliance_evidence
            (evidence_id, control_id, evidence_type, description, content, file_path, file_name, size_bytes, sha256, collected_at,
             automated, collected_by, effective_at, valid_until, owner, state, approved_by, approved_at, facts, check_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        e.evidence_id.0,
        e.control_id.0.as_ref(),
        e.kind.as_str(),
        e.description,
        e.content,
        e.file_path,
        e.file_name,
        size,
        e.sha256,
        Ts(e.collected_at) as Ts,
        e.recorded.is_some(),
        e.collected_by,
        e.effective_at.map(Ts) as Option<Ts>,
        e.valid_until.map(Ts) as Option<Ts>,
        e.owner,
        if e.approved_at.is_some() { "final" } else { "draft" },
        e.approved_by,
        e.approved_at.map(Ts) as Option<Ts>,
        e.recorded.as_ref().map(|r| &r.facts),
        e.recorded.as_ref().map(|r| &r.check_id),
    )
    .execute(&mut *tx)
    .await?;
    let objectives: Vec<String> = e.objectives.iter().map(|o| o.0.clone()).collect();
    sqlx::query!(
        "INSERT INTO blueteam.evidence_objectives (evidence_id, objective_id) SELECT $1, unnest($2::text[])",
        e.evidence_id.0,
        &objectives
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// What somebody asks for.
#[derive(Clone, Debug, Default)]
pub struct EvidenceFilter {
    /// That supports an objective of this requirement, or was taken in for it.
    pub control: Option<ControlId>,
    /// Only this piece.
    pub evidence_id: Option<EvidenceId>,
    /// Of each check, only the last.
    pub latest: bool,
    /// Without texts and recorded facts, which are large: what is asked is what there is, and how long it counts.
    pub bare: bool,
}

/// The pieces that a filter takes, by the day they were taken in.
pub async fn list(conn: &mut PgConnection, filter: &EvidenceFilter) -> Result<Vec<Evidence>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT evidence_id, control_id, evidence_type, description, CASE WHEN NOT $4 THEN content END AS content, file_path, file_name,
                  size_bytes, sha256, collected_at AS "collected_at: Ts", collected_by, effective_at AS "effective_at: Ts", valid_until AS "valid_until: Ts",
                  owner, approved_by, approved_at AS "approved_at: Ts", retain_until AS "retain_until: Ts", CASE WHEN NOT $4 THEN facts END AS facts, check_id,
                  ARRAY(SELECT objective_id FROM blueteam.evidence_objectives o WHERE o.evidence_id = e.evidence_id ORDER BY 1)
                      AS "objectives!"
             FROM blueteam.compliance_evidence e
            WHERE ($1::text IS NULL OR control_id = $1
                   OR EXISTS (SELECT FROM blueteam.evidence_objectives o
                               WHERE o.evidence_id = e.evidence_id AND split_part(objective_id, '[', 1) = $1))
              AND ($2::uuid IS NULL OR evidence_id = $2)
              AND (NOT $3 OR check_id IS NULL OR NOT EXISTS (
                   SELECT FROM blueteam.compliance_evidence l WHERE l.check_id = e.check_id AND l.collected_at > e.collected_at))
            ORDER BY collected_at, evidence_id"#,
        filter.control.as_ref().map(|c| c.0.as_ref()),
        filter.evidence_id.map(|id| id.0),
        filter.latest,
        filter.bare
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Evidence {
                evidence_id: EvidenceId(row.evidence_id),
                control_id: ControlId(row.control_id.into()),
                objectives: row.objectives.into_iter().map(ObjectiveId).collect(),
                kind: row
                    .evidence_type
                    .parse()
                    .map_err(|e| StoreError::corrupt("compliance_evidence.evidence_type", e))?,
                description: row.description,
                content: row.content,
                file_path: row.file_path,
                file_name: row.file_name,
                size_bytes: row.size_bytes.map(i64::unsigned_abs),
                sha256: row.sha256,
                collected_at: row.collected_at.0,
                collected_by: row.collected_by,
                effective_at: row.effective_at.map(|at| at.0),
                valid_until: row.valid_until.map(|at| at.0),
                owner: row.owner,
                approved_by: row.approved_by,
                approved_at: row.approved_at.map(|at| at.0),
                retain_until: row.retain_until.0,
                recorded: row.check_id.map(|check_id| Recorded { check_id, facts: row.facts.unwrap_or_default() }),
            })
        })
        .collect()
}

/// When each check last gave a result.
pub async fn last_results(conn: &mut PgConnection) -> Result<Vec<(String, Timestamp)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT check_id AS "check_id!", max(collected_at) AS "at!: Ts" FROM blueteam.compliance_evidence
            WHERE check_id IS NOT NULL GROUP BY check_id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.check_id, row.at.0)).collect())
}

/// Keeps others from running the checks, for as long as the connection lives. Waits for them, or returns false when they run already.
pub async fn hold_checks(conn: &mut PgConnection, wait: bool) -> Result<bool, StoreError> {
    if wait {
        sqlx::query!("SELECT pg_advisory_lock(hashtextextended('blueteam.compliance.checks', 0))")
            .execute(conn)
            .await?;
        return Ok(true);
    }
    let held = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(hashtextextended('blueteam.compliance.checks', 0)) AS "held!""#
    )
    .fetch_one(conn)
    .await?;
    Ok(held)
}

/// Makes a draft final. False when there is no such draft.
pub async fn approve(conn: &mut PgConnection, actor: &str, id: EvidenceId, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = conn.begin().await?;
    set_actor(&mut tx, actor).await?;
    let done = sqlx::query!(
        "UPDATE blueteam.compliance_evidence SET state = 'final', approved_by = $2, approved_at = $3
          WHERE evidence_id = $1 AND state = 'draft'",
        id.0,
        actor,
        Ts(now) as Ts
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() > 0)
}

/// The recorded facts of a check's result that a person last approved as a baseline: those of the newest piece that somebody, and not the
/// check itself, put their name to.
pub async fn baseline(conn: &mut PgConnection, check_id: &str) -> Result<Option<serde_json::Value>, StoreError> {
    let facts = sqlx::query_scalar!(
        r#"SELECT facts AS "facts!" FROM blueteam.compliance_evidence
            WHERE check_id = $1 AND owner IS NOT NULL ORDER BY collected_at DESC LIMIT 1"#,
        check_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(facts)
}

/// Makes a check's result the baseline that later ones are compared with. False when it is no such result.
pub async fn make_baseline(conn: &mut PgConnection, actor: &str, id: EvidenceId) -> Result<bool, StoreError> {
    let mut tx = conn.begin().await?;
    set_actor(&mut tx, actor).await?;
    let done = sqlx::query!(
        "UPDATE blueteam.compliance_evidence SET owner = $2 WHERE evidence_id = $1 AND check_id IS NOT NULL",
        id.0,
        actor
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() > 0)
}
