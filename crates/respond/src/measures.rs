//! How long it took to detect, contain and recover.

use model::{Span, Timestamp};
use serde::Serialize;

/// When an incident came to where.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// The earliest event of its alerts, by the clock of whoever logged it.
    pub first_event_at: Option<Timestamp>,
    /// When it was recorded.
    pub detected_at: Timestamp,
    /// When it spread no further.
    pub contained_at: Option<Timestamp>,
    /// When the cause was gone.
    pub eradicated_at: Option<Timestamp>,
    /// When everything was back in service.
    pub recovered_at: Option<Timestamp>,
}

/// How long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Measures {
    /// From the first event to the record; none where the events' clock was wrong.
    pub to_detect: Option<Span>,
    /// From the record to the containment, or to what can only follow it.
    pub to_contain: Option<Span>,
    /// From the record to the recovery.
    pub to_recover: Option<Span>,
}

/// The oldest event of which a time to detect says something: an attack that was older by more was
/// logged by a machine whose clock was never set.
const OLDEST: Span = Span::days(3660);

/// Measures an incident. A phase that was skipped is reached with the next one.
pub fn measures(reached: &Reached) -> Measures {
    let from = reached.detected_at;
    let after = |at: Timestamp| Some(at.since(from)).filter(|span| *span >= Span::ZERO);
    let contained = [
        reached.contained_at,
        reached.eradicated_at,
        reached.recovered_at,
    ];
    Measures {
        to_detect: reached
            .first_event_at
            .map(|first| from.since(first))
            .filter(|span| (Span::ZERO..=OLDEST).contains(span)),
        to_contain: contained.into_iter().flatten().min().and_then(after),
        to_recover: reached.recovered_at.and_then(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_secs(1_790_000_000).plus(Span::hours(hours))
    }

    #[test]
    fn a_skipped_phase_is_reached_with_the_next_one() {
        let reached = Reached {
            first_event_at: Some(at(-2)),
            detected_at: at(0),
            eradicated_at: Some(at(5)),
            recovered_at: Some(at(9)),
            ..Reached::default()
        };
        assert_eq!(
            measures(&reached),
            Measures {
                to_detect: Some(Span::hours(2)),
                to_contain: Some(Span::hours(5)),
                to_recover: Some(Span::hours(9)),
            }
        );
    }

    /// Events of a machine whose clock is wrong, or of someone who makes times up.
    #[test]
    fn a_wrong_time_measures_nothing() {
        for first in [at(1), Timestamp::from_secs(0), at(1_000_000)] {
            let reached = Reached {
                first_event_at: Some(first),
                detected_at: at(0),
                ..Reached::default()
            };
            assert_eq!(measures(&reached).to_detect, None, "{first}");
        }
    }
}
