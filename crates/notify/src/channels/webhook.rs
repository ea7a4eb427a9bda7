//! Generic JSON, signed, by `POST`.
//!
//! A receiver checks `Blueteam-Signature: v1=<hex>` against the HMAC-SHA256 of `<Blueteam-Timestamp>.<body>` under the shared
//! secret, refuses old timestamps, and drops a `Blueteam-Delivery` that it has seen. Any 2xx is taken as delivered.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use model::{Alert, Channel, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::Sha256;
use uuid::Uuid;

use super::{Outlet, Sending};
use crate::error::{Receipt, Retry, SendError, SetupError, chain, tidy};
use crate::message::{Kind, Message};
use crate::{tls, words};

/// The shortest secret that is accepted, in bytes: what HMAC-SHA256 needs to resist guessing.
pub const SECRET_MIN: usize = 16;
/// As much of an answer as is read, in bytes.
const ANSWER_MAX: usize = 4096;
/// The longest wait that a receiver may ask for: an alert that is told tomorrow is told too late.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Where to post.
#[derive(Debug)]
pub struct Settings {
    /// `https://…`, or `http://…` to this machine. A secret, because many services put a token into it.
    pub url: SecretString,
    /// What the signature is made with.
    pub secret: SecretString,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_pem: Option<String>,
    /// The limit of one attempt, from name lookup to the end of the answer.
    pub timeout: Duration,
}

struct Webhook {
    client: Client,
    url: Url,
    host: String,
    secret: SecretString,
}

pub(super) fn open(settings: &mut super::Settings) -> Result<Option<Box<dyn Outlet>>, SetupError> {
    let Some(settings) = settings.webhook.take() else { return Ok(None) };
    let bad = |key, message: String| SetupError::new(Channel::Webhook, key, message);
    let url = Url::parse(settings.url.expose_secret()).map_err(|error| bad("url", format!("is no URL: {error}")))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    match url.scheme() {
        "https" => {}
        "http" if tls::is_loopback(&host) => {}
        _ => return Err(bad("url", "must start with https:// (http:// only to this machine)".to_owned())),
    }
    if settings.secret.expose_secret().len() < SECRET_MIN {
        return Err(bad("secret", format!("must have at least {SECRET_MIN} bytes")));
    }
    let tls = tls::client_config(settings.ca_pem.as_deref()).map_err(|message| bad("ca_file", message))?;
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout)
        .pool_max_idle_per_host(1)
        .user_agent(concat!("blueteam/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| bad("url", chain(&error)))?;
    Ok(Some(Box::new(Webhook { client, url, host, secret: settings.secret })))
}

impl Outlet for Webhook {
    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        Box::pin(async move {
            let body = body(message)?;
            let timestamp = message.sent_at.as_secs();
            let request = self
                .client
                .post(self.url.clone())
                .header(CONTENT_TYPE, "application/json")
                .header("Blueteam-Delivery", message.delivery_id.to_string())
                .header("Idempotency-Key", message.delivery_id.to_string())
                .header("Blueteam-Timestamp", timestamp)
                .header("Blueteam-Signature", signature(&self.secret, timestamp, &body))
                .body(body);
            let response = request.send().await.map_err(|error| self.unreachable(error))?;
            self.judge(response, message.sent_at).await
        })
    }
}

impl Webhook {
    /// No answer: refused, cut, timed out, a certificate that is not trusted. All of it can be mended on the other side.
    fn unreachable(&self, error: reqwest::Error) -> SendError {
        let what = if error.is_timeout() {
            format!("{} did not answer in time", self.host)
        } else {
            // The URL may hold a token.
            format!("{} cannot be reached: {}", self.host, chain(&error.without_url()))
        };
        SendError::later(what, "check that the receiver runs and that its certificate is trusted")
    }

    async fn judge(&self, response: Response, now: Timestamp) -> Result<Receipt, SendError> {
        let status = response.status();
        let after = retry_after(response.headers(), now);
        let answer = start_of(response).await;
        if status.is_success() {
            return Ok(Receipt { detail: format!("answered {}", status.as_u16()) });
        }
        let what = format!("{} answered {status} {}", self.host, tidy(&answer));
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => SendError {
                retry: Retry::Later { after },
                ..SendError::later(what, "the receiver is busy; nothing to do")
            },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
                SendError::later(what, "nothing to do unless it lasts")
            }
            _ if status.is_server_error() => SendError::later(what, "look into the receiver's own log"),
            _ if status.is_redirection() => {
                SendError::never(what, "set url to where it really is; redirects aren't followed")
            }
            _ => SendError::never(what, "check url and secret of [channels.webhook]"),
        })
    }
}

/// What the receiver is told about the alert. Its own type, so that the shape changes on purpose only.
#[derive(Serialize)]
struct Body<'a> {
    version: u8,
    kind: Kind,
    delivery_id: Uuid,
    sent_at: Timestamp,
    summary: String,
    alert: &'a Alert,
}

fn body(message: &Message) -> Result<Vec<u8>, SendError> {
    let body = Body {
        version: 1,
        kind: message.kind,
        delivery_id: message.delivery_id,
        sent_at: message.sent_at,
        summary: words::summary(message),
        alert: &message.alert,
    };
    serde_json::to_vec(&body)
        .map_err(|error| SendError::never(format!("the alert is no JSON: {error}"), "report this as a bug"))
}

/// `v1=` and the hex of HMAC-SHA256(secret, `<timestamp>.<body>`).
fn signature(secret: &SecretString, timestamp: i64, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("any key length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits = mac.finalize().into_bytes().iter().flat_map(|b| [b >> 4, b & 15]).collect::<Vec<_>>();
    let hex: String = digits.into_iter().filter_map(|d| char::from_digit(u32::from(d), 16)).collect();
    format!("v1={hex}")
}

/// The wait that the receiver asks for: seconds, or a date as HTTP writes it.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(secs) = text.parse::<u64>() {
        Duration::from_secs(secs)
    } else {
        let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_microsecond();
        Timestamp::from_micros(at).since(now).to_std()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The beginning of the answer; an answer that breaks off is as good as one that ends.
async fn start_of(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(ANSWER_MAX - bytes.len())]);
        if bytes.len() >= ANSWER_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::samples;

    #[test]
    fn the_body_holds_what_a_machine_needs() {
        let body: serde_json::Value = serde_json::from_slice(&body(&samples::message()).unwrap()).unwrap();
        insta::assert_json_snapshot!(body);
    }

    #[test]
    fn signs_timestamp_and_body() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let secret = SecretString::from("0123456789abcdef");
        let expected = "v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e";
        assert_eq!(signature(&secret, 1_700_000_000, b"{}"), expected);
    }

    #[test]
    fn honours_retry_after_within_reason() {
        let now = Timestamp::parse("1994-11-06T08:49:07Z").unwrap();
        let wait = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now).map(|d| d.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30));
        assert_eq!(wait("999999999999"), Some(3600));
        assert_eq!(wait("soon"), None);
    }
}
