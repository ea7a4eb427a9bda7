//! 3.4.5: access restrictions for changes. A world-writable system file is a counterexample.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, for_each_objective,
    list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "cm_3_4_5",
    control: ControlId::known("3.4.5"),
    title: "Who may write to what decides what runs",
    reads: &[Section::Host],
    scope: Scope {
        population: "everybody who may change any system, on the spot or over the network",
        counted: Counted::Settings,
        cannot_see: "physical access, groups and sudo rules, and other machines",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("abcdefgh", "the machine's files");
    };
    let mut says = for_each_objective("abcd", |o| {
        cant_tell(
            o,
            "",
            "the physical access restrictions, which no software sees",
        )
    });

    says.extend(for_each_objective("efg", |o| {
        cant_tell(
            o,
            "",
            "the document that defines who may change systems, with its approval",
        )
    }));

    says.push(match &h.writable {
        None => cant_tell(
            'h',
            "",
            "the permissions of system files, which could not be read",
        ),
        Some(open) if open.is_empty() => cant_tell(
            'h',
            "no system file or folder of this machine is writable by everybody",
            "the list of those who may change systems, and the rights on the other machines",
        ),
        Some(open) => not_met(
            'h',
            format!(
                "everybody on this machine may write to {}",
                list_first(open)
            ),
        ),
    });

    says
}
