//! 3.12.1: security controls are assessed periodically.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Section, cant_read, cant_tell, met_or_not_met};

pub(super) const CHECK: Check = Check {
    id: "ca_3_12_1",
    control: ControlId::known("3.12.1"),
    title: "Assessment of the requirements",
    reads: &[Section::Programme],
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(p) = &facts.programme else {
        return cant_read("ab", "findings");
    };
    let saw = format!(
        "{} of {} objectives were decided within a year",
        p.decided_in_a_year, p.objectives
    );
    vec![
        cant_tell('a', "", "the policy that says how often"),
        met_or_not_met(
            'b',
            p.objectives > 0 && p.decided_in_a_year == p.objectives,
            saw.clone(),
            saw,
        ),
    ]
}
