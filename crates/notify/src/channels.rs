//! The channels: one file each, and the list.

use std::fmt;

use model::{Channel, Severity};
use serde::{Deserialize, Serialize};

pub use crate::channel::{
    Audience, Definition, Greeting, Outlet, Problems, Scheduled, SecretFile, Secrets, Section,
    Sending, Setup, Surroundings,
};
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

/// Makes the list of channels, and of their sections in the configuration, from the names of their
/// files.
macro_rules! channels {
    ($($name:ident,)*) => {
        /// Every channel, in the order in which an alert takes them.
        pub const ALL: &[&Definition] = &[$(&$name::DEFINITION,)*];

        /// `[channels.*]`: a section for each channel.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[expect(missing_docs, reason = "each section says what it is")]
        pub struct Sections {
            $(pub $name: $name::Section,)*
        }

        impl Sections {
            /// Returns every channel with its section, in the order of the list.
            pub fn all(&self) -> Vec<(&'static Definition, &dyn Section)> {
                vec![$((&$name::DEFINITION, &self.$name),)*]
            }
        }
    };
}

channels! {
    email,
    syslog,
    console,
    webhook,
    slack,
    teams,
    pagerduty,
    ocsf,
    cef,
}

/// Returns the definition of a channel, if there is one of this name.
pub fn find(name: &str) -> Option<&'static Definition> {
    ALL.iter()
        .copied()
        .find(|definition| definition.channel.as_str() == name)
}

/// Returns the channels whose definition passes `test`.
pub fn those(test: impl Fn(&Definition) -> bool) -> Vec<Channel> {
    ALL.iter()
        .filter(|definition| test(definition))
        .map(|definition| definition.channel)
        .collect()
}

/// Returns the default channels of a severity: the specification's table (3.2.3), plus webhook,
/// chat and pager for what cannot wait, plus the SIEM channels wherever the table has syslog.
/// Medium and low are also in the daily digest.
pub fn by_design(severity: Severity) -> Vec<Channel> {
    those(|definition| definition.severities.contains(&severity))
}

/// A word that is not the name of a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not one of {}", names().join(", "))]
pub struct UnknownChannel {
    /// The word.
    pub name: String,
}

/// Reads the name of a channel that there is.
pub fn parse(name: &str) -> Result<Channel, UnknownChannel> {
    find(name)
        .map(|definition| definition.channel)
        .ok_or_else(|| UnknownChannel {
            name: name.to_owned(),
        })
}

/// Returns the names of all channels.
pub fn names() -> Vec<&'static str> {
    ALL.iter()
        .map(|definition| definition.channel.as_str())
        .collect()
}

impl Sections {
    /// Returns the channels whose section says where to send.
    pub fn configured(&self) -> Vec<Channel> {
        self.all()
            .into_iter()
            .filter(|(_, section)| section.is_configured())
            .map(|(definition, _)| definition.channel)
            .collect()
    }
}

/// The channels that are configured.
#[derive(Default)]
pub struct Channels {
    open: Vec<(Channel, Box<dyn Outlet>)>,
}

impl Channels {
    /// Makes the configured channels ready. Connects to nothing yet.
    pub fn open(sections: &Sections, surroundings: Surroundings<'_>) -> Result<Self, SetupError> {
        let mut stdout = Some(surroundings.stdout);
        let mut channels = Self::default();
        for (definition, section) in sections.all() {
            if !section.is_configured() {
                continue;
            }

            let outlet = section.open(&mut Setup {
                channel: definition.channel,
                hostname: surroundings.hostname,
                color: surroundings.color,
                audit_failures: &surroundings.audit_failures,
                secrets: surroundings.secrets,
                stdout: &mut stdout,
            })?;
            channels = channels.and(definition.channel, outlet);
        }

        Ok(channels)
    }

    /// Adds a channel that is ready.
    #[must_use]
    pub fn and(mut self, channel: Channel, outlet: Box<dyn Outlet>) -> Self {
        self.open.push((channel, outlet));
        self
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

impl Channels {
    /// Greets the other side of a channel, without a message. `None` where that cannot be done.
    pub async fn greet(&self, channel: Channel) -> Option<Result<(), SendError>> {
        let (_, outlet) = self.open.iter().find(|(open, _)| *open == channel)?;
        Some(outlet.greet()?.await)
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channels").field(&self.configured()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_channel_is_named_as_its_file_and_its_section() {
        let sections = serde_json::to_value(Sections::default()).unwrap();
        let sections: BTreeSet<&str> = sections
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(sections, names().into_iter().collect());
        assert_eq!(sections.len(), ALL.len(), "a name is there twice");
    }

    #[test]
    fn files_of_secrets_are_keys_of_their_sections() {
        let tree = serde_json::to_value(Sections::default()).unwrap();
        let sections = Sections::default();
        let mut secrets = 0;
        for (definition, section) in sections.all() {
            let keys = &tree[definition.channel.as_str()];
            for secret in section.secrets() {
                assert!(secret.key.ends_with("_file"), "{secret:?}");
                assert_eq!(keys[secret.key], "", "{}: {secret:?}", definition.channel);
                secrets += 1;
            }
        }

        assert!(secrets >= 6, "{secrets}");
    }

    #[test]
    fn what_pages_someone_is_read_by_people() {
        for definition in ALL {
            assert!(definition.parallel_sends > 0);
            if definition.scheduled == Scheduled::Never {
                assert_eq!(definition.audience, Audience::People);
            }
        }
    }
}
