//! Reports: one file each, from what is known to a [`crate::document::Document`].

mod assessor;
mod poam;
mod ssp;

use model::facts::Facts;
use model::{Control, Evidence, Plan, Scored, Timestamp};

pub use assessor::report as assessor;
pub use poam::report as poam;
pub use ssp::report as ssp;

use crate::catalog::Catalog;
use crate::claim::{Basis, Claim};
use crate::system::System;

/// All that a report may tell of.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The framework.
    pub catalog: &'a Catalog,
    /// The system, as its description says.
    pub system: &'a System,
    /// Findings.
    pub controls: &'a [Control],
    /// Evidence; of each check, the last result.
    pub evidence: &'a [Evidence],
    /// Plans of action, closed ones too.
    pub plans: &'a [Plan],
    /// Assets in scope: name, category, owner, treatment.
    pub assets: &'a [crate::system::Asset],
    /// What the checks saw last.
    pub facts: Option<&'a Facts>,
    /// The score as it was noted, the oldest first.
    pub scores: &'a [Scored],
    /// When the report is made.
    pub now: Timestamp,
}

impl<'a> Known<'a> {
    /// What a claim is decided from.
    pub const fn basis(&self) -> Basis<'a> {
        Basis {
            catalog: self.catalog,
            system: Some(self.system),
            controls: self.controls,
            evidence: self.evidence,
            plans: self.plans,
            now: self.now,
        }
    }

    /// What may be claimed.
    pub fn claim(&self) -> Claim {
        Claim::of(&self.basis())
    }
}

/// A day.
fn day(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d").to_string()
}

fn maybe_day(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), day)
}

/// What is missing shows: a blank would pass for nothing to say.
fn or_missing(text: &str) -> String {
    if text.trim().is_empty() {
        "NOT STATED".to_owned()
    } else {
        text.to_owned()
    }
}

/// The words of 32 CFR 170.24(b).
const fn word(standing: model::Standing) -> &'static str {
    use model::Standing;
    match standing {
        Standing::Met => "MET",
        Standing::NotMet => "NOT MET",
        Standing::NotApplicable => "N/A",
        Standing::Stale => "stale evidence",
        Standing::NotAssessed => "not assessed",
    }
}
