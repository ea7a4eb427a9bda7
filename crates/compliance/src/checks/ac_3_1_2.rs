//! 3.1.2: system access is limited to the transactions and functions that authorised users may
//! execute.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, not_met, some, unread};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_2",
    control: ControlId::known("3.1.2"),
    title: "Roles of accounts, scopes of keys, rights of roles",
    reads: &[Section::Database, Section::Accounts],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let (Some(d), Some(a)) = (&facts.database, &facts.accounts) else {
        return unread("ab", "roles and accounts");
    };
    let roles: Vec<String> = a.active.keys().cloned().collect();
    let saw = format!(
        "accounts have the roles {}; {} database roles read events, none may change them",
        some(&roles),
        d.readers.len()
    );

    let needs = "what each role of the applications may do";
    let limited = if d.may_change.is_empty() {
        cant_tell('b', saw.clone(), needs)
    } else {
        not_met(
            'b',
            format!("the record may be changed by {}", some(&d.may_change)),
        )
    };

    vec![cant_tell('a', saw, needs), limited]
}
