//! 3.4.3: changes are tracked, reviewed, approved and logged. A machine that differs from its
//! approved baseline has an unapproved change.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "cm_3_4_3",
    control: ControlId::known("3.4.3"),
    title: "Changes of this machine that nobody approved",
    reads: &[Section::Host],
    scope: Scope {
        population: "every change to every system",
        counted: Counted::Settings,
        cannot_see: "other machines, and how changes were reviewed",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("abcd", "the machine's settings");
    };
    let needs = "the records of changes, each with its review and approval";

    let saw = match &h.drift {
        None => "there is no approved baseline of this machine".to_owned(),
        Some(drift) if drift.is_empty() => "this machine is as its approved baseline".to_owned(),
        Some(drift) => format!(
            "{} things of this machine changed since its baseline was approved",
            drift.len()
        ),
    };

    let approved = match &h.drift {
        Some(drift) if !drift.is_empty() => not_met(
            'c',
            format!(
                "changed, and the baseline with it was not approved: {}",
                list_first(drift)
            ),
        ),
        _ => cant_tell('c', saw.clone(), needs),
    };

    vec![
        cant_tell('a', saw.clone(), needs),
        cant_tell('b', saw.clone(), needs),
        approved,
        cant_tell('d', saw, "the log of changes of each machine"),
    ]
}
