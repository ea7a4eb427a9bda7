//! What was found about the requirements of NIST SP 800-171, objective by objective (3.12.1; NIST
//! SP 800-171A; 32 CFR 170.24).
//!
//! A machine proposes, a named person decides: the two are kept apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{ControlId, ObjectiveId, UnknownWord};
use crate::time::Timestamp;

/// The score at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Scored {
    /// When it was counted.
    pub at: Timestamp,
    /// From 110 to -203; none without a system security plan.
    pub points: Option<i32>,
    /// Requirements that are met or do not apply.
    pub met: u32,
    /// That are not met by a decision.
    pub not_met: u32,
    /// Not decided, or with evidence that has lapsed.
    pub open: u32,
}

/// Gives a plain enum the words that the database, files and people use for it.
#[macro_export]
macro_rules! words {
    ($name:ident, $expected:literal, $($variant:ident => $word:literal),+ $(,)?) => {
        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word in the database, in files and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                let spelled = text.trim().to_ascii_lowercase().replace(['-', ' '], "_");
                Self::ALL.iter().copied().find(|v| v.as_str() == spelled).ok_or_else(|| UnknownWord {
                    found: text.to_owned(),
                    expected: $expected,
                })
            }
        }
    };
}

/// What an assessment may find (32 CFR 170.24(b)). There is no "partially met".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// All of it is satisfied by evidence in final form.
    Met,
    /// Some of it is not.
    NotMet,
    /// It does not apply at the time of the assessment; counts as met.
    NotApplicable,
}
words!(Finding, "met, not_met, \
    not_applicable", Met => "met", NotMet => "not_met", NotApplicable => "not_applicable");

/// How something was assessed (NIST SP 800-171A).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Documents, settings and records were read.
    Examine,
    /// People were asked.
    Interview,
    /// It was tried.
    Test,
}
words!(Method, "examine, interview, \
    test", Examine => "examine", Interview => "interview", Test => "test");

/// The word of the documents for how far a requirement is (`blueteam.compliance_controls.status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Implementation {
    /// Every objective is met or does not apply.
    Implemented,
    /// Some objectives are met, others are not or are open.
    PartiallyImplemented,
    /// Not met, with a plan of action.
    Planned,
    /// Not met, without one.
    NotImplemented,
    /// No objective applies.
    NotApplicable,
    /// Nobody has looked.
    NotAssessed,
}
words!(Implementation,
    "implemented, partially_implemented, planned, not_implemented, not_applicable, not_assessed",
    Implemented => "implemented", PartiallyImplemented => "partially_implemented", Planned => "planned",
    NotImplemented => "not_implemented", NotApplicable => "not_applicable", NotAssessed => "not_assessed");

/// Who does what a requirement asks for (32 CFR 170.19(c)(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Responsibility {
    /// The organization itself.
    Own,
    /// A provider, wholly.
    Inherited,
    /// Both; the responsibility matrix says who does what.
    Shared,
}
words!(Responsibility, "own, inherited, \
    shared", Own => "own", Inherited => "inherited", Shared => "shared");

/// Where the evidence of a requirement comes from (`blueteam.compliance_controls.evidence_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceType {
    /// A check looks at every objective.
    Automated,
    /// People alone provide it.
    Manual,
    /// Checks look at some objectives, people at the others.
    Hybrid,
}
words!(EvidenceType, "automated, manual, \
    hybrid", Automated => "automated", Manual => "manual", Hybrid => "hybrid");

/// A finding that a named person stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What was found.
    pub finding: Finding,
    /// Why: how it is met, what does not conform, or why it does not apply.
    pub reason: String,
    /// How it was looked at; not empty for [`Finding::Met`].
    pub methods: Vec<Method>,
    /// Who decided.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A finding that a check proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// What the check saw.
    pub finding: Finding,
    /// What it saw it by.
    pub reason: String,
    /// The check.
    pub by: String,
    /// When it looked.
    pub at: Timestamp,
}

/// Evidence in final form behind an objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Support {
    /// Pieces that are valid now.
    pub valid: u32,
    /// Pieces past their date.
    pub lapsed: u32,
    /// Pieces that are not what was taken in, if somebody has hashed them again.
    #[serde(skip_serializing_if = "is_zero")]
    pub tampered: u32,
    /// Pieces that are not approved; they support nothing.
    pub drafts: u32,
}

/// For serde.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Where an objective stands today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Met, by a decision.
    Met,
    /// Not met, by a decision.
    NotMet,
    /// Does not apply, by a decision.
    NotApplicable,
    /// Was met, by evidence that has lapsed or was tampered with since.
    Stale,
    /// Nobody has decided.
    NotAssessed,
}
words!(Standing, "met, not_met, not_applicable, stale, not_assessed",
    Met => "met", NotMet => "not_met", NotApplicable => "not_applicable", Stale => "stale", NotAssessed => "not_assessed");

impl Standing {
    /// Whether it counts as met in a score. What nobody has shown does not.
    pub const fn counts(self) -> bool {
        matches!(self, Self::Met | Self::NotApplicable)
    }
}

/// An assessment objective with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Objective {
    /// Its id.
    pub objective_id: ObjectiveId,
    /// What a person decided; `None` before that.
    pub decision: Option<Decision>,
    /// What a check last proposed.
    pub proposal: Option<Proposal>,
    /// The evidence behind it.
    pub support: Support,
}

impl Objective {
    /// Where it stands: decided, unless all evidence that it was met by has lapsed, or is not what
    /// was taken in.
    pub fn standing(&self) -> Standing {
        match self.decision.as_ref().map(|decision| decision.finding) {
            None => Standing::NotAssessed,
            Some(Finding::NotMet) => Standing::NotMet,
            Some(Finding::NotApplicable) => Standing::NotApplicable,
            Some(Finding::Met)
                if self.support.lapsed + self.support.tampered > 0 && self.support.valid == 0 =>
            {
                Standing::Stale
            }
            Some(Finding::Met) => Standing::Met,
        }
    }
}

/// A requirement with what is known of it: a row of `blueteam.compliance_controls` and its
/// objectives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Control {
    /// Its id.
    pub control_id: ControlId,
    /// How it is done here: what, by which product and setting, how often, by whom.
    pub notes: Option<String>,
    /// Where its evidence comes from; `None` in a database that nobody has migrated since.
    pub evidence_type: Option<EvidenceType>,
    /// What an assessor should know, such as why no check looks at it.
    pub assessor_notes: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// When it is to be assessed next.
    pub due: Option<Timestamp>,
    /// Who does it.
    pub responsibility: Responsibility,
    /// The provider, when it is not done by the organization alone.
    pub provider: Option<String>,
    /// The provider's part, as the responsibility matrix has it.
    pub provider_duties: Option<String>,
    /// The organization's part.
    pub customer_duties: Option<String>,
    /// The partial score of 3.5.3 (MFA for remote and privileged users alone) or 3.13.11
    /// (encryption that is not FIPS-validated).
    pub partial_credit: bool,
    /// Whether an open plan of action is about it.
    pub planned: bool,
    /// Its objectives, in order.
    pub objectives: Vec<Objective>,
}

impl Control {
    /// Whether it says how it is done: here, or by a provider.
    pub fn is_described(&self) -> bool {
        [&self.notes, &self.provider_duties]
            .into_iter()
            .flatten()
            .any(|text| !text.trim().is_empty())
    }

    /// Whether it counts as met, and no valid evidence in final form shows any objective of it.
    pub fn lacks_evidence(&self) -> bool {
        self.standing().counts() && self.objectives.iter().all(|o| o.support.valid == 0)
    }

    /// Where the requirement stands: the worst of its objectives, as 32 CFR 170.24(b) rolls them
    /// up.
    pub fn standing(&self) -> Standing {
        let all: Vec<_> = self.objectives.iter().map(Objective::standing).collect();
        let any = |standing| all.contains(&standing);
        match () {
            () if all.is_empty() => Standing::NotAssessed,
            () if any(Standing::NotMet) => Standing::NotMet,
            () if any(Standing::NotAssessed) => Standing::NotAssessed,
            () if any(Standing::Stale) => Standing::Stale,
            () if any(Standing::Met) => Standing::Met,
            () => Standing::NotApplicable,
        }
    }

    /// The documents' word for it.
    pub fn implementation(&self) -> Implementation {
        let decided = |o: &Objective| o.decision.is_some();
        match self.standing() {
            Standing::Met => Implementation::Implemented,
            Standing::NotApplicable => Implementation::NotApplicable,
            _ if !self.objectives.iter().any(decided) => Implementation::NotAssessed,
            _ if self
                .objectives
                .iter()
                .any(|o| o.standing() == Standing::Met) =>
            {
                Implementation::PartiallyImplemented
            }
            Standing::NotMet if self.planned => Implementation::Planned,
            Standing::NotMet => Implementation::NotImplemented,
            Standing::NotAssessed | Standing::Stale => Implementation::PartiallyImplemented,
        }
    }
}
