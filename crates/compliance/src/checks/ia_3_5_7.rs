//! 3.5.7: password complexity and change of characters. The requirement leaves the numbers to the
//! policy, and PAM of one machine is not every system. So this check reports what it saw, and
//! decides nothing.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, for_each_objective,
};

pub(super) const CHECK: Check = Check {
    id: "ia_3_5_7",
    control: ControlId::known("3.5.7"),
    title: "Rules for new passwords",
    reads: &[Section::Host],
    scope: Scope {
        population: "every place where a password is set",
        counted: Counted::Settings,
        cannot_see: "rules of applications and directories, and of other machines",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("abcd", "the machine's settings");
    };
    let needs = "the password rules of each system and the policy";
    let Some(rules) = &h.pwquality else {
        return for_each_objective("abcd", |o| {
            cant_tell(
                o,
                "pwquality.conf of this machine is not there or cannot be read",
                needs,
            )
        });
    };

    let shown: Vec<String> = rules.iter().map(|(k, v)| format!("{k} = {v}")).collect();
    let short = rules
        .get("minlen")
        .and_then(|v| v.parse::<u32>().ok())
        .filter(|n| *n < 8);
    let saw = match (shown.is_empty(), short) {
        (true, _) => "pwquality.conf of this machine sets nothing".to_owned(),
        (_, Some(_)) => format!(
            "pwquality.conf of this machine: {}; that is less than the eight characters of NIST \
                SP 800-63B",
            shown.join(", ")
        ),
        _ => format!("pwquality.conf of this machine: {}", shown.join(", ")),
    };

    for_each_objective("abcd", |o| cant_tell(o, saw.clone(), needs))
}
