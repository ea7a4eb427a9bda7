//! 3.3.8: audit information and tools are protected. Decided from the privileges and triggers that
//! the database has.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_8",
    control: ControlId::known("3.3.8"),
    title: "Rights on the record, and its guards",
    reads: &[Section::Database],
    scope: Scope {
        population: "every record on every asset, and every tool that handles records",
        counted: Counted::Settings,
        cannot_see: "logs on the assets, backups, and administrators of machine and database",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(d) = &facts.database else {
        return cant_read("abcdef", "the database's rights");
    };
    let mut wrong = d.may_change.clone();
    wrong.extend(d.unguarded.iter().map(|t| format!("{t} has no guard")));
    let owners = match d.owners.as_deref() {
        None => "logins that own its tables are not recorded".to_owned(),
        Some([]) => "no other login owns its tables".to_owned(),
        Some(owners) => format!("its tables are owned by {}", list_first(owners)),
    };

    let saw = format!(
        "no role but superusers ({}) may update, delete or truncate what reached blueteam, and \
            each of its tables and partitions has a trigger that refuses; {owners}",
        list_first(&d.superusers)
    );
    let protected = |objective| {
        if wrong.is_empty() {
            // The guards of the central record protect no log before it gets there.
            cant_tell(
                objective,
                saw.clone(),
                "who may change the logs on each asset and the backups, and who has the passwords of \
                    owners and superusers",
            )
        } else {
            not_met(objective, list_first(&wrong))
        }
    };

    let tools = "who may change the program and its configuration on the machine";
    vec![
        cant_tell(
            'a',
            format!("readers: {}", list_first(&d.readers)),
            "a person who says that each of them may read",
        ),
        protected('b'),
        protected('c'),
        cant_tell('d', "", tools),
        cant_tell('e', "", tools),
        cant_tell('f', "", tools),
    ]
}
