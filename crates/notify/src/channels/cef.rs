//! A SIEM that speaks CEF (ArcSight's Common Event Format, version 0, guide of revision 25), as the
//! text of a syslog message.

use model::facts::Way;
use model::{Channel, EntityKind, Severity};
use serde::{Deserialize, Serialize};

use super::syslog::{Receiver, Sender, Siem, head, name};
use super::{Audience, Definition, Outlet, Problems, Scheduled, Sending, Setup};
use crate::error::SetupError;
use crate::notification::{Kind, Notification};
use model::text::{clip, sanitize};

pub(super) const DEFINITION: Definition = Definition {
    channel: Channel::named("cef"),
    audience: Audience::Machine,
    resolves: false,
    names_people: false,
    severities: &[Severity::Critical, Severity::High, Severity::Medium],
    scheduled: Scheduled::Heartbeats,
    parallel_sends: Definition::PARALLEL_SENDS,
};

/// The smallest limit of a message that the head of an event always fits in.
pub const MESSAGE_MIN: usize = 2048;

/// The longest field of the head, and the longest value of the extension, in bytes before escaping.
const FIELD_MAX: usize = 256;
const VALUE_MAX: usize = 512;
/// The guide's limit of `msg`.
const TEXT_MAX: usize = 1023;

/// `[channels.cef]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Section(pub Siem);

struct Cef(Sender);

impl super::Section for Section {
    fn is_configured(&self) -> bool {
        self.0.is_configured()
    }

    fn check(&self, problems: &mut Problems) {
        self.0.check(MESSAGE_MIN, problems);
    }

    fn ways(&self) -> Vec<Way> {
        self.0.ways("CEF")
    }

    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError> {
        outlet(self.0.receiver(setup)?)
    }
}

/// Makes the channel ready.
pub fn outlet(receiver: Receiver) -> Result<Box<dyn Outlet>, SetupError> {
    let sender = Sender::new(DEFINITION.channel, receiver, MESSAGE_MIN)?;
    Ok(Box::new(Cef(sender)))
}

impl Outlet for Cef {
    fn send<'a>(&'a self, message: &'a Notification) -> Sending<'a> {
        let receiver = &self.0.receiver;
        let head = format!("{} - ", head(receiver, message));
        let room = receiver.max_message_bytes.saturating_sub(head.len());
        Box::pin(
            self.0
                .send(head + &cef_event(message, &name(&receiver.hostname, 255), room)),
        )
    }
}

/// 0 to 10, as the guide divides them: low to 3, medium to 6, high to 8, very high to 10.
const fn cef_severity(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 10,
        Severity::High => 8,
        Severity::Medium => 5,
        Severity::Low => 3,
        Severity::Info => 0,
    }
}

/// A field of the head: `|` and `\` are escaped; a line break has no place in it, and `neutral`
/// spells it out.
fn header_field(text: &str) -> String {
    escape_mark(&bounded_text(text, FIELD_MAX), '|')
}

/// A value of the extension: `=` and `\` are escaped.
fn extension_value(text: &str, most: usize) -> String {
    escape_mark(&bounded_text(text, most), '=')
}

/// What acts is spelled out, which makes it longer: it is cut before and after.
fn bounded_text(text: &str, most: usize) -> String {
    clip(&sanitize(&clip(text, most)), most).into_owned()
}

fn escape_mark(text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c == '\\' || c == mark {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The event in at most `room` bytes. A value that does not fit is left out whole.
fn cef_event(message: &Notification, host: &str, room: usize) -> String {
    let alert = message.content.as_alert();
    let severity = if message.kind == Kind::Test {
        0
    } else {
        cef_severity(alert.severity)
    };

    let mut out = format!(
        "CEF:0|blueteam|blueteam|{}|{}|{}|{severity}|",
        env!("CARGO_PKG_VERSION"),
        header_field(alert.rule_id.as_str()),
        header_field(&alert.title),
    );

    let mut between = "";
    for (key, text) in cef_extension(message, host) {
        let most = if key == "msg" { TEXT_MAX } else { VALUE_MAX };
        let pair = format!("{between}{key}={}", extension_value(&text, most));
        if !text.is_empty() && out.len() + pair.len() <= room {
            out.push_str(&pair);
            between = " ";
        }
    }

    out
}

/// The alert's fields in the keys of the CEF guide, most important first.
fn cef_extension(message: &Notification, host: &str) -> Vec<(&'static str, String)> {
    let alert = message.content.as_alert();
    let millis = |at: model::Timestamp| at.as_micros().div_euclid(1000).to_string();
    let entity = alert.entity.value.clone();
    let address = entity.parse::<std::net::IpAddr>();

    let mut pairs = vec![
        ("externalId", alert.alert_id.to_string()),
        ("act", message.kind.as_str().to_owned()),
        ("cat", alert.source.clone()),
        ("rt", millis(alert.created_at)),
        ("start", millis(alert.first_seen)),
        ("end", millis(alert.last_seen)),
        ("cnt", alert.event_count.to_string()),
        ("dvchost", host.to_owned()),
    ];

    match (alert.entity.kind, address) {
        (EntityKind::Ip, Ok(std::net::IpAddr::V4(_))) => pairs.push(("src", entity)),
        (EntityKind::Ip, Ok(std::net::IpAddr::V6(_))) => {
            pairs.extend([
                ("c6a2", entity),
                ("c6a2Label", "Source IPv6 Address".to_owned()),
            ]);
        }
        (EntityKind::User, _) => pairs.push(("suser", entity)),
        (kind, _) => pairs.extend([("cs1", entity), ("cs1Label", kind.as_str().to_owned())]),
    }

    // The guide has no key for a tenant, and its six free texts are taken: as other producers do, a
    // key of our own.
    pairs.extend(alert.tenant.map(|id| ("tenantId", id.to_string())));
    let controls: Vec<_> = alert
        .nist_controls
        .iter()
        .map(ToString::to_string)
        .collect();
    let labeled = [
        (
            "cs2",
            "cs2Label",
            "incident",
            alert
                .incident_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
        ),
        ("cs3", "cs3Label", "nist_800_171", controls.join(",")),
        ("cs4", "cs4Label", "services", alert.services.join(",")),
        ("cs5", "cs5Label", "cui", alert.cui_involved.to_string()),
        (
            "cs6",
            "cs6Label",
            "delivery",
            message.delivery_id.to_string(),
        ),
    ];

    for (key, label, word, text) in labeled {
        if !text.is_empty() {
            pairs.extend([(key, text), (label, word.to_owned())]);
        }
    }

    pairs.push(("msg", alert.description.clone()));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;
    use proptest::prelude::*;

    type Pairs = Vec<(String, String)>;

    /// Takes an event apart as the guide says: seven bars that no backslash stands before, then
    /// pairs whose key has no `=` and whose value goes on to the next key. `None` when it doesn't
    /// follow it.
    fn parsed(event: &str) -> Option<(Vec<String>, Pairs)> {
        let (mut head, mut part, mut chars) = (Vec::new(), String::new(), event.chars());
        while head.len() < 7 {
            match chars.next()? {
                '\\' => match chars.next()? {
                    c @ ('\\' | '|') => part.push(c),
                    _ => return None,
                },
                '|' => head.push(std::mem::take(&mut part)),
                c => part.push(c),
            }
        }

        let (mut pairs, mut word, mut key) = (Pairs::new(), String::new(), None::<String>);
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next()? {
                    c @ ('\\' | '=') => word.push(c),
                    _ => return None,
                },
                '=' => {
                    let next = match key.take() {
                        None => std::mem::take(&mut word),
                        Some(key) => {
                            let (text, next) = word.rsplit_once(' ')?;
                            pairs.push((key, text.to_owned()));
                            next.to_owned()
                        }
                    };

                    key = Some(next);
                    word.clear();
                }
                c => word.push(c),
            }
        }

        pairs.push((key?, word));
        Some((head, pairs))
    }

    #[test]
    fn an_alert_is_an_event() {
        let event = cef_event(&samples::message(), "soc1", 8192);
        insta::assert_snapshot!(event.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    proptest! {
        #[test]
        fn an_attacker_writes_no_field_and_no_key(text in samples::attacks(), room in 1500_usize..9000) {
            let message = samples::hostile(&text);
            let event = cef_event(&message, "soc1", room);
            prop_assert!(event.len() <= room, "{} of {room}", event.len());
            prop_assert!(!event.contains('\n') && samples::harmless(&event), "{:?}", event);
            let (head, pairs) = parsed(&event).expect("well-formed");
            prop_assert_eq!(&head[5], &bounded_text(&text, FIELD_MAX));

            let keys: Vec<_> = pairs.iter().map(|(key, _)| key.as_str()).collect();
            let known: Vec<_> = cef_extension(&message, "soc1").into_iter().map(|(key, _)| key).collect();
            prop_assert!(keys.iter().all(|key| known.contains(key)), "{keys:?}");
            prop_assert!(!keys.contains(&"src"), "the address is none");

            if room > 8000 {
                let msg = pairs.iter().find(|(key, _)| key == "msg").map(|(_, text)| text.clone());
                prop_assert_eq!(msg.unwrap_or_default(), bounded_text(&text, TEXT_MAX));
            }
        }
    }
}
