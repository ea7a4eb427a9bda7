//! What a person reads: the same words in mail, on the console and in the log.

use model::{Alert, EntityKind, Severity, Timestamp};

use crate::message::{Kind, Message};
use crate::plain::{clip, neutral};

/// The longest text of any one field, in bytes.
const FIELD_MAX: usize = 1000;

/// A field of the alert, safe to show and bounded.
pub(crate) fn field(text: &str) -> String {
    neutral(&clip(text, FIELD_MAX)).into_owned()
}

/// `2026-03-05 14:07:31 UTC`: whole seconds are enough for a person.
pub(crate) fn time(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What the entity is, for somebody who has never seen the program.
pub(crate) const fn entity_word(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Ip => "Network address",
        EntityKind::User => "User",
        EntityKind::Session => "Session",
        EntityKind::Source => "Source of events",
    }
}

/// The sentences that come first: how bad, what, and by when somebody should look (design 3.2.3).
pub(crate) fn summary(message: &Message) -> String {
    let alert = &message.alert;
    if message.kind == Kind::Test {
        return "This is a test of the alert channel. Nothing has happened and nothing needs to be done.".to_owned();
    }
    if message.kind == Kind::Heartbeat {
        return "A sign of life, on schedule: alerts would reach you this way. Nothing has happened.".to_owned();
    }
    if matches!(message.kind, Kind::Digest | Kind::Reminder) {
        return format!("{}.", field(&alert.title).trim_end_matches('.'));
    }
    if message.kind == Kind::Resolved {
        return format!("Over for now: {}. Nothing more of it was seen.", field(&alert.title).trim_end_matches('.'));
    }
    let (weight, urgency) = match alert.severity {
        Severity::Critical => ("A critical security alert", "Somebody should look into it now."),
        Severity::High => ("A serious security alert", "Somebody should look into it within 15 minutes."),
        Severity::Medium => ("A security alert of medium weight", "Somebody should look into it within an hour."),
        Severity::Low => ("A minor security alert", "Somebody should look into it within 24 hours."),
        Severity::Info => ("A note", "Nothing needs to be done."),
    };
    let cui = if alert.cui_involved {
        " Controlled unclassified information (CUI) was touched: if this proves to be a cyber incident, it must be reported \
         to the DoD within 72 hours of its discovery (DFARS 252.204-7012)."
    } else {
        ""
    };
    if message.kind == Kind::Escalated {
        let title = field(&alert.title);
        return format!(
            "Nobody has acknowledged this in time. {weight}: {}. {urgency}{cui}",
            title.trim_end_matches('.')
        );
    }
    format!("{weight}: {}. {urgency}{cui}", field(&alert.title).trim_end_matches('.'))
}

/// Whose events they are; empty when they do not say.
pub(crate) fn services(alert: &Alert) -> String {
    alert.services.iter().map(|s| field(s)).collect::<Vec<_>>().join(", ")
}

/// The description in lines; only a digest and reminders have more than one.
pub(crate) fn lines(message: &Message) -> Vec<String> {
    match message.kind {
        Kind::Digest | Kind::Reminder => message.alert.description.lines().map(field).collect(),
        _ => vec![field(&message.alert.description)],
    }
}

/// The facts, as label and value, in reading order.
pub(crate) fn facts(message: &Message) -> Vec<(&'static str, String)> {
    let alert = &message.alert;
    if !message.kind.is_of_an_alert() && message.kind != Kind::Test {
        return vec![
            ("From", time(alert.first_seen)),
            ("To", time(alert.last_seen)),
            ("Host", field(&alert.entity.value)),
        ];
    }
    let controls: Vec<_> = alert.nist_controls.iter().map(|c| field(&c.0)).collect();
    let mut facts = vec![
        ("Severity", alert.severity.to_string()),
        (entity_word(alert.entity.kind), field(&alert.entity.value)),
        ("First seen", time(alert.first_seen)),
        ("Last seen", time(alert.last_seen)),
        ("Events", alert.event_count.to_string()),
        ("Service", clip(&services(alert), FIELD_MAX).into_owned()),
        ("Tenant", alert.tenant.map(|id| id.to_string()).unwrap_or_default()),
        ("Seen in", field(&alert.source)),
        ("Rule", field(alert.rule_id.as_str())),
        ("NIST 800-171 controls", clip(&controls.join(", "), FIELD_MAX).into_owned()),
        ("CUI touched", if alert.cui_involved { "yes" } else { "no" }.to_owned()),
    ];
    // A test tells of no alert that anybody could look up.
    if message.kind != Kind::Test {
        facts.push(("Alert", alert.alert_id.to_string()));
    }
    facts.extend(alert.incident_id.map(|id| ("Incident", id.to_string())));
    facts.retain(|(_, value)| !value.is_empty());
    facts
}
