//! 3.3.9: management of audit logging is limited to a subset of privileged users.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_9",
    control: ControlId::known("3.3.9"),
    title: "Who manages the record",
    reads: &[Section::Database],
    scope: Scope {
        population: "everybody who may change what any system logs",
        counted: Counted::Settings,
        cannot_see: "administrators of the machines and of the applications",
    },
    decide,
};

/// More than these are no subset.
const MANAGERS_MAX: usize = 5;

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(d) = &facts.database else {
        return cant_read("ab", "the database's roles");
    };
    let saw = format!(
        "blueteam_admin: {}; superusers: {}",
        list_first(&d.managers),
        list_first(&d.superusers)
    );
    let limited = if d.managers.len() + d.superusers.len() > MANAGERS_MAX {
        not_met(
            'b',
            format!(
                "{} logins manage the record: {saw}",
                d.managers.len() + d.superusers.len()
            ),
        )
    } else {
        cant_tell(
            'b',
            format!(
                "only members of blueteam_admin and superusers manage the record in this \
                    database: {saw}"
            ),
            "who manages logging on the machines and in the applications",
        )
    };

    vec![
        cant_tell('a', saw, "the names of the people who are to manage it"),
        limited,
    ]
}
