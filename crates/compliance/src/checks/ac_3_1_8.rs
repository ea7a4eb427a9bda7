//! 3.1.8: unsuccessful logon attempts are limited. Lockouts in the record are samples: they prove
//! neither which systems lock accounts nor that all do.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_8",
    control: ControlId::known("3.1.8"),
    title: "Lockout settings and lockouts",
    reads: &[Section::Events, Section::Rules, Section::Host],
    scope: Scope {
        population: "every way to log in to every system",
        counted: Counted::Settings,
        cannot_see: "lockout settings of applications, directories and other machines",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(e), Some(rules)) = (&facts.events, &facts.rules) else {
        return cant_read("ab", "events and rules");
    };
    let count = |action: &str| {
        e.types
            .iter()
            .filter(|t| t.action == action)
            .map(|t| t.events)
            .sum::<u64>()
    };

    let (failed, locked) = (count("login_failed"), count("account_locked"));
    let watched = rules
        .iter()
        .any(|r| r.rule_id == "brute_force" && r.enabled);
    let pam = facts.host.as_ref().and_then(|h| h.lock_after);
    let pam_says = pam.map_or("PAM of this machine locks nobody".to_owned(), |n| {
        format!("PAM of this machine locks after {n} failures")
    });
    let saw = format!(
        "{pam_says}; {failed} failed logins and {locked} lockouts in {} days; rule brute_force \
            is {}",
        facts.days,
        if watched { "on" } else { "off" }
    );

    let needs = "the lockout settings of each application";
    let implemented = if !watched && locked == 0 && failed > 100 && pam.is_none() {
        not_met('b', saw.clone())
    } else {
        // A lockout shows that one system locks out, and any sender of events can report one.
        cant_tell('b', saw.clone(), needs)
    };

    vec![cant_tell('a', saw, needs), implemented]
}
