//! RFC 5424, to a unix socket, UDP, TCP with octet counting (RFC 6587), or TLS (RFC 5425).

use model::{Channel, Severity};

use super::{Outlet, Sending};
use crate::error::SetupError;

mod format;
mod sender;
mod target;

pub use format::Facility;
pub(super) use format::{head, name};
pub(super) use sender::Sender;
pub use sender::{MESSAGE_MAX, MESSAGE_MIN, Receiver};
pub use target::Target;

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

pub(super) fn open(settings: &mut super::Settings) -> Result<Option<Box<dyn Outlet>>, SetupError> {
    let Some(settings) = settings.syslog.take() else {
        return Ok(None);
    };
    let sender = Sender::new(Channel::Syslog, settings.receiver, MESSAGE_MIN)?;
    Ok(Some(Box::new(Syslog {
        sender,
        enterprise_id: settings.enterprise_id,
    })))
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
