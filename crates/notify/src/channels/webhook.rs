//! Generic JSON, signed, by `POST`.
//!
//! A receiver checks `Blueteam-Signature: v1=<hex>` against the HMAC-SHA256 of
//! `<Blueteam-Timestamp>.<body>` under the shared secret, refuses old timestamps, and drops a
//! `Blueteam-Delivery` that it has seen. Any 2xx is taken as delivered. The request is a
//! CloudEvents 1.0 event in binary mode: `ce-…` headers beside the body (HTTP protocol binding,
//! 3.1).

use hmac::{Hmac, KeyInit as _, Mac as _};
use model::{Alert, Channel, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::Sha256;
use uuid::Uuid;

use super::{Outlet, Sending};
use crate::error::{SendError, SetupError};
use crate::http_post::{Poster, Target};
use crate::notification::{Kind, Notification};
use crate::wording;

/// The shortest secret that is accepted, in bytes: what HMAC-SHA256 needs to resist guessing.
pub const SECRET_MIN: usize = 16;

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

pub(super) fn open(settings: &mut super::Settings) -> Result<Option<Box<dyn Outlet>>, SetupError> {
    let Some(settings) = settings.webhook.take() else {
        return Ok(None);
    };
    if settings.secret.expose_secret().len() < SECRET_MIN {
        let message = format!("must have at least {SECRET_MIN} bytes");
        return Err(SetupError::new(Channel::Webhook, "secret", message));
    }

    let poster = Poster::new(Channel::Webhook, &settings.target)?;
    Ok(Some(Box::new(Webhook {
        poster,
        secret: settings.secret,
    })))
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
