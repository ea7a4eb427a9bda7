//! 3.14.7: unauthorised use is identified.

use model::ControlId;
use model::facts::Facts;

use super::watching::met_if_watching;
use super::{Check, Says, Section, cant_tell, not_met, some, unread};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_7",
    control: ControlId::known("3.14.7"),
    title: "Detection of unauthorised use",
    reads: &[
        Section::Rules,
        Section::Sources,
        Section::Daemon,
        Section::Alerts,
    ],
    decide,
};

/// Rules that are about what users do.
const OF_USERS: [&str; 5] = [
    "after_hours",
    "cross_tenant",
    "privilege_escalation",
    "data_exfiltration",
    "account_takeover",
];

fn decide(facts: &Facts) -> Vec<Says> {
    let (Some(rules), Some(a)) = (&facts.rules, &facts.alerts) else {
        return unread("ab", "rules and alerts");
    };
    let off: Vec<String> = OF_USERS
        .iter()
        .filter(|id| !rules.iter().any(|r| r.rule_id == **id && r.enabled))
        .map(ToString::to_string)
        .collect();

    let total: u64 = a.by_severity.values().sum();
    let identified = if off.len() == OF_USERS.len() {
        not_met('b', "no rule about the use by users is on")
    } else {
        let on = rules
            .iter()
            .filter(|r| OF_USERS.contains(&r.rule_id.as_str()));
        let saw = format!(
            "{} rules are about what users do; {total} alerts in {} days{}",
            OF_USERS.len() - off.len(),
            facts.days,
            if off.is_empty() {
                String::new()
            } else {
                format!("; off: {}", some(&off))
            }
        );

        if off.is_empty() {
            met_if_watching('b', facts, on, saw)
        } else {
            cant_tell('b', saw, "the rules that are off")
        }
    };

    vec![
        cant_tell('a', "", "the policy of acceptable use"),
        identified,
    ]
}
