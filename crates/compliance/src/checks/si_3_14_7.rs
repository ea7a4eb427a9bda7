//! 3.14.7: unauthorized use is identified.

use model::ControlId;
use model::facts::Facts;

use super::watching::watched_but;
use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_7",
    control: ControlId::known("3.14.7"),
    title: "Detection of unauthorized use",
    reads: &[
        Section::Rules,
        Section::Sources,
        Section::Daemon,
        Section::Alerts,
    ],
    scope: Scope {
        population: "every user of every system, against the use that is authorized",
        counted: Counted::Records,
        cannot_see: "use that leaves no record, and what is authorized",
    },
    decide,
};

/// Rules about the activity of users.
const USER_RULES: [&str; 5] = [
    "after_hours",
    "cross_tenant",
    "privilege_escalation",
    "data_exfiltration",
    "account_takeover",
];

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(rules), Some(a)) = (&facts.rules, &facts.alerts) else {
        return cant_read("ab", "rules and alerts");
    };
    let off: Vec<String> = USER_RULES
        .iter()
        .filter(|id| !rules.iter().any(|r| r.rule_id == **id && r.enabled))
        .map(ToString::to_string)
        .collect();

    let total: u64 = a.by_severity.values().sum();
    let identified = if off.len() == USER_RULES.len() {
        not_met('b', "no rule about the use by users is on")
    } else {
        let saw = format!(
            "{} rules are about what users do; {total} alerts in {} days",
            USER_RULES.len() - off.len(),
            facts.days
        );
        // What is unauthorized is known only by what is authorized.
        watched_but(
            'b',
            facts,
            saw,
            "the policy of acceptable use, to compare the rules with",
        )
    };

    vec![
        cant_tell('a', "", "the policy of acceptable use"),
        identified,
    ]
}
