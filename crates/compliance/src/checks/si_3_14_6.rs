//! 3.14.6: the system is monitored to detect attacks. From rules, sources and real alerts.

use model::ControlId;
use model::facts::Facts;

use super::watching::{heard, met_if_watching};
use super::{Check, Says, Section, cant_tell, not_met, proofs, some, unread};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_6",
    control: ControlId::known("3.14.6"),
    title: "Detection of attacks",
    reads: &[
        Section::Rules,
        Section::Sources,
        Section::Daemon,
        Section::Alerts,
    ],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let (Some(rules), Some(sources), Some(a)) = (&facts.rules, &facts.sources, &facts.alerts)
    else {
        return unread("abc", "rules, sources and alerts");
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
        proofs(rules),
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
                some(&broken)
            ),
        ),
        (0, ..) => not_met('a', "no rule is on"),
        (_, 0, _) => not_met('a', "there is no source"),
        (.., false) => not_met('a', format!("blind where {} is silent", some(&dead))),
        _ => met_if_watching('a', facts, rules.iter(), saw.clone()),
    };

    // What a source is, is its kind: its name is a path that may hold any word.
    let since = facts
        .taken_at
        .minus(model::Span::days(i64::from(facts.days)));
    let web = sources
        .iter()
        .filter(|s| s.kind.as_deref() == Some("nginx") && heard(s, since))
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
