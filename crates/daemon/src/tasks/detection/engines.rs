//! One engine for each tenant: what one of them sends counts in no window, profile or detection of
//! another, and what an attacker makes one engine remember pushes nothing out of another's.

use std::collections::{BTreeMap, BTreeSet};

use detect::{Engine, StoredProfile, Users};
use model::{DetectionUpdate, SecurityEvent, TenantId, Timestamp};

/// A change in a tenant's engine.
pub(super) type Change = (TenantId, DetectionUpdate);

/// The engines of all tenants.
pub(super) struct Engines {
    by_tenant: BTreeMap<TenantId, Engine>,
    /// Tenants of events that none of the engines is for.
    strangers: BTreeSet<TenantId>,
}

impl Engines {
    /// Makes an engine for each of these tenants; `make` makes one that is nobody's yet.
    pub(super) fn new(
        tenants: impl IntoIterator<Item = TenantId>,
        make: impl Fn() -> anyhow::Result<Engine>,
    ) -> anyhow::Result<Self> {
        let mut by_tenant = BTreeMap::new();
        for tenant in tenants {
            by_tenant.insert(tenant, make()?.of_tenant(tenant));
        }
        Ok(Self {
            by_tenant,
            strangers: BTreeSet::new(),
        })
    }

    /// Has the engine of its tenant process an event.
    pub(super) fn push(&mut self, event: &SecurityEvent<'_>) {
        match self.by_tenant.get_mut(&event.tenant) {
            Some(engine) => engine.push(event),
            None => {
                self.strangers.insert(event.tenant);
            }
        }
    }

    /// The tenants of events that no engine has seen since it was last asked, because none is
    /// theirs.
    pub(super) fn take_strangers(&mut self) -> BTreeSet<TenantId> {
        std::mem::take(&mut self.strangers)
    }

    /// The engine of a tenant.
    pub(super) fn of(&mut self, tenant: TenantId) -> Option<&mut Engine> {
        self.by_tenant.get_mut(&tenant)
    }

    /// All engines.
    pub(super) fn all(&self) -> impl Iterator<Item = &Engine> {
        self.by_tenant.values()
    }

    /// Whom they are for.
    pub(super) fn tenants(&self) -> Vec<TenantId> {
        self.by_tenant.keys().copied().collect()
    }

    /// Sets the users of a tenant.
    pub(super) fn set_users(&mut self, tenant: TenantId, users: Users) {
        if let Some(engine) = self.of(tenant) {
            engine.set_users(users);
        }
    }

    /// Continues live at `now` after a restart.
    pub(super) fn resume(&mut self, now: Timestamp) {
        self.by_tenant.values_mut().for_each(|e| e.resume(now));
    }

    /// Advances the wall clock.
    pub(super) fn advance_clock(&mut self, now: Timestamp) {
        self.by_tenant
            .values_mut()
            .for_each(|e| e.advance_clock(now));
    }

    /// Whether anything changed since the last drain.
    pub(super) fn has_changes(&self) -> bool {
        self.by_tenant.values().any(Engine::has_changes)
    }

    /// What changed since the last drain.
    pub(super) fn drain(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (tenant, engine) in &mut self.by_tenant {
            engine.drain(false, |change| changes.push((*tenant, change)));
        }
        changes
    }

    /// The profiles that changed since the last call.
    pub(super) fn take_dirty_profiles(&mut self) -> Vec<(TenantId, Vec<StoredProfile>)> {
        self.by_tenant
            .iter_mut()
            .map(|(tenant, engine)| (*tenant, engine.take_dirty_profiles()))
            .filter(|(_, profiles)| !profiles.is_empty())
            .collect()
    }
}

/// The changes of each tenant, in their order.
pub(super) fn by_tenant(changes: Vec<Change>) -> BTreeMap<TenantId, Vec<DetectionUpdate>> {
    let mut grouped: BTreeMap<TenantId, Vec<DetectionUpdate>> = BTreeMap::new();
    for (tenant, change) in changes {
        grouped.entry(tenant).or_default().push(change);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use detect::Settings;
    use model::{Category, EventId, Outcome, Source};
    use uuid::Uuid;

    use super::*;

    const OTHER: TenantId = TenantId(Uuid::from_u128(2));

    fn failure(n: u128, tenant: TenantId, address: &str) -> SecurityEvent<'static> {
        let mut event = SecurityEvent::new(
            EventId(Uuid::from_u128(n)),
            Timestamp::from_secs(1_772_719_651),
            Source::AuditDb,
            Category::Auth,
            "login_failed".into(),
            Outcome::Failure,
        );
        event.ip_address = Some(address.parse().unwrap());
        event.tenant = tenant;
        event.classify()
    }

    /// Engines that remember few addresses.
    fn engines() -> Engines {
        let settings = Settings {
            only: vec!["brute_force".to_owned()],
            rules: BTreeMap::from([(
                "brute_force".to_owned(),
                serde_json::json!({ "max_keys": 50 }),
            )]),
            ..Settings::default()
        };
        Engines::new([TenantId::DEFAULT, OTHER], || {
            Ok(Engine::new(settings.clone())?)
        })
        .unwrap()
    }

    #[test]
    fn one_tenant_counts_in_no_window_of_another_and_evicts_nothing_there() {
        let mut engines = engines();
        for n in 0..5 {
            engines.push(&failure(n, TenantId::DEFAULT, "203.0.113.5"));
            engines.push(&failure(n, OTHER, "203.0.113.5"));
        }
        assert!(engines.drain().is_empty(), "neither has had enough");

        for n in 0..5000_u32 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
            engines.push(&failure(100 + u128::from(n), OTHER, &address));
        }
        engines.push(&failure(90, TenantId::DEFAULT, "203.0.113.5"));
        let found = engines.drain();
        assert_eq!(found.len(), 1, "the flood pushed its past out");
        assert_eq!(found[0].0, TenantId::DEFAULT);
    }

    #[test]
    fn the_same_events_of_two_tenants_are_two_detections() {
        let mut engines = engines();
        for n in 0..6 {
            for tenant in [TenantId::DEFAULT, OTHER, TenantId(Uuid::from_u128(3))] {
                engines.push(&failure(n, tenant, "203.0.113.5"));
            }
        }
        let found = by_tenant(engines.drain());
        assert_eq!(found.len(), 2);
        let ids: BTreeSet<_> = found
            .values()
            .flatten()
            .map(|change| change.detection.fingerprint)
            .collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(engines.take_strangers().len(), 1, "who has no engine");
    }
}
