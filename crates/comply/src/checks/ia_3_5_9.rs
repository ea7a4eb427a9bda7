//! 3.5.9: temporary passwords are changed at once.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, not_met, unread};

pub(super) const CHECK: Check = Check {
    id: "ia_3_5_9",
    control: ControlId::known("3.5.9"),
    title: "Temporary passwords",
    reads: &[Section::Accounts],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(a) = &facts.accounts else { return unread("a", "accounts") };
    if a.temporary_used > 0 {
        return vec![not_met(
            'a',
            format!("{} accounts have logged in with a temporary password and still have it", a.temporary_used),
        )];
    }
    vec![cant_tell(
        'a',
        "no account of this product that must change its password has logged in without changing it",
        "the same of the other systems",
    )]
}
