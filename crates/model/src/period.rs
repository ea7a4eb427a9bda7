//! What happened in a time, in numbers, for those who read nothing else.

use serde::{Deserialize, Serialize};

use crate::ids::Severity;
use crate::incident::IncidentStatus;
use crate::time::Timestamp;

/// What happened from one time to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Alerts by severity, the worst first, and how many of them someone has acknowledged.
    pub alerts: Vec<AlertsOf>,
    /// Incidents that were detected in the time, the worst first; at most five.
    pub incidents: Vec<Happened>,
    /// How many were detected.
    pub detected: u64,
    /// How many were closed.
    pub closed: u64,
    /// How many are open at the end.
    pub open: u64,
    /// Of those that are open, how many must be reported to DoD and are not.
    pub unreported: u64,
}

/// Alerts of a severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertsOf {
    /// How bad.
    pub severity: Severity,
    /// How many.
    pub alerts: u64,
    /// How many of them someone has acknowledged.
    pub acknowledged: u64,
}

/// An incident, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// When it was detected.
    pub at: Timestamp,
    /// What it says.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub status: IncidentStatus,
    /// Whether CUI was touched.
    pub cui_involved: bool,
}
