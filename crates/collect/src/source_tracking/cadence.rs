//! How often a source usually sends, learned from its pauses: silence is only worth reporting for a
//! source that was not silent before.

use model::Span;
use serde::{Deserialize, Serialize};

/// Pauses of up to 2^n seconds, for n below this: about 36 hours, then everything longer.
const BUCKETS: usize = 18;
/// Pauses needed before anything is expected of a source.
const MIN_PAUSES: u32 = 100;
/// At this many all counts are halved, so that a source can change its habits.
const HALVE_AT: u32 = 100_000;
/// A source counts as silent after this many of its longest usual pauses.
const SILENCE_FACTOR: i64 = 4;
/// And never before this: ten seconds without an event from a busy source mean nothing.
const MIN_SILENCE: Span = Span::mins(5);

/// So many pauses that are all short show a pace that can be expected to go on.
const STEADY_PAUSES: u32 = 10;
/// Short is what fits so many times into the silence that is reported.
const STEADY_FACTOR: i64 = 4;

/// Whether people are at work: most logs have one cadence by day and another by night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hours {
    /// Business hours.
    Business,
    /// All other hours.
    Off,
}

/// A histogram of the pauses between a source's arrivals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cadence {
    open: [u32; BUCKETS],
    closed: [u32; BUCKETS],
}

impl Cadence {
    /// Counts a pause that has just ended.
    pub fn record_pause(&mut self, pause: Span, hours: Hours) {
        let pauses = self.buckets_mut(hours);
        let secs = u64::try_from(pause.as_micros() / 1_000_000).unwrap_or(0);
        let bucket = (u64::BITS - secs.leading_zeros()) as usize;
        pauses[bucket.min(BUCKETS - 1)] += 1;

        if pauses.iter().sum::<u32>() >= HALVE_AT {
            for n in pauses.iter_mut() {
                *n /= 2;
            }
        }
    }

    fn buckets_mut(&mut self, hours: Hours) -> &mut [u32; BUCKETS] {
        match hours {
            Hours::Business => &mut self.open,
            Hours::Off => &mut self.closed,
        }
    }

    /// Returns the bound that 99.9 % of the pauses keep within. `None` while too few are known, or
    /// when it is longer than the last bucket.
    pub fn usual_pause(&self, hours: Hours) -> Option<Span> {
        let pauses = match hours {
            Hours::Business => &self.open,
            Hours::Off => &self.closed,
        };

        let total: u32 = pauses.iter().sum();
        if total < MIN_PAUSES {
            return None;
        }

        let mut within = 0;
        let bucket = pauses.iter().position(|n| {
            within += n;
            u64::from(within) * 1000 >= u64::from(total) * 999
        })?;

        (bucket < BUCKETS - 1).then(|| Span::secs(1 << bucket))
    }

    /// Returns whether all known pauses are much shorter than `silence`, and enough of them are
    /// known to say so. After one that was not, only the usual pause says what to expect.
    pub fn is_steady(&self, silence: Span, hours: Hours) -> bool {
        let pauses = match hours {
            Hours::Business => &self.open,
            Hours::Off => &self.closed,
        };
        let longest = pauses.iter().rposition(|n| *n > 0).unwrap_or(BUCKETS);
        let is_short = longest < BUCKETS - 1
            && (1_i64 << longest) * 1_000_000 * STEADY_FACTOR <= silence.as_micros();
        pauses.iter().sum::<u32>() >= STEADY_PAUSES && is_short
    }

    /// Returns how long a source may be silent before that is reported: the configured interval,
    /// otherwise a multiple of the usual pause.
    pub fn silence_threshold(&self, configured: Option<Span>, hours: Hours) -> Option<Span> {
        configured.or_else(|| {
            let usual = self.usual_pause(hours)?;
            Some(Span::micros(usual.as_micros() * SILENCE_FACTOR).max(MIN_SILENCE))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_after_a_hundred_pauses_and_per_kind_of_hours() {
        let mut cadence = Cadence::default();
        for _ in 0..99 {
            cadence.record_pause(Span::secs(60), Hours::Business);
        }

        assert_eq!(
            cadence.silence_threshold(None, Hours::Business),
            None,
            "99 pauses are not enough"
        );
        cadence.record_pause(Span::secs(60), Hours::Business);
        assert_eq!(cadence.usual_pause(Hours::Business), Some(Span::secs(64)));
        assert_eq!(
            cadence.silence_threshold(None, Hours::Business),
            Some(Span::mins(5))
        );

        assert_eq!(
            cadence.silence_threshold(None, Hours::Off),
            None,
            "no pauses outside business hours are known"
        );
        assert_eq!(
            cadence.silence_threshold(Some(Span::secs(10)), Hours::Off),
            Some(Span::secs(10))
        );
    }

    #[test]
    fn one_long_pause_in_two_thousand_does_not_change_the_usual_pause() {
        let mut cadence = Cadence::default();
        (0..2000).for_each(|_| cadence.record_pause(Span::secs(1), Hours::Business));
        cadence.record_pause(Span::hours(3), Hours::Business);
        assert_eq!(cadence.usual_pause(Hours::Business), Some(Span::secs(2)));
        (0..3).for_each(|_| cadence.record_pause(Span::hours(3), Hours::Business));
        assert_eq!(
            cadence.usual_pause(Hours::Business),
            Some(Span::secs(16384))
        );
    }

    #[test]
    fn ten_short_pauses_are_steady_until_a_longer_one() {
        let (mut cadence, silence) = (Cadence::default(), Span::mins(5));
        (0..9).for_each(|_| cadence.record_pause(Span::secs(20), Hours::Business));
        assert!(!cadence.is_steady(silence, Hours::Business), "too few");
        cadence.record_pause(Span::secs(60), Hours::Business);
        assert!(cadence.is_steady(silence, Hours::Business));
        assert!(!cadence.is_steady(silence, Hours::Off));
        assert!(!cadence.is_steady(Span::mins(1), Hours::Business));
        cadence.record_pause(Span::secs(100), Hours::Business);
        assert!(!cadence.is_steady(silence, Hours::Business));
        assert!(!Cadence::default().is_steady(silence, Hours::Business));
    }

    #[test]
    fn a_weekly_source_has_no_silence_threshold() {
        let mut cadence = Cadence::default();
        (0..200).for_each(|_| cadence.record_pause(Span::days(7), Hours::Off));
        assert_eq!(cadence.silence_threshold(None, Hours::Off), None);
    }
}
