//! What is wrong with a chain.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use model::{EvidenceRecord, EvidenceWitness};
use serde::Serialize;
use uuid::Uuid;

use super::{GENESIS, hash};

/// How many places are tried for a record that says another than it was hashed with.
const PLACES_MAX: i64 = 10_000;

/// A fault of a chain, at a place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// It is not what was recorded.
    Changed {
        /// Its place.
        sequence: i64,
        /// The record.
        id: Uuid,
        /// Which columns, as far as the audit log says.
        columns: Vec<String>,
    },
    /// It was recorded, and is not there.
    Missing {
        /// The place.
        sequence: i64,
        /// The last place, where several in a row are missing.
        last: i64,
        /// The record, where the audit log knows it.
        id: Option<Uuid>,
    },
    /// It is as it was recorded, at another place.
    OutOfOrder {
        /// The place that it says.
        sequence: i64,
        /// The record.
        id: Uuid,
        /// The place that it was recorded at.
        recorded: i64,
    },
    /// It is there, and blueteam did not add it.
    Added {
        /// The place that it says.
        sequence: i64,
        /// The record.
        id: Uuid,
    },
    /// It does not follow the record before it: one of the two was rewritten, with its hash.
    Unlinked {
        /// Its place.
        sequence: i64,
        /// The record.
        id: Uuid,
    },
}

impl Fault {
    /// Where in the chain.
    pub const fn sequence(&self) -> i64 {
        match self {
            Self::Changed { sequence, .. }
            | Self::Missing { sequence, .. }
            | Self::OutOfOrder { sequence, .. }
            | Self::Added { sequence, .. }
            | Self::Unlinked { sequence, .. } => *sequence,
        }
    }

    /// Which record, where it is known.
    pub const fn id(&self) -> Option<Uuid> {
        match self {
            Self::Changed { id, .. }
            | Self::OutOfOrder { id, .. }
            | Self::Added { id, .. }
            | Self::Unlinked { id, .. } => Some(*id),
            Self::Missing { id, .. } => *id,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed {
                sequence,
                id,
                columns,
            } => {
                write!(f, "record {sequence} ({id}) was changed")?;
                if !columns.is_empty() {
                    write!(f, ": {}", columns.join(", "))?;
                }
                Ok(())
            }
            Self::Missing { sequence, last, .. } if last > sequence => {
                write!(f, "records {sequence} to {last} are missing")
            }
            Self::Missing { sequence, id, .. } => match id {
                Some(id) => write!(f, "record {sequence} ({id}) is missing"),
                None => write!(f, "record {sequence} is missing"),
            },
            Self::OutOfOrder {
                sequence,
                id,
                recorded,
            } => write!(
                f,
                "record {sequence} ({id}) is out of order: it was recorded as {recorded}"
            ),
            Self::Added { sequence, id } => {
                write!(f, "record {sequence} ({id}) was added outside of blueteam")
            }
            Self::Unlinked { sequence, id } => write!(
                f,
                "record {sequence} ({id}) does not follow the one before it: one of the two was \
                 replaced together with its hash"
            ),
        }
    }
}

/// What came of checking a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How many records there are.
    pub records: usize,
    /// How many of them are items.
    pub items: usize,
    /// The hash of the last one, as it is stored; zeros of an empty chain.
    pub head: String,
    /// What is wrong, in the order of the chain.
    pub faults: Vec<Fault>,
}

/// A record, and what is known about it.
struct Link<'a> {
    record: &'a EvidenceRecord,
    /// The place that it was recorded at, as far as that is known.
    place: i64,
    is_sound: bool,
}

/// Checks the chain of an incident. `witnesses` is what the audit log says about its records and
/// about those that were its; none where there is no audit log, as beside an exported package.
pub fn verify(records: &[EvidenceRecord], witnesses: Option<&[EvidenceWitness]>) -> Verdict {
    let known: HashMap<Uuid, &EvidenceWitness> = witnesses
        .unwrap_or_default()
        .iter()
        .map(|witness| (witness.id, witness))
        .collect();
    let mut faults = Vec::new();

    let mut links: Vec<Link<'_>> = Vec::new();
    for record in records {
        let (place, fault) = match (witnesses, known.get(&record.id)) {
            (Some(_), Some(witness)) => (witness.sequence, beside(record, witness)),
            (Some(_), None) => (record.sequence, Some(added(record))),
            (None, _) => alone(record, records.len() as i64),
        };
        links.push(Link {
            record,
            place,
            is_sound: fault.is_none(),
        });
        faults.extend(fault);
    }
    links.sort_by_key(|link| (link.place, link.record.sequence, link.record.id));

    let gone = gone(records, witnesses.unwrap_or_default());
    faults.extend(gone.iter().map(|(place, id)| Fault::Missing {
        sequence: *place,
        last: *place,
        id: Some(*id),
    }));
    follow(&links, &gone, &mut faults);

    faults.sort_by_key(Fault::sequence);
    let last = records.iter().max_by_key(|record| record.sequence);
    Verdict {
        records: records.len(),
        items: records.iter().filter(|r| r.item().is_some()).count(),
        head: last.map_or_else(|| GENESIS.to_owned(), |record| record.hash.clone()),
        faults,
    }
}

fn added(record: &EvidenceRecord) -> Fault {
    Fault::Added {
        sequence: record.sequence,
        id: record.id,
    }
}

/// Compares a record with what the audit log says about it.
fn beside(record: &EvidenceRecord, witness: &EvidenceWitness) -> Option<Fault> {
    let is_whole =
        record.hash == witness.hash && hash(record) == record.hash && witness.changed.is_empty();
    if is_whole && record.sequence == witness.sequence {
        return None;
    }

    let moved_only = witness.changed.iter().all(|column| column == "sequence");
    if record.sequence != witness.sequence && record.hash == witness.hash && moved_only {
        return Some(Fault::OutOfOrder {
            sequence: record.sequence,
            id: record.id,
            recorded: witness.sequence,
        });
    }
    Some(Fault::Changed {
        sequence: record.sequence,
        id: record.id,
        columns: witness.changed.clone(),
    })
}

/// Checks a record by itself. Returns the place that it was recorded at, too.
fn alone(record: &EvidenceRecord, count: i64) -> (i64, Option<Fault>) {
    if hash(record) == record.hash {
        return (record.sequence, None);
    }

    // Nothing but its place may have been changed.
    let mut moved = record.clone();
    for place in 1..=count.min(PLACES_MAX) {
        moved.sequence = place;
        if hash(&moved) == record.hash {
            let fault = Fault::OutOfOrder {
                sequence: record.sequence,
                id: record.id,
                recorded: place,
            };
            return (place, Some(fault));
        }
    }
    let fault = Fault::Changed {
        sequence: record.sequence,
        id: record.id,
        columns: Vec::new(),
    };
    (record.sequence, Some(fault))
}

/// What the audit log knows of this incident's chain, and is not there.
fn gone(records: &[EvidenceRecord], witnesses: &[EvidenceWitness]) -> BTreeMap<i64, Uuid> {
    let there: HashSet<Uuid> = records.iter().map(|record| record.id).collect();
    // Witnesses that came with a record of another incident are about that one's chain.
    let own = records.first().map(|record| record.incident);
    witnesses
        .iter()
        .filter(|w| !there.contains(&w.id) && own.is_none_or(|incident| w.incident == incident))
        .map(|witness| (witness.sequence, witness.id))
        .collect()
}

/// Checks that each record follows the one before it, and that no place is empty.
fn follow(links: &[Link<'_>], gone: &BTreeMap<i64, Uuid>, faults: &mut Vec<Fault>) {
    let mut before: Option<&Link<'_>> = None;
    for link in links {
        let last = before.map_or(0, |before| before.place);
        let is_next = link.place == last.saturating_add(1);
        if link.place > last.saturating_add(1) {
            empty(last + 1, link.place - 1, gone, faults);
        }

        let sound = link.is_sound && before.is_none_or(|before| before.is_sound);
        let expected = before.map_or(GENESIS, |before| before.record.hash.as_str());
        let unlinked = is_next && link.record.previous != expected;
        // Two records at one place, or one at none: the first of them stands, where it is sound.
        let beside = link.place <= last;
        if link.is_sound && beside {
            faults.push(added(link.record));
        } else if sound && unlinked {
            faults.push(Fault::Unlinked {
                sequence: link.record.sequence,
                id: link.record.id,
            });
        }
        if !beside {
            before = Some(link);
        }
    }
}

/// Names the places from `first` to `last` that are empty, without those that are named already.
fn empty(first: i64, last: i64, gone: &BTreeMap<i64, Uuid>, faults: &mut Vec<Fault>) {
    let mut from = first;
    let mut push = |from: i64, to: i64| {
        if from <= to {
            faults.push(Fault::Missing {
                sequence: from,
                last: to,
                id: None,
            });
        }
    };
    for place in gone.range(first..=last).map(|(place, _)| *place) {
        push(from, place - 1);
        from = place + 1;
    }
    push(from, last);
}
