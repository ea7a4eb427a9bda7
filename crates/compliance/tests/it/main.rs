//! The catalog against the reference, the score against its bounds, the status against the corner
//! cases of the rule.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, helpers included"
)]

mod claim;
mod oscal;

use compliance::claim::{Basis, Claim, Obstacle};
use compliance::cmmc::Level2;
use compliance::system::System;
use compliance::{Catalog, Eligibility};
use model::{
    Control, ControlId, Decision, Evidence, EvidenceId, EvidenceKind, Finding, Method, Objective,
    Plan, PlanId, PlanKind, Responsibility, RiskLevel, Standing, Support, Timestamp,
};
use proptest::prelude::*;
use uuid::Uuid;

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn decide_as(finding: Finding) -> Decision {
    let (reason, by) = ("as seen".to_owned(), "alice".to_owned());
    Decision {
        finding,
        reason,
        methods: vec![Method::Examine],
        by,
        at: now(),
    }
}

/// Every requirement with the same finding for each of its objectives; `None` is not assessed.
fn all_controls(finding: Option<Finding>) -> Vec<Control> {
    let objective = |o: &compliance::catalog::ObjectiveText| Objective {
        objective_id: o.id.clone(),
        decision: finding.map(decide_as),
        proposal: None,
        support: Support::default(),
    };

    let control = |r: &compliance::Requirement| Control {
        control_id: r.control_id.clone(),
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
        objectives: r.assessment_objectives.iter().map(objective).collect(),
    };

    Catalog::r2().requirements.iter().map(control).collect()
}

/// All requirements met except these, which are planned for.
fn all_but(missing: &[&str]) -> Vec<Control> {
    let mut controls = all_controls(Some(Finding::Met));
    for c in controls
        .iter_mut()
        .filter(|c| missing.contains(&c.control_id.0.as_ref()))
    {
        c.planned = true;
        c.objectives[0].decision = Some(decide_as(Finding::NotMet));
    }
    controls
}

/// An approved system security plan.
fn approved_plan() -> Evidence {
    let id = EvidenceId(Uuid::from_u128(1));
    let plan = ControlId::known("3.12.4");
    Evidence {
        approved_by: Some("alice".to_owned()),
        approved_at: Some(now()),
        ..Evidence::draft(id, plan, EvidenceKind::PolicyDoc, "alice", now())
    }
}

/// An open item of a plan of action.
fn open_item(control: &'static str, kind: PlanKind) -> Plan {
    let control = Catalog::r2()
        .get(&ControlId::known(control))
        .unwrap()
        .control_id
        .clone();
    Plan {
        kind,
        ..Plan::new(PlanId(Uuid::nil()), control, RiskLevel::Low, now())
    }
}

/// The claim with an approved plan, and all planned requirements on the POA&M.
fn claim_for(controls: &[Control]) -> Claim {
    let planned = controls.iter().filter(|c| c.planned);
    let plans: Vec<Plan> = planned
        .map(|c| Plan {
            control_id: c.control_id.clone(),
            ..open_item("3.1.1", PlanKind::Poam)
        })
        .collect();
    claim_by(controls, &[approved_plan()], &plans, now())
}

fn claim_by(controls: &[Control], evidence: &[Evidence], plans: &[Plan], now: Timestamp) -> Claim {
    let system = System::default();
    Claim::of(&Basis {
        catalog: Catalog::r2(),
        system: Some(&system),
        controls,
        evidence,
        plans,
        now,
    })
}

fn points_and_level(controls: &[Control]) -> (Option<i32>, Level2) {
    let claim = claim_for(controls);
    (claim.points(), claim.level())
}

fn with_partial(mut controls: Vec<Control>, id: &str) -> Vec<Control> {
    for c in controls.iter_mut().filter(|c| c.control_id.0 == id) {
        c.partial_credit = true;
    }
    controls
}

#[test]
fn catalog_equals_the_reference_word_for_word() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/reference/nist-800-171r2.json"
    );
    let Ok(reference) = std::fs::read_to_string(path) else {
        eprintln!("SKIPPED: the reference of the standard is not beside the repository");
        return;
    };

    let reference: Vec<serde_json::Value> = serde_json::from_str(&reference).unwrap();
    let ours = Catalog::r2();
    assert_eq!(ours.requirements.len(), reference.len());
    for (ours, theirs) in ours.requirements.iter().zip(&reference) {
        assert_eq!(&serde_json::to_value(ours).unwrap(), theirs);
    }
}

#[test]
fn score_and_status_of_corner_cases() {
    assert_eq!(
        points_and_level(&all_controls(Some(Finding::Met))),
        (Some(110), Level2::Final)
    );
    assert_eq!(
        points_and_level(&all_controls(Some(Finding::NotApplicable))).0,
        None,
        "a plan cannot be not applicable"
    );
    assert_eq!(points_and_level(&all_controls(None)), (None, Level2::None));

    let mut worst = all_controls(Some(Finding::NotMet));
    for o in &mut worst
        .iter_mut()
        .find(|c| c.control_id.0 == "3.12.4")
        .unwrap()
        .objectives
    {
        o.decision = Some(decide_as(Finding::Met));
    }

    assert_eq!(points_and_level(&worst), (Some(-203), Level2::None));
    assert_eq!(
        points_and_level(&all_but(&["3.12.4"])),
        (None, Level2::None)
    );
    assert_eq!(
        points_and_level(&all_but(&["3.1.9"])),
        (Some(109), Level2::Conditional)
    );
    assert_eq!(
        points_and_level(&all_but(&["3.1.1"])),
        (Some(105), Level2::None),
        "a weight of five is not allowed on the POA&M"
    );
    assert_eq!(
        points_and_level(&all_but(&["3.1.20"])),
        (Some(109), Level2::None),
        "the rule names it"
    );
}

#[test]
fn only_encryption_and_mfa_have_a_partial_score() {
    assert_eq!(
        points_and_level(&all_but(&["3.13.11"])),
        (Some(105), Level2::None)
    );
    assert_eq!(
        points_and_level(&with_partial(all_but(&["3.13.11"]), "3.13.11")),
        (Some(107), Level2::Conditional)
    );
    assert_eq!(
        points_and_level(&with_partial(all_but(&["3.5.3"]), "3.5.3")),
        (Some(107), Level2::None),
        "never on a plan"
    );

    assert_eq!(
        points_and_level(&with_partial(all_but(&["3.1.1"]), "3.1.1")).0,
        Some(105),
        "nothing else has a partial score"
    );
}

#[test]
fn unplanned_requirement_costs_plans_of_action_too() {
    let mut controls = all_but(&["3.1.9"]);
    for c in &mut controls {
        c.planned = false;
    }

    let claim = claim_for(&controls);
    let counts = claim.counts();
    assert_eq!(
        (claim.points(), counts.met, counts.not_met),
        (Some(106), 108, 2)
    );

    assert!(
        counts
            .deductions
            .iter()
            .any(|d| d.control_id.0 == "3.12.2" && d.points == 3 && d.for_lack_of_plans)
    );

    let off = Obstacle::NotOnPoam {
        control_id: ControlId::known("3.1.9"),
        operational: false,
    };

    assert!(claim.obstacles().contains(&off));
}

#[test]
fn conditional_status_needs_88_points() {
    let allowed = Catalog::r2()
        .requirements
        .iter()
        .filter(|r| r.poam_eligibility == Eligibility::Allowed);
    let ids: Vec<&str> = allowed.map(|r| r.control_id.0.as_ref()).collect();
    assert_eq!(
        points_and_level(&all_but(&ids[..22])),
        (Some(88), Level2::Conditional)
    );
    assert_eq!(
        points_and_level(&all_but(&ids[..23])),
        (Some(87), Level2::None)
    );
}

#[test]
fn lapsed_evidence_does_not_support_a_finding() {
    let mut controls = all_controls(Some(Finding::Met));
    controls[0].objectives[0].support = Support {
        lapsed: 1,
        ..Support::default()
    };

    assert_eq!(controls[0].standing(), Standing::Stale);
    assert_eq!(points_and_level(&controls), (Some(105), Level2::None));
    controls[0].objectives[0].support.valid = 1;
    assert_eq!(points_and_level(&controls), (Some(110), Level2::Final));
}

proptest! {
    /// A finding that improves never costs points, and the score stays within its bounds.
    #[test]
    fn better_findings_never_cost_points(
        worse in proptest::collection::vec((0..320usize, 0..3u8), 0..60),
        planned in proptest::collection::vec(any::<bool>(), 110),
        partial in any::<bool>(),
        better in 0..320usize,
    ) {
        let mut controls = all_controls(Some(Finding::Met));
        for (c, planned) in controls.iter_mut().zip(planned) {
            c.planned = planned;
            c.partial_credit = partial;
        }

        let places: Vec<(usize, usize)> =
            controls.iter().enumerate().flat_map(|(c, control)| (0..control.objectives.len()).map(move |o| (c, o))).collect();
        for (at, what) in worse {
            let (c, o) = places[at];
            controls[c].objectives[o].decision = match what {
                0 => Some(decide_as(Finding::NotMet)),
                1 => None,
                _ => Some(decide_as(Finding::NotApplicable)),
            };
        }

        let before = claim_for(&controls);
        let (c, o) = places[better];
        controls[c].objectives[o].decision = Some(decide_as(Finding::Met));
        let after = claim_for(&controls);
        prop_assert!(after.counts().lost() <= before.counts().lost());
        prop_assert!(before.points().is_none_or(|p| (-203..=110).contains(&p)));
        prop_assert_eq!(after.counts().met + after.counts().not_met + after.counts().open, 110);
    }
}
