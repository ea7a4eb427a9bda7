//! 3.13.8: cryptographic mechanisms protect CUI in transmission.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "sc_3_13_8",
    control: ControlId::known("3.13.8"),
    title: "Ways out of the machine",
    reads: &[Section::Transport, Section::Database],
    scope: Scope {
        population: "every connection that carries CUI",
        counted: Counted::Connections,
        cannot_see: "connections of applications, people and other machines",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(t), Some(d)) = (&facts.transport, &facts.database) else {
        return cant_read("abc", "the configuration");
    };
    let open: Vec<String> = t
        .ways
        .iter()
        .filter(|w| !w.local && !w.encrypted)
        .map(|w| w.name.clone())
        .collect();

    let closed: Vec<String> = t
        .ways
        .iter()
        .filter(|w| w.encrypted)
        .map(|w| w.name.clone())
        .collect();

    let database = if d.listen_addresses.is_empty() {
        "the database listens on no network".to_owned()
    } else {
        format!(
            "the database listens on {} with TLS {}",
            d.listen_addresses,
            if d.ssl { "on" } else { "off" }
        )
    };

    let saw = format!(
        "encrypted: {}; {database}",
        if closed.is_empty() {
            "none of blueteam's own".to_owned()
        } else {
            list_first(&closed)
        }
    );
    let implemented = if open.is_empty() {
        cant_tell('c', saw.clone(), "the ways of CUI outside of this program")
    } else {
        not_met('c', format!("not encrypted: {}", list_first(&open)))
    };

    vec![
        cant_tell('a', saw, "the ways of CUI outside of this program"),
        cant_tell('b', "", "physical safeguards"),
        implemented,
    ]
}
