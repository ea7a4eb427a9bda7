//! Which alert takes which channel.

use std::collections::BTreeMap;

use model::{Channel, Severity};

/// The channels of each severity, of those that are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    by_severity: BTreeMap<Severity, Vec<Channel>>,
}

/// A route that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{severity} alerts are routed to {channel}, which is not configured; configure [channels.{channel}] or drop it"
)]
pub struct RoutingError {
    /// The severity.
    pub severity: Severity,
    /// The channel.
    pub channel: Channel,
}

/// The design's table (3.2.3), and webhook, chat and pager for what cannot wait. The digest takes medium and low as well once it exists.
pub const fn by_design(severity: Severity) -> &'static [Channel] {
    use Channel::{Console, Email, Pagerduty, Slack, Syslog, Teams, Webhook};
    match severity {
        Severity::Critical => &[Email, Syslog, Console, Webhook, Slack, Teams, Pagerduty],
        Severity::High => &[Email, Syslog, Webhook, Slack, Teams, Pagerduty],
        Severity::Medium => &[Syslog],
        Severity::Low | Severity::Info => &[],
    }
}

impl Routing {
    /// The design's table, cut down to the channels that are configured, except where `overrides` names the channels of a
    /// severity; an override that names a channel that is not configured is an error, because somebody counts on it.
    pub fn new(configured: &[Channel], overrides: &BTreeMap<Severity, Vec<Channel>>) -> Result<Self, RoutingError> {
        let mut by_severity = BTreeMap::new();
        for severity in Severity::ALL {
            let channels = match overrides.get(&severity) {
                Some(wanted) => {
                    if let Some(&channel) = wanted.iter().find(|channel| !configured.contains(channel)) {
                        return Err(RoutingError { severity, channel });
                    }
                    wanted.clone()
                }
                None => by_design(severity).iter().copied().filter(|channel| configured.contains(channel)).collect(),
            };
            by_severity.insert(severity, without_repeats(channels));
        }
        Ok(Self { by_severity })
    }

    /// Where an alert of this severity goes.
    pub fn channels(&self, severity: Severity) -> Vec<Channel> {
        self.by_severity.get(&severity).cloned().unwrap_or_default()
    }
}

fn without_repeats(channels: Vec<Channel>) -> Vec<Channel> {
    let mut seen = Vec::with_capacity(channels.len());
    for channel in channels {
        if !seen.contains(&channel) {
            seen.push(channel);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use Channel::{Console, Email, Syslog, Webhook};

    #[test]
    fn follows_the_design() {
        let routing = Routing::new(&[Console, Syslog, Email], &BTreeMap::new()).unwrap();
        assert_eq!(routing.channels(Severity::Critical), [Email, Syslog, Console]);
        assert_eq!(routing.channels(Severity::High), [Email, Syslog]);
        assert_eq!(routing.channels(Severity::Medium), [Syslog]);
        assert_eq!(routing.channels(Severity::Low), []);
        assert_eq!(routing.channels(Severity::Info), []);
        let all = Routing::new(&Channel::ALL, &BTreeMap::new()).unwrap();
        assert_eq!(
            all.channels(Severity::High),
            [Email, Syslog, Webhook, Channel::Slack, Channel::Teams, Channel::Pagerduty]
        );
    }

    #[test]
    fn an_override_wins_and_must_lead_somewhere() {
        let overrides = BTreeMap::from([(Severity::Low, vec![Console, Console]), (Severity::High, vec![])]);
        let routing = Routing::new(&[Console, Email], &overrides).unwrap();
        assert_eq!(routing.channels(Severity::Low), [Console]);
        assert_eq!(routing.channels(Severity::High), []);
        assert_eq!(routing.channels(Severity::Critical), [Email, Console]);
        let error = Routing::new(&[Email], &overrides).unwrap_err();
        assert_eq!((error.severity, error.channel), (Severity::Low, Console));
    }
}
