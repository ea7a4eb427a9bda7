//! How much is committed at once. An alert waits for the commit in progress, so none may take long,
//! however many attack.

use std::collections::VecDeque;
use std::time::Duration;

use model::Phase;

use super::engines::Change;

/// How long a commit may take before the next read is smaller.
const COMMIT_MAX: Duration = Duration::from_secs(1);
/// A read is not made smaller than this: each costs some round trips.
const EVENTS_MIN: u64 = 500;
/// How many detections that end by time alone are committed at once.
const CLOSES_MAX: usize = 1000;

/// The size of the next read and of the next commit.
pub(super) struct Pace {
    events: u64,
    events_max: u64,
    /// Ends of detections that a later commit writes. Of a detection whose end is not written the
    /// database says that it is open, and after a restart the clock ends it again.
    closes: VecDeque<Change>,
}

impl Pace {
    /// Starts with reads of `events_max`, which none exceeds.
    pub(super) fn new(events_max: u64) -> Self {
        Self {
            events: events_max,
            events_max,
            closes: VecDeque::new(),
        }
    }

    /// About how many events to read at once.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Follows how long it took to commit what a read caused.
    pub(super) fn committed(&mut self, took: Duration) {
        if took > COMMIT_MAX {
            self.events = (self.events / 2).max(EVENTS_MIN);
        } else if took < COMMIT_MAX / 3 {
            self.events = self.events.saturating_mul(2);
        }
        self.events = self.events.min(self.events_max);
    }

    /// Whether ends of detections wait.
    pub(super) fn has_closes(&self) -> bool {
        !self.closes.is_empty()
    }

    /// What to commit now of changes that the clock alone caused: all of them, but only so many
    /// ends, those that have waited for longest first.
    pub(super) fn of_clock(&mut self, changes: Vec<Change>) -> Vec<Change> {
        let (closes, mut now): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|(_, change)| change.phase == Phase::Closed && !change.opened);
        self.closes.extend(closes);

        let some = self.closes.len().min(CLOSES_MAX);
        now.extend(self.closes.drain(..some));
        now
    }

    /// All ends that wait.
    pub(super) fn take_closes(&mut self) -> Vec<Change> {
        self.closes.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::{
        Detection, DetectionUpdate, Entity, EntityKind, EventId, Fingerprint, RuleId, Severity,
        Source, TenantId, Timestamp,
    };
    use uuid::Uuid;

    use super::*;

    fn change(n: u128, phase: Phase) -> Change {
        let update = DetectionUpdate {
            opened: phase == Phase::Opened,
            phase,
            detection: Detection {
                rule_id: RuleId::builtin("brute_force"),
                severity: Severity::High,
                title: String::new(),
                description: String::new(),
                entity: Entity {
                    kind: EntityKind::Ip,
                    value: "203.0.113.9".to_owned(),
                },
                entity_name: None,
                first_seen: Timestamp::from_secs(1),
                last_seen: Timestamp::from_secs(2),
                event_count: 6,
                event_ids: vec![EventId(Uuid::from_u128(n))],
                nist_controls: Vec::new(),
                source: Source::AuditDb,
                cui_involved: false,
                tenant: None,
                fingerprint: Fingerprint(Uuid::from_u128(n)),
                episode: 0,
            },
            events: Vec::new(),
        };
        (TenantId::DEFAULT, update)
    }

    #[test]
    fn reads_shrink_while_commits_are_slow_and_grow_again() {
        let mut pace = Pace::new(10_000);
        pace.committed(Duration::from_secs(3));
        assert_eq!(pace.events(), 5000);

        pace.committed(Duration::from_millis(700));
        assert_eq!(pace.events(), 5000, "as large as it may be");

        for _ in 0..20 {
            pace.committed(Duration::from_secs(3));
        }
        assert_eq!(pace.events(), 500);

        for _ in 0..20 {
            pace.committed(Duration::from_millis(10));
        }
        assert_eq!(pace.events(), 10_000);
    }

    #[test]
    fn a_configured_size_below_the_least_is_kept() {
        let mut pace = Pace::new(100);
        pace.committed(Duration::from_secs(3));
        assert_eq!(pace.events(), 100);
    }

    #[test]
    fn ends_by_time_wait_for_their_turn_and_nothing_else_does() {
        let mut pace = Pace::new(10_000);
        let mut changes: Vec<_> = (0..2500).map(|n| change(n, Phase::Closed)).collect();
        changes.push(change(9999, Phase::Opened));

        let first = pace.of_clock(changes);
        assert_eq!(first.len(), 1001);
        assert_eq!(first[0].1.phase, Phase::Opened, "what opens comes first");
        assert!(pace.has_closes());

        let second = pace.of_clock(vec![change(3000, Phase::Closed)]);
        let rest = pace.take_closes();
        let ended: Vec<u128> = first[1..]
            .iter()
            .chain(&second)
            .chain(&rest)
            .map(|(_, change)| change.detection.fingerprint.0.as_u128())
            .collect();
        assert_eq!(ended, (0..2500).chain([3000]).collect::<Vec<_>>());
        assert!(!pace.has_closes());
    }
}
