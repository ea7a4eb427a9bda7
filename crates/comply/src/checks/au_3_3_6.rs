//! 3.3.6: audit record reduction and report generation on demand. This program is the capability.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, met, unread};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_6",
    control: ControlId::known("3.3.6"),
    title: "Audit reduction and reports",
    reads: &[Section::Programme],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(p) = &facts.programme else { return unread("ab", "the record of questions") };
    let saw = format!("{} questions were asked of the record in {} days, each of them recorded", p.queries, facts.days);
    vec![
        met('a', format!("`events search`, `stats` and `tail` filter and count on demand; {saw}")),
        met('b', "`events export`, `report` and `compliance export` write reports on demand"),
    ]
}
