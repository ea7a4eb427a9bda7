//! PagerDuty, Events API v2: an alert triggers, its end resolves. The dedup key is the alert's
//! fingerprint, so that a repeated delivery does not page twice.

use model::facts::Way;
use model::{Channel, Severity, Span};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Audience, Definition, Outlet, Problems, Scheduled, SecretFile, Sending, Setup};
use crate::error::SetupError;
use crate::http_post::{Poster, Target};
use crate::notification::{Kind, Notification};
use crate::{ways, wording};
use model::text::clip;

pub(super) const DEFINITION: Definition = Definition {
    channel: Channel::named("pagerduty"),
    audience: Audience::People,
    resolves: true,
    names_people: false,
    severities: &[Severity::Critical, Severity::High],
    scheduled: Scheduled::Never,
    parallel_sends: Definition::PARALLEL_SENDS,
};

/// Where events go, unless the service is in the EU (`https://events.eu.pagerduty.com/v2/enqueue`).
pub const ENDPOINT: &str = "https://events.pagerduty.com/v2/enqueue";
/// PagerDuty's limit for a summary, in characters; applied to bytes, which are never fewer.
const SUMMARY_MAX: usize = 1024;
/// An integration key has 32 characters.
const KEY_LENGTH: usize = 32;

/// `[channels.pagerduty]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Section {
    /// A file that holds the service's integration key; empty: not used.
    pub routing_key_file: String,
    /// The events endpoint.
    pub url: String,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_file: String,
    /// The limit of one attempt.
    pub timeout: Span,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            routing_key_file: String::new(),
            url: ENDPOINT.to_owned(),
            ca_file: String::new(),
            timeout: Span::secs(10),
        }
    }
}

impl super::Section for Section {
    fn is_configured(&self) -> bool {
        !self.routing_key_file.is_empty()
    }

    fn check(&self, problems: &mut Problems) {
        problems.check_timeout(self.timeout);
    }

    fn secrets(&self) -> Vec<SecretFile<'_>> {
        vec![SecretFile {
            key: "routing_key_file",
            file: &self.routing_key_file,
            by_variable: false,
        }]
    }

    fn ways(&self) -> Vec<Way> {
        if self.is_configured() && !self.url.is_empty() {
            vec![ways::to_url("PagerDuty", &self.url)]
        } else {
            Vec::new()
        }
    }

    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError> {
        outlet(Settings {
            target: Target {
                url: SecretString::from(self.url.as_str()),
                ca_pem: setup.certificates(&self.ca_file)?,
                timeout: self.timeout.to_std(),
            },
            routing_key: setup.required_secret("routing_key_file")?,
        })
    }
}

/// Which service to page.
#[derive(Debug)]
pub struct Settings {
    /// The events endpoint.
    pub target: Target,
    /// The integration key of the service.
    pub routing_key: SecretString,
}

struct Pagerduty {
    poster: Poster,
    routing_key: SecretString,
}

/// Makes the channel ready.
pub fn outlet(settings: Settings) -> Result<Box<dyn Outlet>, SetupError> {
    let key = settings.routing_key.expose_secret();
    if key.len() != KEY_LENGTH || !key.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let message = format!("must be an integration key of {KEY_LENGTH} letters and digits");
        let channel = DEFINITION.channel;
        return Err(SetupError::new(channel, "routing_key_file", message));
    }

    let poster = Poster::new(DEFINITION.channel, &settings.target)?;
    Ok(Box::new(Pagerduty {
        poster,
        routing_key: settings.routing_key,
    }))
}

impl Outlet for Pagerduty {
    fn send<'a>(&'a self, message: &'a Notification) -> Sending<'a> {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let body = event_body(message, self.routing_key.expose_secret())
            .to_string()
            .into_bytes();
        Box::pin(self.poster.post(headers, body, message.sent_at))
    }
}

const fn pagerduty_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "info",
    }
}

fn event_body(message: &Notification, routing_key: &str) -> Value {
    let alert = message.content.as_alert();
    let dedup_key = alert.fingerprint.to_string();
    if message.kind == Kind::Resolved {
        return json!({ "routing_key": routing_key, "event_action": "resolve", "dedup_key": dedup_key });
    }

    let details: Map<String, Value> = wording::facts(message)
        .into_iter()
        .map(|(k, v)| (k.to_owned(), Value::String(v)))
        .collect();
    json!({
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "client": "blueteam",
        "payload": {
            "summary": clip(&wording::summary(message), SUMMARY_MAX),
            "source": wording::field(&alert.entity.value),
            "severity": pagerduty_severity(alert.severity),
            "timestamp": alert.last_seen.to_string(),
            "component": wording::field(&alert.source),
            "class": wording::field(alert.rule_id.as_str()),
            "custom_details": details,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;

    #[test]
    fn an_alert_triggers_and_its_end_resolves_the_same() {
        let trigger = event_body(&samples::message(), "0123456789abcdef0123456789abcdef");
        insta::assert_json_snapshot!(trigger);
        let resolve = event_body(
            &Notification {
                kind: Kind::Resolved,
                ..samples::message()
            },
            "k",
        );
        assert_eq!(
            resolve,
            json!({ "routing_key": "k", "event_action": "resolve", "dedup_key": trigger["dedup_key"] })
        );
    }
}
