//! What blueteam finds of its own work: whether events are read, stored and turned into alerts. The
//! self-check and the watchdog look at the same signs, so both notice every way of being stuck.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::{Span, Timestamp};

/// A detection task that has not completed a round for this long reads nothing. A round takes a
/// second, unless a commit is large.
const STALE: Span = Span::secs(60);

/// When the detection task last completed a round: it was connected, had read, and had committed.
#[derive(Debug, Default)]
pub struct Pulse {
    beat: AtomicI64,
    /// Why it started over last.
    failure: Mutex<Option<String>>,
}

impl Pulse {
    /// Records that the detection task completed a round.
    pub fn beat(&self, now: Timestamp) {
        self.beat.store(now.as_micros(), Ordering::Relaxed);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Records that the detection task starts over.
    pub fn failed(&self, why: String) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Returns why the detection task started over, if it has not completed a round since.
    pub fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns when it last completed a round; `None` if it never has.
    pub fn last(&self) -> Option<Timestamp> {
        let micros = self.beat.load(Ordering::Relaxed);
        (micros != 0).then(|| Timestamp::from_micros(micros))
    }

    /// Whether events are being read.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.last().is_some_and(|last| now.since(last) <= STALE)
    }
}

/// Something that should be written to the database and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Since when.
    pub since: Timestamp,
    /// Why, in a sentence.
    pub why: String,
}

/// What cannot be stored at the moment, by who tries. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stalls(Arc<Mutex<BTreeMap<String, Stall>>>);

impl Stalls {
    /// `who` could not store what it has; of several failures in a row, the first says since when.
    pub fn stalled(&self, who: &str, why: String, now: Timestamp) {
        let mut stalls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stalls
            .entry(who.to_owned())
            .and_modify(|stall| stall.why.clone_from(&why))
            .or_insert(Stall { since: now, why });
    }

    /// `who` stores again.
    pub fn resumed(&self, who: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(who);
    }

    /// Returns the oldest stall, and what is stalled.
    pub fn oldest(&self) -> Option<(String, Stall)> {
        let stalls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stalls
            .iter()
            .min_by_key(|(_, stall)| stall.since)
            .map(|(who, stall)| (who.clone(), stall.clone()))
    }
}

/// What the self-check last found, for the watchdog.
#[derive(Debug, Default)]
pub struct Verdict {
    looked: AtomicI64,
    well: AtomicI64,
}

impl Verdict {
    /// Records what the self-check found: `well` unless something has been wrong for so long that
    /// people are notified.
    pub fn note(&self, well: bool, now: Timestamp) {
        self.looked.store(now.as_micros(), Ordering::Relaxed);
        self.well.store(i64::from(well), Ordering::Relaxed);
    }

    /// Returns whether the self-check has run lately and found nothing wrong.
    pub fn is_well(&self, now: Timestamp) -> bool {
        let looked = Timestamp::from_micros(self.looked.load(Ordering::Relaxed));
        self.well.load(Ordering::Relaxed) != 0 && now.since(looked) <= STALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_fresh_for_a_minute() {
        let (pulse, at) = (Pulse::default(), Timestamp::from_secs);
        assert!(!pulse.is_fresh(at(1_000)), "it has never come round");
        pulse.beat(at(1_000));
        assert!(pulse.is_fresh(at(1_060)) && !pulse.is_fresh(at(1_061)));
    }

    #[test]
    fn a_verdict_counts_for_a_minute() {
        let (verdict, at) = (Verdict::default(), Timestamp::from_secs);
        assert!(!verdict.is_well(at(1_000)), "nobody has looked");
        verdict.note(true, at(1_000));
        assert!(verdict.is_well(at(1_060)) && !verdict.is_well(at(1_061)));
        verdict.note(false, at(1_062));
        assert!(!verdict.is_well(at(1_062)));
    }

    #[test]
    fn a_stall_lasts_from_its_first_failure_until_something_is_stored() {
        let (stalls, at) = (Stalls::default(), Timestamp::from_secs);
        stalls.stalled("syslog", "disk full".to_owned(), at(10));
        stalls.stalled("nginx", "disk full".to_owned(), at(11));
        stalls.stalled("syslog", "still full".to_owned(), at(12));

        assert_eq!(
            stalls.oldest(),
            Some((
                "syslog".to_owned(),
                Stall {
                    since: at(10),
                    why: "still full".to_owned()
                }
            ))
        );

        stalls.resumed("syslog");
        stalls.resumed("nginx");
        assert_eq!(stalls.oldest(), None);
    }
}
