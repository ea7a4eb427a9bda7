//! What the engine says: a rule's condition held for a key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::Source;
use crate::ids::{ControlId, EventId, Fingerprint, RuleId, Severity, UnknownWord};
use crate::time::{Span, Timestamp};

/// The sort of thing that keys a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// An address.
    Ip,
    /// A user id.
    User,
    /// A session id.
    Session,
    /// A source of events.
    Source,
}

impl EntityKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Ip, Self::User, Self::Session, Self::Source];

    /// The word in the output and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::User => "user",
            Self::Session => "session",
            Self::Source => "source",
        }
    }
}

impl FromStr for EntityKind {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|k| k.as_str() == text)
            .ok_or_else(|| UnknownWord {
                found: text.to_owned(),
                expected: "ip, user, session, source",
            })
    }
}

/// Who or what a detection is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entity {
    /// What `value` is.
    #[serde(rename = "type")]
    pub kind: EntityKind,
    /// The address, user id, session id or source that keys the rule.
    pub value: String,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.value)
    }
}

/// A rule's condition held for a key, from `first_seen` to `last_seen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detection {
    /// The rule that fired.
    pub rule_id: RuleId,
    /// The rule's severity.
    pub severity: Severity,
    /// One line for a person.
    pub title: String,
    /// What happened, in a sentence or two.
    #[serde(skip)]
    pub description: String,
    /// What keys the rule.
    pub entity: Entity,
    /// The name of the user whose ID keys the rule, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_name: Option<String>,
    /// Time of the earliest event that counts.
    pub first_seen: Timestamp,
    /// Time of the latest event that counts.
    pub last_seen: Timestamp,
    /// How many events count; more than `event_ids` holds when there were many.
    pub event_count: u64,
    /// The first hundred of them.
    pub event_ids: Vec<EventId>,
    /// Controls that the rule gives evidence for.
    pub nist_controls: Vec<ControlId>,
    /// Where the events came from.
    #[serde(skip)]
    pub source: Source,
    /// Whether an event that counts touched CUI.
    #[serde(skip)]
    pub cui_involved: bool,
    /// Identity of this detection across restarts and replays.
    #[serde(skip)]
    pub fingerprint: Fingerprint,
    /// The tenant of its first hundred events, as far as the engine knows it: that of the event
    /// which opened it, or as it was stored. Whether all agree is asked of the tables
    /// ([`DetectionUpdate::events`]).
    #[serde(skip)]
    pub tenant: Option<Uuid>,
    /// Sub-period of the key (the start of an off-hours period, in microseconds), else 0.
    #[serde(skip)]
    pub episode: i64,
}

/// The rule of alerts about advisories (3.14.3); not a rule of the engine.
pub const ADVISORY: RuleId = RuleId::builtin("advisory");

impl Detection {
    /// Returns whether people must respond to an attack: it is high or critical, and not an
    /// advisory, which warns of what has not happened.
    pub fn opens_incident(&self) -> bool {
        self.severity.opens_incident() && self.rule_id != ADVISORY
    }
}

/// The key of an event's row: an ID is found by its time, by which the tables are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKey {
    /// When it happened.
    pub timestamp: Timestamp,
    /// Its ID.
    pub event_id: EventId,
}

/// Where a detection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The condition held for the first time.
    Opened,
    /// It held again before the cooldown was over.
    Extended,
    /// Nothing extended it for the cooldown.
    Closed,
}

/// One step in a detection's life, with the detection as it is after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectionUpdate {
    /// Set when the detection was opened since the last drain, whatever happened to it since.
    pub opened: bool,
    /// The latest phase.
    pub phase: Phase,
    /// The detection as it stands.
    pub detection: Detection,
    /// Of its events those that the engine has seen since it started, the first hundred at most and
    /// one beyond that names another tenant: the others are stored with the alert by their IDs
    /// alone. The services and tenants that they name are read from their rows, so that windows
    /// need not remember them.
    pub events: Vec<EventKey>,
}

/// How much of the past must be seen again after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookback {
    /// Of all events.
    pub all: Span,
    /// Of those of the category `auth`, which are few; at least as much.
    pub logins: Span,
}
