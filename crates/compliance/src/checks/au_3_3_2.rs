//! 3.3.2: the actions of users can be uniquely traced to them.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_2",
    control: ControlId::known("3.3.2"),
    title: "Traces from users to actions",
    reads: &[Section::Events],
    scope: Scope {
        population: "every action of every user on every system",
        counted: Counted::Records,
        cannot_see: "shared accounts, and actions that leave no record",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(e) = &facts.events else {
        return cant_read("ab", "events");
    };
    let of_users = |t: &&model::facts::EventType| {
        matches!(t.category.as_str(), "access" | "admin" | "data" | "ai") && t.source == "audit_db"
    };
    let (all, named) = e
        .types
        .iter()
        .filter(of_users)
        .fold((0, 0), |(all, named), t| {
            (all + t.events, named + t.with_user)
        });

    let traced = match all {
        0 => cant_tell('b', "", "events of what users did"),
        _ if named < all => not_met(
            'b',
            format!(
                "{} of {all} events of what users did name nobody",
                all - named
            ),
        ),
        _ => cant_tell(
            'b',
            format!(
                "all {all} events of what users did name a user; one user's last {} actions are \
                    recorded here",
                e.chain.len()
            ),
            "to know that no account is shared, and that every action of users is in the record",
        ),
    };

    vec![
        cant_tell(
            'a',
            "audit_events has user_id, session_id and ip_address",
            "the policy that defines the content",
        ),
        traced,
    ]
}
