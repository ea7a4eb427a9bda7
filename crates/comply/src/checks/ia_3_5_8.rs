//! 3.5.8: passwords are not reused for a number of generations.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, unread};

pub(super) const CHECK: Check = Check {
    id: "ia_3_5_8",
    control: ControlId::known("3.5.8"),
    title: "Reuse of passwords",
    reads: &[Section::Host],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(h) = &facts.host else { return unread("ab", "the machine's settings") };
    let saw = h.remembered.map_or("PAM of this machine remembers no passwords".to_owned(), |n| {
        format!("PAM of this machine remembers {n} passwords")
    });
    let needs = "the settings of each system and the policy";
    vec![cant_tell('a', saw.clone(), needs), cant_tell('b', saw, needs)]
}
