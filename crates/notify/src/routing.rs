//! Which alert takes which channel.

use std::collections::BTreeMap;

use model::{Alert, Channel, Severity, Span, TenantName};
use uuid::Uuid;

use crate::channels::by_design;

/// The channels of an alert, of those that are configured. What is said for a rule goes before what
/// is said for a tenant, that before what is said for a source, and that before the severity's;
/// within each, the list for the time outside of business hours, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    by_severity: BTreeMap<Severity, Vec<Channel>>,
    wishes: Wishes,
}

/// What an operator wants other than the design's table. Every channel that is named must be
/// configured: the operator counts on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Instead of the design's channels.
    pub severities: BTreeMap<Severity, Vec<Channel>>,
    /// Instead of those, outside of business hours.
    pub off_hours: BTreeMap<Severity, Vec<Channel>>,
    /// For the alerts of a rule, by its id.
    pub rules: BTreeMap<String, Lists>,
    /// For the alerts whose events are all of one instance of an application, by its id.
    pub tenants: BTreeMap<Uuid, Lists>,
    /// For the alerts of a tenant of this installation other than `default`, by its name.
    pub organizations: BTreeMap<TenantName, Lists>,
    /// For the alerts of a source, by its name.
    pub sources: BTreeMap<String, Lists>,
    /// How many messages of new alerts of one severity a channel that people read takes, and in how
    /// long; none: all.
    pub most: Option<(u32, Span)>,
}

/// The channels of one rule, tenant or source; `None`: as if nothing were said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// At any time, unless `off_hours` says otherwise.
    pub channels: Option<Vec<Channel>>,
    /// Outside of business hours.
    pub off_hours: Option<Vec<Channel>>,
}

/// A wish that cannot be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct RoutingError {
    /// The key below `alerts` that is wrong, such as `rules.brute_force.channels`.
    pub key: String,
    /// What is wrong with it.
    pub problem: RoutingProblem,
}

/// What is wrong with a wish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutingProblem {
    /// It leads nowhere.
    #[error("{0} is not configured; configure [channels.{0}] or drop it")]
    NotConfigured(Channel),
    /// No channel would report that the record fails: silencing that would be an intruder's first
    /// step.
    #[error("at least one channel must report that the record fails or is tampered with; name one")]
    Silent,
}

/// Rules about the record itself (3.3.4, 3.3.8), whose alerts always notify someone.
const ALWAYS_TOLD: [&str; 2] = ["audit_log_gap", "audit_tampering"];

impl Routing {
    /// Creates the routing from the defaults, reduced to the configured channels, and the
    /// operator's overrides.
    pub fn new(configured: &[Channel], wishes: Wishes) -> Result<Self, RoutingError> {
        check_wishes(configured, &wishes)?;
        let designed = |severity| {
            by_design(severity)
                .into_iter()
                .filter(|c| configured.contains(c))
                .collect()
        };

        let of = |severity| {
            wishes
                .severities
                .get(&severity)
                .cloned()
                .unwrap_or_else(|| designed(severity))
        };

        Ok(Self {
            by_severity: Severity::ALL
                .into_iter()
                .map(|severity| (severity, of(severity)))
                .collect(),
            wishes,
        })
    }

    /// Returns the rate limit for an alert. Alerts that the record fails or is tampered with are
    /// never folded: a storm would be the way to hide them.
    pub fn most(&self, alert: &Alert) -> Option<(u32, Span)> {
        self.wishes
            .most
            .filter(|_| !ALWAYS_TOLD.contains(&alert.rule_id.as_str()))
    }

    /// Returns the channels of an alert of a tenant other than `default`, each once: those that are
    /// named for that tenant. The others have readers who are not its people.
    pub fn channels_of(&self, tenant: &TenantName, alert: &Alert, open: bool) -> Vec<Channel> {
        // For people, low and informational alerts are in the list alone, as everybody's are.
        let is_news = !by_design(alert.severity).is_empty();
        let named = self.wishes.organizations.get(tenant);
        let lists = named.filter(|_| is_news).and_then(|lists| lists.at(open));
        without_repeats(lists.map_or(&[], Vec::as_slice))
    }

    /// Returns the channels of an alert, each once. `open`: it is within business hours.
    pub fn channels(&self, alert: &Alert, open: bool) -> Vec<Channel> {
        let rule = self
            .wishes
            .rules
            .get(alert.rule_id.as_str())
            .and_then(|lists| lists.at(open));

        // An empty list for a tenant, a source or a time of day does not silence alerts about the
        // record itself.
        let heard = |list: &&Vec<Channel>| {
            !list.is_empty() || !ALWAYS_TOLD.contains(&alert.rule_id.as_str())
        };
        let tenant = || {
            self.wishes
                .tenants
                .get(&alert.tenant?)
                .and_then(|lists| lists.at(open))
                .filter(heard)
        };

        let source = || {
            self.wishes
                .sources
                .get(&alert.source)
                .and_then(|lists| lists.at(open))
                .filter(heard)
        };

        let off_hours = || {
            self.wishes
                .off_hours
                .get(&alert.severity)
                .filter(|_| !open)
                .filter(heard)
        };

        let chosen = rule
            .or_else(tenant)
            .or_else(source)
            .or_else(off_hours)
            .or_else(|| self.by_severity.get(&alert.severity));
        without_repeats(chosen.map_or(&[], Vec::as_slice))
    }
}

impl Lists {
    fn at(&self, open: bool) -> Option<&Vec<Channel>> {
        self.off_hours
            .as_ref()
            .filter(|_| !open)
            .or(self.channels.as_ref())
    }
}

fn check_wishes(configured: &[Channel], wishes: &Wishes) -> Result<(), RoutingError> {
    let leads = |key: String, list: &[Channel]| match list
        .iter()
        .find(|channel| !configured.contains(channel))
    {
        Some(channel) => Err(RoutingError {
            key,
            problem: RoutingProblem::NotConfigured(*channel),
        }),
        None => Ok(()),
    };
    for (severity, list) in &wishes.severities {
        leads(severity.to_string(), list)?;
    }
    for (severity, list) in &wishes.off_hours {
        leads(format!("off_hours.{severity}"), list)?;
    }
    let tenants = wishes
        .tenants
        .iter()
        .map(|(id, lists)| (id.to_string(), lists.clone()))
        .collect();
    let organizations = wishes
        .organizations
        .iter()
        .map(|(name, lists)| (name.to_string(), lists.clone()))
        .collect();
    for (section, all) in [
        ("rules", &wishes.rules),
        ("tenants", &tenants),
        ("organizations", &organizations),
        ("sources", &wishes.sources),
    ] {
        for (name, lists) in all {
            for (part, list) in [
                ("channels", &lists.channels),
                ("off_hours", &lists.off_hours),
            ] {
                let Some(list) = list else { continue };
                let key = format!("{section}.{name}.{part}");
                if list.is_empty() && section == "rules" && ALWAYS_TOLD.contains(&name.as_str()) {
                    return Err(RoutingError {
                        key,
                        problem: RoutingProblem::Silent,
                    });
                }

                leads(key, list)?;
            }
        }
    }
    Ok(())
}

fn without_repeats(channels: &[Channel]) -> Vec<Channel> {
    let mut seen = Vec::with_capacity(channels.len());
    for channel in channels {
        if !seen.contains(channel) {
            seen.push(*channel);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use model::RuleId;
    use proptest::prelude::*;

    use super::*;
    use crate::channels::those;
    use crate::notification::samples;

    const CONSOLE: Channel = Channel::named("console");
    const EMAIL: Channel = Channel::named("email");
    const SLACK: Channel = Channel::named("slack");
    const SYSLOG: Channel = Channel::named("syslog");
    const WEBHOOK: Channel = Channel::named("webhook");

    fn all_channels() -> Vec<Channel> {
        those(|_| true)
    }

    fn alert(severity: Severity, rule: &str, source: &str) -> Alert {
        let rule_id = RuleId(rule.to_owned().into());
        Alert {
            severity,
            rule_id,
            source: source.to_owned(),
            ..samples::alert()
        }
    }

    fn plain(severity: Severity) -> Alert {
        alert(severity, "brute_force", "nginx")
    }

    #[test]
    fn follows_the_design() {
        let routing = Routing::new(&[CONSOLE, SYSLOG, EMAIL], Wishes::default()).unwrap();
        for open in [true, false] {
            assert_eq!(
                routing.channels(&plain(Severity::Critical), open),
                [EMAIL, SYSLOG, CONSOLE]
            );
            assert_eq!(
                routing.channels(&plain(Severity::High), open),
                [EMAIL, SYSLOG]
            );

            assert_eq!(routing.channels(&plain(Severity::Medium), open), [SYSLOG]);
            assert_eq!(routing.channels(&plain(Severity::Low), open), []);
            assert_eq!(routing.channels(&plain(Severity::Info), open), []);
        }

        let nine = [
            "console",
            "syslog",
            "email",
            "webhook",
            "slack",
            "teams",
            "pagerduty",
            "ocsf",
            "cef",
        ];
        let all = Routing::new(&nine.map(Channel::named), Wishes::default()).unwrap();
        assert_eq!(
            all.channels(&plain(Severity::High), true),
            [
                EMAIL,
                SYSLOG,
                WEBHOOK,
                SLACK,
                Channel::named("teams"),
                Channel::named("pagerduty"),
                Channel::named("ocsf"),
                Channel::named("cef")
            ]
        );
    }

    #[test]
    fn a_wish_wins_and_must_lead_somewhere() {
        let severities = BTreeMap::from([
            (Severity::Low, vec![CONSOLE, CONSOLE]),
            (Severity::High, vec![]),
        ]);
        let wishes = Wishes {
            severities,
            ..Wishes::default()
        };

        let routing = Routing::new(&[CONSOLE, EMAIL], wishes.clone()).unwrap();
        assert_eq!(routing.channels(&plain(Severity::Low), true), [CONSOLE]);
        assert_eq!(routing.channels(&plain(Severity::High), true), []);
        assert_eq!(
            routing.channels(&plain(Severity::Critical), true),
            [EMAIL, CONSOLE]
        );

        let error = Routing::new(&[EMAIL], wishes).unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.problem),
            ("low", RoutingProblem::NotConfigured(CONSOLE))
        );
    }

    #[test]
    fn the_nearest_word_counts() {
        let lists = |channels: Option<&[Channel]>, off_hours: Option<&[Channel]>| Lists {
            channels: channels.map(<[_]>::to_vec),
            off_hours: off_hours.map(<[_]>::to_vec),
        };

        let wishes = Wishes {
            off_hours: BTreeMap::from([(Severity::High, vec![SLACK])]),
            rules: BTreeMap::from([
                ("brute_force".to_owned(), lists(Some(&[CONSOLE]), None)),
                ("ai_abuse".to_owned(), lists(None, Some(&[WEBHOOK]))),
            ]),
            sources: BTreeMap::from([("nginx".to_owned(), lists(Some(&[SYSLOG]), Some(&[])))]),
            ..Wishes::default()
        };

        let routing = Routing::new(&[CONSOLE, EMAIL, SLACK, SYSLOG, WEBHOOK], wishes).unwrap();
        let to = |rule, source, open| routing.channels(&alert(Severity::High, rule, source), open);
        assert_eq!(
            (
                to("brute_force", "nginx", true),
                to("brute_force", "nginx", false)
            ),
            (vec![CONSOLE], vec![CONSOLE])
        );

        assert_eq!(
            (
                to("ai_abuse", "nginx", true),
                to("ai_abuse", "nginx", false)
            ),
            (vec![SYSLOG], vec![WEBHOOK])
        );
        assert_eq!(
            (to("x", "nginx", true), to("x", "nginx", false)),
            (vec![SYSLOG], vec![])
        );

        assert_eq!(
            (to("x", "php", true), to("x", "php", false)),
            (vec![EMAIL, SYSLOG, WEBHOOK, SLACK], vec![SLACK])
        );
    }

    #[test]
    fn a_tenant_goes_before_a_source_and_after_a_rule() {
        let lists = |channels: &[Channel]| Lists {
            channels: Some(channels.to_vec()),
            off_hours: None,
        };

        let off = Lists {
            channels: None,
            off_hours: Some(vec![WEBHOOK]),
        };

        let (apollo, hermes, other) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let wishes = Wishes {
            rules: BTreeMap::from([("ai_abuse".to_owned(), lists(&[CONSOLE]))]),
            tenants: BTreeMap::from([(apollo, lists(&[SLACK])), (hermes, off)]),
            sources: BTreeMap::from([("nginx".to_owned(), lists(&[SYSLOG]))]),
            ..Wishes::default()
        };

        let routing = Routing::new(&[CONSOLE, EMAIL, SLACK, SYSLOG, WEBHOOK], wishes).unwrap();
        let to = |rule, tenant, open| {
            routing.channels(
                &Alert {
                    tenant,
                    ..alert(Severity::High, rule, "nginx")
                },
                open,
            )
        };

        assert_eq!(to("ai_abuse", Some(apollo), true), [CONSOLE]);
        assert_eq!(to("x", Some(apollo), true), [SLACK]);
        assert_eq!(
            (to("x", Some(hermes), true), to("x", Some(hermes), false)),
            (vec![SYSLOG], vec![WEBHOOK])
        );
        assert_eq!(
            (to("x", Some(other), true), to("x", None, true)),
            (vec![SYSLOG], vec![SYSLOG])
        );

        let wishes = Wishes {
            tenants: BTreeMap::from([(apollo, lists(&[Channel::named("teams")]))]),
            ..Wishes::default()
        };

        let error = Routing::new(&[CONSOLE], wishes).unwrap_err();
        assert_eq!(error.key, format!("tenants.{apollo}.channels"));

        // The record's own alarms are not silenced for a tenant.
        let wishes = Wishes {
            tenants: BTreeMap::from([(apollo, lists(&[]))]),
            ..Wishes::default()
        };

        let routing = Routing::new(&[SYSLOG], wishes).unwrap();
        let of = |rule| {
            routing.channels(
                &Alert {
                    tenant: Some(apollo),
                    ..alert(Severity::High, rule, "x")
                },
                true,
            )
        };

        assert_eq!((of("x"), of("audit_tampering")), (vec![], vec![SYSLOG]));
    }

    #[test]
    fn the_record_cannot_be_made_to_fail_in_silence() {
        let quiet = Lists {
            channels: None,
            off_hours: Some(vec![]),
        };

        let wishes = Wishes {
            rules: BTreeMap::from([("audit_tampering".to_owned(), quiet)]),
            ..Wishes::default()
        };

        let error = Routing::new(&all_channels(), wishes).unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.problem),
            ("rules.audit_tampering.off_hours", RoutingProblem::Silent)
        );
    }

    fn any_list() -> impl Strategy<Value = Vec<Channel>> {
        prop::collection::vec(prop::sample::select(all_channels()), 0..5)
    }

    fn any_severities() -> impl Strategy<Value = BTreeMap<Severity, Vec<Channel>>> {
        prop::collection::btree_map(
            prop::sample::select(Severity::ALL.to_vec()),
            any_list(),
            0..4,
        )
    }

    fn any_one() -> impl Strategy<Value = Lists> {
        let lists = (prop::option::of(any_list()), prop::option::of(any_list()));
        lists.prop_map(|(channels, off_hours)| Lists {
            channels,
            off_hours,
        })
    }

    fn any_lists(names: &'static [&'static str]) -> impl Strategy<Value = BTreeMap<String, Lists>> {
        prop::collection::btree_map(
            prop::sample::select(names).prop_map(str::to_owned),
            any_one(),
            0..3,
        )
    }

    proptest! {
        #[test]
        fn every_alert_goes_to_configured_channels_alone_and_to_each_once(
            configured in prop::sample::subsequence(all_channels(), 0..=all_channels().len()),
            severities in any_severities(),
            off_hours in any_severities(),
            rules in any_lists(&["a", "b", "audit_log_gap"]),
            sources in any_lists(&["s", "t"]),
            tenants in prop::collection::btree_map((1u128..3).prop_map(Uuid::from_u128), any_one(), 0..3),
            tenant in prop::option::of((1u128..4).prop_map(Uuid::from_u128)),
            severity in prop::sample::select(Severity::ALL.to_vec()),
            rule in prop::sample::select(vec!["a", "b", "c", "audit_log_gap"]),
            source in prop::sample::select(vec!["s", "t", "u"]),
            open: bool,
        ) {
            let mut wishes = Wishes { severities, off_hours, rules, tenants, sources, most: None, organizations: BTreeMap::new() };
            let named = wishes.rules.values_mut().chain(wishes.tenants.values_mut()).chain(wishes.sources.values_mut());
            let named = named.flat_map(|lists| [&mut lists.channels, &mut lists.off_hours]).flatten();
            for list in wishes.severities.values_mut().chain(wishes.off_hours.values_mut()).chain(named) {
                list.retain(|channel| configured.contains(channel));
            }

            let Ok(routing) = Routing::new(&configured, wishes.clone()) else { return Ok(()) };
            let to = routing.channels(&Alert { tenant, ..alert(severity, rule, source) }, open);
            prop_assert!(to.iter().all(|channel| configured.contains(channel)));
            prop_assert_eq!(&without_repeats(&to), &to);

            // Nothing said about this alert or this time: what its severity says.
            let silent = !wishes.rules.contains_key(rule)
                && !wishes.sources.contains_key(source)
                && tenant.is_none_or(|id| !wishes.tenants.contains_key(&id));
            if silent && (open || !wishes.off_hours.contains_key(&severity)) {
                let said = wishes.severities.get(&severity).cloned();
                let designed = || by_design(severity).into_iter().filter(|c| configured.contains(c)).collect();
                prop_assert_eq!(to, without_repeats(&said.unwrap_or_else(designed)));
            } else if rule == "audit_log_gap" && wishes.rules.get(rule).is_some_and(|lists| lists.at(open).is_some()) {
                prop_assert!(!to.is_empty());
            }
        }
    }
}
