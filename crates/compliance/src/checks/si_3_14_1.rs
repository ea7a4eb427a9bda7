//! 3.14.1: flaws are identified, reported and corrected in a timely manner.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, for_each_objective, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_1",
    control: ControlId::known("3.14.1"),
    title: "Updates of this machine",
    reads: &[Section::Host],
    scope: Scope {
        population: "every flaw of every system and application",
        counted: Counted::Settings,
        cannot_see: "other machines, and software that no package manager installed",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("abcdef", "the machine");
    };
    let looked = h
        .updates_checked
        .map_or("the list of packages was never fetched".to_owned(), |at| {
            format!("the list of packages was last fetched on {at}")
        });

    let auto = match h.automatic_updates {
        Some(true) => "on",
        Some(false) => "off",
        None => "unknown",
    };

    let saw = format!("{looked}; automatic updates are {auto}");
    let needs = "the times that the policy allows, and the other systems";
    let stale = h
        .updates_checked
        .is_some_and(|at| at < facts.taken_at.minus(model::Span::days(30)));
    let identified = if stale {
        not_met('b', saw.clone())
    } else {
        cant_tell('b', saw.clone(), needs)
    };

    let mut says = for_each_objective("acdef", |o| {
        cant_tell(o, if o == 'f' { saw.clone() } else { String::new() }, needs)
    });
    says.insert(1, identified);

    says
}
