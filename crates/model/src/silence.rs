//! What suppresses notifications, of which alerts, until when: silences, maintenance windows and
//! exceptions. A silenced alert is stored like any other (decision 14 of the design: suppress the
//! message, never the record).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::alert::Alert;
use crate::detection::{Entity, EntityKind};
use crate::ids::{AlertId, RuleId, SilenceId, UnknownWord};
use crate::network::Network;
use crate::time::Timestamp;

/// Why notifications are suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceKind {
    /// It is known and looked into.
    Silence,
    /// Announced work on a system, from one time to another.
    Maintenance,
    /// A rule is wrong about something that is usual here; names the rule.
    Exception,
}

impl SilenceKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Silence, Self::Maintenance, Self::Exception];

    /// The word in the database and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Maintenance => "maintenance",
            Self::Exception => "exception",
        }
    }
}

impl fmt::Display for SilenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SilenceKind {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|k| k.as_str() == text);
        known.ok_or_else(|| UnknownWord {
            found: text.to_owned(),
            expected: "silence, maintenance, exception",
        })
    }
}

/// Which entities a silence is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SilenceTarget {
    /// This one.
    One(Entity),
    /// The addresses of a network.
    Network(Network),
}

impl fmt::Display for SilenceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(entity) => write!(f, "{}:{}", entity.kind.as_str(), entity.value),
            Self::Network(network) => write!(f, "ip:{network}"),
        }
    }
}

/// The text names no entity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an entity; write ip:203.0.113.7, ip:203.0.113.0/24, user:jsmith, user:ID, session:ID or \
        source:NAME"
)]
pub struct SilenceTargetError(String);

impl FromStr for SilenceTarget {
    type Err = SilenceTargetError;
    fn from_str(text: &str) -> Result<Self, SilenceTargetError> {
        let bad = || SilenceTargetError(text.to_owned());
        let (kind, value) = text.split_once(':').ok_or_else(bad)?;
        let kind: EntityKind = kind.parse().map_err(|_| bad())?;
        if value.is_empty() {
            return Err(bad());
        }

        if kind != EntityKind::Ip {
            return Ok(Self::One(Entity {
                kind,
                value: value.to_owned(),
            }));
        }

        if value.contains('/') {
            return value.parse().map(Self::Network).map_err(|_| bad());
        }

        let address: IpAddr = value.parse().map_err(|_| bad())?;
        Ok(Self::One(Entity {
            kind,
            value: address.to_canonical().to_string(),
        }))
    }
}

impl Serialize for SilenceTarget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a silence covers: alerts that all of the parts that are set agree with. One part at least
/// is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SilenceScope {
    /// Alerts of this rule.
    pub rule_id: Option<RuleId>,
    /// Alerts from this source of events.
    pub source: Option<String>,
    /// Alerts of this tenant alone.
    pub tenant: Option<Uuid>,
    /// Alerts about this entity.
    pub entity: Option<SilenceTarget>,
}

impl SilenceScope {
    /// Whether an alert is covered.
    pub fn covers(&self, alert: &Alert) -> bool {
        self.rule_id
            .as_ref()
            .is_none_or(|rule| *rule == alert.rule_id)
            && self
                .source
                .as_ref()
                .is_none_or(|source| *source == alert.source)
            && self
                .tenant
                .is_none_or(|tenant| Some(tenant) == alert.tenant)
            && match &self.entity {
                None => true,
                Some(SilenceTarget::One(entity)) => *entity == alert.entity,
                Some(SilenceTarget::Network(network)) => {
                    alert.entity.kind == EntityKind::Ip
                        && alert
                            .entity
                            .value
                            .parse()
                            .is_ok_and(|address| network.contains(address))
                }
            }
    }

    /// Whether it would cover everything.
    pub const fn is_empty(&self) -> bool {
        self.rule_id.is_none()
            && self.source.is_none()
            && self.tenant.is_none()
            && self.entity.is_none()
    }
}

impl fmt::Display for SilenceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.rule_id.as_ref().map(|rule| format!("rule {rule}")),
            self.source
                .as_ref()
                .map(|source| format!("source {source}")),
            self.tenant.map(|tenant| format!("tenant {tenant}")),
            self.entity
                .as_ref()
                .map(|whom| whom.to_string().replacen(':', " ", 1)),
        ];

        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// A row of `blueteam.silences`: a person's decision to suppress notifications for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Silence {
    /// Its id.
    pub mute_id: SilenceId,
    /// What kind of suppression it is.
    pub kind: SilenceKind,
    /// What it covers.
    #[serde(flatten)]
    pub scope: SilenceScope,
    /// Who decided so.
    pub author: String,
    /// Their reason.
    pub reason: String,
    /// Where it is written up.
    pub ticket: Option<String>,
    /// From when on.
    pub starts_at: Timestamp,
    /// Until just before this.
    pub ends_at: Timestamp,
    /// Who ended it before its time; `ends_at` is then when.
    pub ended_by: Option<String>,
}

impl Silence {
    /// Whether it counts at this time.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }
}

/// What suppressed the notifications of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilencedBy {
    /// A silence, a maintenance window or an exception.
    #[serde(rename = "mute")]
    Silence(SilenceId),
    /// A critical alert about the same entity, of which people were notified.
    Alert(AlertId),
}

impl fmt::Display for SilencedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(id) => write!(f, "silence {id}"),
            Self::Alert(id) => write!(f, "critical alert {id} about the same entity"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_read_as_they_are_shown() {
        for text in [
            "ip:203.0.113.7",
            "ip:203.0.113.0/24",
            "ip:2001:db8::/32",
            "user:a:b",
            "source:audit_db",
            "ip:::/0",
        ] {
            assert_eq!(text.parse::<SilenceTarget>().unwrap().to_string(), text);
        }

        assert_eq!(
            "ip:203.0.113.99/24"
                .parse::<SilenceTarget>()
                .unwrap()
                .to_string(),
            "ip:203.0.113.0/24"
        );

        for text in [
            "",
            "203.0.113.7",
            "ip:",
            "ip:203.0.113.7/33",
            "ip:host",
            "host:a",
            "ip:2001:db8::/129",
        ] {
            assert!(text.parse::<SilenceTarget>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses_however_they_are_written() {
        let network = Network::new("203.0.113.0".parse().unwrap(), 24).unwrap();
        assert!(network.contains("203.0.113.255".parse().unwrap()));
        assert!(network.contains("::ffff:203.0.113.1".parse().unwrap()));
        assert!(!network.contains("203.0.114.0".parse().unwrap()));
        assert!(!network.contains("2001:db8::1".parse().unwrap()));
    }
}
