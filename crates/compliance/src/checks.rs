//! Automated evidence: each check looks at recorded facts and proposes findings, one objective at a
//! time. One file per check.
//!
//! A check returns met, not met, or "can't tell" with what is missing. A counterexample proves that
//! an objective is not met; the absence of one proves nothing about what blueteam does not see. So
//! a check returns "met" only for what it sees completely, which is mostly the record itself. One
//! example is a sample and not a proof, and is reported as such. Every result about monitoring goes
//! through [`watching`].
//!
//! Each check names its population, and what of it blueteam cannot see ([`Scope`]). Below full
//! coverage nothing is met: [`Check::run`] sees to that, whatever a check decides. Nor is anything
//! met that rests on what the organization defined, as long as software cannot read the definition.
//!
//! The texts of results are stored as evidence and compared with what the check decides when it is
//! replayed: a changed word makes older evidence look wrong, so texts change only with a reason.

use model::facts::Facts;
use model::{ControlId, Finding, ObjectiveId};
use serde::Serialize;

mod ac_3_1_1;
mod ac_3_1_10;
mod ac_3_1_11;
mod ac_3_1_12;
mod ac_3_1_2;
mod ac_3_1_5;
mod ac_3_1_7;
mod ac_3_1_8;
mod au_3_3_1;
mod au_3_3_2;
mod au_3_3_3;
mod au_3_3_4;
mod au_3_3_5;
mod au_3_3_6;
mod au_3_3_7;
mod au_3_3_8;
mod au_3_3_9;
mod ca_3_12_1;
mod ca_3_12_2;
mod ca_3_12_3;
mod ca_3_12_4;
mod cm_3_4_1;
mod cm_3_4_2;
mod cm_3_4_3;
mod cm_3_4_4;
mod cm_3_4_5;
mod cm_3_4_6;
mod cm_3_4_7;
mod coverage;
mod ia_3_5_10;
mod ia_3_5_3;
mod ia_3_5_7;
mod ia_3_5_8;
mod ia_3_5_9;
mod ir_3_6_1;
mod ir_3_6_2;
mod ir_3_6_3;
mod ra_3_11_2;
mod reference;
mod sc_3_13_11;
mod sc_3_13_16;
mod sc_3_13_8;
mod si_3_14_1;
mod si_3_14_2;
mod si_3_14_3;
mod si_3_14_4;
mod si_3_14_5;
mod si_3_14_6;
mod si_3_14_7;
mod watching;

pub use coverage::{Counted, Coverage, Scope};
pub use reference::reference;
pub use watching::ATTACK_RULES;

/// All checks, in the order of the requirements.
pub const ALL: &[&Check] = &[
    &ac_3_1_1::CHECK,
    &ac_3_1_2::CHECK,
    &ac_3_1_5::CHECK,
    &ac_3_1_7::CHECK,
    &ac_3_1_8::CHECK,
    &ac_3_1_10::CHECK,
    &ac_3_1_11::CHECK,
    &ac_3_1_12::CHECK,
    &au_3_3_1::CHECK,
    &au_3_3_2::CHECK,
    &au_3_3_3::CHECK,
    &au_3_3_4::CHECK,
    &au_3_3_5::CHECK,
    &au_3_3_6::CHECK,
    &au_3_3_7::CHECK,
    &au_3_3_8::CHECK,
    &au_3_3_9::CHECK,
    &cm_3_4_1::CHECK,
    &cm_3_4_2::CHECK,
    &cm_3_4_3::CHECK,
    &cm_3_4_4::CHECK,
    &cm_3_4_5::CHECK,
    &cm_3_4_6::CHECK,
    &cm_3_4_7::CHECK,
    &ia_3_5_3::CHECK,
    &ia_3_5_7::CHECK,
    &ia_3_5_8::CHECK,
    &ia_3_5_9::CHECK,
    &ia_3_5_10::CHECK,
    &ir_3_6_1::CHECK,
    &ir_3_6_2::CHECK,
    &ir_3_6_3::CHECK,
    &ra_3_11_2::CHECK,
    &ca_3_12_1::CHECK,
    &ca_3_12_2::CHECK,
    &ca_3_12_3::CHECK,
    &ca_3_12_4::CHECK,
    &sc_3_13_8::CHECK,
    &sc_3_13_11::CHECK,
    &sc_3_13_16::CHECK,
    &si_3_14_1::CHECK,
    &si_3_14_2::CHECK,
    &si_3_14_3::CHECK,
    &si_3_14_4::CHECK,
    &si_3_14_5::CHECK,
    &si_3_14_6::CHECK,
    &si_3_14_7::CHECK,
];

/// A section of [`Facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in Facts")]
pub enum Section {
    Events,
    Sources,
    Daemon,
    Database,
    Accounts,
    Rules,
    Alerts,
    Incidents,
    Programme,
    Advisories,
    Transport,
    Host,
    Inventory,
}

/// An automated check of one requirement.
#[derive(Debug)]
pub struct Check {
    /// Its id, which stored evidence carries; never changes.
    pub id: &'static str,
    /// The requirement that it checks.
    pub control: ControlId,
    /// What it examines, in a few words.
    pub title: &'static str,
    /// The sections of the facts that it decides from.
    pub reads: &'static [Section],
    /// What its objectives must hold for.
    pub scope: Scope,
    /// Decides each objective that it covers, also when sections of the facts are missing, from
    /// what was seen: [`Check::run`] compares that with the population.
    decide: fn(&Facts) -> Vec<CheckResult>,
}

/// The result of a check for one objective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// Letter of the objective.
    pub objective: char,
    /// Verdict on the objective.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A verdict with the observation that it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The objective is met.
    Met {
        /// What was observed.
        saw: String,
    },
    /// A counterexample was observed.
    NotMet {
        /// The counterexample.
        saw: String,
    },
    /// The facts do not decide it.
    CantTell {
        /// What was observed nevertheless; may be empty.
        saw: String,
        /// What is missing for a decision.
        needs: String,
    },
}

impl Verdict {
    /// Returns the finding that it proposes, if any.
    pub const fn finding(&self) -> Option<Finding> {
        match self {
            Self::Met { .. } => Some(Finding::Met),
            Self::NotMet { .. } => Some(Finding::NotMet),
            Self::CantTell { .. } => None,
        }
    }

    /// Returns the observation and, if undecided, what is missing, as one line.
    pub fn text(&self) -> String {
        match self {
            Self::Met { saw } | Self::NotMet { saw } => saw.clone(),
            Self::CantTell { saw, needs } if saw.is_empty() => format!("needs {needs}"),
            Self::CantTell { saw, needs } => format!("{saw}; needs {needs}"),
        }
    }
}

impl CheckResult {
    /// Adds the coverage to what was seen. What was seen of a part is never met.
    fn within(self, coverage: Coverage) -> Self {
        let seen = |saw: String| {
            if saw.is_empty() {
                coverage.to_string()
            } else {
                format!("{coverage}: {saw}")
            }
        };

        let verdict = match self.verdict {
            Verdict::Met { saw } if coverage.is_full() => Verdict::Met { saw: seen(saw) },
            Verdict::Met { saw } => Verdict::CantTell {
                saw: seen(saw),
                needs: format!("all {} to be known and seen", coverage.unit),
            },
            Verdict::CantTell { saw, needs } => Verdict::CantTell {
                saw: seen(saw),
                needs,
            },
            // One counterexample is enough, however little was seen.
            counterexample @ Verdict::NotMet { .. } => counterexample,
        };

        Self { verdict, ..self }
    }

    /// Returns the id of the objective of `control` that the result is about.
    pub fn objective_id(&self, control: &ControlId) -> ObjectiveId {
        ObjectiveId(format!("{control}[{}]", self.objective))
    }
}

fn met(objective: char, saw: impl Into<String>) -> CheckResult {
    CheckResult {
        objective,
        verdict: Verdict::Met { saw: saw.into() },
    }
}

fn not_met(objective: char, saw: impl Into<String>) -> CheckResult {
    CheckResult {
        objective,
        verdict: Verdict::NotMet { saw: saw.into() },
    }
}

fn cant_tell(objective: char, saw: impl Into<String>, needs: impl Into<String>) -> CheckResult {
    CheckResult {
        objective,
        verdict: Verdict::CantTell {
            saw: saw.into(),
            needs: needs.into(),
        },
    }
}

/// Builds a result for each letter of `objectives`.
fn for_each_objective(objectives: &str, says: impl Fn(char) -> CheckResult) -> Vec<CheckResult> {
    objectives.chars().map(says).collect()
}

/// Returns "can't tell" for each objective, because the facts could not be read.
fn cant_read(objectives: &str, what: &str) -> Vec<CheckResult> {
    for_each_objective(objectives, |o| {
        cant_tell(o, "", format!("{what}, which could not be read"))
    })
}

/// Joins the first few entries of a list for a sentence, and counts the rest.
fn list_first(of: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = if of.len() > SHOWN {
        format!(" and {} more", of.len() - SHOWN)
    } else {
        String::new()
    };
    format!("{}{more}", of[..of.len().min(SHOWN)].join(", "))
}

/// Returns how many of the enabled rules passed their fixtures, as an addition to their number.
fn describe_proofs(rules: &[model::facts::RuleFacts]) -> String {
    let proven = || {
        rules
            .iter()
            .filter(|r| r.enabled && !r.proof_failed)
            .filter_map(|r| r.last_proven)
    };

    let Some(last) = proven().min() else {
        return String::new();
    };
    let day = last.to_jiff().strftime("%Y-%m-%d");
    format!(
        " ({} of them shown to work by their fixtures, the first of these on {day})",
        proven().count()
    )
}

impl Check {
    /// Decides each objective, also when sections of the facts are missing. Returns met only where
    /// the whole population was seen.
    pub fn run(&self, facts: &Facts) -> Vec<CheckResult> {
        let coverage = self.coverage(facts);
        (self.decide)(facts)
            .into_iter()
            .map(|result| result.within(coverage))
            .collect()
    }

    /// Returns how much of its population the facts show.
    pub fn coverage(&self, facts: &Facts) -> Coverage {
        self.scope.counted.coverage(facts)
    }

    /// Returns only the facts that the check decides from.
    pub fn narrow(&self, facts: &Facts) -> Facts {
        let reads =
            |section| self.reads.contains(&section) || self.scope.counted.reads() == Some(section);
        let mut own = Facts::none(facts.taken_at, facts.days);
        macro_rules! keep {
            ($($field:ident $section:ident),+) => {
                $(if reads(Section::$section) { own.$field.clone_from(&facts.$field); })+
            };
        }

        keep!(
            events Events, sources Sources, daemon Daemon, database Database,
            accounts Accounts, rules Rules, alerts Alerts, incidents Incidents,
            programme Programme, advisories Advisories, transport Transport, host Host,
            inventory Inventory
        );
        own
    }
}

/// Returns the check with this id.
pub fn find(id: &str) -> Option<&'static Check> {
    ALL.iter().copied().find(|check| check.id == id)
}

#[cfg(test)]
mod tests;
