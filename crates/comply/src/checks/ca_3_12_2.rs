//! 3.12.2: plans of action correct deficiencies.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, holds, met, not_met, unread};

pub(super) const CHECK: Check = Check {
    id: "ca_3_12_2",
    control: ControlId::known("3.12.2"),
    title: "Plans of action",
    reads: &[Section::Programme],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(p) = &facts.programme else { return unread("abc", "plans of action") };
    let saw = format!(
        "{} requirements are not met, {} of them on no plan; {} plans are overdue",
        p.not_met, p.unplanned, p.plans_overdue
    );
    vec![
        holds('a', p.decided_in_a_year > 0, saw.clone(), "nobody has assessed anything"),
        match (p.decided_in_a_year, p.unplanned) {
            (0, _) => cant_tell('b', saw.clone(), "an assessment"),
            (_, 0) => met('b', saw.clone()),
            _ => not_met('b', saw.clone()),
        },
        if p.plans_overdue > 0 {
            not_met('c', saw)
        } else {
            cant_tell(
                'c',
                format!("{saw}; {} completed in {} days", p.plans_completed, facts.days),
                "a person who looks at the progress",
            )
        },
    ]
}
