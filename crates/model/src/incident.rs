//! Incidents: where they stand, what people decided about reporting them, and what was reported.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::UnknownWord;
use crate::time::Timestamp;

/// What a person has decided about a duty to report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyDecided {
    /// The duty, such as `dfars`.
    pub duty: String,
    /// Whether it applies.
    pub applies: bool,
}

/// A report that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutySent {
    /// The duty that it fulfills.
    pub duty: String,
    /// When it was sent.
    pub at: Timestamp,
    /// The number that came back.
    pub number: Option<String>,
}

/// `blueteam.security_incidents.status`, in the order an incident passes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentStatus {
    /// Opened by a rule or a person.
    Detected,
    /// Being looked into.
    Analyzing,
    /// Spreads no further.
    Contained,
    /// The cause is gone.
    Eradicated,
    /// Back in service.
    Recovered,
    /// Done, with root cause and lessons learned.
    Closed,
}

impl IncidentStatus {
    /// Every status, in order.
    pub const ALL: [Self; 6] = [
        Self::Detected,
        Self::Analyzing,
        Self::Contained,
        Self::Eradicated,
        Self::Recovered,
        Self::Closed,
    ];

    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Analyzing => "analyzing",
            Self::Contained => "contained",
            Self::Eradicated => "eradicated",
            Self::Recovered => "recovered",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for IncidentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for IncidentStatus {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| UnknownWord {
                found: text.to_owned(),
                expected: "detected, analyzing, contained, eradicated, recovered, closed",
            })
    }
}
