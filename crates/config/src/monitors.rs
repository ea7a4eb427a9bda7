//! `[monitors]`: thresholds that are measured on a schedule.

use std::collections::BTreeMap;

use model::Span;
use serde::{Deserialize, Serialize};

use crate::check_lasting;
use crate::error::Problem;
use ::monitors::{ALL, named};

/// What is measured, and when that is an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Monitors {
    /// How often.
    pub interval: Span,
    /// For how long a value must have been at 90 % of its threshold or less before the alert
    /// closes.
    pub clear_after: Span,
    /// How long values are kept.
    pub retention: Span,
    /// Monitors that do not measure.
    pub disabled: Vec<String>,
    /// Where backups appear: paths whose last part may hold `*`; each of them is a backup of its
    /// own.
    pub backup_files: Vec<String>,
    /// File systems that are watched besides that of the state directory, by any path on them.
    pub storage_paths: Vec<String>,
    /// Above this a monitor raises an alert, each in its own unit.
    pub thresholds: BTreeMap<String, f64>,
}

impl Default for Monitors {
    fn default() -> Self {
        Self {
            interval: Span::mins(1),
            clear_after: Span::mins(5),
            retention: Span::days(90),
            disabled: Vec::new(),
            backup_files: Vec::new(),
            storage_paths: Vec::new(),
            thresholds: ALL
                .iter()
                .map(|m| (m.name.to_owned(), m.threshold))
                .collect(),
        }
    }
}

impl Monitors {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        if self.interval < Span::secs(1) {
            problems.push(Problem::new("monitors.interval", "must be at least 1s"));
        }

        check_lasting(problems, "monitors.retention", self.retention);
        let known = || ALL.iter().map(|m| m.name).collect::<Vec<_>>().join(", ");
        for (i, name) in self.disabled.iter().enumerate() {
            if named(name).is_none() {
                problems.push(Problem::new(
                    format!("monitors.disabled[{i}]"),
                    format!("must be one of {}", known()),
                ));
            }
        }

        for (name, threshold) in &self.thresholds {
            let key = format!("monitors.thresholds.{name}");
            if named(name).is_none() {
                problems.push(Problem::new(
                    key,
                    format!("there is no such monitor; known: {}", known()),
                ));
            } else if !threshold.is_finite() || *threshold < 0.0 {
                problems.push(Problem::new(key, "must be a number that is not negative"));
            } else if named(name).is_some_and(|m| m.unit.contains('%')) && *threshold > 100.0 {
                problems.push(Problem::new(key, "is a percentage: must be from 0 to 100"));
            }
        }

        for (key, paths) in [
            ("backup_files", &self.backup_files),
            ("storage_paths", &self.storage_paths),
        ] {
            for (i, path) in paths.iter().enumerate() {
                if !path.starts_with('/') {
                    problems.push(Problem::new(
                        format!("monitors.{key}[{i}]"),
                        "must be an absolute path",
                    ));
                }
            }
        }
    }
}
