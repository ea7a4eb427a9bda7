//! 3.11.2: scans for vulnerabilities. blueteam does not scan, so it cannot tell.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, for_each_objective,
};

pub(super) const CHECK: Check = Check {
    id: "ra_3_11_2",
    control: ControlId::known("3.11.2"),
    title: "Vulnerability scans",
    reads: &[Section::Host],
    scope: Scope {
        population: "every system and application, at every due date",
        counted: Counted::Settings,
        cannot_see: "scans, scanners and their reports",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("abcde", "the machine");
    };
    let saw = h.updates_checked.map_or(String::new(), |at| {
        format!("the list of this machine's packages was last fetched on {at}")
    });
    for_each_objective("abcde", |o| {
        cant_tell(
            o,
            saw.clone(),
            "reports of a vulnerability scanner, taken in as evidence (scan_result)",
        )
    })
}
