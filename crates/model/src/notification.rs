//! What notifications are about, as the outbox keeps it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::alert::{Alert, AlertState};
use crate::detection::{Entity, EntityKind};
use crate::ids::{AlertId, ControlId, Fingerprint, RuleId, Severity};
use crate::time::Timestamp;

/// What a notice comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// The schedule: a digest, a sign of life, a summary or a reminder.
    Schedule,
    /// A test of a channel.
    Test,
    /// Blueteam's own work: it is stuck, or was, and cannot store an alert that says so (3.3.4).
    SelfCheck,
}

impl Topic {
    /// The name that stands where an alert names its rule.
    const fn rule_id(self) -> RuleId {
        match self {
            Self::Schedule => RuleId::builtin("schedule"),
            Self::Test => RuleId::builtin("test"),
            Self::SelfCheck => RuleId::builtin("audit_log_gap"),
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::Schedule | Self::SelfCheck => "blueteam",
            Self::Test => "test",
        }
    }

    fn nist_controls(self) -> Vec<ControlId> {
        match self {
            Self::Schedule => Vec::new(),
            Self::Test => vec![ControlId::known("3.14.3")],
            Self::SelfCheck => vec![ControlId::known("3.3.4")],
        }
    }
}

/// What is said without an alert in the list of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its id.
    pub id: Uuid,
    /// What it comes from.
    pub topic: Topic,
    /// How bad.
    pub severity: Severity,
    /// One line for a person.
    pub title: String,
    /// The rest; a line for each item of a digest or a reminder.
    pub body: String,
    /// The machine or the part of it that it is about.
    pub about: String,
    /// First instant of the time that it is about.
    pub from: Timestamp,
    /// Last instant of it.
    pub to: Timestamp,
    /// How many alerts or troubles it counts.
    pub count: u64,
    /// Whether it is about something that still lasts.
    pub lasts: bool,
}

impl Notice {
    /// Returns the notice as an alert: receivers that are programs know alerts alone, and their
    /// format is an interface.
    pub fn to_alert(&self) -> Alert {
        Alert {
            alert_id: AlertId(self.id),
            rule_id: self.topic.rule_id(),
            rule_name: None,
            severity: self.severity,
            title: self.title.clone(),
            description: self.body.clone(),
            entity: Entity {
                kind: EntityKind::Source,
                value: self.about.clone(),
            },
            entity_name: None,
            accounts: Vec::new(),
            hosts: Vec::new(),
            source: self.topic.source().to_owned(),
            services: Vec::new(),
            tenant: None,
            first_seen: self.from,
            last_seen: self.to,
            event_count: self.count,
            event_ids: Vec::new(),
            nist_controls: self.topic.nist_controls(),
            cui_involved: false,
            incident_id: None,
            state: if self.lasts {
                AlertState::Open
            } else {
                AlertState::Closed
            },
            fingerprint: Fingerprint(self.id),
            acknowledged_by: None,
            acknowledged_at: None,
            // A trouble counts from its beginning, a digest from the end of its period.
            created_at: match self.topic {
                Topic::SelfCheck => self.from,
                Topic::Schedule | Topic::Test => self.to,
            },
            muted_by: None,
        }
    }
}

/// What a notification is about: the payload of a delivery.
///
/// Both have `severity` and `title` at the top, by which the database counts and lists deliveries;
/// only a notice has a `topic`. Before notices had a type of their own they were stored as alerts:
/// such a payload reads as an alert, and goes out as it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// An alert as it was when the notification was enqueued.
    Alert(Box<Alert>),
    /// Anything else.
    Notice(Notice),
}

impl Content {
    /// Reads a stored payload.
    pub fn from_stored(payload: Value) -> Result<Self, serde_json::Error> {
        if payload.get("topic").is_some() {
            serde_json::from_value(payload).map(Self::Notice)
        } else {
            serde_json::from_value(payload).map(Self::Alert)
        }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Alert(alert) => alert.severity,
            Self::Notice(notice) => notice.severity,
        }
    }

    /// One line for a person.
    pub fn title(&self) -> &str {
        match self {
            Self::Alert(alert) => &alert.title,
            Self::Notice(notice) => &notice.title,
        }
    }

    /// What happened, in a sentence or two, or the lines of a digest.
    pub fn body(&self) -> &str {
        match self {
            Self::Alert(alert) => &alert.description,
            Self::Notice(notice) => &notice.body,
        }
    }

    /// The alert, or the notice [as one](Notice::to_alert).
    pub fn as_alert(&self) -> Cow<'_, Alert> {
        match self {
            Self::Alert(alert) => Cow::Borrowed(alert),
            Self::Notice(notice) => Cow::Owned(notice.to_alert()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn notice(topic: Topic) -> Notice {
        Notice {
            id: Uuid::from_u128(7),
            topic,
            severity: Severity::High,
            title: "title".to_owned(),
            body: "one\ntwo".to_owned(),
            about: "soc1".to_owned(),
            from: Timestamp::from_secs(1_772_719_651),
            to: Timestamp::from_secs(1_772_719_951),
            count: 3,
            lasts: topic == Topic::SelfCheck,
        }
    }

    /// What receivers of notices have got since before notices had a type.
    fn expected(topic: Topic) -> Value {
        let id = "00000000-0000-0000-0000-000000000007";
        let (rule, source, controls, state, created) = match topic {
            Topic::Schedule => ("schedule", "blueteam", json!([]), "closed", "14:12:31"),
            Topic::Test => ("test", "test", json!(["3.14.3"]), "closed", "14:12:31"),
            Topic::SelfCheck => (
                "audit_log_gap",
                "blueteam",
                json!(["3.3.4"]),
                "open",
                "14:07:31",
            ),
        };
        json!({
            "alert_id": id, "rule_id": rule, "severity": "high", "title": "title",
            "description": "one\ntwo", "entity": { "type": "source", "value": "soc1" },
            "source": source, "services": [], "tenant": null,
            "first_seen": "2026-03-05T14:07:31Z", "last_seen": "2026-03-05T14:12:31Z",
            "event_count": 3, "event_ids": [], "nist_controls": controls, "cui_involved": false,
            "incident_id": null, "state": state, "fingerprint": id, "acknowledged_by": null,
            "acknowledged_at": null, "created_at": format!("2026-03-05T{created}Z"),
        })
    }

    #[test]
    fn a_notice_goes_out_as_an_alert_of_its_topic() {
        for topic in [Topic::Schedule, Topic::Test, Topic::SelfCheck] {
            let alert = serde_json::to_value(notice(topic).to_alert()).unwrap();
            assert_eq!(alert, expected(topic));
        }
    }

    #[test]
    fn payloads_survive_being_stored_those_of_older_programs_too() {
        let content = Content::Notice(notice(Topic::Schedule));
        let stored = serde_json::to_value(&content).unwrap();
        assert_eq!(stored["severity"], "high");
        assert_eq!(stored["title"], "title");
        assert_eq!(Content::from_stored(stored).unwrap(), content);

        let old = expected(Topic::Schedule);
        let read = Content::from_stored(old.clone()).unwrap();
        assert!(matches!(read, Content::Alert(_)));
        assert_eq!(serde_json::to_value(read.as_alert()).unwrap(), old);
        assert_eq!(
            read.as_alert(),
            content.as_alert(),
            "whichever way it was stored"
        );

        assert!(Content::from_stored(json!({ "topic": "weather" })).is_err());
        assert!(Content::from_stored(json!({ "title": "x" })).is_err());
    }
}
