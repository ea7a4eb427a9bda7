//! Automated evidence: each check looks at recorded facts and proposes findings, one objective at a
//! time. One file per check.
//!
//! A check says met, not met, or that it can't tell and what it would need. A counterexample proves
//! that something is not met; that none was seen proves nothing about what this program does not
//! see. So a check says "met" only of what it sees whole, which is mostly the record itself. One
//! example is a sample and not a proof: what was seen of a part is said as such. Whatever is about
//! watching goes through [`watching`].

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
mod ia_3_5_10;
mod ia_3_5_3;
mod ia_3_5_7;
mod ia_3_5_8;
mod ia_3_5_9;
mod ir_3_6_1;
mod ir_3_6_2;
mod ir_3_6_3;
mod ra_3_11_2;
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

/// Every check, in the order of the requirements.
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

/// A part of [`Facts`].
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
}

/// A check.
#[derive(Debug)]
pub struct Check {
    /// Its id, which evidence carries; never changed.
    pub id: &'static str,
    /// The requirement that it looks at.
    pub control: ControlId,
    /// What it looks at, in a few words.
    pub title: &'static str,
    /// All that it decides from.
    pub reads: &'static [Section],
    /// Decides. It answers for facts whose sections are missing, too.
    pub decide: fn(&Facts) -> Vec<Says>,
}

/// What a check says of one objective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Says {
    /// The letter of the objective.
    pub objective: char,
    /// What.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A verdict with what it is by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It is so.
    Met {
        /// What was seen.
        saw: String,
    },
    /// There is a counterexample.
    NotMet {
        /// Which.
        saw: String,
    },
    /// The facts do not decide it.
    CantTell {
        /// What was seen all the same; may be empty.
        saw: String,
        /// What it would need.
        needs: String,
    },
}

impl Verdict {
    /// The finding that it proposes.
    pub const fn finding(&self) -> Option<Finding> {
        match self {
            Self::Met { .. } => Some(Finding::Met),
            Self::NotMet { .. } => Some(Finding::NotMet),
            Self::CantTell { .. } => None,
        }
    }

    /// What a person reads.
    pub fn text(&self) -> String {
        match self {
            Self::Met { saw } | Self::NotMet { saw } => saw.clone(),
            Self::CantTell { saw, needs } if saw.is_empty() => format!("needs {needs}"),
            Self::CantTell { saw, needs } => format!("{saw}; needs {needs}"),
        }
    }
}

impl Says {
    /// The objective's id.
    pub fn objective_id(&self, control: &ControlId) -> ObjectiveId {
        ObjectiveId(format!("{control}[{}]", self.objective))
    }
}

fn met(objective: char, saw: impl Into<String>) -> Says {
    Says {
        objective,
        verdict: Verdict::Met { saw: saw.into() },
    }
}

fn not_met(objective: char, saw: impl Into<String>) -> Says {
    Says {
        objective,
        verdict: Verdict::NotMet { saw: saw.into() },
    }
}

fn cant_tell(objective: char, saw: impl Into<String>, needs: impl Into<String>) -> Says {
    Says {
        objective,
        verdict: Verdict::CantTell {
            saw: saw.into(),
            needs: needs.into(),
        },
    }
}

/// Met when it holds, else not met.
fn holds(objective: char, it_does: bool, good: impl Into<String>, bad: impl Into<String>) -> Says {
    if it_does {
        met(objective, good)
    } else {
        not_met(objective, bad)
    }
}

/// The same answer for several objectives.
fn each(objectives: &str, says: impl Fn(char) -> Says) -> Vec<Says> {
    objectives.chars().map(says).collect()
}

/// Nothing was seen, because the facts could not be read.
fn unread(objectives: &str, what: &str) -> Vec<Says> {
    each(objectives, |o| {
        cant_tell(o, "", format!("{what}, which could not be read"))
    })
}

/// The first few of a list, for a sentence.
fn some(of: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = if of.len() > SHOWN {
        format!(" and {} more", of.len() - SHOWN)
    } else {
        String::new()
    };
    format!("{}{more}", of[..of.len().min(SHOWN)].join(", "))
}

/// How many of the rules that are on were shown to work by their fixtures, to follow their number.
fn proofs(rules: &[model::facts::RuleFacts]) -> String {
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
    /// The facts that it decides from, and no others.
    pub fn narrow(&self, facts: &Facts) -> Facts {
        let reads = |section| self.reads.contains(&section);
        let mut own = Facts::none(facts.taken_at, facts.days);
        macro_rules! keep {
            ($($field:ident $section:ident),+) => {
                $(if reads(Section::$section) { own.$field.clone_from(&facts.$field); })+
            };
        }

        keep!(events Events, sources Sources, daemon Daemon, database Database, accounts Accounts, rules Rules, alerts Alerts,
              incidents Incidents, programme Programme, advisories Advisories, transport Transport, host Host);
        own
    }
}

/// The check of an id.
pub fn find(id: &str) -> Option<&'static Check> {
    ALL.iter().copied().find(|check| check.id == id)
}

#[cfg(test)]
mod tests;
