//! Reports: one file each, built from a [`ReportContext`] as a [`crate::document::Document`].

mod assessor;
mod cover;
mod executive;
mod incident;
mod poam;
mod posture;
mod ssp;

use model::facts::Facts;
use model::{Control, Evidence, Plan, Scored, Timestamp};

pub use assessor::build_report as assessor;
pub use executive::{Executive, build_report as executive};
pub use incident::{IncidentReport, build_report as incident};
pub use poam::{Plans, build_report as poam};
pub use posture::{
    Postures, build_report as posture, change_text, score_text, summary as posture_summary,
};
pub use ssp::build_report as ssp;

use crate::catalog::Catalog;
use crate::claim::{Basis, Claim};
use crate::dates::format_day;
use crate::diagram::Picture;
use crate::system::System;

/// The data that a report is built from.
#[derive(Clone, Copy, Debug)]
pub struct ReportContext<'a> {
    /// The framework.
    pub catalog: &'a Catalog,
    /// The description of the system.
    pub system: &'a System,
    /// Findings.
    pub controls: &'a [Control],
    /// Evidence, including the last result of each check.
    pub evidence: &'a [Evidence],
    /// Plans of action, including closed ones.
    pub plans: &'a [Plan],
    /// Assets in scope: name, category, owner, treatment.
    pub assets: &'a [crate::system::Asset],
    /// Diagrams with their pictures.
    pub pictures: &'a [Picture],
    /// The facts that the checks decided from last.
    pub facts: Option<&'a Facts>,
    /// The recorded scores, oldest first.
    pub scores: &'a [Scored],
    /// The time of the report.
    pub now: Timestamp,
}

impl<'a> ReportContext<'a> {
    /// Returns the data that a claim is decided from.
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

    /// Returns the plans of action.
    pub const fn plans_of_action(&self) -> Plans<'a> {
        Plans {
            catalog: self.catalog,
            system: self.system,
            controls: self.controls,
            plans: self.plans,
            now: self.now,
        }
    }

    /// Decides the score and status that may be claimed.
    pub fn claim(&self) -> Claim {
        Claim::of(&self.basis())
    }
}

fn maybe_day(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), format_day)
}

/// Returns the text, or a visible marker where it is missing: a blank would look intentional.
fn or_missing(text: &str) -> String {
    if text.trim().is_empty() {
        "NOT STATED".to_owned()
    } else {
        text.to_owned()
    }
}

/// Returns a number with its word, such as `1 requirement has` or `2 requirements have`.
fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Returns the word of 32 CFR 170.24(b) for a standing.
const fn standing_word(standing: model::Standing) -> &'static str {
    use model::Standing;
    match standing {
        Standing::Met => "MET",
        Standing::NotMet => "NOT MET",
        Standing::NotApplicable => "N/A",
        Standing::Stale => "stale evidence",
        Standing::NotAssessed => "not assessed",
    }
}
