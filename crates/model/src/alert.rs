//! Alerts as the store keeps them and the channels send them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::detection::Entity;
use crate::ids::{AlertId, ControlId, EventId, Fingerprint, IncidentId, RuleId, Severity};
use crate::person::shown_name;
use crate::silence::SilencedBy;
use crate::time::Timestamp;

/// Whether the detection behind an alert may still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Later events may extend it.
    Open,
    /// The cooldown is over.
    Closed,
}

/// A stored detection: a row of `blueteam.alert_history`, and what a channel is given to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id; derived from the fingerprint, so that a retry writes the same row.
    pub alert_id: AlertId,
    /// The rule that fired.
    pub rule_id: RuleId,
    /// The rule's title, where the ID is not a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<String>,
    /// How bad.
    pub severity: Severity,
    /// One line for a person.
    pub title: String,
    /// A sentence or two.
    pub description: String,
    /// What it is about.
    pub entity: Entity,
    /// The name of the user whose ID the entity is, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_name: Option<String>,
    /// Accounts that failed logins tried, sorted: as many as are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// The machines that logged its events, by name, as far as they are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Where its events came from.
    pub source: String,
    /// Whose events they are, where they say it: names of services, sorted.
    #[serde(default)]
    pub services: Vec<String>,
    /// The tenant (`instance_id`) that all of its events name; none when one of them names no or
    /// another one.
    #[serde(default)]
    pub tenant: Option<Uuid>,
    /// Time of the earliest event.
    pub first_seen: Timestamp,
    /// Time of the latest event.
    pub last_seen: Timestamp,
    /// How many events.
    pub event_count: u64,
    /// The first hundred.
    pub event_ids: Vec<EventId>,
    /// Controls that the rule gives evidence for.
    pub nist_controls: Vec<ControlId>,
    /// Whether CUI was touched.
    pub cui_involved: bool,
    /// The incident that it belongs to, for high and critical ones.
    pub incident_id: Option<IncidentId>,
    /// May it still grow?
    pub state: AlertState,
    /// Identity across restarts.
    pub fingerprint: Fingerprint,
    /// Who has seen it.
    pub acknowledged_by: Option<String>,
    /// When they did.
    pub acknowledged_at: Option<Timestamp>,
    /// When the row was written.
    pub created_at: Timestamp,
    /// Why no one was notified, if someone would have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_by: Option<SilencedBy>,
}

impl Alert {
    /// What it is about: `user jsmith (01a21000-8800-7b2e-8244-5e4be0f5bf8c)` where the name of the
    /// ID is known, otherwise `ip 203.0.113.7`.
    pub fn subject(&self) -> String {
        format!("{} {}", self.entity.kind.as_str(), self.subject_value())
    }

    /// The rule as people name it: a custom rule by its title, a built-in one by its ID.
    pub fn rule_title(&self) -> &str {
        self.rule_name.as_deref().unwrap_or(self.rule_id.as_str())
    }

    /// Like [`Self::subject`], without the kind.
    pub fn subject_value(&self) -> String {
        match &self.entity_name {
            Some(name) => format!("{} ({})", shown_name(name), self.entity.value),
            None => self.entity.value.clone(),
        }
    }
}
