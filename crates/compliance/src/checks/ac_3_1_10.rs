//! 3.1.10: session lock with pattern-hiding displays after inactivity.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_10",
    control: ControlId::known("3.1.10"),
    title: "Session lock",
    reads: &[Section::Host],
    scope: Scope {
        population: "every session at every workstation and application",
        counted: Counted::Settings,
        cannot_see: "screens and their locks",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("abc", "the machine's settings");
    };
    let saw = h.shell_timeout.map_or(String::new(), |s| {
        format!("shells of this machine end after {s} seconds without input")
    });
    let needs = "the lock settings of workstations and applications";

    vec![
        cant_tell('a', saw.clone(), needs),
        cant_tell('b', saw, needs),
        cant_tell('c', "", needs),
    ]
}
