//! 3.1.5: least privilege, for specific security functions and privileged accounts.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_5",
    control: ControlId::known("3.1.5"),
    title: "Privileged logins and accounts",
    reads: &[Section::Database, Section::Accounts],
    scope: Scope {
        population: "every privileged account and every security function of every system",
        counted: Counted::Accounts,
        cannot_see: "privileged accounts of operating systems, directories and cloud services",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(d), Some(a)) = (&facts.database, &facts.accounts) else {
        return cant_read("abcd", "privileged accounts");
    };
    let admins = a.active.get("admin").copied().unwrap_or_default();
    let saw = format!(
        "superusers: {}; managers of the record: {}; {admins} accounts with the role admin",
        list_first(&d.superusers),
        list_first(&d.managers)
    );

    let total: u64 = a.active.values().sum();
    let least = if total >= 3 && admins == total {
        not_met(
            'b',
            format!("all {total} active accounts are administrators"),
        )
    } else {
        cant_tell(
            'b',
            saw.clone(),
            "a person who says that each of them needs it",
        )
    };

    vec![
        cant_tell(
            'a',
            saw.clone(),
            "the privileged accounts of the other systems",
        ),
        least,
        cant_tell('c', "", "the list of security functions"),
        cant_tell('d', saw, "the list of security functions"),
    ]
}
