//! Identifiers and the severity scale.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// `audit_events.event_id`: chosen by the producer so that a retry carries the same id.
    EventId
}
uuid_id! {
    /// `blueteam.alert_history.alert_id`.
    AlertId
}
uuid_id! {
    /// `blueteam.security_incidents.incident_id`.
    IncidentId
}
uuid_id! {
    /// `blueteam.silences.mute_id`.
    SilenceId
}

uuid_id! {
    /// `blueteam.compliance_evidence.evidence_id`.
    EvidenceId
}

uuid_id! {
    /// `blueteam.poam_items.poam_id`.
    PlanId
}

impl EventId {
    /// The id as a number, for compact storage in windows.
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The id that [`EventId::as_u128`] gave.
    pub fn from_u128(value: u128) -> Self {
        Self(Uuid::from_u128(value))
    }
}

/// `blueteam.alert_rules.rule_id`: a built-in rule's name or a Sigma rule's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(pub Cow<'static, str>);

impl RuleId {
    /// A built-in rule's id.
    pub const fn builtin(id: &'static str) -> Self {
        Self(Cow::Borrowed(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A requirement of NIST SP 800-171 r2, such as `3.3.4`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ControlId(pub Cow<'static, str>);

impl ControlId {
    /// A control named in our own source.
    pub const fn known(id: &'static str) -> Self {
        Self(Cow::Borrowed(id))
    }
}

impl fmt::Display for ControlId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl ControlId {
    /// Its family and its number within it, by which requirements are ordered; zeros when it is not
    /// of that shape.
    pub fn order(&self) -> (u8, u8) {
        let mut parts = self
            .0
            .split('.')
            .skip(1)
            .map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

/// An assessment objective of NIST SP 800-171A, such as `3.3.4[a]`. A requirement with a single
/// objective has `[a]` too, as the CMMC guide writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectiveId(pub String);

impl ObjectiveId {
    /// The requirement that it belongs to.
    pub fn control(&self) -> &str {
        self.0.split('[').next().unwrap_or_default()
    }

    /// By which objectives are ordered.
    pub fn order(&self) -> ((u8, u8), &str) {
        (ControlId(self.control().to_owned().into()).order(), &self.0)
    }
}

impl fmt::Display for ObjectiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What makes a detection the same detection: rule, key and first event. Unique in the database, so
/// that replaying the same events never makes a second alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub Uuid);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How bad it is, as the design's routing table counts it. Ordered: `Info < Low < Medium < High <
/// Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a log line.
    Info,
    /// Within 24 hours.
    Low,
    /// Within an hour.
    Medium,
    /// Within 15 minutes.
    High,
    /// At once.
    Critical,
}

impl Severity {
    /// Every severity, least first.
    pub const ALL: [Self; 5] = [
        Self::Info,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// The word that the database and the documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// High and critical detections open an incident (design 3.2.5).
    pub const fn opens_incident(self) -> bool {
        matches!(self, Self::High | Self::Critical)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is not among the expected ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not one of {expected}")]
pub struct UnknownWord {
    /// What was given.
    pub found: String,
    /// What would have been accepted, in words.
    pub expected: &'static str,
}

impl FromStr for Severity {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| UnknownWord {
                found: text.to_owned(),
                expected: "info, low, medium, high, critical",
            })
    }
}
