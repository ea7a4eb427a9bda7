//! 3.6.3: the incident response capability is tested.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell};

pub(super) const CHECK: Check = Check {
    id: "ir_3_6_3",
    control: ControlId::known("3.6.3"),
    title: "Tests of incident response",
    reads: &[Section::Incidents],
    scope: Scope {
        population: "every part of the incident response capability",
        counted: Counted::Incidents,
        cannot_see: "exercises",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(i) = &facts.incidents else {
        return cant_read("a", "incidents");
    };
    let closed = i.by_status.get("closed").copied().unwrap_or_default();
    vec![cant_tell(
        'a',
        format!("{closed} incidents went through to their close"),
        "the record of an exercise",
    )]
}
