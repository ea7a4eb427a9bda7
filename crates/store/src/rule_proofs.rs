//! When each rule was last shown to fire when it must and to be silent when it must not.

use model::Actor;
use model::{RuleId, Timestamp};
use serde::Serialize;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::Ts;

/// A rule's fixtures were run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The rule.
    pub rule_id: RuleId,
    /// When.
    pub at: Timestamp,
    /// By which version of the program.
    pub version: String,
    /// How many cases there were.
    pub cases: u32,
    /// How many of them came out wrong.
    pub failed: u32,
}

/// Notes that a rule's cases were run, and what came of it.
pub async fn note(
    conn: &mut PgConnection,
    actor: &Actor,
    version: &str,
    rule: &RuleId,
    cases: u32,
    failed: u32,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO blueteam.rule_test_results (rule_id, version, cases, failed, actor)
         VALUES ($1, $2, $3, $4, $5)",
        rule.as_str(),
        version,
        i32::try_from(cases).unwrap_or(i32::MAX),
        i32::try_from(failed).unwrap_or(i32::MAX),
        actor.to_string()
    )
    .execute(conn)
    .await?;

    Ok(())
}

/// The latest of each rule.
pub async fn latest(conn: &mut PgConnection) -> Result<Vec<Proof>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (rule_id) rule_id, at AS "at: Ts", version, cases, failed
             FROM blueteam.rule_test_results ORDER BY rule_id, at DESC, proof_id DESC"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Proof {
            rule_id: RuleId(r.rule_id.into()),
            at: r.at.0,
            version: r.version,
            cases: r.cases.unsigned_abs(),
            failed: r.failed.unsigned_abs(),
        })
        .collect())
}
