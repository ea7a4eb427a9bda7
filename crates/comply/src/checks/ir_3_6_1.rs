//! 3.6.1: an operational incident-handling capability. From incidents as they really went.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, holds, met, unread};

pub(super) const CHECK: Check = Check {
    id: "ir_3_6_1",
    control: ControlId::known("3.6.1"),
    title: "Incidents and who handles them",
    reads: &[Section::Incidents, Section::Rules],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let (Some(i), Some(rules)) = (&facts.incidents, &facts.rules) else { return unread("abcdefg", "incidents") };
    let total: u64 = i.by_status.values().sum();
    let states: Vec<String> = i.by_status.iter().map(|(s, n)| format!("{n} {s}")).collect();
    let on = rules.iter().filter(|r| r.enabled).count();
    let saw = format!("{total} incidents ({})", if states.is_empty() { "none".to_owned() } else { states.join(", ") });
    let reached = |state: &str| i.by_status.get(state).copied().unwrap_or_default() > 0;
    let stage = |o, states: &[&str], what: &str| {
        if states.iter().any(|s| reached(s)) {
            met(o, format!("{saw}: {what}"))
        } else {
            cant_tell(o, saw.clone(), "an incident that came so far, or a tabletop exercise")
        }
    };
    vec![
        cant_tell('a', saw.clone(), "the incident response plan"),
        cant_tell('b', "", "the incident response plan"),
        holds('c', on > 0, format!("{on} rules open incidents"), "no rule is on"),
        stage('d', &["analyzing", "contained", "eradicated", "recovered", "closed"], "analysed"),
        stage('e', &["contained", "eradicated", "recovered", "closed"], "contained"),
        stage('f', &["recovered", "closed"], "recovered"),
        cant_tell('g', "", "how users report and respond"),
    ]
}
