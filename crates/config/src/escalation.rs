//! `[escalation]`: whom to notify when an alert is not acknowledged in time.

use model::{Channel, Severity, Span};
use notify::channels::those;
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::{Channels, Contacts, OnCall, check_lasting};

/// The most tiers.
const TIERS_MAX: usize = 10;

/// How long an alert may wait, and whom to notify then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Escalation {
    /// How long a critical alert may be unacknowledged, before each tier.
    pub critical: Span,
    /// The same of a high one.
    pub high: Span,
    /// The same of a medium one.
    pub medium: Span,
    /// The same of a low one.
    pub low: Span,
    /// The tiers to notify, one after the other; empty: no escalation.
    pub tiers: Vec<Tier>,
    /// Where people reach this program's HTTP server, such as `https://soc.example.com`; empty:
    /// mails carry no link to acknowledge.
    pub public_url: String,
    /// How long such a link is valid.
    pub ack_link_ttl: Span,
}

/// One step of escalation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tier {
    /// The channels to notify by.
    #[serde(deserialize_with = "crate::channels::list")]
    pub channels: Vec<Channel>,
    /// People to notify by mail, by name.
    pub people: Vec<String>,
    /// And whose turn it is.
    pub on_call: bool,
}

impl Default for Escalation {
    fn default() -> Self {
        Self {
            critical: Span::mins(5),
            high: Span::mins(15),
            medium: Span::hours(1),
            low: Span::hours(24),
            tiers: Vec::new(),
            public_url: String::new(),
            ack_link_ttl: Span::days(3),
        }
    }
}

impl Escalation {
    /// How long an alert of each severity may wait.
    pub fn patience(&self) -> [(Severity, Span); 4] {
        [
            (Severity::Critical, self.critical),
            (Severity::High, self.high),
            (Severity::Medium, self.medium),
            (Severity::Low, self.low),
        ]
    }

    pub(super) fn check(
        &self,
        channels: &Channels,
        contacts: &Contacts,
        on_call: &OnCall,
        problems: &mut Vec<Problem>,
    ) {
        for (severity, span) in self.patience() {
            check_lasting(problems, &format!("escalation.{severity}"), span);
        }

        check_lasting(problems, "escalation.ack_link_ttl", self.ack_link_ttl);
        let mut bad = |key: String, message: String| {
            problems.push(Problem::new(format!("escalation.{key}"), message));
        };

        let public = self.public_url.starts_with("https://")
            || self.public_url.starts_with("http://127.0.0.1:");
        if !self.public_url.is_empty() && !public {
            bad(
                "public_url".to_owned(),
                "must begin with https:// (or http://127.0.0.1:)".to_owned(),
            );
        }

        let known = |name: &String| contacts.named(name).is_some();
        let nobody = |name: &str| format!("nobody in contacts.people is called `{name}`");
        if self.tiers.len() > TIERS_MAX {
            bad(
                "tiers".to_owned(),
                format!("there may be {TIERS_MAX} at most"),
            );
        }

        let configured = channels.configured();
        for (i, tier) in self.tiers.iter().enumerate() {
            if tier.channels.is_empty() {
                bad(
                    format!("tiers[{i}].channels"),
                    "must name a channel".to_owned(),
                );
            }
            for channel in tier
                .channels
                .iter()
                .filter(|channel| !configured.contains(channel))
            {
                bad(
                    format!("tiers[{i}].channels"),
                    format!("{channel} is not configured; configure [channels.{channel}]"),
                );
            }
            let named = !tier.people.is_empty() || tier.on_call;
            let by_name = those(|definition| definition.names_people);
            if named && !by_name.iter().any(|c| tier.channels.contains(c)) {
                let by_name: Vec<&str> = by_name.iter().map(Channel::as_str).collect();
                bad(
                    format!("tiers[{i}].channels"),
                    format!("people are told by mail; name {} too", by_name.join(" or ")),
                );
            }
            if tier.on_call && on_call.people.is_empty() {
                bad(
                    format!("tiers[{i}].on_call"),
                    "needs people in [on_call]".to_owned(),
                );
            }
            for name in tier.people.iter().filter(|name| !known(name)) {
                bad(format!("tiers[{i}].people"), nobody(name));
            }
        }
    }
}
