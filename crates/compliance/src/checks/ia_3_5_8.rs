//! 3.5.8: passwords are not reused for a number of generations. A system that keeps no former
//! passwords cannot refuse one.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "ia_3_5_8",
    control: ControlId::known("3.5.8"),
    title: "Reuse of passwords",
    reads: &[Section::Host, Section::Accounts],
    scope: Scope {
        population: "every account with a password, in every system",
        counted: Counted::Accounts,
        cannot_see: "whether a former password is refused, and other systems",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("ab", "the machine's settings");
    };
    let saw = h.remembered.map_or(
        "PAM of this machine remembers no passwords, as far as it can be read".to_owned(),
        |n| format!("PAM of this machine remembers {n} passwords"),
    );
    let needs = "the settings of each system and the policy";

    let known = facts
        .accounts
        .as_ref()
        .and_then(|a| a.changed.zip(a.changed_without_history));
    let Some((changed, forgotten)) = known else {
        return vec![
            cant_tell('a', saw.clone(), needs),
            cant_tell('b', saw, needs),
        ];
    };

    if forgotten > 0 {
        let bad = format!(
            "of {changed} accounts of applications whose password changed, {forgotten} have no \
                former password kept to refuse"
        );
        return vec![cant_tell('a', saw, needs), not_met('b', bad)];
    }

    let saw = if changed > 0 {
        format!(
            "{saw}; former passwords are kept of all {changed} accounts of applications that \
                changed theirs"
        )
    } else {
        saw
    };

    vec![
        cant_tell('a', saw.clone(), needs),
        cant_tell('b', saw, needs),
    ]
}
