//! What a channel is given to send.

use std::str::FromStr;

use model::ids::UnknownWord;
use model::{Content, Span, Timestamp, WallClock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a notification says about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// The alert is new.
    Opened,
    /// Nobody has acknowledged it in time.
    Escalated,
    /// Nothing has added to it for the rule's cooldown.
    Resolved,
    /// Not about an alert: a test of the channel.
    Test,
    /// Not about an alert: what happened in a day, in the title and the lines of the body.
    Digest,
    /// Not about an alert: a sign of life on schedule, which shows that alerts would arrive.
    Heartbeat,
    /// Not about an alert: work that is due or late, an item in each line of the body.
    Reminder,
}

impl Kind {
    /// Returns whether the message is about an alert.
    pub const fn is_of_an_alert(self) -> bool {
        matches!(self, Self::Opened | Self::Escalated | Self::Resolved)
    }

    /// The word in the JSON body, the syslog message id and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Escalated => "escalated",
            Self::Resolved => "resolved",
            Self::Test => "test",
            Self::Digest => "digest",
            Self::Heartbeat => "heartbeat",
            Self::Reminder => "reminder",
        }
    }
}

/// The word of a kind of delivery.
impl FromStr for Kind {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let all = [
            Self::Opened,
            Self::Escalated,
            Self::Resolved,
            Self::Test,
            Self::Digest,
            Self::Heartbeat,
            Self::Reminder,
        ];

        let expected = "opened, escalated, resolved, test, digest, heartbeat, reminder";
        all.into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownWord {
                found: text.to_owned(),
                expected,
            })
    }
}

/// A person who is notified by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name, as others call them.
    pub name: String,
    /// The mail address, without the name.
    pub mail: String,
    /// Where they are reached when mail is not; may be empty.
    pub phone: String,
}

impl Person {
    /// Returns whether `mail` is a mail address without a name.
    pub fn has_mail_address(&self) -> bool {
        self.mail.parse::<lettre::Address>().is_ok()
    }
}

/// An alert or a notice on its way to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What it is about.
    pub content: Content,
    /// The delivery's id, the same at every attempt, so that a receiver can drop a repetition.
    pub delivery_id: Uuid,
    /// What it says about its content.
    pub kind: Kind,
    /// When this attempt is made.
    pub sent_at: Timestamp,
    /// People to notify by name, if the channel can; empty: its usual readers.
    pub people: Vec<Person>,
    /// Where the alert can be acknowledged by whoever gets the message; only ways to people carry
    /// it.
    pub ack_url: Option<String>,
    /// Within what time it should be looked into; `None` if the message does not say.
    pub within: Option<Span>,
    /// The time zone of the times in the text.
    pub clock: WallClock,
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;
    use proptest::prelude::*;

    use model::{
        Alert, AlertId, AlertState, ControlId, Entity, EntityKind, EventId, Fingerprint,
        IncidentId, RuleId, Severity, WallClock,
    };

    /// A critical alert with everything set.
    pub(crate) fn alert() -> Alert {
        Alert {
            alert_id: AlertId(Uuid::from_u128(0xa1)),
            rule_id: RuleId::builtin("credential_stuffing"),
            rule_name: None,
            severity: Severity::Critical,
            title: "Credential stuffing from 203.0.113.7".to_owned(),
            description: "Failed logins on 12 different accounts within 10 minutes.".to_owned(),
            entity: Entity {
                kind: EntityKind::Ip,
                value: "203.0.113.7".to_owned(),
            },
            entity_name: None,
            accounts: vec!["ann".to_owned(), "bob".to_owned()],
            hosts: Vec::new(),
            source: "audit_db".to_owned(),
            services: vec!["eqmon".to_owned()],
            tenant: Some(Uuid::from_u128(0x7e)),
            first_seen: Timestamp::from_secs(1_772_719_651),
            last_seen: Timestamp::from_secs(1_772_719_951),
            event_count: 12,
            event_ids: vec![EventId(Uuid::from_u128(1)), EventId(Uuid::from_u128(2))],
            nist_controls: vec![ControlId::known("3.1.8"), ControlId::known("3.14.6")],
            cui_involved: true,
            incident_id: Some(IncidentId(Uuid::from_u128(0x1c))),
            state: AlertState::Open,
            fingerprint: Fingerprint(Uuid::from_u128(0xf)),
            acknowledged_by: None,
            acknowledged_at: None,
            created_at: Timestamp::from_secs(1_772_719_952),
            muted_by: None,
        }
    }

    /// The notification of it.
    pub(crate) fn message() -> Notification {
        about(alert())
    }

    fn about(alert: Alert) -> Notification {
        Notification {
            content: Content::Alert(Box::new(alert)),
            delivery_id: Uuid::from_u128(0xd1),
            kind: Kind::Opened,
            sent_at: Timestamp::from_secs(1_772_719_953),
            people: Vec::new(),
            ack_url: None,
            within: Some(Span::mins(15)),
            clock: WallClock::default(),
        }
    }

    /// What an attacker might write where he can: what ends a line, a field or a header, what turns
    /// text around or hides in it, and more of it than fits anywhere.
    pub(crate) fn attacks() -> impl Strategy<Value = String> {
        let pieces = "(?s)(.|[\\]\\[|=\\\\:<>&\"'; \
            \r\n\t\u{0}\u{1b}\u{7f}\u{85}\u{2028}\u{2029}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}]|\r\nBcc: x@evil\\.example\r\n\r\n| src=1\\.2\\.3\\.4|\"\\] |\\|10\\|){0,120}";
        (pieces, prop::sample::select(vec![1_usize, 1, 1, 7, 200]))
            .prop_map(|(text, times)| text.repeat(times))
    }

    /// Whether nothing in a text acts instead of showing; line feeds apart.
    pub(crate) fn harmless(text: &str) -> bool {
        text.split('\n')
            .all(|line| matches!(model::text::sanitize(line), std::borrow::Cow::Borrowed(_)))
    }

    /// The same with everything that an attacker can write set to `text`.
    pub(crate) fn hostile(text: &str) -> Notification {
        let mut alert = alert();
        alert.title = text.to_owned();
        alert.description = text.to_owned();
        alert.entity.value = text.to_owned();
        alert.source = text.to_owned();
        alert.services = vec![text.to_owned()];
        alert.rule_id = RuleId(text.to_owned().into());
        about(alert)
    }
}
