//! 3.1.7: non-privileged users cannot execute privileged functions, and their execution is captured
//! in audit logs.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_7",
    control: ControlId::known("3.1.7"),
    title: "Privileged functions in the record",
    reads: &[Section::Events, Section::Database],
    scope: Scope {
        population: "every privileged function of every system, each time that it is executed",
        counted: Counted::Records,
        cannot_see: "functions that are executed without a record",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(e), Some(d)) = (&facts.events, &facts.database) else {
        return cant_read("abcd", "events");
    };
    let admin: u64 = e
        .types
        .iter()
        .filter(|t| t.category == "admin")
        .map(|t| t.events)
        .sum();
    let named: u64 = e
        .types
        .iter()
        .filter(|t| t.category == "admin")
        .map(|t| t.with_user)
        .sum();

    let prevented = if d.may_change.is_empty() {
        cant_tell(
            'c',
            "no role but superusers and the owners of its tables may change the record",
            "tests of the applications (red team)",
        )
    } else {
        not_met(
            'c',
            format!("the record may be changed by {}", list_first(&d.may_change)),
        )
    };

    let captured = match (admin, named) {
        (0, _) => cant_tell(
            'd',
            format!("no administrative event in {} days", facts.days),
            "a privileged function to be executed",
        ),
        (_, named) if named < admin => not_met(
            'd',
            format!(
                "{} of {admin} administrative events name nobody",
                admin - named
            ),
        ),
        // That these were captured does not prove that all were.
        _ => cant_tell(
            'd',
            format!(
                "{admin} administrative events in {} days, each with its user",
                facts.days
            ),
            "the list of privileged functions, to see whether each of them is in the record",
        ),
    };

    let needs = "the list of privileged functions and of who is not privileged";
    vec![
        cant_tell('a', "", needs),
        cant_tell('b', "", needs),
        prevented,
        captured,
    ]
}
