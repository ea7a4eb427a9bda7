//! A SIEM that speaks OCSF: each alert is a Detection Finding, a JSON object as the text of a
//! syslog message. The class and the version of the schema stand here and nowhere else; a test
//! holds what is sent against the published definition.

use model::facts::Way;
use model::{Alert, AlertState, Channel, EntityKind, Severity, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::syslog::{Receiver, Sender, Siem, head};
use super::{Audience, Definition, Outlet, Problems, Scheduled, Sending, Setup};
use crate::error::SetupError;
use crate::notification::{Kind, Notification};
use crate::wording;
use model::text::{clip, sanitize};

pub(super) const DEFINITION: Definition = Definition {
    channel: Channel::named("ocsf"),
    audience: Audience::Machine,
    resolves: true,
    names_people: false,
    severities: &[Severity::Critical, Severity::High, Severity::Medium],
    scheduled: Scheduled::Heartbeats,
    parallel_sends: Definition::PARALLEL_SENDS,
};

/// The version of the schema.
pub const VERSION: &str = "1.5.0";
/// Detection Finding.
pub const CLASS: u32 = 2004;
/// Findings.
const CATEGORY: u32 = 2;
/// The smallest limit of a message that a finding always fits in: JSON cannot be cut.
pub const MESSAGE_MIN: usize = 4096;

/// The longest name of anything, and the longest description, in bytes before escaping.
const NAME_MAX: usize = 200;
const TEXT_MAX: usize = 1000;

/// `[channels.ocsf]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Section(pub Siem);

struct Ocsf(Sender);

impl super::Section for Section {
    fn is_configured(&self) -> bool {
        self.0.is_configured()
    }

    fn check(&self, problems: &mut Problems) {
        self.0.check(MESSAGE_MIN, problems);
    }

    fn ways(&self) -> Vec<Way> {
        self.0.ways("OCSF")
    }

    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError> {
        outlet(self.0.receiver(setup)?)
    }
}

/// Makes the channel ready.
pub fn outlet(receiver: Receiver) -> Result<Box<dyn Outlet>, SetupError> {
    let sender = Sender::new(DEFINITION.channel, receiver, MESSAGE_MIN)?;
    Ok(Box::new(Ocsf(sender)))
}

impl Outlet for Ocsf {
    fn send<'a>(&'a self, message: &'a Notification) -> Sending<'a> {
        let head = format!("{} - ", head(&self.0.receiver, message));
        let room = self.0.receiver.max_message_bytes.saturating_sub(head.len());
        Box::pin(self.0.send(head + &fit_finding(message, room)))
    }
}

/// The finding in at most `room` bytes: what is not required goes first.
fn fit_finding(message: &Notification, room: usize) -> String {
    let mut finding = finding(message);
    for part in ["unmapped", "evidences", "observables", "message"] {
        let text = finding.to_string();
        if text.len() <= room {
            return text;
        }
        if let Some(fields) = finding.as_object_mut() {
            fields.remove(part);
        }
    }
    if let Some(info) = finding
        .get_mut("finding_info")
        .and_then(Value::as_object_mut)
    {
        info.remove("desc");
    }
    finding.to_string()
}

/// 1 informational to 5 critical; the schema's 6, fatal, is not used.
const fn ocsf_severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Critical => (5, "Critical"),
        Severity::High => (4, "High"),
        Severity::Medium => (3, "Medium"),
        Severity::Low => (2, "Low"),
        Severity::Info => (1, "Informational"),
    }
}

/// What happened to the finding: created, updated, closed.
const fn ocsf_activity(kind: Kind) -> (u32, &'static str) {
    match kind {
        Kind::Escalated => (2, "Update"),
        Kind::Resolved => (3, "Close"),
        _ => (1, "Create"),
    }
}

/// New; in progress once it is acknowledged; resolved.
fn ocsf_status(alert: &Alert, kind: Kind) -> (u8, &'static str) {
    match (kind, alert.state, &alert.acknowledged_by) {
        (Kind::Resolved, ..) | (_, AlertState::Closed, _) => (4, "Resolved"),
        (_, _, Some(_)) => (2, "In Progress"),
        _ => (1, "New"),
    }
}

/// Milliseconds since 1970, as the schema wants times.
const fn to_millis(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1000)
}

fn short_text(text: &str) -> String {
    bounded_text(text, NAME_MAX)
}

/// What acts is spelled out, which makes it longer: it is cut before and after.
fn bounded_text(text: &str, most: usize) -> String {
    clip(&sanitize(&clip(text, most)), most).into_owned()
}

/// Where the entity stands among the evidence, and as what it can be searched for. An address that
/// is none by its form is not called one.
fn entity_objects(alert: &Alert) -> (Value, Value) {
    let value = short_text(&alert.entity.value);
    let (evidence, name, kind, word) = match alert.entity.kind {
        EntityKind::Ip if value.parse::<std::net::IpAddr>().is_ok() => (
            json!({ "src_endpoint": { "ip": value } }),
            "evidences.src_endpoint.ip",
            2,
            "IP Address",
        ),
        EntityKind::User => (
            json!({ "actor": { "user": { "name": value } } }),
            "evidences.actor.user.name",
            4,
            "User Name",
        ),
        EntityKind::Session => (
            json!({ "actor": { "session": { "uid": value } } }),
            "evidences.actor.session.uid",
            99,
            "Session",
        ),
        EntityKind::Ip | EntityKind::Source => (
            json!({ "data": { "source": value } }),
            "evidences.data.source",
            99,
            "Source of events",
        ),
    };

    (
        evidence,
        json!({ "name": name, "type_id": kind, "type": word, "value": value }),
    )
}

/// The alert as a Detection Finding.
pub fn finding(message: &Notification) -> Value {
    let alert = message.content.as_alert();
    let (activity_id, activity_name) = ocsf_activity(message.kind);
    let (severity_id, severity) = ocsf_severity(alert.severity);
    let (status_id, status) = ocsf_status(&alert, message.kind);
    let (evidence, observable) = entity_objects(&alert);

    let controls: Vec<_> = alert
        .nist_controls
        .iter()
        .take(20)
        .map(|c| short_text(&c.0))
        .collect();
    let services: Vec<_> = alert
        .services
        .iter()
        .take(20)
        .map(|s| short_text(s))
        .collect();
    let mut metadata = json!({
        "version": VERSION,
        "product": { "name": "blueteam", "vendor_name": "blueteam", "version": env!("CARGO_PKG_VERSION") },
        "uid": message.delivery_id.to_string(),
        "logged_time": to_millis(message.sent_at),
    });

    if let Some(incident) = alert.incident_id {
        metadata["correlation_uid"] = Value::String(incident.to_string());
    }

    if let Some(tenant) = alert.tenant {
        metadata["tenant_uid"] = Value::String(tenant.to_string());
    }

    json!({
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "category_uid": CATEGORY,
        "category_name": "Findings",
        "activity_id": activity_id,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("Detection Finding: {activity_name}"),
        "time": to_millis(alert.created_at),
        "start_time": to_millis(alert.first_seen),
        "end_time": to_millis(alert.last_seen),
        "count": alert.event_count,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "is_alert": matches!(message.kind, Kind::Opened | Kind::Escalated),
        "message": clip(&wording::summary(message), TEXT_MAX),
        "metadata": metadata,
        "finding_info": {
            "uid": alert.alert_id.to_string(),
            "title": short_text(&alert.title),
            "desc": bounded_text(&alert.description, TEXT_MAX),
            "created_time": to_millis(alert.created_at),
            "first_seen_time": to_millis(alert.first_seen),
            "last_seen_time": to_millis(alert.last_seen),
            "analytic": { "uid": short_text(alert.rule_id.as_str()), "name": short_text(alert.rule_id.as_str()), "type_id": 1, "type": "Rule" },
            "data_sources": [short_text(&alert.source)],
            "related_events_count": alert.event_count,
        },
        "evidences": [evidence],
        "observables": [observable],
        "unmapped": { "nist_800_171": controls, "services": services, "cui_involved": alert.cui_involved },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;
    use proptest::prelude::*;

    #[test]
    fn an_alert_is_a_detection_finding() {
        let mut finding = finding(&samples::message());
        finding["metadata"]["product"]["version"] = Value::String("VERSION".to_owned());
        insta::assert_json_snapshot!(finding);
    }

    proptest! {
        #[test]
        fn whatever_an_attacker_writes_it_is_one_line_of_whole_json(text in samples::attacks(), room in 3300_usize..9000) {
            let line = fit_finding(&samples::hostile(&text), room);
            prop_assert!(line.len() <= room, "{} of {room}", line.len());
            prop_assert!(!line.contains('\n') && samples::harmless(&line), "{:?}", line);
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&read["class_uid"], 2004);
            prop_assert!(read["finding_info"]["title"].is_string());
        }
    }
}
