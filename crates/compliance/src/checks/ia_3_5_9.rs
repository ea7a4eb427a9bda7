//! 3.5.9: temporary passwords are changed immediately.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "ia_3_5_9",
    control: ControlId::known("3.5.9"),
    title: "Temporary passwords",
    reads: &[Section::Accounts],
    scope: Scope {
        population: "every temporary password of every system",
        counted: Counted::Accounts,
        cannot_see: "systems that do not mark a password as temporary",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(a) = &facts.accounts else {
        return cant_read("a", "accounts");
    };
    if a.temporary_used > 0 {
        return vec![not_met(
            'a',
            format!(
                "{} accounts have logged in with a temporary password and still have it",
                a.temporary_used
            ),
        )];
    }

    let accounts: u64 = a.active.values().sum();
    let saw = if accounts == 0 {
        "this product has no accounts".to_owned()
    } else {
        format!(
            "of {accounts} accounts of this product, none logged in with a temporary password and \
                kept it"
        )
    };

    vec![cant_tell('a', saw, "the same of the other systems")]
}
