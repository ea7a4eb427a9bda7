//! 3.12.2: plans of action correct deficiencies.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "ca_3_12_2",
    control: ControlId::known("3.12.2"),
    title: "Plans of action",
    reads: &[Section::Programme],
    scope: Scope {
        population: "every deficiency and every vulnerability",
        counted: Counted::Objectives,
        cannot_see: "deficiencies that nobody wrote down, and whether a plan would correct them",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(p) = &facts.programme else {
        return cant_read("abc", "plans of action");
    };
    let saw = format!(
        "{} requirements are not met, {} of them on no plan; {} plans are overdue",
        p.not_met, p.unplanned, p.plans_overdue
    );

    // An objective that was not assessed may hide a deficiency, and so may one that was found met
    // with the stroke of a pen.
    let share = format!(
        "{} of {} objectives were decided within a year; {saw}",
        p.decided_in_a_year, p.objectives
    );

    vec![
        if p.decided_in_a_year == 0 {
            not_met('a', "nobody has assessed anything")
        } else {
            cant_tell(
                'a',
                share.clone(),
                "a person who says that scans, advisories and assessments show no other deficiency",
            )
        },
        if p.unplanned > 0 {
            not_met('b', saw.clone())
        } else {
            cant_tell(
                'b',
                share,
                "a person who reads whether each plan would correct its deficiency",
            )
        },
        if p.plans_overdue > 0 {
            not_met('c', saw)
        } else {
            cant_tell(
                'c',
                format!(
                    "{saw}; {} completed in {} days",
                    p.plans_completed, facts.days
                ),
                "a person who looks at the progress",
            )
        },
    ]
}
