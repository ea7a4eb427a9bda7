//! 3.6.2: incidents are tracked, documented and reported.

use model::ControlId;
use model::facts::Facts;

use super::watching::watched_but;
use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "ir_3_6_2",
    control: ControlId::known("3.6.2"),
    title: "Incidents are tracked and documented",
    reads: &[
        Section::Incidents,
        Section::Rules,
        Section::Sources,
        Section::Daemon,
    ],
    scope: Scope {
        population: "every incident, wherever it was noticed",
        counted: Counted::Incidents,
        cannot_see: "incidents that people noticed and wrote down elsewhere, or nowhere",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(i) = &facts.incidents else {
        return cant_read("abcdef", "incidents");
    };
    let total: u64 = i.by_status.values().sum();
    let closed = i.by_status.get("closed").copied().unwrap_or_default();
    let needs = "the names of authorities and officials, and what they were sent";

    vec![
        if total == 0 {
            cant_tell('a', "no incident so far", "an incident, or an exercise")
        } else {
            watched_but(
                'a',
                facts,
                format!("each detection opens an incident or joins one: {total} so far"),
                "to know where incidents are written down that people notice and no rule finds",
            )
        },
        if i.closed_undocumented > 0 {
            not_met(
                'b',
                format!(
                    "{} closed incidents have no root cause",
                    i.closed_undocumented
                ),
            )
        } else {
            cant_tell(
                'b',
                format!("{closed} incidents are closed, each with a root cause"),
                "a person who finds that enough",
            )
        },
        cant_tell('c', "", needs),
        cant_tell('d', "", needs),
        cant_tell(
            'e',
            format!(
                "{} incidents are to be reported under DFARS 252.204-7012",
                i.reportable
            ),
            needs,
        ),
        cant_tell('f', "", needs),
    ]
}
