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

/// A row of `blueteam.poam_items`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Its id.
    pub poam_id: PlanId,
    /// The requirement.
    pub control_id: ControlId,
    /// Which document it belongs to.
    pub kind: PlanKind,
    /// What is wrong.
    pub weakness: String,
    /// How bad that is.
    pub risk: RiskLevel,
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
            control_id,
            kind: PlanKind::Operational,
            weakness: String::new(),
            risk,
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

    /// Whether it is open past its day.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.status.is_open() && self.due.is_some_and(|due| due < now)
    }
}
