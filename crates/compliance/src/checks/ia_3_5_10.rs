//! 3.5.10: passwords are cryptographically protected in storage (Argon2id and its like) and in
//! transit.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "ia_3_5_10",
    control: ControlId::known("3.5.10"),
    title: "Password hashes",
    reads: &[Section::Accounts, Section::Database, Section::Transport],
    scope: Scope {
        population: "every stored and every transmitted password",
        counted: Counted::Accounts,
        cannot_see: "passwords in files, scripts, browsers and other systems",
    },
    decide,
};

/// Hash schemes designed for passwords.
const PASSWORD_SCHEMES: [&str; 3] = ["argon2id", "scrypt", "bcrypt"];

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(a), Some(d), Some(t)) = (&facts.accounts, &facts.database, &facts.transport) else {
        return cant_read("ab", "accounts");
    };
    let weak: Vec<String> = a
        .schemes
        .iter()
        .filter(|(s, _)| !PASSWORD_SCHEMES.contains(&s.as_str()))
        .map(|(s, n)| format!("{n} {s}"))
        .collect();

    let kinds: Vec<String> = a.schemes.iter().map(|(s, n)| format!("{n} {s}")).collect();
    let stored = if !weak.is_empty() {
        not_met('a', format!("passwords are kept as {}", weak.join(", ")))
    } else if d.password_encryption != "scram-sha-256" {
        not_met(
            'a',
            format!("the database keeps passwords as {}", d.password_encryption),
        )
    } else {
        cant_tell(
            'a',
            format!(
                "accounts: {}; database: scram-sha-256",
                if kinds.is_empty() {
                    "none with a password".to_owned()
                } else {
                    kinds.join(", ")
                }
            ),
            "the hashes of the applications",
        )
    };

    let open: Vec<String> = t
        .ways
        .iter()
        .filter(|w| !w.local && !w.encrypted)
        .map(|w| w.name.clone())
        .collect();
    let moved = if open.is_empty() {
        cant_tell(
            'b',
            format!(
                "of {} connections of blueteam, none leaves the machine unencrypted",
                t.ways.len()
            ),
            "the same of the applications",
        )
    } else {
        not_met('b', format!("not encrypted: {}", list_first(&open)))
    };

    vec![stored, moved]
}
