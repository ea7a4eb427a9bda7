//! The table of rules: built-in ones are kept in line with the program, what an operator set stays.

use model::Actor;
use model::{ControlId, RuleId, Severity};
use serde_json::Value;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::begin;

/// A rule that the program knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub rule_id: RuleId,
    /// Its title.
    pub name: String,
    /// What it finds.
    pub description: String,
    /// How bad that is.
    pub severity: Severity,
    /// Controls that it gives evidence for.
    pub nist_controls: Vec<ControlId>,
}

/// What the table says of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSetting {
    /// The rule.
    pub rule_id: RuleId,
    /// Its title.
    pub name: String,
    /// Its severity, as written.
    pub severity: String,
    /// Whether an operator lets it fire.
    pub enabled: bool,
    /// Parameters that an operator set.
    pub config: Value,
}

/// Writes the rules that the program has. `enabled` and `config` are the operator's and stay; rules
/// that are gone from the program stay too, because alerts refer to them. Returns how many rows
/// changed.
pub async fn sync(
    conn: &mut PgConnection,
    actor: &Actor,
    rules: &[Rule],
) -> Result<u64, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let mut changed = 0;
    for rule in rules {
        let controls: Vec<String> = rule.nist_controls.iter().map(ToString::to_string).collect();
        let done = sqlx::query!(
            "INSERT INTO blueteam.alert_rules AS r (
                 rule_id, name, description, severity, nist_controls
             )
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (rule_id) DO UPDATE
             SET
                 name = excluded.name,
                 description = excluded.description,
                 severity = excluded.severity,
                 nist_controls = excluded.nist_controls
             WHERE (r.name, r.description, r.severity, r.nist_controls) IS DISTINCT FROM (
                 excluded.name, excluded.description, excluded.severity, excluded.nist_controls
             )",
            rule.rule_id.as_str(),
            rule.name,
            rule.description,
            rule.severity.as_str(),
            &controls
        )
        .execute(&mut *tx)
        .await?;

        changed += done.rows_affected();
    }

    tx.commit().await?;
    Ok(changed)
}

/// What the table says of every rule.
pub async fn settings(conn: &mut PgConnection) -> Result<Vec<RuleSetting>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               rule_id,
               name,
               severity,
               coalesce(enabled, true) AS "enabled!",
               coalesce(config, '{}') AS "config!"
           FROM blueteam.alert_rules
           ORDER BY rule_id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| RuleSetting {
            rule_id: RuleId(r.rule_id.into()),
            name: r.name,
            severity: r.severity,
            enabled: r.enabled,
            config: r.config,
        })
        .collect())
}

/// Lets a rule fire, or not. False when there is no such rule.
pub async fn set_enabled(
    conn: &mut PgConnection,
    actor: &Actor,
    rule: &RuleId,
    enabled: bool,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE blueteam.alert_rules SET enabled = $2 WHERE rule_id = $1",
        rule.as_str(),
        enabled
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}
