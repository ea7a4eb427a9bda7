//! Finds the missing numbers of a producer that numbers its events.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// Gaps that are remembered. A producer with more of them does not count in order.
const GAPS_MAX: usize = 256;

/// A range of numbers that have not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceGap {
    /// The first missing number.
    pub from: u64,
    /// The last missing number.
    pub to: u64,
    /// When the number after it arrived.
    pub since: Timestamp,
    /// Whether [`Sequence::take_overdue`] has returned it.
    #[serde(rename = "told")]
    pub reported: bool,
}

impl SequenceGap {
    /// How many numbers are missing in it.
    pub fn len(&self) -> u64 {
        self.to - self.from + 1
    }

    /// Always `false`: a gap holds at least one number.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// The numbers of one producer that have arrived, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sequence {
    /// The highest number so far.
    last: Option<u64>,
    /// Gaps by their first number.
    #[serde(rename = "holes")]
    gaps: BTreeMap<u64, SequenceGap>,
    /// Numbers that arrived more than once.
    pub repeated: u64,
    /// Gaps that were dropped because there were too many.
    pub forgotten: u64,
}

impl Sequence {
    /// Records that a number has arrived. The first one opens no gap, because the producer may have
    /// counted long before anything was collected from it.
    pub fn record_arrival(&mut self, number: u64, now: Timestamp) {
        let Some(last) = self.last else {
            self.last = Some(number);
            return;
        };

        if number > last {
            if number - last > 1 {
                self.insert_gap(SequenceGap {
                    from: last + 1,
                    to: number - 1,
                    since: now,
                    reported: false,
                });
            }

            self.last = Some(number);
            return;
        }

        let Some(gap) = self
            .gaps
            .range(..=number)
            .next_back()
            .map(|(_, gap)| *gap)
            .filter(|gap| number <= gap.to)
        else {
            self.repeated += 1;
            return;
        };

        self.gaps.remove(&gap.from);
        if gap.from < number {
            self.insert_gap(SequenceGap {
                to: number - 1,
                ..gap
            });
        }

        if number < gap.to {
            self.insert_gap(SequenceGap {
                from: number + 1,
                ..gap
            });
        }
    }

    fn insert_gap(&mut self, gap: SequenceGap) {
        if self.gaps.len() >= GAPS_MAX {
            self.gaps.pop_first();
            self.forgotten += 1;
        }
        self.gaps.insert(gap.from, gap);
    }

    /// Returns the gaps that have been open since `before` or longer, each one only once.
    pub fn take_overdue(&mut self, before: Timestamp) -> Vec<SequenceGap> {
        let overdue = self
            .gaps
            .values_mut()
            .filter(|gap| !gap.reported && gap.since <= before);
        overdue
            .map(|gap| {
                gap.reported = true;
                *gap
            })
            .collect()
    }

    /// Returns how many numbers are missing now.
    pub fn missing_count(&self) -> u64 {
        self.gaps.values().map(SequenceGap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at_secs(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_gap_is_reported_once_and_only_when_overdue() {
        let mut sequence = Sequence::default();
        for n in [5, 6, 9] {
            sequence.record_arrival(n, at_secs(100));
        }

        assert_eq!(sequence.take_overdue(at_secs(99)), []);
        assert_eq!(
            sequence.take_overdue(at_secs(100)),
            [SequenceGap {
                from: 7,
                to: 8,
                since: at_secs(100),
                reported: true
            }]
        );

        assert_eq!(sequence.take_overdue(at_secs(200)), []);
        sequence.record_arrival(7, at_secs(300));
        assert_eq!(sequence.missing_count(), 1);
        sequence.record_arrival(7, at_secs(300));
        assert_eq!((sequence.missing_count(), sequence.repeated), (1, 1));
    }

    #[test]
    fn a_producer_that_skips_numbers_holds_a_bounded_number_of_gaps() {
        let mut sequence = Sequence::default();
        (0..1000).for_each(|n| sequence.record_arrival(n * 10, at_secs(0)));
        assert_eq!(sequence.forgotten, 999 - GAPS_MAX as u64);
    }

    proptest! {
        #[test]
        fn missing_count_matches_a_set_of_arrivals(
            numbers in proptest::collection::vec(0_u64..40, 1..60),
        ) {
            let mut sequence = Sequence::default();
            let first = numbers[0];
            let mut seen = BTreeSet::new();
            for n in &numbers {
                sequence.record_arrival(*n, at_secs(0));
                seen.insert(*n);
            }

            let last = *seen.last().unwrap();
            let missing = (first..=last).filter(|n| !seen.contains(n)).count() as u64;
            prop_assert_eq!(sequence.missing_count(), missing);
        }
    }
}
