//! 3.1.2: system access is limited to the transactions and functions that authorized users may
//! execute.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_2",
    control: ControlId::known("3.1.2"),
    title: "Roles of accounts, scopes of keys, rights of roles",
    reads: &[Section::Database, Section::Accounts],
    scope: Scope {
        population: "every account, with every function that each system offers it",
        counted: Counted::Accounts,
        cannot_see: "rights within the applications, and accounts of other systems",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(d), Some(a)) = (&facts.database, &facts.accounts) else {
        return cant_read("ab", "roles and accounts");
    };
    let roles: Vec<String> = a.active.keys().cloned().collect();
    let saw = format!(
        "accounts have the roles {}; {} database roles read events, {} may change them",
        list_first(&roles),
        d.readers.len(),
        d.may_change.len()
    );

    let needs = "what each role of the applications may do";
    let limited = if d.may_change.is_empty() {
        cant_tell('b', saw.clone(), needs)
    } else {
        not_met(
            'b',
            format!("the record may be changed by {}", list_first(&d.may_change)),
        )
    };

    vec![cant_tell('a', saw, needs), limited]
}
