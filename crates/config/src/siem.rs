//! `[channels.ocsf]`, `[channels.cef]`: a SIEM that gets alerts over syslog in its own format.

use model::Span;
use notify::channels::syslog;
use serde::{Deserialize, Serialize};

use crate::channels::pem;
use crate::check_lasting;
use crate::error::Problem;

/// `[channels.ocsf]` and `[channels.cef]`.
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
    #[serde(rename = "max_message_size", with = "crate::size::of_usize")]
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
    /// Returns the receiver, if one is configured. `hostname` is this machine's name; reads the
    /// `ca_file`.
    pub(super) fn receiver(&self, hostname: &str) -> anyhow::Result<Option<syslog::Receiver>> {
        if self.target.is_empty() {
            return Ok(None);
        }

        Ok(Some(syslog::Receiver {
            target: self.target.parse()?,
            ca_pem: pem(&self.ca_file)?,
            facility: self.facility.parse()?,
            hostname: if self.hostname.is_empty() {
                hostname.to_owned()
            } else {
                self.hostname.clone()
            },
            app_name: self.app_name.clone(),
            max_message_bytes: self.max_message_bytes,
            timeout: self.timeout.to_std(),
        }))
    }

    /// `least` is the smallest limit of a message that the channel can keep.
    pub(super) fn check(&self, section: &str, least: usize, problems: &mut Vec<Problem>) {
        let mut bad = |key: &str, message: String| {
            problems.push(Problem::new(format!("{section}.{key}"), message));
        };
        if !self.target.is_empty()
            && let Err(error) = self.target.parse::<syslog::Target>()
        {
            bad("target", error.to_string());
        }
        if let Err(error) = self.facility.parse::<syslog::Facility>() {
            bad("facility", error.to_string());
        }
        if !(least..=syslog::MESSAGE_MAX).contains(&self.max_message_bytes) {
            bad(
                "max_message_size",
                format!("must be from {least} to {}", syslog::MESSAGE_MAX),
            );
        }
        check_lasting(problems, &format!("{section}.timeout"), self.timeout);
    }
}
