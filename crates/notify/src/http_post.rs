//! A `POST` over HTTPS and what its answer means: what the channels that post have in common.

use std::time::Duration;

use model::{Channel, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Receipt, Retry, SendError, SetupError, chain, tidy};
use crate::tls;

/// As much of an answer as is read, in bytes.
const ANSWER_MAX: usize = 4096;
/// The longest wait that a receiver may ask for: an alert that arrives tomorrow is too late.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Where to post.
#[derive(Debug)]
pub struct Target {
    /// `https://…`, or `http://…` to this machine. A secret, because many services put a token into
    /// it.
    pub url: SecretString,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_pem: Option<String>,
    /// The limit of one attempt, from name lookup to the end of the answer.
    pub timeout: Duration,
}

/// A service that expects regular pings, and raises the alarm when they stop: the dead man's
/// switch.
pub struct Heartbeat(Poster);

impl Heartbeat {
    /// Creates it from the settings in `section` of the configuration. An error is one sentence
    /// without secrets.
    pub fn new(section: &str, target: &Target) -> Result<Self, String> {
        Poster::of(section.to_owned(), target)
            .map(Self)
            .map_err(|(key, message)| format!("{section}.{key} {message}"))
    }

    /// Sends a ping. The body reveals nothing about events.
    pub async fn beat(&self, now: Timestamp) -> Result<Receipt, SendError> {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        self.0
            .post(
                headers,
                br#"{"program":"blueteam","status":"watching"}"#.to_vec(),
                now,
            )
            .await
    }
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL is a secret.
        f.debug_tuple("Heartbeat").field(&self.0.host).finish()
    }
}

/// A receiver.
pub(crate) struct Poster {
    client: Client,
    url: Url,
    host: String,
    /// The section of its settings in the configuration.
    section: String,
}

impl Poster {
    pub(crate) fn new(channel: Channel, target: &Target) -> Result<Self, SetupError> {
        let section = format!("channels.{channel}");
        Self::of(section, target).map_err(|(key, message)| SetupError::new(channel, key, message))
    }

    /// An error is a key and what is wrong with it.
    fn of(section: String, target: &Target) -> Result<Self, (&'static str, String)> {
        let url = target.url.expose_secret();
        let url = Url::parse(url).map_err(|error| ("url", format!("is not a URL: {error}")))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        match url.scheme() {
            "https" => {}
            "http" if tls::is_loopback(&host) => {}
            _ => {
                return Err((
                    "url",
                    "must start with https:// (http:// only to this machine)".to_owned(),
                ));
            }
        }

        let tls =
            tls::client_config(target.ca_pem.as_deref()).map_err(|message| ("ca_file", message))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(target.timeout)
            .connect_timeout(target.timeout)
            .pool_max_idle_per_host(32)
            .user_agent(concat!("blueteam/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ("url", chain(&error)))?;

        Ok(Self {
            client,
            url,
            host,
            section,
        })
    }

    /// Posts; any 2xx is taken as delivered. `now` is what a date in `Retry-After` is compared
    /// with.
    pub(crate) async fn post(
        &self,
        headers: HeaderMap,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<Receipt, SendError> {
        let request = self
            .client
            .post(self.url.clone())
            .headers(headers)
            .body(body);
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        self.judge(response, now).await
    }

    /// No answer: refused, cut, timed out, a certificate that is not trusted. All of it can be
    /// mended on the other side.
    fn unreachable(&self, error: reqwest::Error) -> SendError {
        let what = if error.is_timeout() {
            format!("{} did not answer in time", self.host)
        } else {
            // The URL may hold a token.
            format!(
                "{} cannot be reached: {}",
                self.host,
                chain(&error.without_url())
            )
        };

        SendError::later(
            what,
            "check that the receiver runs and that its certificate is trusted",
        )
    }

    async fn judge(&self, response: Response, now: Timestamp) -> Result<Receipt, SendError> {
        let status = response.status();
        let after = retry_after(response.headers(), now);
        let answer = start_of(response).await;

        if status.is_success() {
            return Ok(Receipt {
                detail: format!("answered {}", status.as_u16()),
            });
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
            _ if status.is_server_error() => {
                SendError::later(what, "look into the receiver's own log")
            }
            _ if status.is_redirection() => SendError::never(
                what,
                "set url to where it really is; redirects aren't followed",
            ),
            _ => SendError::never(
                what,
                format!("check the address and the secret of [{}]", self.section),
            ),
        })
    }
}

/// The wait that the receiver asks for: seconds, or a date as HTTP writes it.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(secs) = text.parse::<u64>() {
        Duration::from_secs(secs)
    } else {
        let at = jiff::fmt::rfc2822::parse(text)
            .ok()?
            .timestamp()
            .as_microsecond();
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

    #[test]
    fn honors_retry_after_within_reason() {
        let now = Timestamp::parse("1994-11-06T08:49:07Z").unwrap();
        let wait = |text: &'static str| {
            retry_after(
                &HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]),
                now,
            )
            .map(|d| d.as_secs())
        };

        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30));
        assert_eq!(wait("999999999999"), Some(3600));
        assert_eq!(wait("soon"), None);
    }
}
