//! How far a foreign table has been read.
//!
//! Rows commit in another order than they are written, so neither a time nor a number in them is a
//! safe place to go on from. `xmin` is the transaction (or subtransaction: a savepoint has an id of
//! its own, which no snapshot lists) that wrote a row. A reading sees one snapshot. The next must
//! look at every row whose `xmin` is not below the oldest transaction that was still running then:
//! above it nothing is certain. Of those, rows were read whose very `xmin` was met already, since
//! all rows of one (sub)transaction become visible at the same moment. So each row is read once,
//! however long a transaction stays open.
//!
//! No index has `xmin`. A usual reading therefore looks only at events that are not older than a
//! floor, by the table's index on their time; a sweep looks at those below the floor, and moves it.
//! Each of the two halves keeps its own account.

use std::collections::BTreeSet;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::reader::Snapshot;

/// Transaction ids kept of those that were met above the oldest running one. Beyond, they are
/// forgotten, and their rows come again; the key of our table makes that a no-op.
const SEEN_MAX: usize = 50_000;
/// `age()` tells no more than this apart.
const AGE_MAX: u64 = 1 << 31;

/// What of the transactions has been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Read {
    /// Everything of transactions before this one.
    before: u64,
    /// Of those from there on: everything of these.
    seen: BTreeSet<u64>,
}

/// Where reading stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    identity: String,
    /// Microseconds since 1970. Events from this time on are covered by `recent`, others by
    /// `older`.
    floor: i64,
    recent: Read,
    older: Read,
    /// Whether this reading goes through the whole table.
    #[serde(skip)]
    whole: bool,
}

impl Read {
    /// Rows that this has not read, as a condition.
    fn unread(&self, snapshot: &Snapshot) -> String {
        if snapshot.xmax().saturating_sub(self.before) >= AGE_MAX {
            return "true".to_owned();
        }

        // Ids in rows have 32 bits, and age() counts them back from the present. One that is older
        // than it can count is below zero.
        let before = self.before & u64::from(u32::MAX);
        let above = format!("age(xmin) BETWEEN 0 AND age('{before}'::xid)");
        if self.seen.is_empty() {
            return above;
        }

        let seen: Vec<String> = self
            .seen
            .iter()
            .map(|id| (id & u64::from(u32::MAX)).to_string())
            .collect();

        // A sub-select, because it is hashed in every version.
        format!(
            "{above} AND xmin NOT IN (SELECT unnest('{{{}}}'::xid[]))",
            seen.join(",")
        )
    }

    /// The same at a later moment: what is below its oldest running transaction needs no list.
    fn at(&self, snapshot: &Snapshot) -> Self {
        Self {
            before: snapshot.xmin(),
            seen: self.seen.range(snapshot.xmin()..).copied().collect(),
        }
    }

    fn saw(&mut self, id: u64) {
        if id >= self.before {
            self.seen.insert(id);
            if self.seen.len() > SEEN_MAX {
                self.seen.clear();
            }
        }
    }
}

impl Position {
    /// Whether it was taken where `identity` is, and not later than now: a table that was restored
    /// to an earlier point goes through the same ids once more.
    pub(super) fn holds_for(&self, identity: &str, snapshot: &Snapshot) -> bool {
        let newest = |read: &Read| read.seen.last().copied().unwrap_or(0).max(read.before);
        self.identity == identity
            && newest(&self.recent).max(newest(&self.older)) <= snapshot.xmax()
    }

    /// A row with this `xmin` is being read.
    pub(super) fn saw(&mut self, xmin: u32, snapshot: &Snapshot) {
        // What is visible is below the snapshot's end; of the ids that look like this one the last
        // below it.
        let epoch = snapshot.xmax() & !u64::from(u32::MAX);
        let id = epoch | u64::from(xmin);
        let id = if id >= snapshot.xmax() {
            id.saturating_sub(1 << 32)
        } else {
            id
        };

        self.recent.saw(id);
        if self.whole {
            self.older.saw(id);
        }
    }
}

/// What is to be read, as conditions on rows, and where the next reading goes on after that.
/// `sweep`: the next floor, when it is time to move it.
pub(super) fn plan(
    last: Option<&Position>,
    identity: &str,
    snapshot: &Snapshot,
    sweep: Option<Timestamp>,
    floor: Timestamp,
) -> (Vec<String>, Position) {
    let Some(last) = last else {
        let read = Read {
            before: snapshot.xmin(),
            seen: BTreeSet::new(),
        };

        let next = Position {
            identity: identity.to_owned(),
            floor: floor.as_micros(),
            recent: read.clone(),
            older: read,
            whole: true,
        };

        return (vec!["true".to_owned()], next);
    };

    let at = format!("'{}'::timestamptz", Timestamp::from_micros(last.floor));
    let mut conditions = vec![format!(
        "timestamp >= {at} AND {}",
        last.recent.unread(snapshot)
    )];
    let mut next = Position {
        recent: last.recent.at(snapshot),
        whole: sweep.is_some(),
        ..last.clone()
    };

    if let Some(floor) = sweep {
        conditions.push(format!(
            "timestamp < {at} AND {}",
            last.older.unread(snapshot)
        ));
        next.floor = floor.as_micros();

        // Both halves have now been read up to this moment. What the sweeps before met is known of
        // all rows, whatever their time.
        next.recent
            .seen
            .extend(last.older.seen.range(snapshot.xmin()..));
        next.older = next.recent.clone();
    }

    (conditions, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        text.parse().unwrap()
    }

    #[test]
    fn a_usual_reading_looks_at_recent_events_and_a_sweep_at_all() {
        let floor = Timestamp::from_secs(1_772_719_651);
        let (conditions, first) = plan(None, "here", &snapshot("10:20:10"), None, floor);
        assert_eq!(conditions, ["true"]);
        let mut first = first;
        for xmin in [5, 12, 15] {
            first.saw(xmin, &snapshot("10:20:10"));
        }

        assert_eq!(
            first.recent,
            Read {
                before: 10,
                seen: BTreeSet::from([12, 15])
            },
            "5 needs no list"
        );

        assert_eq!(first.older, first.recent);

        let (conditions, next) = plan(Some(&first), "here", &snapshot("14:30:14"), None, floor);
        let at = format!("'{floor}'::timestamptz");
        let seen = "SELECT unnest('{12,15}'::xid[])";
        let unread = format!("age(xmin) BETWEEN 0 AND age('10'::xid) AND xmin NOT IN ({seen})");
        assert_eq!(conditions, [format!("timestamp >= {at} AND {unread}")]);

        assert_eq!(
            next.recent,
            Read {
                before: 14,
                seen: BTreeSet::from([15])
            }
        );
        assert_eq!(next.older, first.older, "nobody looked there");

        let later = floor.plus(model::Span::mins(10));
        let (conditions, swept) = plan(
            Some(&next),
            "here",
            &snapshot("14:30:14"),
            Some(later),
            later,
        );
        assert_eq!(conditions[1], format!("timestamp < {at} AND {unread}"));

        assert_eq!(
            (swept.floor, &swept.older),
            (later.as_micros(), &swept.recent)
        );
    }

    #[test]
    fn ids_of_rows_are_of_the_epoch_before_when_they_are_beyond_the_present() {
        let now = snapshot("12884901900:12884901900:"); // 3 epochs and 12
        let (_, mut position) = plan(None, "here", &now, None, Timestamp::from_secs(0));
        position.recent.before = 0;
        position.saw(11, &now);
        position.saw(12, &now);
        assert_eq!(
            position.recent.seen,
            BTreeSet::from([(3 << 32) + 11, (2 << 32) + 12])
        );
    }

    #[test]
    fn a_position_of_elsewhere_or_of_later_does_not_hold() {
        let (_, position) = plan(
            None,
            "here",
            &snapshot("10:20:10"),
            None,
            Timestamp::from_secs(0),
        );
        assert!(position.holds_for("here", &snapshot("20:20:")));

        assert!(!position.holds_for("there", &snapshot("20:20:")));
        assert!(
            !position.holds_for("here", &snapshot("9:9:")),
            "it was restored to an earlier point"
        );
    }
}
