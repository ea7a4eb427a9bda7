//! 3.14.6: the system is monitored to detect attacks. Decided from rules, sources and real alerts.

use model::ControlId;
use model::facts::Facts;

use super::watching::{met_if_watching, was_heard};
use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, describe_proofs, list_first,
    not_met,
};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_6",
    control: ControlId::known("3.14.6"),
    title: "Detection of attacks",
    reads: &[
        Section::Rules,
        Section::Sources,
        Section::Daemon,
        Section::Alerts,
        Section::Programme,
    ],
    scope: Scope {
        population: "every asset, and all traffic in and out, at all times",
        counted: Counted::Records,
        cannot_see: "traffic that no source logs, attacks without a record, and false senders",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(rules), Some(sources), Some(a)) = (&facts.rules, &facts.sources, &facts.alerts)
    else {
        return cant_read("abc", "rules, sources and alerts");
    };

    let on = rules.iter().filter(|r| r.enabled).count();
    let dead: Vec<String> = sources
        .iter()
        .filter(|s| s.open_gaps > 0)
        .map(|s| s.source_id.clone())
        .collect();
    let total: u64 = a.by_severity.values().sum();
    let saw = format!(
        "{on} rules{} over {} sources; {total} alerts in {} days, {} of them are recorded here",
        describe_proofs(rules),
        sources.len(),
        facts.days,
        a.sample.len()
    );

    let broken: Vec<String> = rules
        .iter()
        .filter(|r| r.enabled && r.proof_failed)
        .map(|r| r.rule_id.clone())
        .collect();
    let monitored = match (on, sources.len(), dead.is_empty()) {
        _ if !broken.is_empty() => not_met(
            'a',
            format!(
                "the fixtures of {} show that it does not work",
                list_first(&broken)
            ),
        ),
        (0, ..) => not_met('a', "no rule is on"),
        (_, 0, _) => not_met('a', "there is no source"),
        (.., false) => not_met('a', format!("blind where {} is silent", list_first(&dead))),
        _ => met_if_watching('a', facts, saw.clone()),
    };

    // Decided by the kind of a source, not by its name: that is a path that may contain any word.
    let since = facts
        .taken_at
        .minus(model::Span::days(i64::from(facts.days)));
    let web = sources
        .iter()
        .filter(|s| s.kind.as_deref() == Some("nginx") && was_heard(s, since))
        .count();
    let inbound = if web > 0 {
        format!("{web} access logs of web servers were heard; {saw}")
    } else {
        saw
    };

    vec![
        monitored,
        cant_tell(
            'b',
            inbound,
            "the logs of all that comes in at the boundary (firewall, proxy, mail), not of web \
                servers alone",
        ),
        cant_tell('c', "", "logs of outbound traffic (proxy, firewall)"),
    ]
}
