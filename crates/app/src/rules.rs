//! Rules: their table, what configuration and table together say, and what the rules would find.

pub mod backtest;
mod check;
pub mod jobs;
mod list;
mod navigator;
mod selection;
pub mod simulate;

use config::Config;
use config::rules::engine;
use detect::{Settings, sigma::Sigma};
use model::text::sanitize;
use model::{Actor, Source, Span, Timestamp};
use store::senders::{Sender, Unread};
use store::sources::SourceRow;

use crate::actor::{Action, Resource};
use crate::{AppError, Session, names};

pub use check::{Checked, check, configured_dir};
pub use list::{Proof, Row, list};
pub use navigator::layer as navigator_layer;
pub use selection::Selection;

/// The error of a rule that does not exist.
fn unknown_rule(id: &str) -> AppError {
    AppError::not_found(format!(
        "there is no rule `{}`; `blueteam alerts rules` lists them",
        sanitize(id)
    ))
}

/// Enables a rule. Returns whether the configuration file still disables it.
pub async fn enable(session: &mut Session, config: &Config, id: &str) -> Result<bool, AppError> {
    set_enabled(session, config, id, true).await?;

    let in_file = config
        .rules
        .get(id)
        .and_then(|rule| rule.get("enabled"))
        .and_then(serde_json::Value::as_bool);
    Ok(in_file == Some(false))
}

/// Disables a rule, so that it no longer fires.
pub async fn disable(session: &mut Session, config: &Config, id: &str) -> Result<(), AppError> {
    set_enabled(session, config, id, false).await
}

async fn set_enabled(
    session: &mut Session,
    config: &Config,
    id: &str,
    enabled: bool,
) -> Result<(), AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Rules)?;
    let rule_id = names::rule(config, id)?;
    if store::rules::set_enabled(conn, actor, &rule_id, enabled).await? {
        return Ok(());
    }

    // The program has the rule and the table does not: the database has not been migrated since.
    let sigma = config::rules::sigma(config)?;
    sync_rules(conn, &sigma).await?;
    if store::rules::set_enabled(conn, actor, &rule_id, enabled).await? {
        return Ok(());
    }

    Err(unknown_rule(id))
}

/// Returns the silent sources that a rule that needs these kinds of source does not see.
pub fn blind_to(needs: &[Source], sources: &[SourceRow]) -> Vec<String> {
    let of_use = || sources.iter().filter(|s| needs.contains(&s.kind));
    if !needs.is_empty() && !of_use().any(SourceRow::has_spoken) {
        return needs.iter().map(|kind| kind.as_str().to_owned()).collect();
    }
    of_use()
        .filter(|s| s.silent_since.is_some())
        .map(|s| s.source_id.clone())
        .collect()
}

/// Returns the sources, or peers of listeners, that a rule that needs these kinds sees only in
/// part, because too many of their lines are not understood.
pub fn partly_blind_to(
    needs: &[Source],
    sources: &[SourceRow],
    senders: &[Sender],
    now: Timestamp,
) -> Vec<String> {
    let is_of_use = |sender: &&Sender| {
        needs.is_empty()
            || sources
                .iter()
                .any(|s| s.source_id == sender.source_id && needs.contains(&s.kind))
    };
    senders
        .iter()
        .filter(is_of_use)
        .filter_map(|sender| {
            let Unread { unparsed, lines } = sender.unread(now)?;
            Some(format!("{} ({unparsed} of {lines} lines)", sender.name()))
        })
        .collect()
}

/// Applies what operators set in the rules table: disabled rules, and parameters. The configuration
/// file takes precedence.
pub fn with_table(mut settings: Settings, table: &[store::rules::RuleSetting]) -> Settings {
    for row in table {
        if !detect::rules::ALL.iter().any(|d| d.info.id == row.rule_id) {
            continue;
        }

        let params = settings
            .rules
            .entry(row.rule_id.to_string())
            .or_insert_with(|| serde_json::json!({}));
        let Some(params) = params.as_object_mut() else {
            continue;
        };
        let mut merged = row.config.as_object().cloned().unwrap_or_default();
        merged.append(&mut params.clone());

        if !row.enabled {
            merged.insert("enabled".to_owned(), serde_json::json!(false));
        }

        // A mistake in the table must not keep the program from starting.
        match detect::rules::check_params(
            row.rule_id.as_str(),
            &serde_json::Value::Object(merged.clone()),
        ) {
            Ok(()) => *params = merged,
            Err(error) => tracing::warn!("blueteam.alert_rules: {error}; the rule runs without it"),
        }
    }

    settings
}

/// Has every tenant's record begin with the requirements. `engine` sees all tenants, and `people`
/// write for one at a time; leaves it working for `default`.
pub async fn sync_catalogs(
    engine: &mut store::PgConnection,
    people: &mut store::PgConnection,
) -> anyhow::Result<u64> {
    let mut written = 0;
    for tenant in store::tenants::list(engine).await? {
        store::tenants::act_for(people, tenant.id).await?;
        written += sync_catalog(people).await?;
    }
    store::tenants::act_for(people, model::TenantId::DEFAULT).await?;
    Ok(written)
}

/// Writes the requirements of NIST SP 800-171 and their objectives into their tables, for the tenant
/// that the connection works for.
pub async fn sync_catalog(conn: &mut store::PgConnection) -> anyhow::Result<u64> {
    let catalog = compliance::Catalog::r2();
    let entries: Vec<store::compliance::Entry<'_>> = catalog
        .requirements
        .iter()
        .map(|r| {
            let (evidence_type, assessor_notes) = compliance::evidence_types::default_for(r);
            store::compliance::Entry {
                control_id: &r.control_id.0,
                family_id: &r.family_id,
                family: &r.family,
                requirement: &r.requirement,
                evidence_type,
                assessor_notes,
            }
        })
        .collect();

    let objectives: Vec<&str> = catalog
        .requirements
        .iter()
        .flat_map(|r| &r.assessment_objectives)
        .map(|o| o.id.0.as_str())
        .collect();
    Ok(store::compliance::load(conn, &Actor::task("blueteam"), &entries, &objectives).await?)
}

/// Writes the built-in and the custom rules, and the monitors, into the rules table.
pub async fn sync_rules(conn: &mut store::PgConnection, sigma: &Sigma) -> anyhow::Result<u64> {
    let builtin = detect::rules::ALL.iter().map(|d| d.info);
    let rules: Vec<store::rules::Rule> = builtin
        .chain(sigma.infos())
        .map(|info| store::rules::Rule {
            rule_id: info.id.clone(),
            name: info.name.to_owned(),
            description: info.description.to_owned(),
            severity: info.severity,
            nist_controls: info.controls.to_vec(),
        })
        .chain(monitors::ALL.iter().map(|monitor| monitor.rule()))
        .collect();

    Ok(store::rules::sync(conn, &Actor::task("blueteam"), &rules).await?)
}

/// Applies the rules table to custom rules: removes those that are disabled there.
pub fn sigma_with_table(mut sigma: Sigma, table: &[store::rules::RuleSetting]) -> Sigma {
    sigma.retain(|id| table.iter().all(|row| row.rule_id != *id || row.enabled));
    sigma
}

/// Returns the engine's settings from the configuration and the rules table together.
pub fn engine_with_table(
    config: &Config,
    only: Vec<String>,
    grace: Span,
    table: &[store::rules::RuleSetting],
) -> Settings {
    with_table(engine(config, only, grace), table)
}
