//! Numbered events of one producer: which numbers are missing.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// Holes that are remembered; a producer that jumps about more than this is not counting.
const HOLES_MAX: usize = 256;

/// Numbers that have not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The first one.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// When its end was seen.
    pub since: Timestamp,
    /// It has been told.
    pub told: bool,
}

impl Hole {
    /// How many.
    pub fn len(&self) -> u64 {
        self.to - self.from + 1
    }

    /// Never: a hole has a number in it.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// What has arrived of one producer's numbers, in whatever order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sequence {
    /// The highest number.
    last: Option<u64>,
    /// By their first number.
    holes: BTreeMap<u64, Hole>,
    /// Numbers that came twice.
    pub repeated: u64,
    /// Holes that were forgotten because there were too many.
    pub forgotten: u64,
}

impl Sequence {
    /// A number has arrived. The first one of all opens no hole: the producer may be older than our
    /// watch.
    pub fn arrived(&mut self, number: u64, now: Timestamp) {
        let Some(last) = self.last else {
            self.last = Some(number);
            return;
        };

        if number > last {
            if number - last > 1 {
                self.open(Hole {
                    from: last + 1,
                    to: number - 1,
                    since: now,
                    told: false,
                });
            }

            self.last = Some(number);
            return;
        }

        let Some(hole) = self
            .holes
            .range(..=number)
            .next_back()
            .map(|(_, h)| *h)
            .filter(|h| number <= h.to)
        else {
            self.repeated += 1;
            return;
        };

        self.holes.remove(&hole.from);
        if hole.from < number {
            self.open(Hole {
                to: number - 1,
                ..hole
            });
        }

        if number < hole.to {
            self.open(Hole {
                from: number + 1,
                ..hole
            });
        }
    }

    fn open(&mut self, hole: Hole) {
        if self.holes.len() >= HOLES_MAX {
            self.holes.pop_first();
            self.forgotten += 1;
        }
        self.holes.insert(hole.from, hole);
    }

    /// The holes that have been open since `before` or longer and were not told yet; they count as
    /// told now.
    pub fn lost(&mut self, before: Timestamp) -> Vec<Hole> {
        let lost = self
            .holes
            .values_mut()
            .filter(|hole| !hole.told && hole.since <= before);
        lost.map(|hole| {
            hole.told = true;
            *hole
        })
        .collect()
    }

    /// Numbers that are missing now.
    pub fn missing(&self) -> u64 {
        self.holes.values().map(Hole::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_hole_is_told_once_and_only_after_its_time() {
        let mut sequence = Sequence::default();
        for n in [5, 6, 9] {
            sequence.arrived(n, at(100));
        }

        assert_eq!(sequence.lost(at(99)), []);
        assert_eq!(
            sequence.lost(at(100)),
            [Hole {
                from: 7,
                to: 8,
                since: at(100),
                told: true
            }]
        );

        assert_eq!(sequence.lost(at(200)), []);
        sequence.arrived(7, at(300));
        assert_eq!(sequence.missing(), 1);
        sequence.arrived(7, at(300));
        assert_eq!((sequence.missing(), sequence.repeated), (1, 1));
    }

    #[test]
    fn a_producer_that_jumps_about_is_bounded() {
        let mut sequence = Sequence::default();
        (0..1000).for_each(|n| sequence.arrived(n * 10, at(0)));
        assert_eq!(sequence.forgotten, 999 - HOLES_MAX as u64);
    }

    proptest! {
        #[test]
        fn knows_what_is_missing(numbers in proptest::collection::vec(0_u64..40, 1..60)) {
            let mut sequence = Sequence::default();
            let (mut seen, first) = (BTreeSet::new(), numbers[0]);
            for n in &numbers {
                sequence.arrived(*n, at(0));
                seen.insert(*n);
            }

            let last = *seen.last().unwrap();
            let missing = (first..=last).filter(|n| !seen.contains(n)).count() as u64;
            prop_assert_eq!(sequence.missing(), missing);
        }
    }
}
