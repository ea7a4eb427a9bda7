//! 3.1.12: remote access sessions are monitored and controlled.

use model::ControlId;
use model::facts::Facts;

use super::{Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, not_met};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_12",
    control: ControlId::known("3.1.12"),
    title: "Remote access in the record",
    reads: &[Section::Events, Section::Sources, Section::Host],
    scope: Scope {
        population: "every way into every system from outside",
        counted: Counted::Settings,
        cannot_see: "VPN, remote desktop, consoles of providers, and SSH on other ports",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(e), Some(h)) = (&facts.events, &facts.host) else {
        return cant_read("abcd", "events and the machine's settings");
    };

    // A login at the console has no address and is not remote access.
    let logins = e
        .types
        .iter()
        .filter(|t| t.source == "syslog" && t.category == "auth");
    let remote: u64 = logins.map(|t| t.with_address.min(t.events)).sum();
    let ssh = h.open_ports.contains(&22);
    let saw = format!(
        "port 22 of this machine is {}, and no other is known to be SSH; {remote} logins and \
            failures with a remote address in {} days",
        if ssh { "open" } else { "closed" },
        facts.days
    );

    let root = h
        .sshd
        .as_ref()
        .and_then(|s| s.get("permitrootlogin"))
        .is_some_and(|v| v == "yes");
    let controlled = if ssh && root {
        not_met(
            'c',
            "sshd lets root log in with a password (PermitRootLogin yes)",
        )
    } else {
        cant_tell(
            'c',
            saw.clone(),
            "the other ways in: VPN, remote desktop, consoles of providers",
        )
    };

    let monitored = if ssh && remote == 0 {
        not_met(
            'd',
            format!(
                "SSH is open and no event of it was collected in {} days",
                facts.days
            ),
        )
    } else {
        cant_tell(
            'd',
            saw.clone(),
            "the list of all ways in (VPN, remote desktop, SSH on other ports), and the logs of \
                each",
        )
    };

    let needs = "what remote access is permitted";
    vec![
        cant_tell('a', saw.clone(), needs),
        cant_tell('b', saw, needs),
        controlled,
        monitored,
    ]
}
