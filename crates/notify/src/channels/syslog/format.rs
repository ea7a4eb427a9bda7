//! The text of a syslog message.

use std::str::FromStr;

use model::Severity;

use super::{Receiver, syslog_severity};
use crate::notification::{Kind, Notification};
use model::text::{clip, sanitize};

/// The longest value of a parameter, in bytes before escaping.
const VALUE_MAX: usize = 256;
/// What is kept free for the text of the message.
const TEXT_MIN: usize = 100;

/// A syslog facility (RFC 5424 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// Security messages with restricted readers.
    pub const AUTHPRIV: Self = Self(10);

    const NAMES: [(&'static str, u8); 13] = [
        ("user", 1),
        ("daemon", 3),
        ("auth", 4),
        ("authpriv", 10),
        ("audit", 13),
        ("local0", 16),
        ("local1", 17),
        ("local2", 18),
        ("local3", 19),
        ("local4", 20),
        ("local5", 21),
        ("local6", 22),
        ("local7", 23),
    ];
}

impl FromStr for Facility {
    type Err = model::ids::UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "user, daemon, auth, authpriv, audit, local0 to local7";
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, n)| Self(*n)).ok_or_else(|| Self::Err {
            found: text.to_owned(),
            expected,
        })
    }
}

/// What stands before the structured data (RFC 5424 6.2).
pub(in crate::channels) fn head(receiver: &Receiver, message: &Notification) -> String {
    let severity = if message.kind == Kind::Test {
        Severity::Info
    } else {
        message.content.severity()
    };

    format!(
        "<{}>1 {} {} {} {} {}",
        receiver.facility.0 * 8 + syslog_severity(severity),
        message.sent_at.to_jiff().strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
        name(&receiver.hostname, 255),
        name(&receiver.app_name, 48),
        std::process::id(),
        message.kind.as_str(),
    )
}

/// The whole message, at most `max_message_bytes` long, in one line.
pub(super) fn message(receiver: &Receiver, enterprise_id: u32, message: &Notification) -> String {
    let alert = message.content.as_alert();
    let mut out = format!("{} [alert@{enterprise_id}", head(receiver, message));
    let room = receiver.max_message_bytes.saturating_sub(TEXT_MIN);
    for (key, value) in structured_data(message) {
        let param = format!(" {key}=\"{}\"", value_text(&value));
        // One that doesn't fit is left out whole; a shorter one after it may still fit.
        if out.len() + param.len() < room {
            out.push_str(&param);
        }
    }

    out.push_str("] ");
    let text = format!("{} ({})", alert.title, alert.description);
    let text = sanitize(&text);
    if !text.is_ascii() {
        // RFC 5424 6.4: says that the text is UTF-8.
        out.push('\u{feff}');
    }

    let left = receiver.max_message_bytes.saturating_sub(out.len());
    out.push_str(&clip(&text, left));
    out
}

/// The facts, most important first.
fn structured_data(message: &Notification) -> Vec<(&'static str, String)> {
    let alert = message.content.as_alert();
    let controls: Vec<_> = alert
        .nist_controls
        .iter()
        .map(ToString::to_string)
        .collect();

    let mut params = vec![
        ("alert_id", alert.alert_id.to_string()),
        ("severity", alert.severity.to_string()),
        ("rule_id", alert.rule_id.to_string()),
        ("entity_type", alert.entity.kind.as_str().to_owned()),
        ("entity", alert.entity.value.clone()),
        ("event_count", alert.event_count.to_string()),
        ("cui", alert.cui_involved.to_string()),
        ("last_seen", alert.last_seen.to_string()),
        ("first_seen", alert.first_seen.to_string()),
    ];

    params.extend(alert.incident_id.map(|id| ("incident_id", id.to_string())));
    params.push(("delivery_id", message.delivery_id.to_string()));
    params.push(("source", alert.source.clone()));
    if !alert.services.is_empty() {
        params.push(("service", alert.services.join(",")));
    }

    params.extend(alert.tenant.map(|id| ("tenant", id.to_string())));
    params.push(("controls", controls.join(",")));
    params
}

/// A parameter's value: bounded, harmless, and with `"`, `\` and `]` escaped (RFC 5424 6.3.3).
fn value_text(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    for c in sanitize(&clip(value, VALUE_MAX)).chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A header field: printable ASCII without spaces, `-` when nothing is left (RFC 5424 6).
pub(in crate::channels) fn name(text: &str, max: usize) -> String {
    let kept: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(max)
        .collect();
    if kept.is_empty() {
        "-".to_owned()
    } else {
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;
    use proptest::prelude::*;
    use std::time::Duration;

    fn receiver(max_message_bytes: usize) -> Receiver {
        Receiver {
            ca_pem: None,
            target: super::super::Target::Udp("127.0.0.1:514".to_owned()),
            facility: Facility::AUTHPRIV,
            hostname: "soc host".to_owned(),
            app_name: "blueteam".to_owned(),
            max_message_bytes,
            timeout: Duration::from_secs(1),
        }
    }

    /// Takes the structured data apart as the RFC's grammar says; `None` when it doesn't follow it.
    fn values(message: &str) -> Option<(Vec<String>, &str)> {
        let mut rest = message.split_once('[')?.1.split_once(' ')?.1;
        let mut found = Vec::new();
        loop {
            let (_, after) = rest.split_once("=\"")?;
            let (mut value, mut end, mut escaped) = (String::new(), None, false);
            for (at, c) in after.char_indices() {
                match c {
                    _ if std::mem::take(&mut escaped) => value.push(c),
                    '\\' => escaped = true,
                    '"' => {
                        end = Some(at);
                        break;
                    }
                    ']' => return None,
                    _ => value.push(c),
                }
            }

            found.push(value);
            rest = &after[end? + 1..];
            if let Some(text) = rest.strip_prefix("] ") {
                return Some((found, text));
            }

            rest = rest.strip_prefix(' ')?;
        }
    }

    #[test]
    fn follows_the_rfc() {
        let text = message(&receiver(2048), 32473, &samples::message());
        insta::assert_snapshot!(text.replace(&std::process::id().to_string(), "PID"));
    }

    proptest! {
        #[test]
        fn an_attacker_writes_no_second_line_and_no_parameter(text in samples::attacks(), max in 480usize..3000) {
            let message = message(&receiver(max), 32473, &samples::hostile(&text));
            prop_assert!(message.len() <= max);

            // The mark that says that the text is UTF-8 is ours.
            let shown = message.replacen('\u{feff}', "", 1);
            prop_assert!(!shown.contains('\n') && samples::harmless(&shown), "{:?}", shown);
            let (values, _) = values(&message).expect("well-formed");
            prop_assert!(values.len() <= 15);
            if max > 2500 && text.len() <= VALUE_MAX {
                prop_assert_eq!(values[4].clone(), sanitize(&text).into_owned());
            }
        }
    }
}
