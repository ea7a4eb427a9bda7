//! Generic JSON, signed, by `POST`.
//!
//! A receiver checks `Blueteam-Signature: v1=<hex>` against the HMAC-SHA256 of
//! `<Blueteam-Timestamp>.<body>` under the shared secret, refuses old timestamps, and drops a
//! `Blueteam-Delivery` that it has seen. Any 2xx is taken as delivered. The request is a
//! CloudEvents 1.0 event in binary mode: `ce-…` headers beside the body (HTTP protocol binding,
//! 3.1).

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use model::facts::Way;
use model::{Alert, Channel, Severity, Span, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use super::{Audience, Definition, Outlet, Problems, Scheduled, SecretFile, Sending, Setup};
use crate::error::{SendError, SetupError};
use crate::http_post::{Poster, Target};
use crate::notification::{Kind, Notification};
use crate::{ways, wording};

pub(super) const DEFINITION: Definition = Definition {
    channel: Channel::named("webhook"),
    audience: Audience::Relay,
    resolves: false,
    names_people: false,
    severities: &[Severity::Critical, Severity::High],
    scheduled: Scheduled::WhereConfigured,
    parallel_sends: Definition::PARALLEL_SENDS,
};

/// The shortest secret that is accepted, in bytes: what HMAC-SHA256 needs to resist guessing.
pub const SECRET_MIN: usize = 16;

/// `[channels.webhook]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Section {
    /// Where to post; empty and no `url_file`: no webhook.
    pub url: String,
    /// A file that holds the URL, when it carries a token.
    pub url_file: String,
    /// A file that holds the secret of the signature.
    pub secret_file: String,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_file: String,
    /// The limit of one attempt.
    pub timeout: Span,
}

impl Default for Section {
    fn default() -> Self {
        let none = String::new;
        Self {
            url: none(),
            url_file: none(),
            secret_file: none(),
            ca_file: none(),
            timeout: Span::secs(10),
        }
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a token.
        f.debug_struct("Webhook")
            .field("url_is_set", &!self.url.is_empty())
            .field("url_file", &self.url_file)
            .field("secret_file", &self.secret_file)
            .field("ca_file", &self.ca_file)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl super::Section for Section {
    fn is_configured(&self) -> bool {
        !self.url.is_empty() || !self.url_file.is_empty()
    }

    fn check(&self, problems: &mut Problems) {
        if !self.url.is_empty() && !self.url_file.is_empty() {
            problems.add("url", "and url_file exclude each other");
        }
        problems.check_timeout(self.timeout);
    }

    fn secrets(&self) -> Vec<SecretFile<'_>> {
        vec![
            SecretFile {
                key: "url_file",
                file: &self.url_file,
                by_variable: false,
            },
            SecretFile {
                key: "secret_file",
                file: &self.secret_file,
                by_variable: true,
            },
        ]
    }

    fn ways(&self) -> Vec<Way> {
        if self.url.is_empty() {
            ways::to_url_in_file("webhook", &self.url_file)
                .into_iter()
                .collect()
        } else {
            vec![ways::to_url("webhook", &self.url)]
        }
    }

    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError> {
        let secret = setup.secret("secret_file").ok_or_else(|| {
            let message = "must be set, so that the receiver can tell who sends";
            setup.error("secret_file", message)
        })?;

        outlet(Settings {
            target: Target {
                url: setup
                    .secret("url_file")
                    .unwrap_or_else(|| SecretString::from(self.url.as_str())),
                ca_pem: setup.certificates(&self.ca_file)?,
                timeout: self.timeout.to_std(),
            },
            secret,
        })
    }
}

/// Where to post.
#[derive(Debug)]
pub struct Settings {
    /// The receiver.
    pub target: Target,
    /// What the signature is made with.
    pub secret: SecretString,
}

struct Webhook {
    poster: Poster,
    secret: SecretString,
}

/// Makes the channel ready.
pub fn outlet(settings: Settings) -> Result<Box<dyn Outlet>, SetupError> {
    if settings.secret.expose_secret().len() < SECRET_MIN {
        let message = format!("must have at least {SECRET_MIN} bytes");
        return Err(SetupError::new(DEFINITION.channel, "secret", message));
    }

    let poster = Poster::new(DEFINITION.channel, &settings.target)?;
    Ok(Box::new(Webhook {
        poster,
        secret: settings.secret,
    }))
}

impl Outlet for Webhook {
    fn send<'a>(&'a self, message: &'a Notification) -> Sending<'a> {
        Box::pin(async move {
            let body = webhook_body(message)?;
            let headers = signed_headers(message, &self.secret, &body)?;
            self.poster.post(headers, body, message.sent_at).await
        })
    }
}

fn signed_headers(
    message: &Notification,
    secret: &SecretString,
    body: &[u8],
) -> Result<HeaderMap, SendError> {
    let alert = message.content.as_alert();
    let timestamp = message.sent_at.as_secs();
    let delivery = message.delivery_id.to_string();
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json".to_owned()),
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", delivery.clone()),
        ("ce-source", "/blueteam/alerts".to_owned()),
        (
            "ce-type",
            format!("blueteam.alert.{}", message.kind.as_str()),
        ),
        ("ce-time", alert.created_at.to_string()),
        ("ce-subject", alert.alert_id.to_string()),
        ("blueteam-delivery", delivery.clone()),
        ("idempotency-key", delivery),
        ("blueteam-timestamp", timestamp.to_string()),
        ("blueteam-signature", sign_body(secret, timestamp, body)),
    ];

    let pair = |(name, value): (&'static str, String)| {
        let value = HeaderValue::try_from(value)
            .map_err(|error| SendError::never(error.to_string(), "report this as a bug"))?;
        Ok((HeaderName::from_static(name), value))
    };

    headers.into_iter().map(pair).collect()
}

/// The alert as the receiver gets it. Its own type, so that the shape changes on purpose only.
#[derive(Serialize)]
struct Body<'a> {
    version: u8,
    kind: Kind,
    delivery_id: Uuid,
    sent_at: Timestamp,
    summary: String,
    alert: &'a Alert,
}

fn webhook_body(message: &Notification) -> Result<Vec<u8>, SendError> {
    let alert = message.content.as_alert();
    let body = Body {
        version: 1,
        kind: message.kind,
        delivery_id: message.delivery_id,
        sent_at: message.sent_at,
        summary: wording::summary(message),
        alert: &alert,
    };

    serde_json::to_vec(&body).map_err(|error| {
        SendError::never(
            format!("the alert is no JSON: {error}"),
            "report this as a bug",
        )
    })
}

/// `v1=` and the hex of HMAC-SHA256(secret, `<timestamp>.<body>`).
fn sign_body(secret: &SecretString, timestamp: i64, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("any key length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);

    let digits = mac
        .finalize()
        .into_bytes()
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .collect::<Vec<_>>();
    let hex: String = digits
        .into_iter()
        .filter_map(|d| char::from_digit(u32::from(d), 16))
        .collect();

    format!("v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;

    #[test]
    fn the_body_holds_what_a_machine_needs() {
        let body: serde_json::Value =
            serde_json::from_slice(&webhook_body(&samples::message()).unwrap()).unwrap();
        insta::assert_json_snapshot!(body);
    }

    #[test]
    fn signs_timestamp_and_body() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let secret = SecretString::from("0123456789abcdef");
        let expected = "v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e";
        assert_eq!(sign_body(&secret, 1_700_000_000, b"{}"), expected);
    }
}
