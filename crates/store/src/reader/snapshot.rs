//! PostgreSQL's snapshots as text: `xmin:xmax:xip,xip,…`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Which transactions were visible at a moment. Holds numbers only, so that its text can stand in a
/// query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    xmin: u64,
    /// The first id that was not given out yet.
    xmax: u64,
    /// Ids below `xmax` that were running.
    running: Vec<u64>,
}

impl Snapshot {
    /// Before every transaction.
    pub(crate) const BEGINNING: Self = Self {
        xmin: 1,
        xmax: 1,
        running: Vec::new(),
    };

    /// The oldest id that was running; every id below it is settled.
    pub(crate) fn xmin(&self) -> u64 {
        self.xmin
    }

    /// The first id that was not given out yet.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Whether every transaction that `other` sees, and no other, is seen here too.
    pub(crate) fn sees_as_much_as(&self, other: &Self) -> bool {
        self.xmax == other.xmax && self.running == other.running
    }

    /// The same, of the transactions up to `last` alone; of what `earlier` has seen, nothing is
    /// lost.
    pub(crate) fn up_to(&self, last: u64, earlier: &Self) -> Self {
        let xmax = last
            .saturating_add(1)
            .clamp(earlier.xmax, self.xmax.max(earlier.xmax));
        Self {
            xmin: self.xmin.min(xmax),
            xmax,
            running: self
                .running
                .iter()
                .copied()
                .filter(|id| *id < xmax)
                .collect(),
        }
    }

    /// An SQL condition on `xact_id`: transactions that had an id when this snapshot was taken. Of
    /// those, a query in the same snapshot sees none that were running.
    pub(crate) fn seen(&self) -> String {
        format!("xact_id < '{}'::xid8", self.xmax)
    }

    /// An SQL condition on `xact_id`: transactions that this snapshot does not see.
    pub(crate) fn unseen(&self) -> String {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        if running.is_empty() {
            return format!("xact_id >= '{}'::xid8", self.xmax);
        }

        format!(
            "(xact_id >= '{}'::xid8 OR xact_id = ANY ('{{{}}}'::xid8[]))",
            self.xmax,
            running.join(",")
        )
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (n, id) in self.running.iter().enumerate() {
            write!(f, "{}{id}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let bad =
            || StoreError::corrupt("a snapshot", format_args!("`{text}` is not xmin:xmax:xip"));
        let number = |t: &str| t.parse::<u64>().map_err(|_| bad());
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().ok_or_else(bad);
        let (xmin, xmax, running) = (number(next()?)?, number(next()?)?, next()?);
        let running = running
            .split(',')
            .filter(|t| !t.is_empty())
            .map(number)
            .collect::<Result<_, _>>()?;

        Ok(Self {
            xmin,
            xmax,
            running,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_its_text_and_refuses_what_is_none() {
        for text in ["10:20:10,14,15", "10:10:", "1:1:"] {
            assert_eq!(text.parse::<Snapshot>().unwrap().to_string(), text);
        }
        for text in ["", "10", "10:20", "a:b:", "10:20:1;DROP TABLE x", "-1:2:"] {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_part_ends_with_a_transaction_and_unsees_none() {
        let part = |last| {
            let (now, earlier) = ("8:40:8,12,30", "7:20:7,12");
            let now: Snapshot = now.parse().unwrap();
            now.up_to(last, &earlier.parse().unwrap()).to_string()
        };
        assert_eq!(part(25), "8:26:8,12");
        assert_eq!(part(35), "8:36:8,12,30");
        assert_eq!(part(99), "8:40:8,12,30");
        assert_eq!(part(9), "8:20:8,12", "what was seen stays seen");
    }

    #[test]
    fn names_the_transactions_that_it_does_not_see() {
        let unseen = |text: &str| text.parse::<Snapshot>().unwrap().unseen();
        assert_eq!(unseen("10:10:"), "xact_id >= '10'::xid8");
        assert_eq!(
            unseen("8:10:8,9"),
            "(xact_id >= '10'::xid8 OR xact_id = ANY ('{8,9}'::xid8[]))"
        );
    }
}
