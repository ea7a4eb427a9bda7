//! 3.14.6: the system is monitored to detect attacks. From rules, sources and real alerts.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, met, not_met, proofs, some, unread};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_6",
    control: ControlId::known("3.14.6"),
    title: "Detection of attacks",
    reads: &[Section::Rules, Section::Sources, Section::Alerts],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let (Some(rules), Some(sources), Some(a)) = (&facts.rules, &facts.sources, &facts.alerts) else {
        return unread("abc", "rules, sources and alerts");
    };
    let on = rules.iter().filter(|r| r.enabled).count();
    let dead: Vec<String> = sources.iter().filter(|s| s.open_gaps > 0).map(|s| s.source_id.clone()).collect();
    let total: u64 = a.by_severity.values().sum();
    let saw = format!(
        "{on} rules{} over {} sources; {total} alerts in {} days, {} of them are recorded here",
        proofs(rules),
        sources.len(),
        facts.days,
        a.sample.len()
    );
    let broken: Vec<String> = rules.iter().filter(|r| r.enabled && r.proof_failed).map(|r| r.rule_id.clone()).collect();
    let monitored = match (on, sources.len(), dead.is_empty()) {
        _ if !broken.is_empty() => {
            not_met('a', format!("the fixtures of {} show that it does not work", some(&broken)))
        }
        (0, ..) => not_met('a', "no rule is on"),
        (_, 0, _) => not_met('a', "there is no source"),
        (.., false) => not_met('a', format!("blind where {} is silent", some(&dead))),
        _ => met('a', saw.clone()),
    };
    let web = sources.iter().any(|s| s.source_id.contains("nginx") || s.source_id.contains("access"));
    vec![
        monitored,
        if web {
            met('b', format!("access logs are among the sources: {saw}"))
        } else {
            cant_tell('b', saw, "access logs or flows of the boundary")
        },
        cant_tell('c', "", "logs of outbound traffic (proxy, firewall)"),
    ]
}
