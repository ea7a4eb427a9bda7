//! The catalog against the reference, the score against its bounds, the status against the rule's
//! corners.

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

fn decision(finding: Finding) -> Decision {
    let (reason, by) = ("as seen".to_owned(), "alice".to_owned());
    Decision {
        finding,
        reason,
        methods: vec![Method::Examine],
        by,
        at: now(),
    }
}

/// Every requirement with the same finding for each of its objectives; none is not assessed.
fn all(finding: Option<Finding>) -> Vec<Control> {
    let objective = |o: &compliance::catalog::ObjectiveText| Objective {
        objective_id: o.id.clone(),
        decision: finding.map(decision),
        proposal: None,
        support: Support::default(),
    };

    let control = |r: &compliance::Requirement| Control {
        control_id: r.control_id.clone(),
        notes: None,
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

/// All met but these, which are planned for.
fn all_but(missing: &[&str]) -> Vec<Control> {
    let mut controls = all(Some(Finding::Met));
    for c in controls
        .iter_mut()
        .filter(|c| missing.contains(&c.control_id.0.as_ref()))
    {
        c.planned = true;
        c.objectives[0].decision = Some(decision(Finding::NotMet));
    }
    controls
}

/// A system security plan that somebody approved.
fn approved() -> Evidence {
    let id = EvidenceId(Uuid::from_u128(1));
    let plan = ControlId::known("3.12.4");
    Evidence {
        approved_by: Some("alice".to_owned()),
        approved_at: Some(now()),
        ..Evidence::draft(id, plan, EvidenceKind::PolicyDoc, "alice", now())
    }
}

/// An open item of a plan of action.
fn item(control: &'static str, kind: PlanKind) -> Plan {
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

/// What may be claimed with an approved plan, and everything that is planned for on the POA&M.
fn claim(controls: &[Control]) -> Claim {
    let planned = controls.iter().filter(|c| c.planned);
    let plans: Vec<Plan> = planned
        .map(|c| Plan {
            control_id: c.control_id.clone(),
            ..item("3.1.1", PlanKind::Poam)
        })
        .collect();
    claim_by(controls, &[approved()], &plans, now())
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

fn judge(controls: &[Control]) -> (Option<i32>, Level2) {
    let claim = claim(controls);
    (claim.points(), claim.level())
}

fn with_partial(mut controls: Vec<Control>, id: &str) -> Vec<Control> {
    for c in controls.iter_mut().filter(|c| c.control_id.0 == id) {
        c.partial_credit = true;
    }
    controls
}

#[test]
fn the_catalog_is_the_standard_word_for_word() {
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
fn the_score_has_its_corners() {
    assert_eq!(judge(&all(Some(Finding::Met))), (Some(110), Level2::Final));
    assert_eq!(
        judge(&all(Some(Finding::NotApplicable))).0,
        None,
        "a plan cannot be not applicable"
    );
    assert_eq!(judge(&all(None)), (None, Level2::None));
    let mut worst = all(Some(Finding::NotMet));
    for o in &mut worst
        .iter_mut()
        .find(|c| c.control_id.0 == "3.12.4")
        .unwrap()
        .objectives
    {
        o.decision = Some(decision(Finding::Met));
    }
    assert_eq!(judge(&worst), (Some(-203), Level2::None));
    assert_eq!(judge(&all_but(&["3.12.4"])), (None, Level2::None));
    assert_eq!(
        judge(&all_but(&["3.1.9"])),
        (Some(109), Level2::Conditional)
    );
    assert_eq!(
        judge(&all_but(&["3.1.1"])),
        (Some(105), Level2::None),
        "five points cannot wait"
    );
    assert_eq!(
        judge(&all_but(&["3.1.20"])),
        (Some(109), Level2::None),
        "the rule names it"
    );
}

#[test]
fn half_of_encryption_and_of_mfa_counts_half() {
    assert_eq!(judge(&all_but(&["3.13.11"])), (Some(105), Level2::None));
    assert_eq!(
        judge(&with_partial(all_but(&["3.13.11"]), "3.13.11")),
        (Some(107), Level2::Conditional)
    );
    assert_eq!(
        judge(&with_partial(all_but(&["3.5.3"]), "3.5.3")),
        (Some(107), Level2::None),
        "never on a plan"
    );

    assert_eq!(
        judge(&with_partial(all_but(&["3.1.1"]), "3.1.1")).0,
        Some(105),
        "nothing else has halves"
    );
}

#[test]
fn what_nobody_plans_costs_the_plans_of_action_too() {
    let mut controls = all_but(&["3.1.9"]);
    for c in &mut controls {
        c.planned = false;
    }

    let claim = claim(&controls);
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
fn eighty_eight_is_enough_and_eighty_seven_is_not() {
    let allowed = Catalog::r2()
        .requirements
        .iter()
        .filter(|r| r.poam_eligibility == Eligibility::Allowed);
    let ids: Vec<&str> = allowed.map(|r| r.control_id.0.as_ref()).collect();
    assert_eq!(judge(&all_but(&ids[..22])), (Some(88), Level2::Conditional));
    assert_eq!(judge(&all_but(&ids[..23])), (Some(87), Level2::None));
}

#[test]
fn lapsed_evidence_counts_as_none() {
    let mut controls = all(Some(Finding::Met));
    controls[0].objectives[0].support = Support {
        valid: 0,
        lapsed: 1,
        drafts: 0,
    };

    assert_eq!(controls[0].standing(), Standing::Stale);
    assert_eq!(judge(&controls), (Some(105), Level2::None));
    controls[0].objectives[0].support.valid = 1;
    assert_eq!(judge(&controls), (Some(110), Level2::Final));
}

proptest! {
    /// Whatever else holds: a finding that gets better never costs points, and the score stays
    /// between its ends.
    #[test]
    fn better_findings_never_cost_points(
        worse in proptest::collection::vec((0..320usize, 0..3u8), 0..60),
        planned in proptest::collection::vec(any::<bool>(), 110),
        partial in any::<bool>(),
        better in 0..320usize,
    ) {
        let mut controls = all(Some(Finding::Met));
        for (c, planned) in controls.iter_mut().zip(planned) {
            c.planned = planned;
            c.partial_credit = partial;
        }

        let places: Vec<(usize, usize)> =
            controls.iter().enumerate().flat_map(|(c, control)| (0..control.objectives.len()).map(move |o| (c, o))).collect();
        for (at, what) in worse {
            let (c, o) = places[at];
            controls[c].objectives[o].decision = match what {
                0 => Some(decision(Finding::NotMet)),
                1 => None,
                _ => Some(decision(Finding::NotApplicable)),
            };
        }

        let before = claim(&controls);
        let (c, o) = places[better];
        controls[c].objectives[o].decision = Some(decision(Finding::Met));
        let after = claim(&controls);
        prop_assert!(after.counts().lost() <= before.counts().lost());
        prop_assert!(before.points().is_none_or(|p| (-203..=110).contains(&p)));
        prop_assert_eq!(after.counts().met + after.counts().not_met + after.counts().open, 110);
    }
}
