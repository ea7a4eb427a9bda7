//! The posture: how well the organization is defended, in four parts. `compliance::posture` counts it.

use serde::{Deserialize, Serialize};

use crate::ids::Severity;
use crate::time::Timestamp;

/// What the posture is counted from.
#[derive(Clone, Debug, PartialEq)]
pub struct Grounds {
    /// The DoD score, or why there is none.
    pub points: Result<i32, String>,
    /// What red teams and scanners found; none where no report was imported.
    pub redteam: Option<RedTeam>,
    /// Each expected source, with the share of the last 30 days in which it could be seen, from 0 to
    /// 1.
    pub sources: Vec<SourceShare>,
    /// The rules.
    pub rules: Rules,
    /// Alerts and incidents of the last 90 days.
    pub handled: Handled,
}

/// A source, and how much of it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceShare {
    /// The source.
    pub source_id: String,
    /// From 0 to 1.
    pub share: f64,
}

/// Rules in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// How many are in force.
    pub in_force: u64,
    /// Of them, those that see their sources and were proven within 30 days.
    pub ready: u64,
}

/// What was due, and what was done in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handled {
    /// Alerts and incidents whose time is over, or that were handled.
    pub due: u64,
    /// Of them, those that were handled within their time.
    pub in_time: u64,
    /// Legal clocks that have run out without a report.
    pub overdue_clocks: u64,
}

/// What red teams found, by severity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedTeam {
    /// Findings that are open.
    pub open: Vec<(Severity, u64)>,
    /// Modules that gave a verdict within 90 days.
    pub modules: Vec<(Severity, u64)>,
}

/// A part of the posture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// From 0 to 100 with one decimal; `null` where it is not known.
    pub score: Option<f64>,
    /// What it was counted from, or why it is not known.
    pub basis: String,
}

/// The posture at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posture {
    /// When it was counted.
    pub at: Timestamp,
    /// The mean of the parts that are known; `null` when fewer than three are, or compliance is not.
    pub overall: Option<f64>,
    /// How much of the DoD score there is.
    pub compliance: Part,
    /// How little of what was attacked gave way.
    pub redteam: Part,
    /// How much of what must be seen is seen.
    pub monitoring: Part,
    /// How much was handled in time.
    pub incident: Part,
    /// The DoD score.
    pub points: Option<i32>,
}

impl Posture {
    /// The parts with their names, in the order in which they are shown.
    pub const fn parts(&self) -> [(&'static str, &Part); 4] {
        [
            ("compliance", &self.compliance),
            ("red team", &self.redteam),
            ("monitoring", &self.monitoring),
            ("incidents", &self.incident),
        ]
    }
}
