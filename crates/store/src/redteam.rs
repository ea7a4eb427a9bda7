//! Runs of red teams and scanners, what came of their modules, and what they found.

use model::{Actor, Severity, Timestamp};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Ts, begin};

/// A run, as it is stored.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "docs/schema.md describes the columns")]
pub struct Run {
    pub run_id: Uuid,
    pub format: String,
    pub tool: String,
    pub version: Option<String>,
    pub tool_run: Option<String>,
    pub target: String,
    pub subject: String,
    pub scope: Value,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub ran_at: Timestamp,
    pub imported_at: Timestamp,
    pub imported_by: String,
    pub file_name: String,
    pub sha256: String,
    pub items: i32,
    pub changes: Value,
    pub seen: Vec<Uuid>,
    pub unknown: Value,
}

/// What came of a module.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "docs/schema.md describes the columns")]
pub struct Verdict {
    pub run_id: Uuid,
    pub name: String,
    pub variant: String,
    pub controls: Vec<String>,
    pub severity: Severity,
    pub verdict: String,
    pub evidence: String,
    pub requests: Option<i64>,
    pub unknown: Value,
}

/// A finding, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "docs/schema.md describes the columns")]
pub struct Finding {
    pub finding_id: Uuid,
    pub fingerprint: String,
    pub tool: String,
    pub target: String,
    pub rule: String,
    pub title: String,
    pub severity: Severity,
    pub location: String,
    pub area: String,
    pub check_group: String,
    pub is_of_module: bool,
    pub cwes: Vec<i32>,
    pub cves: Vec<String>,
    pub controls: Vec<String>,
    pub detail: String,
    pub instances: i32,
    pub state: String,
    pub first_run: Uuid,
    pub last_run: Uuid,
    pub gone_run: Option<Uuid>,
    pub came_back: i32,
    pub decided_by: Option<String>,
    pub decided_at: Option<Timestamp>,
    pub reason: Option<String>,
    pub plans: Vec<Uuid>,
}

struct RunRow {
    run_id: Uuid,
    format: String,
    tool: String,
    version: Option<String>,
    tool_run: Option<String>,
    target: String,
    subject: String,
    scope: Value,
    started_at: Option<Ts>,
    ended_at: Option<Ts>,
    ran_at: Ts,
    imported_at: Ts,
    imported_by: String,
    file_name: String,
    sha256: String,
    items: i32,
    changes: Value,
    seen: Vec<Uuid>,
    unknown: Value,
}

impl From<RunRow> for Run {
    fn from(row: RunRow) -> Self {
        Self {
            run_id: row.run_id,
            format: row.format,
            tool: row.tool,
            version: row.version,
            tool_run: row.tool_run,
            target: row.target,
            subject: row.subject,
            scope: row.scope,
            started_at: row.started_at.map(|at| at.0),
            ended_at: row.ended_at.map(|at| at.0),
            ran_at: row.ran_at.0,
            imported_at: row.imported_at.0,
            imported_by: row.imported_by,
            file_name: row.file_name,
            sha256: row.sha256,
            items: row.items,
            changes: row.changes,
            seen: row.seen,
            unknown: row.unknown,
        }
    }
}

struct FindingRow {
    finding_id: Uuid,
    fingerprint: String,
    tool: String,
    target: String,
    rule: String,
    title: String,
    severity: String,
    location: String,
    area: String,
    check_group: String,
    is_of_module: bool,
    cwes: Vec<i32>,
    cves: Vec<String>,
    controls: Vec<String>,
    detail: String,
    instances: i32,
    state: String,
    first_run: Uuid,
    last_run: Uuid,
    gone_run: Option<Uuid>,
    came_back: i32,
    decided_by: Option<String>,
    decided_at: Option<Ts>,
    reason: Option<String>,
    plans: Vec<Uuid>,
}

impl TryFrom<FindingRow> for Finding {
    type Error = StoreError;

    fn try_from(row: FindingRow) -> Result<Self, StoreError> {
        Ok(Self {
            severity: parse_severity("redteam_findings.severity", &row.severity)?,
            finding_id: row.finding_id,
            fingerprint: row.fingerprint,
            tool: row.tool,
            target: row.target,
            rule: row.rule,
            title: row.title,
            location: row.location,
            area: row.area,
            check_group: row.check_group,
            is_of_module: row.is_of_module,
            cwes: row.cwes,
            cves: row.cves,
            controls: row.controls,
            detail: row.detail,
            instances: row.instances,
            state: row.state,
            first_run: row.first_run,
            last_run: row.last_run,
            gone_run: row.gone_run,
            came_back: row.came_back,
            decided_by: row.decided_by,
            decided_at: row.decided_at.map(|at| at.0),
            reason: row.reason,
            plans: row.plans,
        })
    }
}

fn parse_severity(column: &'static str, text: &str) -> Result<Severity, StoreError> {
    text.parse().map_err(|e| StoreError::corrupt(column, e))
}

/// The tenant's runs, the newest first.
pub async fn runs(conn: &mut PgConnection) -> Result<Vec<Run>, StoreError> {
    let rows = sqlx::query_as!(
        RunRow,
        r#"SELECT
               run_id, format, tool, version, tool_run, target, subject, scope,
               started_at AS "started_at: Ts", ended_at AS "ended_at: Ts",
               ran_at AS "ran_at: Ts", imported_at AS "imported_at: Ts", imported_by, file_name,
               sha256, items, changes, seen, unknown
           FROM blueteam.redteam_runs
           WHERE tenant_id = (SELECT blueteam.tenant_of_new())
           ORDER BY ran_at DESC, run_id DESC"#
    );
    let rows = rows.fetch_all(conn).await?;
    Ok(rows.into_iter().map(Run::from).collect())
}

/// The tenant's findings, the first found first.
pub async fn findings(conn: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    let rows = sqlx::query_as!(
        FindingRow,
        r#"SELECT
               finding_id, fingerprint, tool, target, rule, title, severity, location, area,
               check_group, is_of_module, cwes, cves, controls, detail, instances, state,
               first_run, last_run, gone_run, came_back, decided_by,
               decided_at AS "decided_at: Ts", reason, plans
           FROM blueteam.redteam_findings
           WHERE tenant_id = (SELECT blueteam.tenant_of_new())
           ORDER BY finding_id"#
    );
    let rows = rows.fetch_all(conn).await?;
    rows.into_iter().map(Finding::try_from).collect()
}

/// What came of modules of the tenant's runs since a time, the oldest first.
pub async fn verdicts(
    conn: &mut PgConnection,
    since: Timestamp,
) -> Result<Vec<Verdict>, StoreError> {
    let rows = sqlx::query!(
        "SELECT
             v.run_id, v.name, v.variant, v.controls, v.severity, v.verdict, v.evidence,
             v.requests, v.unknown
         FROM blueteam.redteam_verdicts AS v
         JOIN blueteam.redteam_runs AS r USING (run_id)
         WHERE r.tenant_id = (SELECT blueteam.tenant_of_new()) AND r.ran_at >= $1
         ORDER BY r.ran_at, v.verdict_id",
        Ts(since) as Ts
    );
    let rows = rows.fetch_all(conn).await?;
    rows.into_iter()
        .map(|row| {
            Ok(Verdict {
                severity: parse_severity("redteam_verdicts.severity", &row.severity)?,
                run_id: row.run_id,
                name: row.name,
                variant: row.variant,
                controls: row.controls,
                verdict: row.verdict,
                evidence: row.evidence,
                requests: row.requests,
                unknown: row.unknown,
            })
        })
        .collect()
}

/// Waits for whoever else imports or decides, until the end of the transaction: what is read after
/// this is what is changed.
pub async fn lock(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('blueteam.redteam', 0))")
        .execute(conn)
        .await?;
    Ok(())
}

/// What an import writes, in one transaction.
#[derive(Clone, Debug)]
pub struct Import {
    /// The run.
    pub run: Run,
    /// What came of its modules.
    pub verdicts: Vec<Verdict>,
    /// Findings that were not known.
    pub new: Vec<Finding>,
    /// Findings that were known and are otherwise now.
    pub changed: Vec<Finding>,
}

/// Writes an import. False when a file of the same content was imported meanwhile; nothing is
/// written then.
pub async fn import(
    conn: &mut PgConnection,
    actor: &Actor,
    import: &Import,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let run = &import.run;
    let done = sqlx::query!(
        "INSERT INTO blueteam.redteam_runs (
             run_id, format, tool, version, tool_run, target, subject, scope, started_at,
             ended_at, ran_at, file_name, sha256, items, changes, seen, unknown
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT ON CONSTRAINT redteam_runs_file DO NOTHING",
        run.run_id,
        run.format,
        run.tool,
        run.version,
        run.tool_run,
        run.target,
        run.subject,
        run.scope,
        run.started_at.map(Ts) as Option<Ts>,
        run.ended_at.map(Ts) as Option<Ts>,
        Ts(run.ran_at) as Ts,
        run.file_name,
        run.sha256,
        run.items,
        run.changes,
        &run.seen,
        run.unknown
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }

    // In a few statements: one for each of a hundred thousand findings would take minutes.
    for verdicts in import.verdicts.chunks(ROWS) {
        sqlx::query_file!("src/redteam/insert_verdicts.sql", rows(verdicts)?)
            .execute(&mut *tx)
            .await?;
    }
    for findings in import.new.chunks(ROWS) {
        sqlx::query_file!("src/redteam/insert_findings.sql", rows(findings)?)
            .execute(&mut *tx)
            .await?;
    }
    for findings in import.changed.chunks(ROWS) {
        sqlx::query_file!("src/redteam/update_findings.sql", rows(findings)?)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query_scalar!("SELECT blueteam.write_redteam_events($1)", run.run_id)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

/// How many rows a statement writes.
const ROWS: usize = 1_000;

fn rows<T: Serialize>(rows: &[T]) -> Result<Value, StoreError> {
    serde_json::to_value(rows).map_err(|error| StoreError::corrupt("a row of a report", error))
}

/// A person's decision about a finding.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Which.
    pub finding_id: Uuid,
    /// The state that it had when the person decided.
    pub from: &'a str,
    /// `open`, `closed` or `accepted`.
    pub to: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// Decides about a finding. False when it is in another state than the person saw.
pub async fn decide(
    conn: &mut PgConnection,
    actor: &Actor,
    decision: Decision<'_>,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    lock(&mut tx).await?;
    let done = sqlx::query!(
        "UPDATE blueteam.redteam_findings
         SET state = $3, reason = $4
         WHERE finding_id = $1 AND state = $2
               AND tenant_id = (SELECT blueteam.tenant_of_new())",
        decision.finding_id,
        decision.from,
        decision.to,
        decision.reason
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() > 0)
}

/// Notes the plan of action that findings have opened.
pub async fn note_plan(
    conn: &mut PgConnection,
    actor: &Actor,
    findings: &[Uuid],
    plan: Uuid,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "UPDATE blueteam.redteam_findings
         SET plans = array_append(plans, $2)
         WHERE finding_id = ANY ($1) AND tenant_id = (SELECT blueteam.tenant_of_new())",
        findings,
        plan
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}
