//! `[compliance]`: the checks on schedule, and who is reminded.

use model::{Channel, Span};
use serde::{Deserialize, Serialize};

use crate::Channels;
use crate::error::Problem;
use crate::notices::{all_by_default, configured, lead};

/// `[compliance]`: how often the checks run, and by which ways people are reminded of what is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compliance {
    /// How often each check runs; 0s: only by command.
    pub interval: Span,
    /// By which ways people are reminded; the default is cut down to those that are configured.
    #[serde(deserialize_with = "crate::channels::list")]
    pub channels: Vec<Channel>,
    /// Whether evidence is approved by another account than the one that collected it. Where an
    /// organization has one person alone, reports say so instead.
    pub separate_approver: bool,
}

impl Default for Compliance {
    fn default() -> Self {
        Self {
            interval: Span::days(1),
            channels: all_by_default(),
            separate_approver: false,
        }
    }
}

impl Compliance {
    /// The ways that are configured.
    pub fn channels(&self, channels: &Channels) -> Vec<Channel> {
        configured(&self.channels, channels)
    }

    pub(super) fn check(&self, channels: &Channels, problems: &mut Vec<Problem>) {
        // A result counts for 35 days.
        if self.interval != Span::ZERO && !(Span::secs(1)..=Span::days(30)).contains(&self.interval)
        {
            problems.push(Problem::new(
                "compliance.interval",
                "must be from 1s to 30d, or 0s for never",
            ));
        }

        lead(
            "compliance.channels",
            &self.channels,
            &Self::default().channels,
            channels,
            problems,
        );
    }
}
