//! 3.12.3: security controls are monitored on an ongoing basis.

use model::ControlId;
use model::facts::Facts;

use super::watching::watched_but;
use super::{Check, CheckResult, Counted, Scope, Section, cant_read, not_met};

pub(super) const CHECK: Check = Check {
    id: "ca_3_12_3",
    control: ControlId::known("3.12.3"),
    title: "Ongoing monitoring",
    reads: &[
        Section::Programme,
        Section::Sources,
        Section::Daemon,
        Section::Rules,
    ],
    scope: Scope {
        population: "every security control, at all times",
        counted: Counted::Requirements,
        cannot_see: "controls that no software sees",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(p), Some(rules)) = (&facts.programme, &facts.rules) else {
        return cant_read("a", "checks and rules");
    };
    let on = rules.iter().filter(|r| r.enabled).count();
    let saw = format!(
        "{on} rules are on; {} results of checks were kept in {} days; {} pieces of evidence have \
            lapsed",
        p.checks_run, facts.days, p.lapsed
    );

    vec![match (on, p.checks_run) {
        (0, _) | (_, 0) => not_met('a', saw),
        // Rules look for attacks. Only checks look at controls, and not at all of them.
        _ => watched_but(
            'a',
            facts,
            saw,
            "to know that each control is monitored, also those that no software sees, and that \
                what is found is acted on",
        ),
    }]
}
