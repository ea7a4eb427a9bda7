//! `[alerts]`: which alert takes which channel.

use std::collections::BTreeMap;

use model::{Channel, Severity};
use notify::routing::{Routing, by_design};
use serde::{Deserialize, Serialize};

use super::Channels;
use super::error::Problem;

/// The channels of each severity. A list that is the default one is cut down to the channels that are configured; any other
/// must lead somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// At once.
    pub critical: Vec<Channel>,
    /// Within 15 minutes.
    pub high: Vec<Channel>,
    /// Within an hour.
    pub medium: Vec<Channel>,
    /// Within 24 hours.
    pub low: Vec<Channel>,
    /// For the record.
    pub info: Vec<Channel>,
}

impl Default for Alerts {
    fn default() -> Self {
        let of = |severity| by_design(severity).to_vec();
        Self {
            critical: of(Severity::Critical),
            high: of(Severity::High),
            medium: of(Severity::Medium),
            low: of(Severity::Low),
            info: of(Severity::Info),
        }
    }
}

impl Alerts {
    fn of(&self, severity: Severity) -> &[Channel] {
        match severity {
            Severity::Critical => &self.critical,
            Severity::High => &self.high,
            Severity::Medium => &self.medium,
            Severity::Low => &self.low,
            Severity::Info => &self.info,
        }
    }

    /// The routing over the channels that are configured.
    pub fn routing(&self, channels: &Channels) -> Result<Routing, notify::RoutingError> {
        let own = Severity::ALL.into_iter().filter(|s| self.of(*s) != by_design(*s));
        let overrides: BTreeMap<_, _> = own.map(|s| (s, self.of(s).to_vec())).collect();
        Routing::new(&channels.configured(), &overrides)
    }

    pub(super) fn check(&self, channels: &Channels, problems: &mut Vec<Problem>) {
        if let Err(error) = self.routing(channels) {
            problems.push(Problem::new(format!("alerts.{}", error.severity), error.to_string()));
        }
    }
}
