//! The section of a channel that posts to a URL that holds a token, as Slack and Teams do.

use model::Span;
use model::facts::Way;
use serde::{Deserialize, Serialize};

use crate::channel::{Problems, SecretFile, Setup};
use crate::error::SetupError;
use crate::http_post::Target;
use crate::ways;

/// Where to post. The URL holds a token, so it is in a file.
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

impl Default for Hook {
    fn default() -> Self {
        Self {
            url_file: String::new(),
            ca_file: String::new(),
            timeout: Span::secs(10),
        }
    }
}

impl Hook {
    pub(crate) fn is_configured(&self) -> bool {
        !self.url_file.is_empty()
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        problems.check_timeout(self.timeout);
    }

    pub(crate) fn secrets(&self) -> Vec<SecretFile<'_>> {
        vec![SecretFile {
            key: "url_file",
            file: &self.url_file,
            by_variable: false,
        }]
    }

    /// `name` is the service's.
    pub(crate) fn ways(&self, name: &str) -> Vec<Way> {
        ways::to_url_in_file(name, &self.url_file)
            .into_iter()
            .collect()
    }

    pub(crate) fn target(&self, setup: &Setup<'_>) -> Result<Target, SetupError> {
        Ok(Target {
            url: setup.required_secret("url_file")?,
            ca_pem: setup.certificates(&self.ca_file)?,
            timeout: self.timeout.to_std(),
        })
    }
}
