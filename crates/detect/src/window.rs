//! Sliding windows on event time that keep only what is needed to decide.
//!
//! Whether more than `n` events lie within a window depends on the newest `n + 1` alone, so only
//! those are kept: an attacker can make a window slide, not grow.

use model::{EventId, EventKey, SecurityEvent, Span, Timestamp};
use smallvec::SmallVec;

use crate::event_header::EventHeader;

/// A counted event: time, id, and number of occurrences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Event time.
    pub at: Timestamp,
    pub(crate) id: [u64; 2],
    /// Number of occurrences (`message repeated N times`).
    pub times: u32,
}

impl Hit {
    /// Returns the event as a hit.
    pub fn of(event: &SecurityEvent<'_>) -> Self {
        let id = event.event_id.as_u128();
        Self {
            at: event.timestamp,
            id: [(id >> 64) as u64, id as u64],
            times: event.occurrences.max(1),
        }
    }

    /// Returns the event with this header as a hit.
    pub(crate) const fn from_header(header: &EventHeader) -> Self {
        Self {
            at: header.at,
            id: header.id,
            times: header.times,
        }
    }

    /// Returns a hit that marks a time without an event.
    pub const fn nothing(at: Timestamp) -> Self {
        Self {
            at,
            id: [0; 2],
            times: 0,
        }
    }

    /// Returns the key of the event's row.
    pub fn event_key(&self) -> EventKey {
        EventKey {
            timestamp: self.at,
            event_id: self.event_id(),
        }
    }

    /// Returns the id of the event.
    pub fn event_id(&self) -> EventId {
        EventId::from_u128(u128::from(self.id[0]) << 64 | u128::from(self.id[1]))
    }
}

/// The result of offering an event to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It counts.
    Counts,
    /// It is older than the window.
    Late,
    /// It counts already.
    Again,
}

/// The newest hits of a key, in time order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    hits: SmallVec<[Hit; 1]>,
}

impl Recent {
    /// Offers a hit. `newest` is the newest event time of the key, including this hit; `enough` is
    /// the number of hits that decide.
    pub(crate) fn offer(
        &mut self,
        hit: Hit,
        newest: Timestamp,
        window: Span,
        enough: u32,
    ) -> Offered {
        let cutoff = newest.minus(window);
        if hit.at <= cutoff {
            return Offered::Late;
        }

        let outside = self.hits.iter().take_while(|h| h.at <= cutoff).count();
        self.hits.drain(..outside);
        let place = self
            .hits
            .iter()
            .rposition(|h| *h <= hit)
            .map_or(0, |i| i + 1);
        if place > 0 && self.hits[place - 1].id == hit.id && self.hits[place - 1].at == hit.at {
            return Offered::Again;
        }

        self.hits.insert(place, hit);
        while self.hits.len() > 1 && self.count() - self.hits[0].times >= enough {
            self.hits.remove(0);
        }

        Offered::Counts
    }

    /// Returns the number of hits, including repetitions.
    pub(crate) fn count(&self) -> u32 {
        self.hits
            .iter()
            .fold(0, |sum, h| sum.saturating_add(h.times))
    }

    /// Returns the hits, oldest first.
    pub(crate) fn hits(&self) -> &[Hit] {
        &self.hits
    }
}

/// A hit that belongs to something counted once, such as an account.
#[derive(Clone, Copy, Debug)]
struct Member {
    hit: Hit,
    value: u64,
}

/// The newest hits of a key, one per distinct value, in time order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distinct {
    members: SmallVec<[Member; 1]>,
}

impl Distinct {
    /// Offers a hit about `value`; `enough` distinct values decide.
    pub(crate) fn offer(
        &mut self,
        hit: Hit,
        value: u64,
        newest: Timestamp,
        window: Span,
        enough: usize,
    ) -> Offered {
        let cutoff = newest.minus(window);
        if hit.at <= cutoff {
            return Offered::Late;
        }

        self.members.retain(|m| m.hit.at > cutoff);
        if let Some(i) = self.members.iter().position(|m| m.value == value) {
            if self.members[i].hit >= hit {
                return Offered::Again;
            }
            self.members.remove(i);
        }

        let place = self
            .members
            .iter()
            .rposition(|m| m.hit <= hit)
            .map_or(0, |i| i + 1);
        self.members.insert(place, Member { hit, value });

        if self.members.len() > enough {
            self.members.remove(0);
        }

        Offered::Counts
    }

    /// Returns the number of distinct values, up to `enough`.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// Returns the newest hit of each value, oldest first.
    pub(crate) fn hits(&self) -> impl Iterator<Item = Hit> {
        self.members.iter().map(|m| m.hit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Span = Span::secs(300);

    fn hit(at: i64, id: u64, times: u32) -> Hit {
        Hit {
            at: Timestamp::from_secs(at),
            id: [0, id],
            times,
        }
    }

    /// Offers hits in the given order and returns the indices at which the count exceeded the
    /// threshold.
    fn exceeding_indices(hits: &[Hit], threshold: u32) -> Vec<usize> {
        let (mut recent, mut newest) = (Recent::default(), Timestamp::MIN);
        let mut out = Vec::new();
        for (i, hit) in hits.iter().enumerate() {
            newest = newest.max(hit.at);
            if recent.offer(*hit, newest, WINDOW, threshold + 1) == Offered::Counts
                && recent.count() > threshold
            {
                out.push(i);
            }
        }

        out
    }

    #[test]
    fn hits_within_the_window_count_up_to_its_last_second() {
        let burst = |last: i64| -> Vec<Hit> {
            [0, 10, 20, 30, 40, last]
                .iter()
                .enumerate()
                .map(|(i, at)| hit(*at, i as u64, 1))
                .collect()
        };

        assert_eq!(exceeding_indices(&burst(299), 5), [5]);
        assert_eq!(exceeding_indices(&burst(300), 5), [] as [usize; 0]);
    }

    #[test]
    fn repetitions_count_but_duplicates_do_not() {
        assert_eq!(exceeding_indices(&[hit(0, 1, 1), hit(1, 2, 5)], 5), [1]);
        assert_eq!(
            exceeding_indices(&[hit(0, 1, 5), hit(0, 1, 5), hit(1, 2, 1)], 5),
            [2]
        );
    }

    proptest! {
        #[test]
        fn recent_decides_like_keeping_all_hits(
            times in proptest::collection::vec((0_i64..900, 1_u32..4), 1..60), threshold in 0_u32..8
        ) {
            let hits: Vec<Hit> = times.iter().enumerate().map(|(i, (at, n))| hit(*at, i as u64, *n)).collect();
            let mut newest = i64::MIN;
            let mut naive = Vec::new();
            for (i, h) in hits.iter().enumerate() {
                newest = newest.max(h.at.as_secs());
                let total: u32 = hits[..=i].iter().filter(|o| o.at.as_secs() > newest - 300).map(|o| o.times).sum();
                if h.at.as_secs() > newest - 300 && total > threshold {
                    naive.push(i);
                }
            }

            prop_assert_eq!(exceeding_indices(&hits, threshold), naive);
        }

        #[test]
        fn distinct_decides_like_keeping_all_values(
            events in proptest::collection::vec((0_i64..900, 0_u64..12), 1..80), threshold in 0_usize..6
        ) {
            let (mut distinct, mut newest) = (Distinct::default(), i64::MIN);
            let mut latest: std::collections::BTreeMap<u64, i64> = std::collections::BTreeMap::new();
            for (i, (at, value)) in events.iter().enumerate() {
                newest = newest.max(*at);
                distinct.offer(hit(*at, i as u64, 1), *value, Timestamp::from_secs(newest), WINDOW, threshold + 1);
                let entry = latest.entry(*value).or_insert(i64::MIN);
                *entry = (*entry).max(*at);
                let naive = latest.values().filter(|at| **at > newest - 300).count();

                // A late event prunes nothing, so the count is only asked for after one that
                // counts.
                if *at > newest - 300 {
                    prop_assert_eq!(distinct.count() > threshold, naive > threshold);
                }
            }
        }
    }
}
