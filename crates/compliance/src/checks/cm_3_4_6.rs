//! 3.4.6: only essential capabilities. A service or port that the approved baseline does not have
//! is a counterexample.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "cm_3_4_6",
    control: ControlId::known("3.4.6"),
    title: "Services and ports of this machine",
    reads: &[Section::Host],
    scope: Scope {
        population: "every capability of every system",
        counted: Counted::Settings,
        cannot_see: "what is essential, and other machines",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("ab", "the machine's services");
    };
    let services = h
        .services
        .as_ref()
        .map_or("services unknown".to_owned(), |s| {
            format!("{} services", s.len())
        });

    let saw = format!(
        "this machine starts {services} and listens to others on {:?}",
        h.open_ports
    );

    let beyond: Option<Vec<String>> = h.drift.as_ref().map(|drift| {
        drift
            .iter()
            .filter(|d| matches!(d.as_str(), "services" | "open ports"))
            .cloned()
            .collect()
    });

    let only = match beyond {
        None => cant_tell(
            'b',
            saw.clone(),
            "an approved baseline, or the list of essential capabilities",
        ),
        Some(differ) if differ.is_empty() => cant_tell(
            'b',
            format!("{saw}, as its approved baseline says"),
            "the list of essential capabilities, and the other machines",
        ),
        Some(differ) => not_met(
            'b',
            format!(
                "{saw}; its approved baseline differs in {}",
                list_first(&differ)
            ),
        ),
    };

    vec![
        cant_tell('a', saw, "the list of essential capabilities"),
        only,
    ]
}
