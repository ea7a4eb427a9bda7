//! What the engine does, as detection leaves it and metrics show it.

use std::sync::{Mutex, PoisonError};

use detect::{Counters, RuleStatus};
use model::Timestamp;

/// What the engine does, for metrics. A restart of detection makes a new engine, whose counters
/// begin at 0.
#[derive(Debug, Default)]
pub struct EngineStats(Mutex<EngineSnapshot>);

#[derive(Clone, Debug, Default)]
pub(crate) struct EngineSnapshot {
    pub(crate) counters: Counters,
    pub(crate) rules: Vec<RuleStatus>,
    pub(crate) open: usize,
    pub(crate) at: Option<Timestamp>,
}

impl EngineStats {
    /// Takes a snapshot of the engines, and sums it up.
    pub fn record<'e>(&self, engines: impl Iterator<Item = &'e detect::Engine>, now: Timestamp) {
        let mut seen = EngineSnapshot {
            at: Some(now),
            ..EngineSnapshot::default()
        };
        for engine in engines {
            let counters = engine.counters();
            seen.counters.events += counters.events;
            seen.counters.late += counters.late;
            seen.counters.unknown_role += counters.unknown_role;
            seen.open += engine.open_detections();
            let status = engine.status();
            if seen.rules.is_empty() {
                seen.rules = status;
                continue;
            }
            // They run the same rules, in the same order.
            for (sum, rule) in seen.rules.iter_mut().zip(status) {
                sum.usage.keys += rule.usage.keys;
                sum.usage.evicted += rule.usage.evicted;
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    pub(crate) fn snapshot(&self) -> EngineSnapshot {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
