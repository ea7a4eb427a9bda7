//! What is known of alerts that were written, and the order in which they are.

use std::collections::HashMap;
use std::hash::Hash;

use model::DetectionUpdate;
use uuid::Uuid;

use crate::db::Ts;

/// The services and the accounts that an alert names at most; events that no key vouches for may
/// name any.
pub(super) const SERVICES_MAX: i64 = 20;

/// What the database says of an alert that was written.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fact of the row, not a state"
)]
pub(super) struct Written {
    pub(super) fingerprint: Uuid,
    pub(super) services: Vec<String>,
    pub(super) tenants: Vec<Uuid>,
    pub(super) accounts: Vec<String>,
    pub(super) hosts: Vec<String>,
    pub(super) new: bool,
    /// Whether it was there and open before.
    pub(super) was_open: bool,
    pub(super) rule_name: Option<String>,
    /// How many events counted until now.
    pub(super) events_before: Option<i64>,
    /// Whether a silence has kept it quiet so far.
    pub(super) silenced: bool,
    /// Whether its events were one tenant's until now.
    pub(super) widened: bool,
    pub(super) incident_id: Option<Uuid>,
    /// Whether a person has taken it out of its incident.
    pub(super) unlinked: bool,
    pub(super) created_at: Ts,
}

/// The places of changes, in rounds that have no key twice: one statement must not write a row
/// twice. What comes first of a key is in an earlier round.
pub(super) fn rounds<K: Hash + Eq>(
    changes: &[DetectionUpdate],
    key: impl Fn(&DetectionUpdate) -> K,
) -> Vec<Vec<usize>> {
    let mut seen: HashMap<K, usize> = HashMap::with_capacity(changes.len());
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        let round = seen.entry(key(change)).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(at);
        *round += 1;
    }
    rounds
}
