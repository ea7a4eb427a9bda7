//! Evidence, and which objectives it supports.

use model::Actor;
use model::evidence::{Confirmation, Refusal, UpkeepReview};
use model::{ControlId, Evidence, EvidenceId, ObjectiveId, Recorded, Timestamp};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Ts, begin};

/// Takes a piece in, with the objectives that it supports. The database writes down who collected
/// and approved it, and whom it records is who acts.
pub async fn add(conn: &mut PgConnection, actor: &Actor, e: &Evidence) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    let objectives: Vec<String> = e.objectives.iter().map(|o| o.0.clone()).collect();
    sqlx::query!(
        "SELECT blueteam.add_evidence($1, $2)",
        to_row(e),
        &objectives
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}

/// A row of `compliance_evidence`, by the names of its columns.
fn to_row(e: &Evidence) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let state = if e.approved_at.is_some() {
        "final"
    } else {
        "draft"
    };

    json!({
        "evidence_id": e.evidence_id.0,
        "control_id": e.control_id,
        "evidence_type": e.kind,
        "description": e.description,
        "content": e.content,
        "file_path": e.file_path,
        "file_name": e.file_name,
        "size_bytes": e.size_bytes,
        "sha256": e.sha256,
        "collected_at": time(Some(e.collected_at)),
        "effective_at": time(e.effective_at),
        "valid_until": time(e.valid_until),
        "owner": e.owner,
        "state": state,
        "approved_at": time(e.approved_at),
        "facts": e.recorded.as_ref().map(|r| &r.facts),
        "check_id": e.recorded.as_ref().map(|r| &r.check_id),
        "facts_sha256": e.recorded.as_ref().and_then(|r| r.facts_sha256.as_ref()),
        "form": e.upkeep.map_or(e.review.then_some("review"), |period| Some(period.form())),
    })
}

/// Which evidence to list.
#[derive(Clone, Debug, Default)]
pub struct EvidenceFilter {
    /// That supports an objective of this requirement, or was taken in for it.
    pub control: Option<ControlId>,
    /// Only this piece.
    pub evidence_id: Option<EvidenceId>,
    /// Of each check, only the last.
    pub latest: bool,
    /// Without texts and recorded facts, which are large: what is asked is what there is, and how
    /// long it counts.
    pub bare: bool,
    /// Only those with larger ids, in the order of their ids and [`PAGE`] at a time: six years of
    /// results are more than fits into memory.
    pub after: Option<EvidenceId>,
}

/// Pieces of a page.
pub const PAGE: usize = 1000;

/// The pieces that a filter takes, by the day they were taken in.
pub async fn list(
    conn: &mut PgConnection,
    filter: &EvidenceFilter,
) -> Result<Vec<Evidence>, StoreError> {
    let rows = sqlx::query_file!(
        "src/evidence/list.sql",
        filter.control.as_ref().map(|c| c.0.as_ref()),
        filter.evidence_id.map(|id| id.0),
        filter.latest,
        filter.bare,
        filter.after.map(|id| id.0),
        PAGE as i64
    )
    .fetch_all(conn)
    .await?;

    rows.into_iter()
        .map(|row| {
            Ok(Evidence {
                confirmed_at: row.confirmed.map(|at| at.0),
                review: row.review,
                upkeep: row.form.as_deref().and_then(UpkeepReview::of_form),
                tampered: false,
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
                refused: match (row.refused_by, row.refused_at, row.refused_reason) {
                    (Some(by), Some(at), Some(reason)) => Some(Refusal {
                        by,
                        at: at.0,
                        reason,
                    }),
                    _ => None,
                },
                retain_until: row.retain_until.0,
                recorded: row.check_id.map(|check_id| Recorded {
                    check_id,
                    facts: row.facts.unwrap_or_default(),
                    facts_sha256: row.facts_sha256,
                }),
            })
        })
        .collect()
}

/// Ids that begin or end like this, written without dashes; a few of them are enough to say that
/// there are several.
pub async fn like(conn: &mut PgConnection, hex: &str) -> Result<Vec<EvidenceId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT evidence_id
         FROM blueteam.compliance_evidence
         WHERE starts_with(replace(evidence_id::text, '-', ''), $1)
            OR right(evidence_id::text, length($1)) = $1
         ORDER BY evidence_id
         LIMIT 6",
        hex
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(EvidenceId).collect())
}

/// When each check last gave a result, or confirmed one.
pub async fn last_results(conn: &mut PgConnection) -> Result<Vec<(String, Timestamp)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               l.check_id AS "check_id!",
               greatest(
                   collected_at,
                   (
                       SELECT max(confirmed_at)
                       FROM blueteam.evidence_confirmations c
                       WHERE c.evidence_id = e.evidence_id
                   )
               ) AS "at!: Ts"
           FROM blueteam.latest_results l
           JOIN blueteam.compliance_evidence e USING (evidence_id)"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.check_id, row.at.0))
        .collect())
}

/// The newest result of a check, as far as the next one must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The piece.
    pub evidence_id: EvidenceId,
    /// When it was taken in.
    pub collected_at: Timestamp,
    /// See [`Recorded::facts_sha256`].
    pub facts_sha256: Option<String>,
    /// How often it was confirmed.
    pub confirmations: u32,
    /// The hash of the last confirmation, or of the piece.
    pub last_sha256: Option<String>,
}

/// The newest result of a check; none when it never ran.
pub async fn newest(conn: &mut PgConnection, check_id: &str) -> Result<Option<Newest>, StoreError> {
    let row = sqlx::query_file!("src/evidence/newest.sql", check_id)
        .fetch_optional(conn)
        .await?;

    Ok(row.map(|r| Newest {
        evidence_id: EvidenceId(r.evidence_id),
        collected_at: r.collected_at.0,
        facts_sha256: r.facts_sha256,
        confirmations: r.n.unsigned_abs(),
        last_sha256: r.last_sha256,
    }))
}

/// Keeps that a check saw the same again: the piece counts until `valid_until`, and is kept for six
/// years from then on.
pub async fn confirm(
    conn: &mut PgConnection,
    actor: &Actor,
    c: &Confirmation,
    valid_until: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "SELECT blueteam.confirm_evidence($1, $2, $3, $4, $5)",
        c.evidence_id.0,
        i32::try_from(c.n).unwrap_or(i32::MAX),
        Ts(c.at) as Ts,
        c.sha256,
        Ts(valid_until) as Ts,
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}

/// The confirmations of some pieces, or of all, in order.
pub async fn confirmations(
    conn: &mut PgConnection,
    of: Option<&[EvidenceId]>,
) -> Result<Vec<Confirmation>, StoreError> {
    let ids: Option<Vec<Uuid>> = of.map(|ids| ids.iter().map(|id| id.0).collect());
    let rows = sqlx::query!(
        r#"SELECT evidence_id, n, confirmed_at AS "at: Ts", confirmed_by, sha256
           FROM blueteam.evidence_confirmations
           WHERE $1::uuid[] IS NULL OR evidence_id = ANY ($1)
           ORDER BY evidence_id, n"#,
        ids.as_deref()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Confirmation {
            evidence_id: EvidenceId(r.evidence_id),
            n: r.n.unsigned_abs(),
            at: r.at.0,
            by: r.confirmed_by,
            sha256: r.sha256,
        })
        .collect())
}

/// Keeps others from running the checks, for as long as the connection lives. Waits for them, or
/// returns false when they run already.
pub async fn hold_checks(conn: &mut PgConnection, wait: bool) -> Result<bool, StoreError> {
    if wait {
        // Checks look at ten million events and more; whoever waits for them is a person, who can
        // interrupt it.
        sqlx::query!("SELECT set_config('lock_timeout', '15min', false)")
            .fetch_one(&mut *conn)
            .await?;
        sqlx::query!("SELECT pg_advisory_lock(hashtextextended('blueteam.compliance.checks', 0))")
            .execute(conn)
            .await?;
        return Ok(true);
    }

    let held = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(
               hashtextextended('blueteam.compliance.checks', 0)
           ) AS "held!""#
    )
    .fetch_one(conn)
    .await?;
    Ok(held)
}

/// Makes a draft final. False when there is no such draft.
pub async fn approve(
    conn: &mut PgConnection,
    actor: &Actor,
    id: EvidenceId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query_scalar!(
        r#"SELECT blueteam.approve_evidence($1, $2) AS "done!""#,
        id.0,
        Ts(now) as Ts
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done)
}

/// Refuses a draft, with the reason. False when there is no such draft, or it was refused before.
pub async fn refuse(
    conn: &mut PgConnection,
    actor: &Actor,
    id: EvidenceId,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query_scalar!(
        r#"SELECT blueteam.refuse_evidence($1, $2, $3) AS "done!""#,
        id.0,
        reason,
        Ts(now) as Ts
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done)
}

/// The recorded facts of a check's result that a person last approved as a baseline: those of the
/// newest piece that somebody, and not the check itself, put their name to.
pub async fn baseline(
    conn: &mut PgConnection,
    check_id: &str,
) -> Result<Option<Value>, StoreError> {
    let facts = sqlx::query_scalar!(
        r#"SELECT facts AS "facts!" FROM blueteam.compliance_evidence
            WHERE check_id = $1 AND owner IS NOT NULL ORDER BY seq DESC LIMIT 1"#,
        check_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(facts)
}

/// Makes a check's result the baseline that later ones are compared with. False when it is no such
/// result.
pub async fn make_baseline(
    conn: &mut PgConnection,
    actor: &Actor,
    id: EvidenceId,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query_scalar!(r#"SELECT blueteam.approve_baseline($1) AS "done!""#, id.0)
        .fetch_one(&mut *tx)
        .await?;

    tx.commit().await?;
    Ok(done)
}
