//! What a person reads: the same words in mail, on the console and in the log.

use model::{Alert, EntityKind, Severity, Span};

use crate::notification::{Kind, Notification};
use model::text::{clip, sanitize};

/// The longest text of any one field, in bytes.
const FIELD_MAX: usize = 1000;

/// A field of the alert, safe to show and bounded.
pub(crate) fn field(text: &str) -> String {
    sanitize(&clip(text, FIELD_MAX)).into_owned()
}

/// Returns what the entity is, for readers who have never seen the program.
pub(crate) const fn entity_word(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Ip => "Network address",
        EntityKind::User => "User",
        EntityKind::Session => "Session",
        EntityKind::Source => "Source of events",
    }
}

/// Returns the first sentences: how bad, what, and by when to look into it (specification 3.2.3).
pub(crate) fn summary(message: &Notification) -> String {
    let alert = message.content.as_alert();
    if message.kind == Kind::Test {
        return "This is a test of the alert channel. Nothing has happened and nothing needs to be \
            done.".to_owned();
    }

    if message.kind == Kind::Heartbeat {
        return "A scheduled message that shows that alerts reach you. Nothing has happened."
            .to_owned();
    }

    if matches!(message.kind, Kind::Digest | Kind::Reminder) {
        return format!("{}.", field(&alert.title).trim_end_matches('.'));
    }

    if message.kind == Kind::Resolved {
        return format!(
            "Over for now: {}. Nothing more was seen.",
            field(&alert.title).trim_end_matches('.')
        );
    }

    let weight = match alert.severity {
        Severity::Critical => "A critical security alert",
        Severity::High => "A serious security alert",
        Severity::Medium => "A security alert of medium severity",
        Severity::Low => "A minor security alert",
        Severity::Info => "A note",
    };

    let urgency = match (alert.severity, message.within) {
        (Severity::Info, _) => "Nothing needs to be done.".to_owned(),
        (Severity::Critical, _) => "Look into it now.".to_owned(),
        (_, Some(within)) => format!("Look into it within {}.", long_span(within)),
        (_, None) => "Look into it.".to_owned(),
    };

    let cui = if alert.cui_involved {
        " Controlled unclassified information (CUI) was accessed: if this proves to be a cyber \
            incident, it must be reported \
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

    format!(
        "{weight}: {}. {urgency}{cui}",
        field(&alert.title).trim_end_matches('.')
    )
}

/// A length of time as people say it, in the largest unit that divides it.
fn long_span(span: Span) -> String {
    let secs = span.as_micros() / 1_000_000;
    let (n, unit) = match secs {
        _ if secs > 86_400 && secs % 86_400 == 0 => (secs / 86_400, "day"),
        _ if secs >= 3600 && secs % 3600 == 0 => (secs / 3600, "hour"),
        _ if secs >= 60 && secs % 60 == 0 => (secs / 60, "minute"),
        _ => (secs, "second"),
    };

    match (n, unit) {
        (1, "hour") => "an hour".to_owned(),
        (1, unit) => format!("a {unit}"),
        (n, unit) => format!("{n} {unit}s"),
    }
}

/// Whose events they are; empty when they do not say.
pub(crate) fn services(alert: &Alert) -> String {
    alert
        .services
        .iter()
        .map(|s| field(s))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The machines that logged the events; empty when the log does not name them.
fn hosts(alert: &Alert) -> String {
    let hosts: Vec<_> = alert.hosts.iter().map(|host| field(host)).collect();
    hosts.join(", ")
}

/// The accounts that failed logins tried, as far as they are kept; empty when there were none.
fn accounts(alert: &Alert) -> String {
    /// A mail names this many.
    const SHOWN: usize = 10;

    let shown: Vec<String> = alert
        .accounts
        .iter()
        .take(SHOWN)
        .map(|name| field(name))
        .collect();
    let more = match alert.accounts.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and at least {more} more"),
    };
    clip(&format!("{}{more}", shown.join(", ")), FIELD_MAX).into_owned()
}

/// The description in lines; only a digest and reminders have more than one.
pub(crate) fn lines(message: &Notification) -> Vec<String> {
    match message.kind {
        Kind::Digest | Kind::Reminder => message.content.body().lines().map(field).collect(),
        _ => vec![field(message.content.body())],
    }
}

/// The facts, as label and value, in reading order.
pub(crate) fn facts(message: &Notification) -> Vec<(&'static str, String)> {
    let alert = message.content.as_alert();
    if !message.kind.is_of_an_alert() && message.kind != Kind::Test {
        return vec![
            ("From", message.clock.seconds(alert.first_seen)),
            ("To", message.clock.seconds(alert.last_seen)),
            ("Host", field(&alert.entity.value)),
        ];
    }

    let controls: Vec<_> = alert.nist_controls.iter().map(|c| field(&c.0)).collect();
    let mut facts = vec![
        ("Severity", alert.severity.to_string()),
        (
            entity_word(alert.entity.kind),
            field(&alert.subject_value()),
        ),
        ("Accounts tried", accounts(&alert)),
        ("Host", clip(&hosts(&alert), FIELD_MAX).into_owned()),
        ("First seen", message.clock.seconds(alert.first_seen)),
        ("Last seen", message.clock.seconds(alert.last_seen)),
        ("Events", alert.event_count.to_string()),
        ("Service", clip(&services(&alert), FIELD_MAX).into_owned()),
        (
            "Tenant",
            alert.tenant.map(|id| id.to_string()).unwrap_or_default(),
        ),
        ("Seen in", field(&alert.source)),
        ("Rule", field(alert.rule_title())),
        (
            "NIST 800-171 controls",
            clip(&controls.join(", "), FIELD_MAX).into_owned(),
        ),
        (
            "CUI accessed",
            if alert.cui_involved { "yes" } else { "no" }.to_owned(),
        ),
    ];

    // A test is about no alert that could be looked up.
    if message.kind != Kind::Test {
        facts.push(("Alert", alert.alert_id.to_string()));
    }

    facts.extend(alert.incident_id.map(|id| ("Incident", id.to_string())));
    facts.retain(|(_, value)| !value.is_empty());
    facts
}
