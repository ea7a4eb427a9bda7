//! RFC 5424, to a unix socket, UDP, TCP with octet counting (RFC 6587), or TLS (RFC 5425).

use model::facts::Way;
use model::{Channel, Severity, Span};
use serde::{Deserialize, Serialize};

use super::{Audience, Definition, Outlet, Problems, Scheduled, Sending, Setup};
use crate::error::SetupError;

mod format;
mod sender;
mod siem;
mod target;

pub use format::Facility;
pub(super) use format::{head, name};
pub(super) use sender::Sender;
pub use sender::{MESSAGE_MAX, MESSAGE_MIN, Receiver};
pub use siem::Siem;
pub use target::Target;

pub(super) const DEFINITION: Definition = Definition {
    channel: Channel::named("syslog"),
    audience: Audience::Machine,
    resolves: false,
    names_people: false,
    severities: &[Severity::Critical, Severity::High, Severity::Medium],
    scheduled: Scheduled::Heartbeats,
    parallel_sends: Definition::PARALLEL_SENDS,
};

/// `[channels.syslog]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Section {
    /// `unix:/dev/log`, `udp:host:514`, `tcp:host:601` or `tls:host:6514`; empty: no syslog.
    pub target: String,
    /// Certificates (PEM) that are trusted besides the machine's, for TLS.
    pub ca_file: String,
    /// The facility.
    pub facility: String,
    /// This machine's name in the messages; empty: its host name.
    pub hostname: String,
    /// This program's name in the messages.
    pub app_name: String,
    /// The private enterprise number of the structured data.
    pub enterprise_id: u32,
    /// The longest message in bytes.
    #[serde(rename = "max_message_size", with = "model::size::of_usize")]
    pub max_message_bytes: usize,
    /// The limit of one attempt.
    pub timeout: Span,
}

impl Default for Section {
    fn default() -> Self {
        let Siem {
            target,
            ca_file,
            facility,
            hostname,
            app_name,
            timeout,
            ..
        } = Siem::default();
        Self {
            target,
            ca_file,
            facility,
            hostname,
            app_name,
            enterprise_id: 32473,
            max_message_bytes: 2048,
            timeout,
        }
    }
}

impl Section {
    /// What it has in common with the channels to a SIEM.
    fn as_siem(&self) -> Siem {
        Siem {
            target: self.target.clone(),
            ca_file: self.ca_file.clone(),
            facility: self.facility.clone(),
            hostname: self.hostname.clone(),
            app_name: self.app_name.clone(),
            max_message_bytes: self.max_message_bytes,
            timeout: self.timeout,
        }
    }
}

impl super::Section for Section {
    fn is_configured(&self) -> bool {
        !self.target.is_empty()
    }

    fn check(&self, problems: &mut Problems) {
        self.as_siem().check(MESSAGE_MIN, problems);
    }

    fn ways(&self) -> Vec<Way> {
        self.as_siem().ways("syslog")
    }

    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError> {
        outlet(Settings {
            receiver: self.as_siem().receiver(setup)?,
            enterprise_id: self.enterprise_id,
        })
    }
}

/// Where the messages go, and what they say about the sender.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The receiver.
    pub receiver: Receiver,
    /// Private enterprise number after the `@` of the structured data's name; 32473 is the one for
    /// documentation.
    pub enterprise_id: u32,
}

struct Syslog {
    sender: Sender,
    enterprise_id: u32,
}

/// Makes the channel ready.
pub fn outlet(settings: Settings) -> Result<Box<dyn Outlet>, SetupError> {
    let sender = Sender::new(DEFINITION.channel, settings.receiver, MESSAGE_MIN)?;
    Ok(Box::new(Syslog {
        sender,
        enterprise_id: settings.enterprise_id,
    }))
}

/// How bad, in syslog's own numbers (RFC 5424 6.2.1).
const fn syslog_severity(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    }
}

impl Outlet for Syslog {
    fn send<'a>(&'a self, message: &'a crate::Notification) -> Sending<'a> {
        let text = format::message(&self.sender.receiver, self.enterprise_id, message);
        Box::pin(self.sender.send(text))
    }
}
