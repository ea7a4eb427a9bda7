//! 3.12.2: plans of action correct deficiencies.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Section, cant_read, cant_tell, met, not_met};

pub(super) const CHECK: Check = Check {
    id: "ca_3_12_2",
    control: ControlId::known("3.12.2"),
    title: "Plans of action",
    reads: &[Section::Programme],
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

    // An objective that was not assessed may hide a deficiency.
    let whole = p.objectives > 0 && p.decided_in_a_year >= p.objectives;
    let share = format!(
        "{} of {} objectives were decided within a year; {saw}",
        p.decided_in_a_year, p.objectives
    );
    let rest = "a decision about the other objectives";

    vec![
        match p.decided_in_a_year {
            0 => not_met('a', "nobody has assessed anything"),
            _ if whole => met('a', share.clone()),
            _ => cant_tell('a', share.clone(), rest),
        },
        match (p.decided_in_a_year, p.unplanned) {
            (0, _) => cant_tell('b', saw.clone(), "an assessment"),
            (_, 0) if whole => met('b', share),
            (_, 0) => cant_tell('b', share, rest),
            _ => not_met('b', saw.clone()),
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
