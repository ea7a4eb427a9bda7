//! The section of a channel that sends to a SIEM over syslog, in the SIEM's own format.

use model::Span;
use model::facts::Way;
use serde::{Deserialize, Serialize};

use super::{Facility, MESSAGE_MAX, Receiver, Target};
use crate::channel::{Problems, Setup};
use crate::error::SetupError;
use crate::ways;

/// Where the messages go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Siem {
    /// `unix:/dev/log`, `udp:host:514`, `tcp:host:601` or `tls:host:6514`; empty: not used.
    pub target: String,
    /// Certificates (PEM) that are trusted besides the machine's, for TLS.
    pub ca_file: String,
    /// The facility.
    pub facility: String,
    /// This machine's name in the messages; empty: its host name.
    pub hostname: String,
    /// This program's name in the messages.
    pub app_name: String,
    /// The longest message in bytes.
    #[serde(rename = "max_message_size", with = "model::size::of_usize")]
    pub max_message_bytes: usize,
    /// The limit of one attempt.
    pub timeout: Span,
}

impl Default for Siem {
    fn default() -> Self {
        Self {
            target: String::new(),
            ca_file: String::new(),
            facility: "authpriv".to_owned(),
            hostname: String::new(),
            app_name: "blueteam".to_owned(),
            max_message_bytes: 8192,
            timeout: Span::secs(5),
        }
    }
}

impl Siem {
    pub(in crate::channels) fn is_configured(&self) -> bool {
        !self.target.is_empty()
    }

    /// `least` is the smallest limit of a message that the channel can keep.
    pub(in crate::channels) fn check(&self, least: usize, problems: &mut Problems) {
        if !self.target.is_empty()
            && let Err(error) = self.target.parse::<Target>()
        {
            problems.add("target", error.to_string());
        }
        if let Err(error) = self.facility.parse::<Facility>() {
            problems.add("facility", error.to_string());
        }
        if !(least..=MESSAGE_MAX).contains(&self.max_message_bytes) {
            let message = format!("must be from {least} to {MESSAGE_MAX}");
            problems.add("max_message_size", message);
        }
        problems.check_timeout(self.timeout);
    }

    /// `name` is the format's.
    pub(in crate::channels) fn ways(&self, name: &str) -> Vec<Way> {
        ways::to_syslog(name, &self.target).into_iter().collect()
    }

    pub(in crate::channels) fn receiver(&self, setup: &Setup<'_>) -> Result<Receiver, SetupError> {
        Ok(Receiver {
            target: self
                .target
                .parse()
                .map_err(|error| setup.error("target", format!("{error}")))?,
            ca_pem: setup.certificates(&self.ca_file)?,
            facility: self
                .facility
                .parse()
                .map_err(|error| setup.error("facility", format!("{error}")))?,
            hostname: if self.hostname.is_empty() {
                setup.hostname.to_owned()
            } else {
                self.hostname.clone()
            },
            app_name: self.app_name.clone(),
            max_message_bytes: self.max_message_bytes,
            timeout: self.timeout.to_std(),
        })
    }
}
