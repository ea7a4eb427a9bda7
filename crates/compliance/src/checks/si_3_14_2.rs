//! 3.14.2: protection from malicious code at designated locations.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_2",
    control: ControlId::known("3.14.2"),
    title: "Protection from malicious code",
    reads: &[Section::Host],
    scope: Scope {
        population: "every location that is designated for protection",
        counted: Counted::Settings,
        cannot_see: "gateways, mail, and other machines",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("ab", "the machine");
    };
    let needs = "the designated locations";

    let saw = h
        .malware_scanner
        .as_ref()
        .map_or("no scanner was found on this machine".to_owned(), |s| {
            format!("this machine has {s}")
        });

    vec![
        cant_tell('a', saw.clone(), needs),
        cant_tell('b', saw, needs),
    ]
}
