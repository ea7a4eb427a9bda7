//! The channels: one file each, and the list.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use model::Channel;

use crate::error::{Receipt, SendError, SetupError};
use crate::notification::Notification;

pub mod cef;
pub mod console;
pub mod email;
pub mod ocsf;
pub mod pagerduty;
pub mod slack;
pub mod syslog;
pub mod teams;
pub mod webhook;

/// A send under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Receipt, SendError>> + Send + 'a>>;

/// A configured channel. Every send ends within the channel's own time limit.
pub trait Outlet: Send + Sync {
    /// Hands the message over, or says why not.
    fn send<'a>(&'a self, message: &'a Notification) -> Sending<'a>;
}

/// What an operator may configure; `None` is a channel that isn't used.
#[derive(Debug, Default)]
pub struct Settings {
    /// Alerts on the daemon's standard output.
    pub console: Option<console::Settings>,
    /// RFC 5424.
    pub syslog: Option<syslog::Settings>,
    /// SMTP.
    pub email: Option<email::Settings>,
    /// Signed JSON over HTTP.
    pub webhook: Option<webhook::Settings>,
    /// Slack's incoming webhook.
    pub slack: Option<crate::http_post::Target>,
    /// A Teams workflow that takes cards.
    pub teams: Option<crate::http_post::Target>,
    /// PagerDuty.
    pub pagerduty: Option<pagerduty::Settings>,
    /// OCSF over syslog.
    pub ocsf: Option<syslog::Receiver>,
    /// CEF over syslog.
    pub cef: Option<syslog::Receiver>,
}

/// Opens a channel when the settings name it.
type Open = fn(&mut Settings) -> Result<Option<Box<dyn Outlet>>, SetupError>;

/// Every channel and how it is opened.
pub const ALL: &[(Channel, Open)] = &[
    (Channel::Console, console::open),
    (Channel::Syslog, syslog::open),
    (Channel::Email, email::open),
    (Channel::Webhook, webhook::open),
    (Channel::Slack, slack::open),
    (Channel::Teams, teams::open),
    (Channel::Pagerduty, pagerduty::open),
    (Channel::Ocsf, ocsf::open),
    (Channel::Cef, cef::open),
];

/// The channels that are configured.
pub struct Channels {
    open: Vec<(Channel, Box<dyn Outlet>)>,
}

impl Channels {
    /// Checks the settings and makes the channels ready. Connects to nothing yet.
    pub fn open(mut settings: Settings) -> Result<Self, SetupError> {
        let mut open = Vec::new();
        for (channel, make) in ALL {
            open.extend(make(&mut settings)?.map(|outlet| (*channel, outlet)));
        }
        Ok(Self { open })
    }

    /// Those that are configured.
    pub fn configured(&self) -> Vec<Channel> {
        self.open.iter().map(|(channel, _)| *channel).collect()
    }

    /// Sends through one channel. A channel that is not configured (any more) is a permanent error.
    pub async fn send(
        &self,
        channel: Channel,
        message: &Notification,
    ) -> Result<Receipt, SendError> {
        match self.open.iter().find(|(open, _)| *open == channel) {
            Some((_, outlet)) => outlet.send(message).await,
            None => Err(SendError::never(
                format!("the channel {channel} is not configured"),
                format!("configure [channels.{channel}] or take it out of the routing"),
            )),
        }
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channels").field(&self.configured()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_is_in_the_list_once() {
        let mut listed: Vec<_> = ALL.iter().map(|(channel, _)| *channel).collect();
        listed.sort_unstable();
        let mut known = Channel::ALL.to_vec();
        known.sort_unstable();
        assert_eq!(listed, known);
    }
}
