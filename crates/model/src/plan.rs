//! Plans of action (3.12.2; 32 CFR 170.21).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{ControlId, EvidenceId, PlanId, UnknownWord};
use crate::time::Timestamp;
use crate::words;

/// Which document an item belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanKind {
    /// The POA&M of a conditional status: eligible requirements only, 180 days.
    Poam,
    /// The operational plan of action: any deficiency, no fixed limit.
    Operational,
}
words!(PlanKind, "poam, operational", Poam => "poam", Operational => "operational");

/// How bad the weakness is, as the documents count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// Least.
    Low,
    /// Medium.
    Moderate,
    /// High.
    High,
    /// Worst.
    VeryHigh,
}
words!(RiskLevel, "low, moderate, high, \
    very_high", Low => "low", Moderate => "moderate", High => "high", VeryHigh => "very_high");

impl RiskLevel {
    /// By the points that a requirement weighs; without a score (3.12.4) it is the worst.
    pub const fn of_weight(weight: Option<u8>) -> Self {
        match weight {
            None => Self::VeryHigh,
            Some(5..) => Self::High,
            Some(3..) => Self::Moderate,
            Some(_) => Self::Low,
        }
    }
}

/// Where an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    /// Nobody works on it.
    Open,
    /// Work has begun.
    InProgress,
    /// Done.
    Completed,
    /// It stays, and a named person accepts the risk.
    AcceptedRisk,
}
words!(PlanStatus, "open, in_progress, completed, accepted_risk",
    Open => "open", InProgress => "in_progress", Completed => "completed", AcceptedRisk => "accepted_risk");

impl PlanStatus {
    /// Whether the weakness is still to be removed.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::InProgress)
    }
}

/// The name of an item that people use, `POAM-2026-003`: the third one of 2026. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanNumber {
    year: u16,
    nth: u32,
}

impl fmt::Display for PlanNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "POAM-{:04}-{:03}", self.year, self.nth)
    }
}

impl FromStr for PlanNumber {
    type Err = UnknownWord;

    /// Reads a name as people type it: in any case, and without its zeros.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let read = || {
            let (name, rest) = text.trim().split_once('-')?;
            let (year, nth) = rest.split_once('-')?;
            let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
            let fits = name.eq_ignore_ascii_case("POAM") && digits(year) && digits(nth);
            let (year, nth) = (year.parse().ok()?, nth.parse().ok()?);
            (fits && (1000..=9999).contains(&year) && nth <= 999_999_999)
                .then_some(Self { year, nth })
        };
        read().ok_or_else(|| UnknownWord {
            found: text.to_owned(),
            expected: "the names of items, such as POAM-2026-003",
        })
    }
}

impl Serialize for PlanNumber {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A row of `blueteam.poam_items`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Its id.
    pub poam_id: PlanId,
    /// Its number; `None` until it is stored.
    pub item_number: Option<PlanNumber>,
    /// The requirement.
    pub control_id: ControlId,
    /// Which document it belongs to.
    pub kind: PlanKind,
    /// What is wrong.
    pub weakness: String,
    /// How bad that is.
    pub risk: RiskLevel,
    /// How likely an attacker uses it; `None` until a person states it.
    pub likelihood: Option<RiskLevel>,
    /// How bad that would be; `None`: as its risk.
    pub impact: Option<RiskLevel>,
    /// What remains of the risk once it is mitigated as planned.
    pub residual_risk: Option<RiskLevel>,
    /// What is done about it.
    pub remediation: String,
    /// Steps with their days.
    pub milestones: Option<String>,
    /// What changed about them.
    pub milestone_changes: String,
    /// When it is to be done.
    pub due: Option<Timestamp>,
    /// When it was done.
    pub completed: Option<Timestamp>,
    /// Where it stands.
    pub status: PlanStatus,
    /// What it takes: money, people; funded or not.
    pub resources: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// How the weakness was found.
    pub identified_by: Option<String>,
    /// What keeps the risk down until then.
    pub mitigation: Option<String>,
    /// Where the work is tracked.
    pub tasks: Vec<String>,
    /// From when the 180 days run.
    pub conditional_since: Option<Timestamp>,
    /// Who closed it.
    pub closed_by: Option<String>,
    /// What shows that it is done.
    pub closing_evidence: Option<EvidenceId>,
    /// When it was written.
    pub created_at: Timestamp,
}

impl Plan {
    /// An open item of the operational plan that says nothing yet.
    pub const fn new(
        poam_id: PlanId,
        control_id: ControlId,
        risk: RiskLevel,
        now: Timestamp,
    ) -> Self {
        Self {
            poam_id,
            item_number: None,
            control_id,
            kind: PlanKind::Operational,
            weakness: String::new(),
            risk,
            likelihood: None,
            impact: None,
            residual_risk: None,
            remediation: String::new(),
            milestones: None,
            milestone_changes: String::new(),
            due: None,
            completed: None,
            status: PlanStatus::Open,
            resources: None,
            owner: None,
            identified_by: None,
            mitigation: None,
            tasks: Vec::new(),
            conditional_since: None,
            closed_by: None,
            closing_evidence: None,
            created_at: now,
        }
    }

    /// The name that people use: its number, or its id before it is stored.
    pub fn name(&self) -> String {
        self.item_number
            .map_or_else(|| self.poam_id.to_string(), |number| number.to_string())
    }

    /// Whether it is open past its day.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.status.is_open() && self.due.is_some_and(|due| due < now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_type_them() {
        for text in ["POAM-2026-003", "poam-2026-3", " Poam-2026-0003 "] {
            let number: PlanNumber = text.parse().unwrap();
            assert_eq!(number.to_string(), "POAM-2026-003");
        }

        let long: PlanNumber = "POAM-2026-1234".parse().unwrap();
        assert_eq!(long.to_string(), "POAM-2026-1234");
        for text in [
            "POAM-26-3",
            "POAM-2026-",
            "POAM-2026-+3",
            "2026-003",
            "POAM-2026-3-1",
            "",
        ] {
            assert!(text.parse::<PlanNumber>().is_err(), "{text}");
        }
    }
}
