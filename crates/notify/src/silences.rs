//! Which alerts notify no one.
//!
//! A detection must not pay for each silence there is: silences are found by the narrowest thing
//! that they name (an entity, a network, a rule, a tenant, a source), and only those few are
//! compared in full.

use std::collections::HashMap;
use std::net::IpAddr;

use model::Network;
use model::{Alert, EntityKind, RuleId, Silence, SilenceId, SilenceTarget, Timestamp};
use uuid::Uuid;

/// Rules that cannot be silenced: an intruder who tampers with the record must not be able to
/// suppress its alerts first.
pub const NEVER: &[&str] = &["audit_tampering"];

/// Silences, ready to be asked.
#[derive(Debug, Default)]
pub struct Silences {
    all: Vec<Silence>,
    by_entity: HashMap<(EntityKind, String), Vec<usize>>,
    by_network: HashMap<Network, Vec<usize>>,
    /// A network of each size that occurs.
    sizes: Vec<Network>,
    by_rule: HashMap<RuleId, Vec<usize>>,
    by_tenant: HashMap<Uuid, Vec<usize>>,
    by_source: HashMap<String, Vec<usize>>,
}

impl Silences {
    /// Makes them ready. One that covers everything is left out: it would be a mistake, and a
    /// costly one.
    pub fn new(all: Vec<Silence>) -> Self {
        let mut silences = Self::default();
        for (i, silence) in all.iter().enumerate() {
            let scope = &silence.scope;
            match (&scope.entity, &scope.rule_id, scope.tenant, &scope.source) {
                (Some(SilenceTarget::One(entity)), ..) => {
                    silences
                        .by_entity
                        .entry((entity.kind, entity.value.clone()))
                        .or_default()
                        .push(i);
                }
                (Some(SilenceTarget::Network(network)), ..) => {
                    if silences
                        .sizes
                        .iter()
                        .all(|size| size.fixed_bits() != network.fixed_bits())
                    {
                        silences.sizes.push(*network);
                    }
                    silences.by_network.entry(*network).or_default().push(i);
                }
                (None, Some(rule), ..) => silences.by_rule.entry(rule.clone()).or_default().push(i),
                (None, None, Some(tenant), _) => {
                    silences.by_tenant.entry(tenant).or_default().push(i);
                }
                (None, None, None, Some(source)) => {
                    silences
                        .by_source
                        .entry(source.clone())
                        .or_default()
                        .push(i);
                }
                (None, None, None, None) => {}
            }
        }

        Self { all, ..silences }
    }

    /// The silence that covers an alert now, the oldest of several.
    pub fn covering(&self, alert: &Alert, now: Timestamp) -> Option<SilenceId> {
        if self.all.is_empty() || NEVER.contains(&alert.rule_id.as_str()) {
            return None;
        }

        let entity = &alert.entity;
        let address: Option<IpAddr> = match entity.kind {
            EntityKind::Ip if !self.sizes.is_empty() => entity.value.parse().ok(),
            _ => None,
        };

        let networks = address
            .into_iter()
            .flat_map(|ip| self.sizes.iter().map(move |size| size.of_same_size(ip)));
        let named = [
            self.by_entity.get(&(entity.kind, entity.value.clone())),
            self.by_rule.get(&alert.rule_id),
            alert.tenant.and_then(|tenant| self.by_tenant.get(&tenant)),
            self.by_source.get(&alert.source),
        ];
        let candidates = named
            .into_iter()
            .flatten()
            .chain(networks.filter_map(|network| self.by_network.get(&network)))
            .flatten();

        let covering = candidates
            .filter_map(|i| self.all.get(*i))
            .filter(|m| m.is_active(now) && m.scope.covers(alert));
        covering
            .min_by_key(|silence| (silence.starts_at, silence.mute_id))
            .map(|silence| silence.mute_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;
    use model::{SilenceKind, SilenceScope};
    use proptest::prelude::*;

    fn silence(
        n: u128,
        rule: Option<&'static str>,
        source: Option<&str>,
        entity: Option<&str>,
    ) -> Silence {
        Silence {
            mute_id: SilenceId(Uuid::from_u128(n)),
            kind: SilenceKind::Silence,
            scope: SilenceScope {
                rule_id: rule.map(RuleId::builtin),
                source: source.map(str::to_owned),
                tenant: None,
                entity: entity.map(|text| text.parse().unwrap()),
            },
            author: "alice".to_owned(),
            reason: "a scan that was ordered".to_owned(),
            ticket: None,
            starts_at: Timestamp::from_secs(100),
            ends_at: Timestamp::from_secs(200),
            ended_by: None,
        }
    }

    fn alert_tenant() -> Option<Uuid> {
        samples::alert().tenant
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn counts_from_its_start_to_just_before_its_end() {
        let silences = Silences::new(vec![silence(1, None, None, Some("ip:203.0.113.7"))]);
        let alert = samples::alert();
        let asked: Vec<bool> = [99, 100, 199, 200]
            .map(|t| silences.covering(&alert, at(t)).is_some())
            .into();
        assert_eq!(asked, [false, true, true, false]);
    }

    #[test]
    fn all_that_is_named_must_agree() {
        let alert = samples::alert();
        let covered = |m: Silence| Silences::new(vec![m]).covering(&alert, at(150)).is_some();
        assert!(covered(silence(
            1,
            Some("credential_stuffing"),
            Some("audit_db"),
            Some("ip:203.0.113.0/24")
        )));

        assert!(covered(silence(1, Some("credential_stuffing"), None, None)));
        assert!(covered(silence(1, None, Some("audit_db"), None)));
        assert!(!covered(silence(
            1,
            Some("brute_force"),
            None,
            Some("ip:203.0.113.7")
        )));

        assert!(!covered(silence(
            1,
            None,
            Some("syslog"),
            Some("ip:203.0.113.7")
        )));
        assert!(!covered(silence(1, None, None, Some("ip:203.0.112.0/24"))));
        assert!(!covered(silence(1, None, None, Some("user:203.0.113.7"))));

        assert!(!covered(silence(1, None, None, None)));
        let of = |tenant, rule| {
            let mut silence = silence(1, rule, None, None);
            silence.scope.tenant = tenant;
            silence
        };

        assert!(covered(of(alert_tenant(), None)));
        assert!(covered(of(alert_tenant(), Some("credential_stuffing"))));
        assert!(!covered(of(Some(Uuid::from_u128(99)), None)));
        assert!(!covered(of(alert_tenant(), Some("brute_force"))));
    }

    #[test]
    fn tampering_is_told_whatever_is_muted() {
        let mut alert = samples::alert();
        alert.rule_id = RuleId::builtin("audit_tampering");
        let all = vec![
            silence(1, Some("audit_tampering"), None, None),
            silence(2, None, None, Some("ip:0.0.0.0/0")),
        ];
        assert_eq!(Silences::new(all).covering(&alert, at(150)), None);
    }

    proptest! {
        /// The index finds what comparing each one finds.
        #[test]
        fn finds_what_a_search_of_all_finds(
            picks in proptest::collection::vec((0usize..3, 0usize..3, 0usize..5, 0usize..3, 0i64..300), 0..30), now in 0i64..400,
        ) {
            let rules = [None, Some("credential_stuffing"), Some("brute_force")];
            let sources = [None, Some("audit_db"), Some("syslog")];
            let entities = [None, Some("ip:203.0.113.7"), Some("ip:203.0.113.0/24"), Some("ip:0.0.0.0/0"), Some("user:x")];
            let tenants = [None, alert_tenant(), Some(Uuid::from_u128(99))];
            let all: Vec<Silence> = picks.iter().enumerate().filter(|(_, p)| (p.0, p.1, p.2, p.3) != (0, 0, 0, 0)).map(|(i, p)| {
                let starts_at = at(p.4);
                let ends_at = starts_at.plus(model::Span::secs(100));
                let mut silence = Silence { starts_at, ends_at, ..silence(i as u128, rules[p.0], sources[p.1], entities[p.2]) };
                silence.scope.tenant = tenants[p.3];
                silence
            }).collect();

            let alert = samples::alert();
            let slow = all.iter().filter(|m| m.is_active(at(now)) && m.scope.covers(&alert))
                .min_by_key(|m| (m.starts_at, m.mute_id)).map(|m| m.mute_id);
            prop_assert_eq!(Silences::new(all).covering(&alert, at(now)), slow);
        }
    }
}
