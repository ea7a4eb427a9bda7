//! 3.6.1: an operational incident-handling capability. Decided from real incidents.

use model::ControlId;
use model::facts::Facts;

use super::watching::watched_but;
use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "ir_3_6_1",
    control: ControlId::known("3.6.1"),
    title: "Incidents and who handles them",
    reads: &[
        Section::Incidents,
        Section::Rules,
        Section::Sources,
        Section::Daemon,
    ],
    scope: Scope {
        population: "every stage of handling of every incident",
        counted: Counted::Incidents,
        cannot_see: "what people do, and incidents that no rule found",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(i), Some(rules)) = (&facts.incidents, &facts.rules) else {
        return cant_read("abcdefg", "incidents");
    };
    let total: u64 = i.by_status.values().sum();
    let states: Vec<String> = i
        .by_status
        .iter()
        .map(|(s, n)| format!("{n} {s}"))
        .collect();

    let on = rules.iter().filter(|r| r.enabled).count();
    let saw = format!(
        "{total} incidents ({})",
        if states.is_empty() {
            "none".to_owned()
        } else {
            states.join(", ")
        }
    );

    let reached = |states: &[&str]| {
        states
            .iter()
            .filter_map(|state| i.by_status.get(*state))
            .sum::<u64>()
    };

    // A status is only a word that a person set. How the incident was handled is in its record, for
    // a person to read.
    let stage = |o, states: &[&str], what: &str| match reached(states) {
        0 => cant_tell(
            o,
            saw.clone(),
            "an incident that came so far, or a tabletop exercise",
        ),
        n => cant_tell(
            o,
            format!("{saw}: {n} {what}"),
            "a person who reads how they were handled",
        ),
    };

    vec![
        cant_tell('a', saw.clone(), "the incident response plan"),
        cant_tell('b', "", "the incident response plan"),
        match on {
            0 => not_met('c', "no rule is on"),
            // That rules open incidents shows no capability of the organization.
            _ => watched_but(
                'c',
                facts,
                format!("{on} rules open incidents"),
                "the incident response plan, and who answers when a rule fires",
            ),
        },
        stage(
            'd',
            &[
                "analyzing",
                "contained",
                "eradicated",
                "recovered",
                "closed",
            ],
            "analyzed",
        ),
        stage(
            'e',
            &["contained", "eradicated", "recovered", "closed"],
            "contained",
        ),
        stage('f', &["recovered", "closed"], "recovered"),
        cant_tell('g', "", "how users report and respond"),
    ]
}
