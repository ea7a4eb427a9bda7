//! 3.14.5: periodic and real-time scans.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, each, unread};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_5",
    control: ControlId::known("3.14.5"),
    title: "Scans for malicious code",
    reads: &[Section::Host],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(h) = &facts.host else {
        return unread("abc", "the machine");
    };
    let saw = h
        .malware_scanner
        .as_ref()
        .map_or("no scanner was found on this machine".to_owned(), |s| {
            format!("this machine has {s}")
        });

    each("abc", |o| {
        cant_tell(o, saw.clone(), "the scanner's schedule and log")
    })
}
