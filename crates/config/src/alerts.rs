//! `[alerts]`: which alert takes which channel.

use std::collections::BTreeMap;

use model::{Channel, Severity, Span, TenantName};
use notify::channels::by_design;
use notify::routing::{Lists, Routing, Wishes};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Channels;
use crate::error::Problem;

/// The channels of each severity. A list that is the default one is cut down to the channels that
/// are configured; any other must lead somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// At once.
    #[serde(deserialize_with = "crate::channels::list")]
    pub critical: Vec<Channel>,
    /// Within 15 minutes.
    #[serde(deserialize_with = "crate::channels::list")]
    pub high: Vec<Channel>,
    /// Within an hour.
    #[serde(deserialize_with = "crate::channels::list")]
    pub medium: Vec<Channel>,
    /// Within 24 hours.
    #[serde(deserialize_with = "crate::channels::list")]
    pub low: Vec<Channel>,
    /// For the record.
    #[serde(deserialize_with = "crate::channels::list")]
    pub info: Vec<Channel>,
    /// How many messages people get.
    pub rate_limit: RateLimit,
    /// Instead of those, outside of business hours.
    #[serde(deserialize_with = "crate::channels::lists_by_severity")]
    pub off_hours: BTreeMap<Severity, Vec<Channel>>,
    /// For the alerts of one rule, by its id; goes before all others.
    pub rules: BTreeMap<String, Override>,
    /// For the alerts whose events are all of one instance of an application, by its id
    /// (`instance_id`); goes before the source.
    pub tenants: BTreeMap<Uuid, Override>,
    /// For the alerts of one source, by its name; goes before the severity.
    pub sources: BTreeMap<String, Override>,
    /// For the alerts of a tenant of this installation other than `default`, by its name: nobody
    /// else is told of them.
    pub organizations: BTreeMap<TenantName, Override>,
}

/// How many messages of new alerts a channel that people read (email, Slack, Teams, PagerDuty)
/// takes; the rest is folded into a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// As many; 0: no limit.
    pub messages: u32,
    /// In this time.
    pub per: Span,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            messages: 30,
            per: Span::mins(10),
        }
    }
}

/// The channels of one rule, tenant or source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// At any time, unless `off_hours` says otherwise; absent: as if nothing were said.
    #[serde(deserialize_with = "crate::channels::optional_list")]
    pub channels: Option<Vec<Channel>>,
    /// Outside of business hours; absent: as `channels`.
    #[serde(deserialize_with = "crate::channels::optional_list")]
    pub off_hours: Option<Vec<Channel>>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            critical: by_design(Severity::Critical),
            high: by_design(Severity::High),
            medium: by_design(Severity::Medium),
            low: by_design(Severity::Low),
            info: by_design(Severity::Info),
            rate_limit: RateLimit::default(),
            off_hours: BTreeMap::new(),
            rules: BTreeMap::new(),
            tenants: BTreeMap::new(),
            sources: BTreeMap::new(),
            organizations: BTreeMap::new(),
        }
    }
}

impl Alerts {
    /// Whether anybody is told of the alerts of a tenant.
    pub fn tells_of(&self, tenant: &TenantName) -> bool {
        let named = self.organizations.get(tenant);
        let channels = named.and_then(|lists| lists.channels.as_ref());
        tenant.is_default() || channels.is_some_and(|channels| !channels.is_empty())
    }

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
        let own = Severity::ALL
            .into_iter()
            .filter(|s| self.of(*s) != by_design(*s));
        let severities = own.map(|s| (s, self.of(s).to_vec())).collect();
        let wishes = Wishes {
            severities,
            off_hours: self.off_hours.clone(),
            rules: merged_lists(&self.rules),
            tenants: merged_lists(&self.tenants),
            sources: merged_lists(&self.sources),
            organizations: merged_lists(&self.organizations),
            most: (self.rate_limit.messages > 0)
                .then_some((self.rate_limit.messages, self.rate_limit.per)),
        };

        Routing::new(&channels.configured(), wishes)
    }

    /// Returns the severities that notify no one at once without the operator having asked for
    /// that: none of their channels is configured. Low and info notify no one by default.
    pub(super) fn untold(&self, channels: &Channels) -> Vec<Severity> {
        let configured = channels.configured();
        let nobody = |severity: &Severity| {
            let wanted = self.of(*severity);
            !wanted.is_empty() && !wanted.iter().any(|channel| configured.contains(channel))
        };

        [Severity::Critical, Severity::High, Severity::Medium]
            .into_iter()
            .filter(nobody)
            .collect()
    }

    pub(super) fn check(
        &self,
        channels: &Channels,
        rules: impl FnOnce() -> Option<Vec<String>>,
        problems: &mut Vec<Problem>,
    ) {
        let builtin = |id: &str| {
            detect::rules::ALL
                .iter()
                .any(|rule| rule.info.id.as_str() == id)
        };
        let strangers: Vec<&String> = self.rules.keys().filter(|id| !builtin(id)).collect();
        // What the user's own rules are called is asked only when it matters; where they cannot be
        // read, that is said elsewhere.
        if !strangers.is_empty()
            && let Some(known) = rules()
        {
            for id in strangers.into_iter().filter(|id| !known.contains(id)) {
                problems.push(Problem::new(
                    format!("alerts.rules.{id}"),
                    no_such_rule(id, &known),
                ));
            }
        }
        if let Err(error) = self.routing(channels) {
            problems.push(Problem::new(
                format!("alerts.{}", error.key),
                error.to_string(),
            ));
        }
        if self.rate_limit.per < Span::secs(1) {
            problems.push(Problem::new("alerts.rate_limit.per", "must be at least 1s"));
        }
    }
}

fn no_such_rule(id: &str, known: &[String]) -> String {
    let near = crate::nearest(id, known.iter().map(String::as_str))
        .map(|near| format!("did you mean `{near}`? "))
        .unwrap_or_default();
    format!("there is no such rule; {near}`blueteam rules list` lists them")
}

fn merged_lists<K: Clone + Ord>(overrides: &BTreeMap<K, Override>) -> BTreeMap<K, Lists> {
    let of = |o: &Override| Lists {
        channels: o.channels.clone(),
        off_hours: o.off_hours.clone(),
    };
    overrides
        .iter()
        .map(|(name, o)| (name.clone(), of(o)))
        .collect()
}
