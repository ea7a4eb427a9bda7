//! 3.3.8: audit information and tools are protected. Decided from the privileges and triggers that
//! the database has.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Section, cant_read, cant_tell, list_first, met_or_not_met};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_8",
    control: ControlId::known("3.3.8"),
    title: "Rights on the record, and its guards",
    reads: &[Section::Database],
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(d) = &facts.database else {
        return cant_read("abcdef", "the database's rights");
    };
    let guarded = d.may_change.is_empty() && d.unguarded.is_empty();
    let saw = "no role but superusers may update, delete or truncate the record, and each of its \
        tables and partitions has a trigger that refuses";
    let mut wrong = d.may_change.clone();
    wrong.extend(d.unguarded.iter().map(|t| format!("{t} has no guard")));

    let bad = list_first(&wrong);
    let tools = "who may change the program and its configuration on the machine";
    vec![
        cant_tell(
            'a',
            format!("readers: {}", list_first(&d.readers)),
            "a person who says that each of them may read",
        ),
        met_or_not_met('b', guarded, saw, bad.clone()),
        met_or_not_met('c', guarded, saw, bad),
        cant_tell('d', "", tools),
        cant_tell('e', "", tools),
        cant_tell('f', "", tools),
    ]
}
