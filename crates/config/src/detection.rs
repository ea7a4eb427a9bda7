//! `[detection]`.

use std::collections::BTreeMap;

use detect::sigma::Limits;
use model::{ServiceName, Span};
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::{check_lasting, check_positive};

/// The engine as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detection {
    /// A folder of Sigma rules (`*.yml`), with its subfolders; empty: built-in rules only.
    pub rules_dir: String,
    /// The largest file of rules, in bytes. It and the next three are limits because the parser
    /// takes time that grows with the square of what a file holds.
    #[serde(rename = "rule_file_max_size", with = "model::size")]
    pub rule_file_max_bytes: u64,
    /// The most rules in a file.
    pub rule_file_max_rules: u64,
    /// The most brackets in a file.
    pub rule_file_max_brackets: u64,
    /// The most brackets inside each other on a line of a file.
    pub rule_file_max_depth: u64,
    /// How long events may come out of order before it is decided that nothing more of that time
    /// will come.
    pub allowed_lateness: Span,
    /// How often the database is asked when it doesn't say by itself that rows came.
    pub poll_interval: Span,
    /// The most rows that one read takes.
    pub batch_max_events: u64,
    /// The most keys that one rule keeps track of.
    pub max_keys: u64,
    /// Sources that are expected to speak during business hours; silence is an alert (3.3.4).
    pub expected_sources: Vec<String>,
    /// How long each service that speaks through `audit_db` may be silent during business hours,
    /// by name; `0s`: as long as it likes. Others are expected to keep the pace that they have
    /// kept.
    pub expected_services: BTreeMap<String, Span>,
    /// Whether that holds of one that has never spoken at all; else it is expected from its first
    /// event on.
    pub expect_unheard: bool,
}

impl Default for Detection {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            rules_dir: String::new(),
            rule_file_max_bytes: limits.bytes,
            rule_file_max_rules: limits.rules,
            rule_file_max_brackets: limits.brackets,
            rule_file_max_depth: limits.depth,
            allowed_lateness: Span::secs(30),
            poll_interval: Span::secs(5),
            batch_max_events: 10_000,
            max_keys: 1_000_000,
            expected_sources: vec!["audit_db".to_owned()],
            expected_services: BTreeMap::new(),
            expect_unheard: false,
        }
    }
}

impl Detection {
    /// What a file of rules may hold at most.
    pub const fn rule_limits(&self) -> Limits {
        Limits {
            bytes: self.rule_file_max_bytes,
            rules: self.rule_file_max_rules,
            brackets: self.rule_file_max_brackets,
            depth: self.rule_file_max_depth,
        }
    }

    /// The sources of the event model.
    const SOURCES: [&'static str; 7] = [
        "audit_db",
        "syslog",
        "nginx",
        "php_error",
        "postgres",
        "agent",
        "redteam",
    ];

    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        check_lasting(
            problems,
            "detection.allowed_lateness",
            self.allowed_lateness,
        );
        check_lasting(problems, "detection.poll_interval", self.poll_interval);
        check_positive(
            problems,
            "detection.batch_max_events",
            self.batch_max_events,
        );
        check_positive(problems, "detection.max_keys", self.max_keys);
        for (key, value) in [
            ("rule_file_max_size", self.rule_file_max_bytes),
            ("rule_file_max_rules", self.rule_file_max_rules),
            ("rule_file_max_brackets", self.rule_file_max_brackets),
            ("rule_file_max_depth", self.rule_file_max_depth),
        ] {
            check_positive(problems, &format!("detection.{key}"), value);
        }
        for (name, silence) in &self.expected_services {
            let key = || format!("detection.expected_services.{name}");
            if let Err(error) = name.parse::<ServiceName>() {
                problems.push(Problem::new(key(), error.to_string()));
            }
            if *silence < Span::ZERO {
                problems.push(Problem::new(key(), "cannot be negative"));
            }
        }

        for (i, source) in self.expected_sources.iter().enumerate() {
            if !Self::SOURCES.contains(&source.as_str()) {
                let message = format!("`{source}` is not one of {}", Self::SOURCES.join(", "));
                problems.push(Problem::new(
                    format!("detection.expected_sources[{i}]"),
                    message,
                ));
            }
        }
    }
}
