//! `[digest]` and `[heartbeat]`: scheduled notifications.

use jiff::civil::Time;
use model::{Channel, Span};
use notify::channels::{Scheduled, those};
use serde::{Deserialize, Serialize};

use crate::Channels;
use crate::error::Problem;

/// `[digest]`: once a day, what happened, also when nothing did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Digest {
    /// When, in the time zone of `[business_hours]`: `HH:MM`.
    pub at: String,
    /// By which ways; the default is cut down to those that are configured.
    #[serde(deserialize_with = "crate::channels::list")]
    pub channels: Vec<Channel>,
}

/// `[heartbeat]`: a message that says only that messages arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heartbeat {
    /// How often; 0s: never.
    pub interval: Span,
    /// By which ways; the default is cut down to those that are configured.
    #[serde(deserialize_with = "crate::channels::list")]
    pub channels: Vec<Channel>,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            at: "07:00".to_owned(),
            channels: all_by_default(),
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            interval: Span::days(7),
            channels: heartbeats_by_default(),
        }
    }
}

impl Digest {
    /// When; midnight for what [`Self::check`] refuses.
    pub fn time(&self) -> Time {
        Time::strptime("%H:%M", &self.at).unwrap_or_default()
    }

    /// The ways that are configured.
    pub fn channels(&self, channels: &Channels) -> Vec<Channel> {
        configured(&self.channels, channels)
    }

    pub(super) fn check(&self, channels: &Channels, problems: &mut Vec<Problem>) {
        if Time::strptime("%H:%M", &self.at).is_err() {
            problems.push(Problem::new(
                "digest.at",
                "must be a time of day, such as 07:00",
            ));
        }

        lead(
            "digest.channels",
            &self.channels,
            &Self::default().channels,
            channels,
            problems,
        );
    }
}

impl Heartbeat {
    /// The ways that are configured.
    pub fn channels(&self, channels: &Channels) -> Vec<Channel> {
        configured(&self.channels, channels)
    }

    pub(super) fn check(&self, channels: &Channels, problems: &mut Vec<Problem>) {
        if self.interval != Span::ZERO && self.interval < Span::secs(1) {
            problems.push(Problem::new(
                "heartbeat.interval",
                "must be at least 1s, or 0s for never",
            ));
        }

        lead(
            "heartbeat.channels",
            &self.channels,
            &Self::default().channels,
            channels,
            problems,
        );
    }
}

/// The channels of digests and reminders by default.
pub(super) fn all_by_default() -> Vec<Channel> {
    those(|definition| definition.scheduled == Scheduled::All)
}

/// The channels of heartbeats by default.
fn heartbeats_by_default() -> Vec<Channel> {
    those(|definition| matches!(definition.scheduled, Scheduled::All | Scheduled::Heartbeats))
}

pub(super) fn configured(wanted: &[Channel], channels: &Channels) -> Vec<Channel> {
    let all = channels.configured();
    wanted
        .iter()
        .copied()
        .filter(|channel| all.contains(channel))
        .collect()
}

/// Checks a list of channels for scheduled messages: configured channels only, and no pager, which
/// would wake people because nothing happened.
pub(super) fn lead(
    key: &str,
    wanted: &[Channel],
    default: &[Channel],
    channels: &Channels,
    problems: &mut Vec<Problem>,
) {
    for pager in those(|definition| definition.scheduled == Scheduled::Never) {
        if wanted.contains(&pager) {
            let message = format!("{pager} would page people for nothing; remove it");
            problems.push(Problem::new(key, message));
        }
    }

    if wanted == default {
        return;
    }

    let all = channels.configured();
    if let Some(missing) = wanted.iter().find(|channel| !all.contains(channel)) {
        let message =
            format!("{missing} is not configured; configure [channels.{missing}] or drop it");
        problems.push(Problem::new(key, message));
    }
}
