//! The built-in rules: one file each, and this list.

mod account_created;
mod account_takeover;
mod after_hours;
mod ai_abuse;
mod anomalous_access;
mod audit_log_gap;
mod audit_tampering;
mod brute_force;
mod console_account;
mod credential_stuffing;
mod cross_source_attack;
mod cross_tenant;
mod data_exfiltration;
mod database_superuser_made;
mod distributed_guessing;
mod injection_attempt;
mod logging_stopped;
mod privilege_escalation;
mod privileged_group_added;
mod rate_limit_surge;
mod session_anomaly;
mod slow_spray;
mod success_after_brute_force;
mod sudo_refused;
mod web_scanner;

#[cfg(test)]
mod tests;

use model::{SecurityEvent, Span, Timestamp};
use serde_json::Value;
use smallvec::SmallVec;

use crate::clock_cache::ClockCache;
use crate::keyed::Key;
pub use crate::params::{check_params, defaults};
use crate::profile::Familiarity;
use crate::rule::{Context, Definition, ParamError, Usage};
use crate::window::{Hit, Offered, Recent};

/// All built-in rules: the twelve of the specification in its order, then those for logs.
pub const ALL: &[&Definition] = &[
    &brute_force::RULE,
    &credential_stuffing::RULE,
    &privilege_escalation::RULE,
    &anomalous_access::RULE,
    &data_exfiltration::RULE,
    &ai_abuse::RULE,
    &after_hours::RULE,
    &account_takeover::RULE,
    &session_anomaly::RULE,
    &audit_log_gap::RULE,
    &rate_limit_surge::RULE,
    &cross_tenant::RULE,
    &success_after_brute_force::RULE,
    &slow_spray::RULE,
    &web_scanner::RULE,
    &injection_attempt::RULE,
    &cross_source_attack::RULE,
    &audit_tampering::RULE,
    &account_created::RULE,
    &privileged_group_added::RULE,
    &sudo_refused::RULE,
    &database_superuser_made::RULE,
    &logging_stopped::RULE,
    &distributed_guessing::RULE,
    &console_account::RULE,
];

/// Returns when a user counts as known: parameters of `anomalous_access` that the shared profiles
/// need whether or not that rule runs.
pub(crate) fn familiarity(configured: Option<&Value>) -> Result<Familiarity, ParamError> {
    anomalous_access::familiarity(configured)
}

/// Returns ` on HOST`, or nothing where the log does not name its machine.
fn place_of(event: &SecurityEvent<'_>) -> String {
    event
        .host()
        .map_or_else(String::new, |host| format!(" on {host}"))
}

/// Counts the events of a key within a window, for `brute_force`, `ai_abuse`, `rate_limit_surge`
/// and `web_scanner`.
#[derive(Debug)]
struct Counting {
    keys: ClockCache<Recent>,
    /// The condition holds when more than this many events lie within the window.
    more_than: u32,
    window: Span,
}

impl Counting {
    fn new(more_than: u32, window: Span, max_keys: usize) -> Self {
        Self {
            keys: ClockCache::new(max_keys),
            more_than,
            window,
        }
    }

    /// Counts the event; returns the hits if the condition holds at it.
    fn count_and_check(
        &mut self,
        key: Key,
        event: &SecurityEvent<'_>,
        cx: &mut Context<'_>,
    ) -> Option<&[Hit]> {
        let (recent, newest) = self.keys.touch(key, event.timestamp, cx.stale_before);
        match recent.offer(
            Hit::of(event),
            newest,
            self.window,
            self.more_than.saturating_add(1),
        ) {
            Offered::Counts if recent.count() > self.more_than => Some(recent.hits()),
            Offered::Late => {
                cx.counters.late += 1;
                None
            }
            Offered::Counts | Offered::Again => None,
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.keys.len(),
            evicted: self.keys.evicted(),
        }
    }
}

/// Maximum number of values that [`Distinct`] tells apart.
const DISTINCT_MAX: usize = 8;

/// How many distinct values a key has shown within a window, up to [`DISTINCT_MAX`].
#[derive(Clone, Debug, Default)]
struct Distinct {
    values: SmallVec<[(u64, Timestamp); 2]>,
}

impl Distinct {
    /// Records the hash of a value; the one seen longest ago makes room.
    fn record(&mut self, value: u64, at: Timestamp) {
        if let Some(known) = self.values.iter_mut().find(|known| known.0 == value) {
            known.1 = known.1.max(at);
            return;
        }

        if self.values.len() >= DISTINCT_MAX
            && let Some(oldest) = (0..self.values.len()).min_by_key(|i| self.values[*i].1)
        {
            self.values.swap_remove(oldest);
        }
        self.values.push((value, at));
    }

    /// Returns how many values were seen after `cutoff`.
    fn count_after(&self, cutoff: Timestamp) -> usize {
        self.values.iter().filter(|known| known.1 > cutoff).count()
    }
}
