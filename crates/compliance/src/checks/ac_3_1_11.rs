//! 3.1.11: user sessions end automatically after a defined condition.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_11",
    control: ControlId::known("3.1.11"),
    title: "Ends of sessions",
    reads: &[Section::Host, Section::Events],
    scope: Scope {
        population: "every session of every system",
        counted: Counted::Settings,
        cannot_see: "sessions of applications, and settings of other machines",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("ab", "the machine's settings");
    };
    let ssh = h
        .sshd
        .as_ref()
        .and_then(|s| s.get("clientaliveinterval"))
        .filter(|s| s.as_str() != "0");

    let ended: u64 = facts.events.as_ref().map_or(0, |e| {
        e.types
            .iter()
            .filter(|t| {
                matches!(
                    t.action.as_str(),
                    "logout" | "session_expired" | "session_timeout"
                )
            })
            .map(|t| t.events)
            .sum()
    });

    let mut saw = vec![format!("{ended} ends of sessions in {} days", facts.days)];
    saw.extend(ssh.map(|s| format!("sshd asks idle clients every {s} s")));
    saw.extend(h.shell_timeout.map(|s| format!("shells end after {s} s")));
    let needs = "the conditions on which applications end a session";

    vec![
        cant_tell('a', saw.join("; "), needs),
        cant_tell('b', saw.join("; "), needs),
    ]
}
