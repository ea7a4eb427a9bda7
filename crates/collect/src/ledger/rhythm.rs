//! How often a source speaks, learnt from its pauses: silence is only news from who was not silent
//! before.

use model::Span;
use serde::{Deserialize, Serialize};

/// Pauses of up to 2^n seconds, for n below this: about 36 hours, then everything longer.
const BUCKETS: usize = 18;
/// Pauses needed before anything is expected.
const ENOUGH: u32 = 100;
/// At this many the past counts half, so that a source may change its habits.
const HALVE_AT: u32 = 100_000;
/// A source is silent after this many of its usual longest pauses.
const PATIENCE: i64 = 4;
/// And never before this: a busy source that rests for ten seconds is no news.
const AT_LEAST: Span = Span::mins(5);

/// Whether people are at work: most logs have one rhythm by day and another by night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hours {
    /// Business hours.
    Open,
    /// All others.
    Closed,
}

/// The pauses between a source's arrivals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rhythm {
    open: [u32; BUCKETS],
    closed: [u32; BUCKETS],
}

impl Rhythm {
    /// The source spoke after a pause.
    pub fn note(&mut self, pause: Span, hours: Hours) {
        let pauses = self.of(hours);
        let secs = u64::try_from(pause.as_micros() / 1_000_000).unwrap_or(0);
        let bucket = (u64::BITS - secs.leading_zeros()) as usize;
        pauses[bucket.min(BUCKETS - 1)] += 1;

        if pauses.iter().sum::<u32>() >= HALVE_AT {
            for n in pauses.iter_mut() {
                *n /= 2;
            }
        }
    }

    fn of(&mut self, hours: Hours) -> &mut [u32; BUCKETS] {
        match hours {
            Hours::Open => &mut self.open,
            Hours::Closed => &mut self.closed,
        }
    }

    /// The pause that 99.9 % of its pauses keep within; none while too little is known, or when it
    /// is longer than the buckets.
    pub fn usual(&self, hours: Hours) -> Option<Span> {
        let pauses = match hours {
            Hours::Open => &self.open,
            Hours::Closed => &self.closed,
        };

        let total: u32 = pauses.iter().sum();
        if total < ENOUGH {
            return None;
        }

        let mut within = 0;
        let bucket = pauses.iter().position(|n| {
            within += n;
            u64::from(within) * 1000 >= u64::from(total) * 999
        })?;

        (bucket < BUCKETS - 1).then(|| Span::secs(1 << bucket))
    }

    /// How long a silence must be to be news: from the configured cadence, else from the learnt
    /// one.
    pub fn patience(&self, configured: Option<Span>, hours: Hours) -> Option<Span> {
        configured.or_else(|| {
            let usual = self.usual(hours)?;
            Some(Span::micros(usual.as_micros() * PATIENCE).max(AT_LEAST))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_every_minute_is_missed_and_who_never_spoke_is_not() {
        let mut rhythm = Rhythm::default();
        for _ in 0..99 {
            rhythm.note(Span::secs(60), Hours::Open);
        }

        assert_eq!(
            rhythm.patience(None, Hours::Open),
            None,
            "99 pauses are not enough"
        );
        rhythm.note(Span::secs(60), Hours::Open);
        assert_eq!(rhythm.usual(Hours::Open), Some(Span::secs(64)));
        assert_eq!(rhythm.patience(None, Hours::Open), Some(Span::mins(5)));

        assert_eq!(
            rhythm.patience(None, Hours::Closed),
            None,
            "of the night nothing is known"
        );
        assert_eq!(
            rhythm.patience(Some(Span::secs(10)), Hours::Closed),
            Some(Span::secs(10))
        );
    }

    #[test]
    fn one_long_pause_in_a_thousand_is_not_usual() {
        let mut rhythm = Rhythm::default();
        (0..2000).for_each(|_| rhythm.note(Span::secs(1), Hours::Open));
        rhythm.note(Span::hours(3), Hours::Open);
        assert_eq!(rhythm.usual(Hours::Open), Some(Span::secs(2)));
        (0..3).for_each(|_| rhythm.note(Span::hours(3), Hours::Open));
        assert_eq!(rhythm.usual(Hours::Open), Some(Span::secs(16384)));
    }

    #[test]
    fn who_speaks_once_a_week_is_never_silent() {
        let mut rhythm = Rhythm::default();
        (0..200).for_each(|_| rhythm.note(Span::days(7), Hours::Closed));
        assert_eq!(rhythm.patience(None, Hours::Closed), None);
    }
}
