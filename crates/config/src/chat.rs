//! `[channels.slack]`, `[channels.teams]`, `[channels.pagerduty]`: services that get alerts over
//! HTTPS with a token.

use model::Span;
use notify::channels::pagerduty;
use notify::http_post::Target;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::channels::{copy, pem};

/// `[channels.slack]` and `[channels.teams]`. The URL holds a token, so it is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hook {
    /// A file that holds the URL; empty: not used.
    pub url_file: String,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_file: String,
    /// The limit of one attempt.
    pub timeout: Span,
}

/// `[channels.pagerduty]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pagerduty {
    /// A file that holds the service's integration key; empty: not used.
    pub routing_key_file: String,
    /// The events endpoint.
    pub url: String,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_file: String,
    /// The limit of one attempt.
    pub timeout: Span,
}

impl Default for Hook {
    fn default() -> Self {
        Self {
            url_file: String::new(),
            ca_file: String::new(),
            timeout: Span::secs(10),
        }
    }
}

impl Default for Pagerduty {
    fn default() -> Self {
        let none = String::new;
        Self {
            routing_key_file: none(),
            url: pagerduty::ENDPOINT.to_owned(),
            ca_file: none(),
            timeout: Span::secs(10),
        }
    }
}

impl Hook {
    /// Where to post, when it is used.
    pub(super) fn target(&self, url: Option<&SecretString>) -> anyhow::Result<Option<Target>> {
        let Some(url) = url else { return Ok(None) };
        Ok(Some(Target {
            url: copy(url),
            ca_pem: pem(&self.ca_file)?,
            timeout: self.timeout.to_std(),
        }))
    }
}

impl Pagerduty {
    /// Which service to page, when it is used.
    pub(super) fn settings(
        &self,
        key: Option<&SecretString>,
    ) -> anyhow::Result<Option<pagerduty::Settings>> {
        let Some(key) = key else { return Ok(None) };
        let url = SecretString::from(self.url.as_str());
        let target = Target {
            url,
            ca_pem: pem(&self.ca_file)?,
            timeout: self.timeout.to_std(),
        };

        Ok(Some(pagerduty::Settings {
            target,
            routing_key: SecretString::from(key.expose_secret()),
        }))
    }
}
