//! From the configuration to what the crates below want to know.

use std::path::Path;

use anyhow::{Context as _, bail};
use detect::{Settings, sigma::Sigma};
use model::{Source, Span};
use store::sources::SourceRow;

use crate::config::{self, Config, Loaded, RuleParamError};

/// Reads the configuration; each rule checks its own parameters.
pub fn load(file: Option<&Path>) -> anyhow::Result<Loaded> {
    Ok(config::load(
        file,
        config::environment(),
        &|rule, params| {
            detect::rules::check_params(rule, params).map_err(|error| RuleParamError {
                key: error.key,
                message: error.message,
            })
        },
    )?)
}

/// What the engine is told. `grace` is how long a closed detection may be taken up again.
pub fn engine(config: &Config, only: Vec<String>, grace: Span) -> Settings {
    let mut rules = config.rules.clone();
    // The two general keys that concern single rules yield to what is said for the rule itself.
    let gap = rules
        .entry("audit_log_gap".to_owned())
        .or_insert_with(|| serde_json::json!({}));
    if let Some(gap) = gap.as_object_mut()
        && !gap.contains_key("expected")
    {
        gap.insert(
            "expected".to_owned(),
            serde_json::json!(config.detection.expected_sources),
        );
    }
    for definition in detect::rules::ALL {
        let params = rules
            .entry(definition.info.id.to_string())
            .or_insert_with(|| serde_json::json!({}));
        if let Some(params) = params.as_object_mut()
            && !params.contains_key("max_keys")
        {
            params.insert(
                "max_keys".to_owned(),
                serde_json::json!(config.detection.max_keys),
            );
        }
    }
    Settings {
        business_hours: config.business_hours.clone(),
        rules,
        only,
        settle: config.detection.settle,
        grace,
        users_max: usize::try_from(config.detection.max_keys).unwrap_or(usize::MAX),
    }
}

/// What a rule that needs these kinds of source does not see.
pub(crate) fn blind_to(needs: &[Source], sources: &[SourceRow]) -> Vec<String> {
    let of_use = || sources.iter().filter(|s| needs.contains(&s.kind));
    if !needs.is_empty() && !of_use().any(SourceRow::has_spoken) {
        return needs.iter().map(|kind| kind.as_str().to_owned()).collect();
    }
    of_use()
        .filter(|s| s.silent_since.is_some())
        .map(|s| s.source_id.clone())
        .collect()
}

/// Lets an operator's word in the table of rules count: rules that are switched off, and parameters
/// set there. What the configuration file says comes first.
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

        // What somebody wrote into the table must not keep the program from starting.
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

/// Writes the requirements of NIST SP 800-171 and their objectives into their tables.
pub async fn sync_catalog(conn: &mut store::PgConnection) -> anyhow::Result<u64> {
    let catalog = compliance::Catalog::r2();
    let entries: Vec<store::compliance::Entry<'_>> = catalog
        .requirements
        .iter()
        .map(|r| store::compliance::Entry {
            control_id: &r.control_id.0,
            family_id: &r.family_id,
            family: &r.family,
            requirement: &r.requirement,
        })
        .collect();

    let objectives: Vec<&str> = catalog
        .requirements
        .iter()
        .flat_map(|r| &r.assessment_objectives)
        .map(|o| o.id.0.as_str())
        .collect();
    Ok(store::compliance::load(conn, "blueteam", &entries, &objectives).await?)
}

/// Writes the built-in and the custom rules, and the monitors, into the table of rules.
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
        .chain(crate::monitors::ALL.iter().map(|monitor| monitor.rule()))
        .collect();

    Ok(store::rules::sync(conn, "blueteam", &rules).await?)
}

/// The custom rules of the configured folder. A rule that cannot be used is an error: a rule that
/// silently does not run is worse than a program that does not start.
pub fn sigma(config: &Config) -> anyhow::Result<Sigma> {
    if config.detection.rules_dir.is_empty() {
        return Ok(Sigma::default());
    }

    let (sigma, errors) = Sigma::load(&read_rules(Path::new(&config.detection.rules_dir))?);
    if let Some(first) = errors.first() {
        let more = if errors.len() > 1 {
            format!(" (and {} more)", errors.len() - 1)
        } else {
            String::new()
        };

        bail!(
            "{}: {}{more}; `blueteam alerts rules check` shows all",
            first.file,
            first.message
        );
    }

    Ok(sigma)
}

/// The same, with every error in a line of its own: for somebody who mends them all at once.
pub(crate) fn sigma_or_all_errors(config: &Config) -> anyhow::Result<Sigma> {
    if config.detection.rules_dir.is_empty() {
        return Ok(Sigma::default());
    }

    let (sigma, errors) = Sigma::load(&read_rules(Path::new(&config.detection.rules_dir))?);
    if errors.is_empty() {
        return Ok(sigma);
    }

    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("{}: {}", error.file, error.message))
        .collect();
    bail!("{}", lines.join("\n"))
}

/// The ids of everything that alerts: built-in rules, the user's own, monitors, advisories. None
/// when the user's own cannot be read.
pub fn rule_ids(config: &Config) -> Option<Vec<String>> {
    let own = sigma(config).ok()?;
    let rules = detect::rules::ALL
        .iter()
        .map(|rule| rule.info)
        .chain(own.infos())
        .map(|info| info.id.to_string());
    let monitors = crate::monitors::ALL
        .iter()
        .map(|monitor| monitor.rule().rule_id.to_string());

    Some(
        rules
            .chain(monitors)
            .chain([model::ADVISORY.to_string()])
            .collect(),
    )
}

/// Lets the table of rules count for custom rules: those that are switched off there stay silent.
pub fn sigma_with_table(mut sigma: Sigma, table: &[store::rules::RuleSetting]) -> Sigma {
    sigma.retain(|id| table.iter().all(|row| row.rule_id != *id || row.enabled));
    sigma
}

/// What the engine is told by the configuration and the table of rules together.
pub fn engine_with_table(
    config: &Config,
    only: Vec<String>,
    grace: Span,
    table: &[store::rules::RuleSetting],
) -> Settings {
    with_table(engine(config, only, grace), table)
}

/// The rule files of a folder, `*.yml` and `*.yaml`, in order of name.
pub fn read_rules(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the rules folder {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    paths.iter().map(read).collect()
}
