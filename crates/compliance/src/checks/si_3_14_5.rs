//! 3.14.5: periodic and real-time scans.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, for_each_objective,
};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_5",
    control: ControlId::known("3.14.5"),
    title: "Scans for malicious code",
    reads: &[Section::Host],
    scope: Scope {
        population: "every machine, at every due date, and every file from outside",
        counted: Counted::Settings,
        cannot_see: "when a scanner ran, and what it scanned",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("abc", "the machine");
    };
    let saw = h
        .malware_scanner
        .as_ref()
        .map_or("no scanner was found on this machine".to_owned(), |s| {
            format!("this machine has {s}")
        });

    for_each_objective("abc", |o| {
        cant_tell(o, saw.clone(), "the scanner's schedule and log")
    })
}
