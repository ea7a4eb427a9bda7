//! A report, whatever wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use model::{Severity, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::Observation;

/// What a tool reports of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The format, by name.
    pub format: &'static str,
    /// The tool; the format's usual one where the report does not say.
    pub tool: String,
    /// The tool's version.
    pub version: Option<String>,
    /// What the tool calls the run.
    pub run_id: Option<String>,
    /// When the run began.
    pub started: Option<Timestamp>,
    /// When the run ended.
    pub ended: Option<Timestamp>,
    /// What was looked at, where the report or the importer names it; otherwise empty, and the
    /// parts say it.
    pub target: String,
    /// How far it was looked at.
    pub scope: Scope,
    /// Modules, and what came of each; only our own format has them.
    pub modules: Vec<Module>,
    /// What was found, each thing once.
    pub findings: Vec<Finding>,
    /// Fingerprints of what is there and was set aside in the tool, as suppressed or as a false
    /// positive. It is no finding, and not gone either.
    pub set_aside: BTreeSet<String>,
    /// What was counted.
    pub counts: Counts,
    /// Fields of our own format that this version does not know.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub unknown: Value,
}

/// How much a report lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Results, alerts, issues, items, open ports or modules, as the tool lists them.
    pub items: usize,
    /// What the format counts, each by its name.
    pub details: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Returns what was looked at, in words.
    pub fn subject(&self) -> String {
        if !self.target.is_empty() {
            return self.target.clone();
        }
        let mut areas = self.scope.areas.iter();
        let mut words: Vec<&str> = areas.by_ref().take(3).map(String::as_str).collect();
        let more = format!("{} more", areas.len());
        if areas.len() > 0 {
            words.push(&more);
        }
        crate::text::clean(&words.join(", "), crate::text::PLACE_MAX)
    }
}

impl Counts {
    /// Counts one more.
    pub(crate) fn add(&mut self, name: &'static str) {
        *self.details.entry(name).or_default() += 1;
    }

    /// Returns how many of a name were counted.
    pub fn of(&self, name: &str) -> usize {
        self.details.get(name).copied().unwrap_or_default()
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What makes it the same finding in another run: 64 hexadecimal digits.
    pub fingerprint: String,
    /// The rule, template, plugin or module that found it.
    pub rule: String,
    /// A one-line title.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub location: String,
    /// The part of the target that it is in: a host, a site, a file.
    pub area: String,
    /// The part of the checks that finds it: a module, a kind, a port.
    pub group: String,
    /// Whether it is from a module of our own format.
    pub is_of_module: bool,
    /// CWE numbers.
    pub cwes: Vec<u32>,
    /// CVE IDs.
    pub cves: Vec<String>,
    /// Requirements of NIST SP 800-171 that it concerns.
    pub controls: Vec<String>,
    /// The tool's explanation, or what proves it.
    pub detail: String,
    /// How often the report lists it.
    pub instances: u32,
}

/// A module of our own format, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The variant; empty without one.
    pub variant: String,
    /// Requirements of NIST SP 800-171 that it tests.
    pub controls: Vec<String>,
    /// How bad it is where it is vulnerable.
    pub severity: Severity,
    /// What came of it.
    pub verdict: Verdict,
    /// What proves it.
    pub evidence: String,
    /// How many requests it made.
    pub requests: Option<u64>,
    /// Fields that this version does not know.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub unknown: Value,
}

/// What came of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The attack worked.
    Vulnerable,
    /// The attack was tried and did not work.
    NotVulnerable,
    /// It cannot be said.
    Inconclusive,
    /// The module itself failed.
    Error,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 4] = [
        Self::Vulnerable,
        Self::NotVulnerable,
        Self::Inconclusive,
        Self::Error,
    ];

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vulnerable => "vulnerable",
            Self::NotVulnerable => "not_vulnerable",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
        }
    }

    /// Returns whether it says something about the target.
    pub const fn is_conclusive(self) -> bool {
        matches!(self, Self::Vulnerable | Self::NotVulnerable)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Verdict {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let found = Self::ALL.into_iter().find(|v| v.as_str() == text);
        found.ok_or(())
    }
}

/// How far a run has looked, so that what it does not list can be told from what it did not look
/// for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Whether the run came to its end.
    pub is_complete: bool,
    /// Whether it looked at all of its target.
    pub is_whole: bool,
    /// Otherwise the parts that it looked at.
    pub areas: BTreeSet<String>,
    /// What it looked for.
    pub checks: Checks,
}

/// What a run has looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checks {
    /// Whatever its tool finds.
    All,
    /// These groups of checks.
    Groups(BTreeSet<String>),
    /// These ports.
    Ports(Vec<PortRange>),
}

/// Ports of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// `tcp`, `udp`.
    pub protocol: String,
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Scope {
    /// A run that came to its end and looked at these parts for everything.
    pub(crate) fn of_areas(areas: BTreeSet<String>) -> Self {
        Self {
            is_complete: true,
            is_whole: false,
            areas,
            checks: Checks::All,
        }
    }

    /// Returns whether the run would have listed a finding of this part and group.
    pub fn covers(&self, area: &str, group: &str) -> bool {
        self.is_complete
            && (self.is_whole || self.areas.contains(area))
            && match &self.checks {
                Checks::All => true,
                Checks::Groups(groups) => groups.contains(group),
                Checks::Ports(ranges) => has_port(ranges, group),
            }
    }

    /// Returns what the run says of a finding that it does not list.
    pub fn observation_of_missing(&self, area: &str, group: &str) -> Observation {
        if self.covers(area, group) {
            Observation::Missing
        } else {
            Observation::OutOfScope
        }
    }
}

/// `tcp/443` within ranges.
fn has_port(ranges: &[PortRange], group: &str) -> bool {
    let Some((protocol, port)) = group.split_once('/') else {
        return false;
    };
    let Ok(port) = port.parse::<u16>() else {
        return false;
    };
    let mut ranges = ranges.iter();
    ranges.any(|r| r.protocol == protocol && (r.first..=r.last).contains(&port))
}
