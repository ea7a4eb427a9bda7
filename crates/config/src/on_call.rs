//! `[on_call]`: whose turn it is.

use jiff::civil::Date;
use notify::rotation;
use serde::{Deserialize, Serialize};

use crate::Contacts;
use crate::error::Problem;

/// The on-call schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnCall {
    /// Names of contacts, in the order of their turns.
    pub people: Vec<String>,
    /// The first day of the first one's turn.
    pub start: Date,
    /// How many days a turn lasts.
    pub days: u32,
    /// Who is absent; the next one takes the turn.
    pub leave: Vec<Absence>,
}

/// A contact is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Absence {
    /// Who.
    pub name: String,
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
}

impl Default for OnCall {
    fn default() -> Self {
        // A Monday.
        Self {
            people: Vec::new(),
            start: Date::constant(2026, 1, 5),
            days: 7,
            leave: Vec::new(),
        }
    }
}

impl OnCall {
    /// The schedule, as notifications are sent by it.
    pub fn schedule(&self) -> rotation::Rota {
        let leave = self.leave.iter().map(|absence| rotation::Leave {
            name: absence.name.clone(),
            from: absence.from,
            to: absence.to,
        });

        rotation::Rota {
            people: self.people.clone(),
            begins: self.start,
            days: self.days,
            leave: leave.collect(),
        }
    }

    pub(super) fn check(&self, contacts: &Contacts, problems: &mut Vec<Problem>) {
        let known = |name: &String| contacts.named(name).is_some();
        let nobody = |name: &str| format!("nobody in contacts.people is called `{name}`");

        for name in self.people.iter().filter(|name| !known(name)) {
            problems.push(Problem::new("on_call.people", nobody(name)));
        }

        if self.days == 0 {
            problems.push(Problem::new("on_call.days", "must be at least 1"));
        }

        for (i, absence) in self.leave.iter().enumerate() {
            if !known(&absence.name) {
                let key = format!("on_call.leave[{i}].name");
                problems.push(Problem::new(key, nobody(&absence.name)));
            }

            if absence.to < absence.from {
                let key = format!("on_call.leave[{i}].to");
                problems.push(Problem::new(key, "is before the first day"));
            }
        }
    }
}
