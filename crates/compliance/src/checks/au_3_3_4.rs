//! 3.3.4: people are alerted when audit logging fails. From the delivery ledger.

use model::ControlId;
use model::facts::{Facts, TransportFacts};

use super::watching::reaches_people;
use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_4",
    control: ControlId::known("3.3.4"),
    title: "Alerts about failures of the record",
    reads: &[Section::Rules, Section::Alerts, Section::Transport],
    scope: Scope {
        population: "every failure of logging on every asset, and everybody who must hear of it",
        counted: Counted::Records,
        cannot_see: "whether those named still work here, read mail, and are the right ones",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(rules), Some(alerts), Some(t)) = (&facts.rules, &facts.alerts, &facts.transport)
    else {
        return cant_read("abc", "rules, alerts and channels");
    };

    let on = rules
        .iter()
        .any(|r| r.rule_id == "audit_log_gap" && r.enabled);
    let people: Vec<String> = t
        .channels
        .iter()
        .filter(|channel| reaches_people(alerts, channel))
        .cloned()
        .collect();

    let delivered: u64 = alerts
        .deliveries
        .iter()
        .filter_map(|(what, n)| Some((what.split_once(' ')?, n)))
        .filter(|((channel, state), _)| *state == "delivered" && reaches_people(alerts, channel))
        .map(|(_, n)| n)
        .sum();
    let saw = format!(
        "{} alerts about the record and {delivered} deliveries in {} days",
        alerts.audit_failures, facts.days
    );

    let alerted = match (on, people.is_empty()) {
        (false, _) => not_met('c', "the rule audit_log_gap is off"),
        (_, true) => not_met(
            'c',
            "no channel that reaches people is on: only terminals and other systems",
        ),
        // Some deliveries do not prove that every failure was delivered, nor to whom.
        _ => cant_tell(
            'c',
            format!("{saw}; ways to people: {}", list_first(&people)),
            "a test of a failure, and a statement that the right people were notified",
        ),
    };

    vec![
        name_contacts(t, &people),
        if on {
            cant_tell(
                'b',
                "silence of a source, holes in its numbers, rotation, and outages of blueteam \
                    raise audit_log_gap",
                "the policy that defines which failures people are alerted of",
            )
        } else {
            not_met('b', "the rule audit_log_gap is off")
        },
        alerted,
    ]
}

/// Decides whether the people to notify are named: the roles behind a channel are not known here.
fn name_contacts(t: &TransportFacts, channels: &[String]) -> CheckResult {
    match &t.audit_failures {
        Some(named) if !named.is_empty() => {
            // A name in a configuration may be that of the sample, or of a person who has left.
            cant_tell(
                'a',
                format!("{} are notified by mail", list_first(named)),
                "a person who says that these are the right ones and still work here",
            )
        }
        _ if channels.is_empty() => not_met('a', "no one is configured to be notified"),
        _ => cant_tell(
            'a',
            list_first(channels),
            "the names of the people to notify ([contacts] in the configuration)",
        ),
    }
}
