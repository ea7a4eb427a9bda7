//! 3.1.1: system access is limited to authorized users, processes and devices. Unused accounts are
//! a counterexample.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_1",
    control: ControlId::known("3.1.1"),
    title: "Accounts, keys and who holds them",
    reads: &[Section::Accounts],
    scope: Scope {
        population: "every account, process and device that may reach a system in scope",
        counted: Counted::Accounts,
        cannot_see: "accounts of machines, directories, clouds and network devices",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(a) = &facts.accounts else {
        return cant_read("abcdef", "accounts");
    };
    let total: u64 = a.active.values().sum();
    let roles: Vec<String> = a
        .active
        .iter()
        .map(|(role, n)| format!("{n} {role}"))
        .collect();
    let saw = format!(
        "{total} active accounts ({}) and {} keys for applications",
        roles.join(", "),
        a.keys
    );

    let limited = if a.idle > 0 {
        not_met(
            'd',
            format!("{} active accounts were not used for 90 days", a.idle),
        )
    } else {
        cant_tell(
            'd',
            saw.clone(),
            "the list of people who are authorized, to compare it with",
        )
    };

    let keys = if a.keys_idle > 0 {
        not_met(
            'e',
            format!("{} active keys were not used for 90 days", a.keys_idle),
        )
    } else {
        cant_tell(
            'e',
            format!("{} active keys, none idle for 90 days", a.keys),
            "the list of authorized processes",
        )
    };

    let needs = "the organization's list of users, processes and devices";
    vec![
        cant_tell('a', saw, needs),
        cant_tell(
            'b',
            format!(
                "{} keys name the applications that may write events",
                a.keys
            ),
            needs,
        ),
        cant_tell('c', "", needs),
        limited,
        keys,
        cant_tell('f', "", "what the network admits"),
    ]
}
