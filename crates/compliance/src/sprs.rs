//! The submission to the Supplier Performance Risk System: the fields for CMMC Level 2 (Self) (32
//! CFR 170.16(a)(1)(i)), those of a NIST SP 800-171 assessment (DoDAM v1.2.1, 6(d) and Annex B),
//! and of the affirmation (32 CFR 170.22). Missing values are listed, not made up.

use model::{Control, Plan, PlanKind, Timestamp};
use serde::Serialize;

use crate::claim::{Basis, Claim, approved_plan};
use crate::cmmc::Level2;
use crate::dates::format_day;
use crate::score::{MAX_SCORE, Score};
use crate::system::{LEVELS, SCOPES, System};

/// The fields of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Submission {
    /// `Level 2 (Self)`.
    pub cmmc_level: &'static str,
    /// The status that the findings allow.
    pub cmmc_status: String,
    /// The day of the last decision.
    pub assessment_date: Option<String>,
    /// `Enterprise`, `Enclave` or `Contract`.
    pub scope: Option<String>,
    /// Description of the boundary.
    pub scope_description: Option<String>,
    /// The CAGE codes of the systems in scope.
    pub cage_codes: Vec<String>,
    /// Name of the system security plan.
    pub ssp_name: Option<String>,
    /// Version of the plan.
    pub ssp_version: Option<String>,
    /// Date of the plan.
    pub ssp_date: Option<String>,
    /// `97 out of 110`.
    pub score: String,
    /// The day on which everything will be met, by the plans of action; `None` at 110.
    pub plan_completion_date: Option<String>,
    /// Whether the POA&M has open items. The operational plan of action is not reported.
    pub poam_used: bool,
    /// `NIST SP 800-171 Rev. 2`.
    pub standard: String,
    /// `Basic`, `Medium` or `High`, depending on the assessor.
    pub assessment_level: Option<String>,
    /// The resulting confidence: `Low`, `Medium` or `High`.
    pub confidence_level: Option<&'static str>,
    /// Name of the assessor.
    pub assessing_organization: Option<String>,
    /// Name, title and contact of the affirming official.
    pub affirming_official: Option<String>,
    /// What must be stated before submission, by the key or command that states it.
    pub missing: Vec<String>,
}

impl Submission {
    /// Builds a submission. Without a score there is none: the error says why.
    pub fn of(basis: &Basis<'_>, claim: &Claim) -> Result<Self, String> {
        let Some(points) = claim.points() else {
            return Err(claim.no_score().unwrap_or_default());
        };
        let empty = System::default();
        let system = basis.system.unwrap_or(&empty);
        let a = &system.assessment;
        let said = |text: &str| Some(text.trim().to_owned()).filter(|t| !t.is_empty());
        let one_of = |text: &str, of: &[&str]| {
            of.iter()
                .find(|w| w.eq_ignore_ascii_case(text.trim()))
                .map(ToString::to_string)
        };

        let level = one_of(&a.level, &LEVELS);
        let mut s = Self {
            cmmc_level: "Level 2 (Self)",
            cmmc_status: claim.level().to_string(),
            assessment_date: last_decision(basis.controls).map(format_day),
            scope: one_of(&a.scope, &SCOPES),
            scope_description: said(&system.boundary),
            cage_codes: system.organization.cage_codes.clone(),
            ssp_name: said(&system.name),
            ssp_version: said(&system.version),
            ssp_date: plan_date(basis),
            score: format!("{points} out of {MAX_SCORE}"),
            plan_completion_date: None,
            poam_used: basis
                .plans
                .iter()
                .any(|p| p.kind == PlanKind::Poam && p.status.is_open()),
            standard: basis.catalog.name(),
            confidence_level: level.as_deref().map(confidence_for),
            assessment_level: level,
            assessing_organization: said(&a.assessor).or_else(|| said(&system.organization.name)),
            affirming_official: affirming_official(system),
            missing: Vec::new(),
        };

        s.set_completion_date(claim.counts(), &a.completion, basis.plans);
        s.list_missing(claim.counts(), claim.level());
        Ok(s)
    }

    /// Sets the day on which everything will be met: the stated one, otherwise the last due date of
    /// the open plans, if each deduction has one.
    fn set_completion_date(&mut self, score: &Score, said: &str, plans: &[Plan]) {
        if score.deductions.is_empty() {
            return;
        }

        if !said.trim().is_empty() {
            self.plan_completion_date = Some(said.trim().to_owned());
            return;
        }

        let open = |p: &&Plan| p.status.is_open();
        let days = score
            .deductions
            .iter()
            .filter(|d| !d.for_lack_of_plans)
            .map(|d| {
                plans
                    .iter()
                    .filter(open)
                    .filter(|p| p.control_id == d.control_id)
                    .filter_map(|p| p.due)
                    .max()
            });

        self.plan_completion_date = days
            .collect::<Option<Vec<Timestamp>>>()
            .and_then(|d| d.into_iter().max())
            .map(format_day);
    }

    fn list_missing(&mut self, score: &Score, level: Level2) {
        let mut missing = Vec::new();
        let mut need = |given: bool, what: &str| {
            if !given {
                missing.push(what.to_owned());
            }
        };

        need(
            self.assessment_date.is_some(),
            "assessment date: nobody has decided anything yet (`compliance assess`)",
        );
        need(
            self.scope.is_some(),
            "assessment.scope: Enterprise, Enclave or Contract",
        );

        need(
            self.scope_description.is_some(),
            "boundary: what is in scope",
        );
        need(!self.cage_codes.is_empty(), "organization.cage_codes");
        need(
            self.ssp_name.is_some(),
            "name: the system's, which is the plan's",
        );

        need(self.ssp_version.is_some(), "version: the plan's");
        need(
            self.ssp_date.is_some(),
            "assessment.plan_date: the plan's day, or a dated entry in `changes`",
        );
        need(
            score.deductions.is_empty() || self.plan_completion_date.is_some(),
            "plan completion date: a plan of action with a day for each requirement that costs \
                points, or assessment.completion",
        );

        need(
            self.assessment_level.is_some(),
            "assessment.level: Basic (one's own), Medium or High (the government's)",
        );
        need(
            self.assessing_organization.is_some(),
            "assessment.assessor, or organization.name",
        );

        need(
            self.affirming_official.is_some(),
            "people: the affirming official by name",
        );
        need(
            level != Level2::None,
            "CMMC status: the findings allow none (`compliance score` says why)",
        );

        self.missing = missing;
    }

    /// Returns label and value of each field.
    pub fn fields(&self) -> Vec<(&'static str, Option<String>)> {
        let cage_codes = Some(self.cage_codes.join(", ")).filter(|codes| !codes.is_empty());

        vec![
            ("CMMC level", Some(self.cmmc_level.to_owned())),
            ("CMMC status", Some(self.cmmc_status.clone())),
            ("Assessment date", self.assessment_date.clone()),
            ("Assessment scope", self.scope.clone()),
            ("What is in scope", self.scope_description.clone()),
            ("CAGE codes", cage_codes),
            ("SSP name", self.ssp_name.clone()),
            ("SSP version", self.ssp_version.clone()),
            ("SSP date", self.ssp_date.clone()),
            ("Score", Some(self.score.clone())),
            ("Plan completion date", self.plan_completion_date.clone()),
            (
                "POA&M used",
                Some(if self.poam_used { "yes" } else { "no" }.to_owned()),
            ),
            ("Standard", Some(self.standard.clone())),
            ("Assessment level", self.assessment_level.clone()),
            ("Confidence level", self.confidence_level.map(str::to_owned)),
            (
                "Assessing organization",
                self.assessing_organization.clone(),
            ),
            ("Affirming official", self.affirming_official.clone()),
        ]
    }
}

/// Returns the confidence of an assessment level; low for a self-assessment (DoDAM v1.2.1, 4).
fn confidence_for(level: &str) -> &'static str {
    match level {
        "High" => "High",
        "Medium" => "Medium",
        _ => "Low",
    }
}

fn affirming_official(system: &System) -> Option<String> {
    let official = system
        .people
        .iter()
        .find(|p| p.role.eq_ignore_ascii_case("affirming official"))?;
    if official.name.trim().is_empty() {
        return None;
    }

    let parts = [
        &official.name,
        &official.title,
        &official.email,
        &official.phone,
    ];
    Some(
        parts
            .into_iter()
            .map(|t| t.trim())
            .filter(|t| !t.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
    )
}

/// Returns the date of the system security plan: from the description, otherwise of its last
/// change, otherwise of its approval.
pub(crate) fn plan_date(basis: &Basis<'_>) -> Option<String> {
    let described = basis.system.and_then(System::plan_date);
    described.or_else(|| {
        Some(format_day(
            approved_plan(basis.evidence, basis.now)?.approved_at?,
        ))
    })
}

fn last_decision(controls: &[Control]) -> Option<Timestamp> {
    let objectives = controls.iter().flat_map(|c| &c.objectives);
    objectives
        .filter_map(|o| o.decision.as_ref())
        .map(|d| d.at)
        .max()
}

#[cfg(test)]
mod tests {
    use model::EvidenceKind;
    use model::{
        ControlId, Decision, Evidence, EvidenceId, Finding, Method, Objective, Responsibility,
        Support,
    };
    use uuid::Uuid;

    use super::*;
    use crate::Catalog;
    use crate::score::PLAN;

    fn now() -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    /// 3.12.4 alone, met.
    fn met_plan_controls() -> Vec<Control> {
        let decision = Decision {
            finding: Finding::Met,
            reason: "as seen".to_owned(),
            methods: vec![Method::Examine],
            by: "alice".to_owned(),
            at: now(),
        };

        let objective = |id: &model::ObjectiveId| Objective {
            objective_id: id.clone(),
            decision: Some(decision.clone()),
            proposal: None,
            support: Support::default(),
        };

        let plan = Catalog::r2().get(&PLAN).unwrap();
        vec![Control {
            control_id: PLAN,
            notes: None,
            evidence_type: None,
            assessor_notes: None,
            owner: None,
            due: None,
            responsibility: Responsibility::Own,
            provider: None,
            provider_duties: None,
            customer_duties: None,
            partial_credit: false,
            planned: false,
            objectives: plan
                .assessment_objectives
                .iter()
                .map(|o| objective(&o.id))
                .collect(),
        }]
    }

    fn approved_evidence() -> Evidence {
        Evidence {
            approved_by: Some("alice".to_owned()),
            approved_at: Some(now()),
            ..Evidence::draft(
                EvidenceId(Uuid::nil()),
                ControlId::known("3.12.4"),
                EvidenceKind::PolicyDoc,
                "alice",
                now(),
            )
        }
    }

    fn build_submission(system: &System) -> Result<Submission, String> {
        let (controls, evidence) = (met_plan_controls(), [approved_evidence()]);
        let basis = Basis {
            catalog: Catalog::r2(),
            system: Some(system),
            controls: &controls,
            evidence: &evidence,
            plans: &[],
            now: now(),
        };
        Submission::of(&basis, &Claim::of(&basis))
    }

    #[test]
    fn missing_values_are_listed_and_not_made_up() {
        let nothing = build_submission(&System::default()).unwrap();
        assert_eq!(nothing.missing.len(), 10, "{:#?}", nothing.missing);
        assert_eq!(
            (&nothing.plan_completion_date, nothing.confidence_level),
            (&None, None)
        );
        assert_eq!(
            nothing.ssp_date.as_deref(),
            Some("2027-01-15"),
            "the day of its approval"
        );
    }

    #[test]
    fn values_of_the_description_are_used() {
        let mut system: System =
            toml::from_str(include_str!("../tests/data/system.full.toml")).unwrap();
        assert_eq!(system.missing(), Vec::<String>::new());
        system.assessment.scope = "enclave".to_owned();
        system.assessment.level = "basic".to_owned();
        system.assessment.plan_date = "2026-02-01".to_owned();
        system.assessment.completion = "2027-03-31".to_owned();

        let s = build_submission(&system).unwrap();
        assert_eq!(
            (s.scope.as_deref(), s.confidence_level),
            (Some("Enclave"), Some("Low"))
        );
        assert_eq!(
            (s.ssp_date.as_deref(), s.plan_completion_date.as_deref()),
            (Some("2026-02-01"), Some("2027-03-31"))
        );

        let left: Vec<_> = s
            .missing
            .iter()
            .map(|m| m.split(':').next().unwrap())
            .collect();
        assert_eq!(left, ["CMMC status"], "the findings give none");
        system.assessment.scope = "somewhere".to_owned();
        assert_eq!(
            build_submission(&system).unwrap().scope,
            None,
            "not a scope that SPRS knows"
        );
    }

    #[test]
    fn no_submission_without_a_score() {
        let half = System {
            name: "Plant".to_owned(),
            ..System::default()
        };

        let refused = build_submission(&half).unwrap_err();
        assert!(
            refused.contains("does not say all that 3.12.4 asks for"),
            "{refused}"
        );
    }
}
