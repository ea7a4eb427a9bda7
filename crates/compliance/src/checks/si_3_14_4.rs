//! 3.14.4: protection from malicious code is updated.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_4",
    control: ControlId::known("3.14.4"),
    title: "Age of signatures",
    reads: &[Section::Host],
    scope: Scope {
        population: "every protection mechanism at every location",
        counted: Counted::Settings,
        cannot_see: "other machines, and mechanisms without signatures",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("a", "the machine");
    };
    let (Some(scanner), Some(at)) = (&h.malware_scanner, h.signatures_updated) else {
        return vec![cant_tell(
            'a',
            "no scanner with signatures was found on this machine",
            "the scanners elsewhere",
        )];
    };

    if at < facts.taken_at.minus(model::Span::days(7)) {
        return vec![not_met(
            'a',
            format!("the signatures of {scanner} are of {at}"),
        )];
    }

    vec![cant_tell(
        'a',
        format!("the signatures of {scanner} are of {at}"),
        "the scanners elsewhere",
    )]
}
