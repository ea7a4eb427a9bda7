//! 3.5.3: multifactor authentication. What the record shows of second factors proves neither that
//! every login had one nor that one had none: many systems ask for it and do not log it. So this
//! check reports what it saw, and decides nothing.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell};

pub(super) const CHECK: Check = Check {
    id: "ia_3_5_3",
    control: ControlId::known("3.5.3"),
    title: "Second factors in the record",
    reads: &[Section::Events, Section::Host],
    scope: Scope {
        population: "every login of every privileged account, and every network login",
        counted: Counted::Records,
        cannot_see: "second factors that are not logged",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(e) = &facts.events else {
        return cant_read("abcd", "events");
    };
    let count = |wanted: &[&str]| {
        e.types
            .iter()
            .filter(|t| wanted.contains(&t.action.as_str()))
            .map(|t| t.events)
            .sum::<u64>()
    };

    let (logins, second) = (
        count(&["login", "login_success"]),
        count(&["mfa_verified", "mfa_success", "mfa_challenge"]),
    );
    let saw = format!(
        "{logins} logins and {second} second factors in {} days",
        facts.days
    );
    let saw = match (logins, second) {
        (1.., 0) => format!("{saw}: none was asked for, or it is not logged"),
        _ => saw,
    };

    let network = |o| cant_tell(o, saw.clone(), "the login settings of each system");
    vec![
        cant_tell('a', "", "the list of privileged accounts"),
        cant_tell('b', "", "the login settings of each machine"),
        network('c'),
        network('d'),
    ]
}
