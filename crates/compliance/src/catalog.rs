//! The requirements of a framework, as data: NIST SP 800-171 r2 with the objectives of 800-171A,
//! CMMC practices, DoD weights and what may be on a plan of action.

use std::collections::HashMap;
use std::sync::OnceLock;

use model::{ControlId, ObjectiveId};
use serde::{Deserialize, Serialize};

/// NIST SP 800-171 Rev. 2 as data.
const R2: &str = include_str!("../data/nist-800-171r2.json");

/// A framework's requirements, in its own order.
#[derive(Debug, Deserialize)]
pub struct Catalog {
    /// The publication: `NIST SP 800-171`.
    pub framework: String,
    /// The revision: `2`.
    pub revision: String,
    /// Title of the publication.
    pub title: String,
    /// Where the texts and figures come from.
    pub sources: Vec<String>,
    /// The day on which the data was last compared with its sources, `YYYY-MM-DD`.
    pub last_verified: String,
    /// All requirements, in the order of the publication.
    pub requirements: Vec<Requirement>,
    #[serde(skip)]
    index: HashMap<ControlId, usize>,
}

/// A requirement of the framework.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// `3.1.1`
    pub control_id: ControlId,
    /// `AC.L2-3.1.1` (32 CFR 170.14(c)(1)).
    pub cmmc_practice: String,
    /// `3.1`
    pub family_id: String,
    /// `Access Control`
    pub family: String,
    /// `AC`
    pub domain: String,
    /// The CMMC guide's short name.
    pub title: String,
    /// The full sentence of the standard.
    pub requirement: String,
    /// `basic` or `derived`.
    pub basic_or_derived: String,
    /// 1 when it is also a Level 1 practice, else 2.
    pub cmmc_level: u8,
    /// The Level 1 practice, `AC.L1-b.1.i`.
    pub cmmc_l1_practice: Option<String>,
    /// Its paragraph in FAR 52.204-21.
    pub far_52_204_21: Option<String>,
    /// The objectives of NIST SP 800-171A.
    pub assessment_objectives: Vec<ObjectiveText>,
    /// Whether there is only one objective, which 800-171A prints without a letter.
    pub single_objective: bool,
    /// The assessment methods and their objects.
    pub assessment_methods: Methods,
    /// Points lost when it is not met; `None` for 3.12.4, without which there is no score.
    pub dod_weight: Option<u8>,
    /// Points lost when it is partially met (3.5.3 and 3.13.11).
    pub partial_weight: Option<u8>,
    /// Explains a special case of the weight.
    pub weight_note: Option<String>,
    /// Whether it may be on a plan of action, ignoring the conditional case of `poam_eligibility`.
    pub poam_allowed: bool,
    /// Whether it may be on a plan of action (32 CFR 170.21(a)(2)).
    pub poam_eligibility: Eligibility,
    /// The rule behind `poam_eligibility`.
    pub poam_note: Option<String>,
    /// The controls of NIST SP 800-53 Rev. 4 that it comes from (Appendix D).
    pub nist_800_53_r4_mappings: Vec<String>,
}

/// The wording of an objective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectiveText {
    /// `3.1.1[a]`
    pub id: ObjectiveId,
    /// The text that follows "Determine if".
    pub text: String,
}

/// The objects of each assessment method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Methods {
    /// Documents to read.
    pub examine: Vec<String>,
    /// People to ask.
    pub interview: Vec<String>,
    /// Mechanisms to try.
    pub test: Vec<String>,
}

/// Whether a requirement that is not met may wait on a plan of action for a conditional status (32
/// CFR 170.21(a)(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eligibility {
    /// It may.
    Allowed,
    /// It weighs more than one point.
    NotAllowedWeight,
    /// The rule excludes it by name.
    NotAllowedListed,
    /// 3.13.11: only when encryption is employed but not FIPS-validated.
    Conditional,
}

impl Eligibility {
    /// Returns whether it may, given whether the partial score applies.
    pub const fn allows(self, partial: bool) -> bool {
        match self {
            Self::Allowed => true,
            Self::Conditional => partial,
            Self::NotAllowedWeight | Self::NotAllowedListed => false,
        }
    }
}

impl Catalog {
    /// Returns NIST SP 800-171 Rev. 2, which CMMC Level 2 assesses (32 CFR 170.14(c)(3)).
    pub fn r2() -> &'static Self {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        #[expect(
            clippy::expect_used,
            reason = "the file is compiled in; a test parses it"
        )]
        CATALOG.get_or_init(|| Self::parse(R2).expect("the compiled-in catalog parses"))
    }

    /// Parses a framework's data file.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let mut catalog: Self = serde_json::from_str(json)?;
        let ids = catalog.requirements.iter().enumerate();
        catalog.index = ids.map(|(n, r)| (r.control_id.clone(), n)).collect();
        Ok(catalog)
    }

    /// Returns the name with the revision, such as `NIST SP 800-171 Rev. 2`.
    pub fn name(&self) -> String {
        format!("{} Rev. {}", self.framework, self.revision)
    }

    /// Returns the requirement with this id.
    pub fn get(&self, id: &ControlId) -> Option<&Requirement> {
        self.index.get(id).map(|n| &self.requirements[*n])
    }

    /// Returns id and name of each family, in order.
    pub fn families(&self) -> Vec<(&str, &str)> {
        let mut families: Vec<(&str, &str)> = Vec::new();
        for r in &self.requirements {
            if families.last().is_none_or(|(id, _)| *id != r.family_id) {
                families.push((&r.family_id, &r.family));
            }
        }
        families
    }

    /// Finds a requirement by `3.1.1` or `AC.L2-3.1.1`, or one of its objectives by `3.1.1[a]` or
    /// `3.1.1a`.
    pub fn find(&self, text: &str) -> Option<(&Requirement, Option<&ObjectiveText>)> {
        let text = text.trim();
        let id = text.rsplit_once('-').map_or(text, |(_, id)| id);
        let digits = id.trim_end_matches(|c: char| !c.is_ascii_digit());
        let requirement = self.get(&ControlId(digits.to_owned().into()))?;
        let letter = id[digits.len()..]
            .trim_matches(['[', ']'])
            .to_ascii_lowercase();
        if letter.is_empty() {
            return (id == digits).then_some((requirement, None));
        }

        let wanted = format!("{digits}[{letter}]");
        let objective = requirement
            .assessment_objectives
            .iter()
            .find(|o| o.id.0 == wanted)?;
        Some((requirement, Some(objective)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catalog_has_all_requirements_objectives_and_weights() {
        let catalog = Catalog::r2();
        let sizes = [22, 3, 9, 9, 11, 3, 6, 9, 2, 6, 3, 4, 16, 7];
        assert_eq!(catalog.families().len(), sizes.len());

        for ((id, _), size) in catalog.families().into_iter().zip(sizes) {
            assert_eq!(
                catalog
                    .requirements
                    .iter()
                    .filter(|r| r.family_id == id)
                    .count(),
                size,
                "{id}"
            );
        }

        assert_eq!(
            catalog
                .requirements
                .iter()
                .map(|r| r.assessment_objectives.len())
                .sum::<usize>(),
            320
        );

        assert_eq!(
            catalog
                .requirements
                .iter()
                .filter_map(|r| r.dod_weight)
                .map(u32::from)
                .sum::<u32>(),
            313
        );

        assert!(
            catalog
                .requirements
                .is_sorted_by_key(|r| r.control_id.order())
        );
    }

    #[test]
    fn ids_are_found_in_each_usual_notation() {
        let catalog = Catalog::r2();
        for text in ["3.1.1", "AC.L2-3.1.1", " 3.1.1 "] {
            let (requirement, objective) = catalog.find(text).unwrap();
            assert_eq!(
                (requirement.control_id.0.as_ref(), objective),
                ("3.1.1", None),
                "{text}"
            );
        }

        for text in ["3.1.1[b]", "3.1.1b", "3.1.1B", "AC.L2-3.1.1[b]"] {
            assert_eq!(
                catalog.find(text).unwrap().1.unwrap().id.0,
                "3.1.1[b]",
                "{text}"
            );
        }

        for text in ["", "3.1", "3.1.23", "3.1.1[z]", "3.1.1.", "b", "[a]"] {
            assert!(catalog.find(text).is_none(), "{text}");
        }
    }
}
