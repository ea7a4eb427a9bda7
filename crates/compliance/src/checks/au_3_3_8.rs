//! 3.3.8: audit information and tools are protected. From the rights and triggers that the database
//! really has.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, holds, some, unread};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_8",
    control: ControlId::known("3.3.8"),
    title: "Rights on the record, and its guards",
    reads: &[Section::Database],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let Some(d) = &facts.database else {
        return unread("abcdef", "the database's rights");
    };
    let guarded = d.may_change.is_empty() && d.unguarded.is_empty();
    let saw = "no role but superusers may update, delete or truncate the record, and each of its \
        tables and partitions has a trigger that refuses";
    let mut wrong = d.may_change.clone();
    wrong.extend(d.unguarded.iter().map(|t| format!("{t} has no guard")));

    let bad = some(&wrong);
    let tools = "who may change the program and its configuration on the machine";
    vec![
        cant_tell(
            'a',
            format!("readers: {}", some(&d.readers)),
            "a person who says that each of them may read",
        ),
        holds('b', guarded, saw, bad.clone()),
        holds('c', guarded, saw, bad),
        cant_tell('d', "", tools),
        cant_tell('e', "", tools),
        cant_tell('f', "", tools),
    ]
}
