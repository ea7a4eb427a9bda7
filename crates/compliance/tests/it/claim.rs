//! Claims: every way to a score or status that the rules do not allow.

use compliance::Catalog;
use compliance::claim::{Basis, Caution, Claim, Obstacle};
use compliance::cmmc::{CLOSE_OUT, Level2};
use compliance::poam;
use compliance::sprs::Submission;
use compliance::system::System;
use model::{
    Control, ControlId, Evidence, EvidenceKind, Finding, ObjectiveId, Plan, PlanId, PlanKind,
    PlanStatus, Recorded, Span, Standing, Timestamp,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    all_but, all_controls, approved_plan, claim_by, claim_for, decide_as, now, open_item,
    with_partial,
};

const DAY: Span = Span::days(1);

fn poam_item(control: &'static str) -> Plan {
    open_item(control, PlanKind::Poam)
}

#[test]
fn no_score_without_an_approved_plan() {
    let met = all_controls(Some(Finding::Met));
    assert_eq!(claim_for(&met).level(), Level2::Final);
    for (what, evidence) in [
        ("none", vec![]),
        (
            "a draft",
            vec![Evidence {
                approved_at: None,
                approved_by: None,
                ..approved_plan()
            }],
        ),
        (
            "lapsed",
            vec![Evidence {
                valid_until: Some(now().minus(DAY)),
                ..approved_plan()
            }],
        ),
        (
            "lapses this moment",
            vec![Evidence {
                valid_until: Some(now()),
                ..approved_plan()
            }],
        ),
        (
            "approved by nobody",
            vec![Evidence {
                approved_by: Some(" ".to_owned()),
                ..approved_plan()
            }],
        ),
        (
            "approved tomorrow",
            vec![Evidence {
                approved_at: Some(now().plus(DAY)),
                ..approved_plan()
            }],
        ),
        (
            "a log",
            vec![Evidence {
                kind: EvidenceKind::LogSample,
                ..approved_plan()
            }],
        ),
        (
            "of another requirement",
            vec![Evidence {
                control_id: ControlId::known("3.12.3"),
                ..approved_plan()
            }],
        ),
        (
            "of another objective",
            vec![Evidence {
                objectives: vec![ObjectiveId("3.12.3[a]".to_owned())],
                ..approved_plan()
            }],
        ),
        (
            "a check's",
            vec![Evidence {
                recorded: Some(Recorded {
                    check_id: "ca_3_12_4".to_owned(),
                    facts: serde_json::Value::Null,
                    facts_sha256: None,
                }),
                ..approved_plan()
            }],
        ),
    ] {
        let claim = claim_by(&met, &evidence, &[], now());
        assert_eq!(
            (claim.points(), claim.level()),
            (None, Level2::None),
            "{what}"
        );
        assert_eq!(claim.obstacles(), [Obstacle::NoApprovedPlan], "{what}");

        assert!(
            claim
                .score_text()
                .starts_with("no score: no approved system security plan"),
            "{what}"
        );
    }
}

#[test]
fn incomplete_description_is_not_a_plan() {
    let (met, evidence) = (all_controls(Some(Finding::Met)), [approved_plan()]);
    let of = |system: Option<&System>| {
        Claim::of(&Basis {
            catalog: Catalog::r2(),
            system,
            controls: &met,
            evidence: &evidence,
            plans: &[],
            now: now(),
        })
    };

    let half = System {
        name: "Plant".to_owned(),
        ..System::default()
    };

    let claim = of(Some(&half));
    assert_eq!((claim.points(), claim.level()), (None, Level2::None));
    assert!(
        matches!(claim.obstacles(), [Obstacle::PlanIncomplete { missing }] if missing.len() > 10)
    );
    assert_eq!(of(None).obstacles(), [Obstacle::PlanUnreadable]);
    assert_eq!(
        of(Some(&System::default())).level(),
        Level2::Final,
        "the plan was written elsewhere"
    );
}

#[test]
fn plan_with_unmet_objectives_is_not_enough() {
    for (finding, standing) in [
        (Some(Finding::NotMet), Standing::NotMet),
        (None, Standing::NotAssessed),
    ] {
        let mut controls = all_controls(Some(Finding::Met));
        let plan = controls
            .iter_mut()
            .find(|c| c.control_id.0 == "3.12.4")
            .unwrap();
        plan.objectives[7].decision = finding.map(decide_as);

        let claim = claim_for(&controls);
        assert_eq!(
            (claim.points(), claim.obstacles()),
            (None, &[Obstacle::PlanNotMet { standing }][..])
        );
    }
}

#[test]
fn conditional_status_ends_after_180_days() {
    let controls = all_but(&["3.1.9"]);
    let at = |since: Option<Timestamp>, now: Timestamp| {
        let plans = [Plan {
            conditional_since: since,
            ..poam_item("3.1.9")
        }];
        claim_by(
            &controls,
            &[Evidence {
                approved_at: Some(now),
                ..approved_plan()
            }],
            &plans,
            now,
        )
    };

    let end = now().plus(CLOSE_OUT);
    let last = at(Some(now()), end);
    assert_eq!(
        (last.level(), last.until()),
        (Level2::Conditional, Some(end)),
        "to its last moment"
    );

    let over = at(Some(now()), end.plus(Span::micros(1)));
    let expired = Obstacle::Expired {
        on: end,
        controls: vec![ControlId::known("3.1.9")],
    };

    assert_eq!(
        (over.points(), over.level(), over.until()),
        (Some(109), Level2::None, None)
    );
    assert_eq!(over.obstacles(), [expired]);

    assert!(
        over.obstacles()[0]
            .to_string()
            .contains("expired on 2027-07-14"),
        "{}",
        over.obstacles()[0]
    );
    assert_eq!(
        at(None, end.plus(Span::days(900))).level(),
        Level2::Conditional,
        "it has not begun"
    );

    let future = at(Some(now().plus(Span::days(900))), now());
    assert_eq!(
        (future.level(), future.until()),
        (Level2::Conditional, None),
        "nor has one of the future"
    );
}

#[test]
fn rearranging_items_does_not_stop_the_180_days() {
    let controls = all_but(&["3.1.9", "3.1.10"]);
    let later = now().plus(Span::days(181));
    let old = Plan {
        conditional_since: Some(now()),
        ..poam_item("3.1.9")
    };

    let fresh = [poam_item("3.1.9"), poam_item("3.1.10")];
    let done = |completed| Plan {
        status: PlanStatus::Completed,
        completed: Some(completed),
        ..old.clone()
    };

    for (what, was, level) in [
        ("a second item without a date", old.clone(), Level2::None),
        (
            "the first one moved to the operational plan",
            Plan {
                kind: PlanKind::Operational,
                ..old.clone()
            },
            Level2::None,
        ),
        (
            "its risk accepted",
            Plan {
                status: PlanStatus::AcceptedRisk,
                ..old.clone()
            },
            Level2::None,
        ),
        (
            "closed, and not assessed again",
            done(now().plus(DAY)),
            Level2::None,
        ),
        (
            "closed, and assessed again since",
            done(now().minus(DAY)),
            Level2::Conditional,
        ),
        (
            "of what is met today",
            Plan {
                control_id: ControlId::known("3.1.11"),
                ..old.clone()
            },
            Level2::Conditional,
        ),
    ] {
        let plans = [&[was][..], &fresh].concat();
        assert_eq!(
            claim_by(&controls, &[approved_plan()], &plans, later).level(),
            level,
            "{what}"
        );
    }

    let met = claim_by(
        &all_controls(Some(Finding::Met)),
        &[approved_plan()],
        &[old],
        later,
    );
    assert_eq!(met.level(), Level2::Final, "what is met is closed out");
}

#[test]
fn operational_plan_gives_no_status() {
    for (controls, id) in [
        (all_but(&["3.1.9"]), "3.1.9"),
        (with_partial(all_but(&["3.13.11"]), "3.13.11"), "3.13.11"),
    ] {
        let of = |plans: &[Plan]| claim_by(&controls, &[approved_plan()], plans, now());
        let operational = open_item(id, PlanKind::Operational);
        let off = Obstacle::NotOnPoam {
            control_id: operational.control_id.clone(),
            operational: true,
        };

        assert_eq!(
            (
                of(std::slice::from_ref(&operational)).level(),
                of(std::slice::from_ref(&operational)).obstacles()
            ),
            (Level2::None, &[off][..])
        );

        let closed = Plan {
            status: PlanStatus::Completed,
            ..poam_item(id)
        };

        assert_eq!(
            of(&[operational.clone(), closed]).level(),
            Level2::None,
            "a closed item is on no plan"
        );
        assert_eq!(
            of(&[operational, poam_item(id)]).level(),
            Level2::Conditional
        );
    }
}

#[test]
fn items_move_between_plans_with_the_partial_score() {
    let id = || PlanId(Uuid::from_u128(7));
    let whole = all_but(&["3.13.11"]);
    let part = with_partial(all_but(&["3.13.11"]), "3.13.11");
    let first = poam::generate(Catalog::r2(), &whole, &[], now(), id);
    assert_eq!(
        (first.new[0].kind, first.moved.len()),
        (PlanKind::Operational, 0)
    );

    let there = [Plan {
        due: Some(now().plus(Span::days(400))),
        ..first.new[0].clone()
    }];
    let second = poam::generate(Catalog::r2(), &part, &there, now(), id);
    assert_eq!(
        (second.new.len(), second.moved[0].kind),
        (0, PlanKind::Poam)
    );

    assert_eq!(
        second.moved[0].due,
        Some(now().plus(CLOSE_OUT)),
        "no later than its 180 days"
    );
    assert_eq!(
        claim_by(&part, &[approved_plan()], &second.moved, now()).level(),
        Level2::Conditional
    );

    assert_eq!(
        poam::generate(Catalog::r2(), &part, &second.moved, now(), id),
        poam::Generated::default()
    );

    let back = poam::generate(Catalog::r2(), &whole, &second.moved, now(), id);
    assert_eq!(
        back.moved[0].kind,
        PlanKind::Operational,
        "the partial score was taken back"
    );
}

#[test]
fn sprs_submission_needs_a_score() {
    let (met, system) = (all_controls(Some(Finding::Met)), System::default());
    let of = |evidence: &[Evidence], plans: &[Plan], controls: &[Control]| {
        let basis = Basis {
            catalog: Catalog::r2(),
            system: Some(&system),
            controls,
            evidence,
            plans,
            now: now(),
        };
        Submission::of(&basis, &Claim::of(&basis))
    };

    assert!(
        of(&[], &[], &met)
            .unwrap_err()
            .contains("no approved system security plan")
    );
    assert_eq!(
        of(&[approved_plan()], &[], &met).unwrap().cmmc_status,
        "Final Level 2"
    );

    let plans = [open_item("3.1.9", PlanKind::Operational)];
    let s = of(&[approved_plan()], &plans, &all_but(&["3.1.9"])).unwrap();
    assert_eq!(
        (s.cmmc_status.as_str(), s.poam_used),
        ("no CMMC status", false),
        "the operational plan is not the POA&M"
    );
}

#[test]
fn missing_evidence_and_methods_are_cautions() {
    let mut controls = all_controls(Some(Finding::Met));
    controls[0].notes = Some("by role".to_owned());
    controls[0].objectives[0].support.valid = 1;
    assert_eq!(
        claim_for(&controls).cautions(),
        [
            Caution::MetWithoutEvidence { count: 109 },
            Caution::MetWithoutMethod { count: 109 }
        ]
    );
}

proptest! {
    /// The rules written a second time, over random findings and plans: there is a claim only where
    /// they give one.
    #[test]
    fn claims_never_exceed_the_rules(
        wrong in proptest::collection::vec((0..110usize, 0..4u8), 0..14),
        items in proptest::collection::vec((0..14usize, any::<bool>(), 0..4u8, proptest::option::of(0..400i64)), 0..20),
        partial in any::<bool>(),
        has_plan in proptest::bool::weighted(0.9),
    ) {
        let mut controls = all_controls(Some(Finding::Met));
        for (n, what) in &wrong {
            controls[*n].partial_credit = partial;
            controls[*n].objectives[0].decision = match what {
                0 => None,
                1 => Some(decide_as(Finding::NotApplicable)),
                _ => Some(decide_as(Finding::NotMet)),
            };
        }

        let plans: Vec<Plan> = items.iter().filter_map(|(n, poam, status, since)| {
            let control_id = controls[wrong.get(*n)?.0].control_id.clone();
            Some(Plan {
                control_id,
                status: PlanStatus::ALL[usize::from(*status)],
                completed: Some(now().plus(DAY)),
                conditional_since: since.map(|days| now().minus(Span::days(days))),
                ..open_item("3.1.1", if *poam { PlanKind::Poam } else { PlanKind::Operational })
            })
        }).collect();

        for c in &mut controls {
            c.planned = plans.iter().any(|p| p.control_id == c.control_id && p.status.is_open());
        }

        let evidence = if has_plan { vec![approved_plan()] } else { Vec::new() };
        let claim = claim_by(&controls, &evidence, &plans, now());

        let short: Vec<&Control> = controls.iter().filter(|c| !c.standing().counts()).collect();
        let ssp_met = controls.iter().any(|c| c.control_id.0 == "3.12.4" && c.standing() == Standing::Met);
        prop_assert_eq!(claim.points().is_some(), has_plan && ssp_met);
        prop_assert_eq!(claim.points().is_none(), claim.no_score().is_some());
        if claim.level() != Level2::None {
            prop_assert!(claim.obstacles().is_empty() && has_plan && ssp_met);
        }

        prop_assert_eq!(claim.level() == Level2::Final, has_plan && ssp_met && short.is_empty());
        if claim.level() == Level2::Conditional {
            prop_assert!(claim.points().unwrap() >= 88);
            for c in short {
                prop_assert_eq!(c.standing(), Standing::NotMet);
                let weight = Catalog::r2().get(&c.control_id).unwrap().dod_weight.unwrap();
                prop_assert!(weight == 1 || c.control_id.0 == "3.13.11", "{} weighs {weight}", c.control_id);
                let of = |p: &&Plan| p.control_id == c.control_id;
                prop_assert!(plans.iter().filter(of).any(|p| p.kind == PlanKind::Poam && p.status.is_open()));
                let late = plans.iter().filter(of).filter_map(|p| p.conditional_since).any(|at| now() > at.plus(CLOSE_OUT));
                prop_assert!(!late, "{} had its 180 days", c.control_id);
            }
        }
    }
}
