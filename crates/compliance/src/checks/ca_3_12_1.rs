//! 3.12.1: security controls are assessed periodically.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, holds, unread};

pub(super) const CHECK: Check = Check {
    id: "ca_3_12_1",
    control: ControlId::known("3.12.1"),
    title: "Assessment of the requirements",
    reads: &[Section::Programme],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(p) = &facts.programme else {
        return unread("ab", "findings");
    };
    let saw = format!(
        "{} of {} objectives were decided within a year",
        p.decided_in_a_year, p.objectives
    );
    vec![
        cant_tell('a', "", "the policy that says how often"),
        holds(
            'b',
            p.objectives > 0 && p.decided_in_a_year == p.objectives,
            saw.clone(),
            saw,
        ),
    ]
}
