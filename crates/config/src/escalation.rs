//! `[escalation]`: who is told when nobody acknowledges an alert in time.

use jiff::civil::Date;
use model::{Channel, Severity, Span};
use notify::rota;
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::{Channels, Personnel, lasting};

/// The most tiers.
const TIERS_MAX: usize = 10;

/// How long an alert may wait, and who is told then.
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
    /// Who is told then, one after the other; empty: nobody.
    pub tiers: Vec<Tier>,
    /// Where people reach this program's HTTP door, such as `https://soc.example.com`; empty: mails
    /// carry no link to acknowledge.
    pub ack_url: String,
    /// How long such a link is good.
    pub ack_valid: Span,
    /// Who takes turns.
    pub rota: Rota,
}

/// One step of escalation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tier {
    /// By which ways.
    pub channels: Vec<Channel>,
    /// Whom, by name, by mail.
    pub people: Vec<String>,
    /// And whose turn it is.
    pub on_duty: bool,
}

/// `[escalation.rota]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rota {
    /// Names, in the order of their turns.
    pub people: Vec<String>,
    /// The first day of the first one's turn.
    pub begins: Date,
    /// How many days a turn lasts.
    pub days: u32,
    /// Who is away; the next one stands in.
    pub leave: Vec<Leave>,
}

/// Somebody is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// Who.
    pub name: String,
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
}

impl Default for Escalation {
    fn default() -> Self {
        Self {
            critical: Span::mins(5),
            high: Span::mins(15),
            medium: Span::hours(1),
            low: Span::hours(24),
            tiers: Vec::new(),
            ack_url: String::new(),
            ack_valid: Span::days(3),
            rota: Rota::default(),
        }
    }
}

impl Default for Rota {
    fn default() -> Self {
        // A Monday.
        Self {
            people: Vec::new(),
            begins: Date::constant(2026, 1, 5),
            days: 7,
            leave: Vec::new(),
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

    /// The rota.
    pub fn rota(&self) -> rota::Rota {
        let Rota {
            people,
            begins,
            days,
            leave,
        } = self.rota.clone();

        let leave = leave
            .into_iter()
            .map(|l| rota::Leave {
                name: l.name,
                from: l.from,
                to: l.to,
            })
            .collect();
        rota::Rota {
            people,
            begins,
            days,
            leave,
        }
    }

    pub(super) fn check(
        &self,
        channels: &Channels,
        personnel: &Personnel,
        problems: &mut Vec<Problem>,
    ) {
        for (severity, span) in self.patience() {
            lasting(problems, &format!("escalation.{severity}"), span);
        }

        lasting(problems, "escalation.ack_valid", self.ack_valid);
        let mut bad = |key: String, message: String| {
            problems.push(Problem::new(format!("escalation.{key}"), message));
        };

        let public =
            self.ack_url.starts_with("https://") || self.ack_url.starts_with("http://127.0.0.1:");
        if !self.ack_url.is_empty() && !public {
            bad(
                "ack_url".to_owned(),
                "must begin with https:// (or http://127.0.0.1:)".to_owned(),
            );
        }

        let known = |name: &String| personnel.named(name).is_some();
        let nobody = |name: &str| format!("nobody in personnel.people is called `{name}`");
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
            let named = !tier.people.is_empty() || tier.on_duty;
            if named && !tier.channels.contains(&Channel::Email) {
                bad(
                    format!("tiers[{i}].channels"),
                    "people are told by mail; name email too".to_owned(),
                );
            }
            if tier.on_duty && self.rota.people.is_empty() {
                bad(
                    format!("tiers[{i}].on_duty"),
                    "needs [escalation.rota]".to_owned(),
                );
            }
            for name in tier.people.iter().filter(|name| !known(name)) {
                bad(format!("tiers[{i}].people"), nobody(name));
            }
        }

        for name in self.rota.people.iter().filter(|name| !known(name)) {
            bad("rota.people".to_owned(), nobody(name));
        }

        if self.rota.days == 0 {
            bad("rota.days".to_owned(), "must be at least 1".to_owned());
        }

        for (i, leave) in self.rota.leave.iter().enumerate() {
            if !known(&leave.name) {
                bad(format!("rota.leave[{i}].name"), nobody(&leave.name));
            }

            if leave.to < leave.from {
                bad(
                    format!("rota.leave[{i}].to"),
                    "is before it begins".to_owned(),
                );
            }
        }
    }
}
