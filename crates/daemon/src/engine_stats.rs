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
    /// Takes a snapshot of the engine.
    pub fn record(&self, engine: &detect::Engine, now: Timestamp) {
        let seen = EngineSnapshot {
            counters: engine.counters().clone(),
            rules: engine.status(),
            open: engine.open_detections(),
            at: Some(now),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    pub(crate) fn snapshot(&self) -> EngineSnapshot {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
