//! 3.12.1: security controls are assessed periodically.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "ca_3_12_1",
    control: ControlId::known("3.12.1"),
    title: "Assessment of the requirements",
    reads: &[Section::Programme],
    scope: Scope {
        population: "every security requirement, at the frequency that the organization defined",
        counted: Counted::Objectives,
        cannot_see: "how thoroughly a decision was made, and the frequency",
    },
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
    let frequency = "the policy that says how often";

    let assessed = if p.objectives > 0 && p.decided_in_a_year < p.objectives {
        not_met('b', saw)
    } else {
        // One import decides everything in a second and assesses nothing.
        cant_tell(
            'b',
            saw,
            format!("{frequency}, and a person who says how the controls were assessed"),
        )
    };

    vec![cant_tell('a', "", frequency), assessed]
}
