//! What the configuration says of rules: parameters of the built-in ones, files of custom ones.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use detect::Settings;
use detect::sigma::{Sigma, SigmaError};
use model::Span;
use serde_json::{Map, Value};

use crate::Config;
use crate::error::Problem;
use crate::wording::{nearest, plain_words};

/// How long an expected source may be silent during business hours before `audit_log_gap` reports
/// it.
pub fn gap_silence(config: &Config) -> Span {
    const RULE: &str = "audit_log_gap";
    let of = |params: Option<&Value>| params?.get("silence")?.as_str()?.parse().ok();
    let default = || of(detect::rules::defaults(RULE).map(Value::Object).as_ref());
    of(config.rules.get(RULE))
        .or_else(default)
        .unwrap_or(Span::mins(5))
}

/// Checks every parameter of a rule.
pub(super) fn check(rule: &str, params: &Value, problems: &mut Vec<Problem>) {
    let Some(known) = detect::rules::defaults(rule) else {
        let ids = detect::rules::ALL.iter().map(|d| d.info.id.as_str());
        let meant = nearest(rule, ids)
            .map(|near| format!("did you mean `{near}`? "))
            .unwrap_or_default();
        let message = format!("there is no such rule; {meant}`blueteam rules list` lists them");
        problems.push(Problem::new(format!("rules.{rule}"), message));
        return;
    };
    let Some(params) = params.as_object() else {
        let message = "must be a section with the rule's parameters";
        problems.push(Problem::new(format!("rules.{rule}"), message));
        return;
    };

    for (key, value) in params {
        if let Some(message) = param_problem(rule, key, value, &known) {
            problems.push(Problem::new(format!("rules.{rule}.{key}"), message));
        }
    }
}

/// Returns what is wrong with a parameter.
fn param_problem(
    rule: &str,
    key: &str,
    value: &Value,
    known: &Map<String, Value>,
) -> Option<String> {
    let Some(default) = known.get(key) else {
        let names = known.keys().map(String::as_str);
        let meant = nearest(key, names.clone())
            .map(|near| format!("did you mean `{near}`? "))
            .unwrap_or_default();
        let names: Vec<&str> = names.collect();
        return Some(format!(
            "this rule has no such parameter; {meant}It has {}",
            names.join(", ")
        ));
    };

    let alone = Value::Object([(key.to_owned(), value.clone())].into_iter().collect());
    if let Err(error) = detect::rules::check_params(rule, &alone) {
        return Some(plain_words(&error.message, Some(value)));
    }

    // A threshold of none would raise an alert at the first event that is looked at.
    let is_none =
        |value: &Value| value.as_str().and_then(|text| text.parse().ok()) == Some(Span::ZERO);
    if key.contains("threshold") && value.as_u64() == Some(0) {
        return Some("must be at least 1".to_owned());
    }
    if key.contains("window") && is_none(value) && !is_none(default) {
        return Some("must be longer than 0s".to_owned());
    }

    None
}

/// Returns the engine's settings. `grace` is how long a closed detection may still be extended.
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
        allowed_lateness: config.detection.allowed_lateness,
        grace,
        users_max: usize::try_from(config.detection.max_keys).unwrap_or(usize::MAX),
    }
}

/// The custom rules of the configured folder. A rule that cannot be used is an error: a rule that
/// silently does not run is worse than a program that does not start.
pub fn sigma(config: &Config) -> anyhow::Result<Sigma> {
    if config.detection.rules_dir.is_empty() {
        return Ok(Sigma::default());
    }

    let (sigma, errors) = load(config)?;
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

/// The same, with every error on a line of its own, to fix them all at once.
pub fn sigma_or_all_errors(config: &Config) -> anyhow::Result<Sigma> {
    if config.detection.rules_dir.is_empty() {
        return Ok(Sigma::default());
    }

    let (sigma, errors) = load(config)?;
    if errors.is_empty() {
        return Ok(sigma);
    }

    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("{}: {}", error.file, error.message))
        .collect();
    bail!("{}", lines.join("\n"))
}

fn load(config: &Config) -> anyhow::Result<(Sigma, Vec<SigmaError>)> {
    let files = read_rules(Path::new(&config.detection.rules_dir))?;
    Ok(Sigma::load(&files, config.detection.rule_limits()))
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
    let monitors = ::monitors::ALL
        .iter()
        .map(|monitor| monitor.rule().rule_id.to_string());

    Some(
        rules
            .chain(monitors)
            .chain([model::ADVISORY.to_string()])
            .collect(),
    )
}

/// Maximum depth of folders in a rules folder; a link that leads back up ends there.
const DEPTH_MAX: usize = 16;

/// The rule files of a folder and of the folders in it, or the one that is named: `*.yml` and
/// `*.yaml`, in order of path. Names that begin with a dot are skipped.
pub fn read_rules(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut paths = Vec::new();
    if folder.is_file() {
        paths.push(folder.to_owned());
    } else {
        collect_rule_files(folder, DEPTH_MAX, &mut paths)
            .with_context(|| format!("cannot read the rules folder {}", folder.display()))?;
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    paths.iter().map(read).collect()
}

fn collect_rule_files(
    folder: &Path,
    depth: usize,
    paths: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }

        if path.is_dir() {
            if depth > 0 {
                collect_rule_files(&path, depth - 1, paths)?;
            }
        } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            paths.push(path);
        }
    }

    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_rule_files_are_those_of_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let rule = |name: &str| {
            format!(
                "title: {name}\nname: {name}\nlogsource: {{product: blueteam}}\n\
                 detection: {{a: {{action: {name}}}, condition: a}}\nlevel: high\n"
            )
        };
        let both = format!("{}---\n{}", rule("one"), rule("two"));
        std::fs::write(dir.path().join("both.yml"), both).unwrap();

        let mut config = Config::default();
        config.detection.rules_dir = dir.path().display().to_string();
        assert_eq!(sigma_or_all_errors(&config).unwrap().infos().count(), 2);
        config.detection.rule_file_max_rules = 1;
        let why = sigma_or_all_errors(&config).unwrap_err().to_string();
        assert!(why.contains("holds more than 1 rules"), "{why}");
    }
}
