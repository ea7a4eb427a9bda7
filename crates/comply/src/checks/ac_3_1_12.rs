//! 3.1.12: remote access sessions are monitored and controlled.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, met, not_met, unread};

pub(super) const CHECK: Check = Check {
    id: "ac_3_1_12",
    control: ControlId::known("3.1.12"),
    title: "Remote access in the record",
    reads: &[Section::Events, Section::Sources, Section::Host],
    decide,
};

fn decide(facts: &Facts) -> Vec<Says> {
    let (Some(e), Some(h)) = (&facts.events, &facts.host) else {
        return unread("abcd", "events and the machine's settings");
    };
    let remote: u64 = e.types.iter().filter(|t| t.source == "syslog" && t.category == "auth").map(|t| t.events).sum();
    let ssh = h.open_ports.contains(&22);
    let saw = format!(
        "port 22 is {}; {remote} logins and failures of SSH and PAM in {} days",
        if ssh { "open" } else { "closed" },
        facts.days
    );
    let root = h.sshd.as_ref().and_then(|s| s.get("permitrootlogin")).is_some_and(|v| v == "yes");
    let controlled = if ssh && root {
        not_met('c', "sshd lets root log in with a password (PermitRootLogin yes)")
    } else {
        cant_tell('c', saw.clone(), "the other ways in: VPN, remote desktop, consoles of providers")
    };
    let monitored = if ssh && remote == 0 {
        not_met('d', format!("SSH is open and no event of it was collected in {} days", facts.days))
    } else if remote > 0 {
        met('d', saw.clone())
    } else {
        cant_tell('d', saw.clone(), "logs of the ways in")
    };
    let needs = "what remote access is permitted";
    vec![cant_tell('a', saw.clone(), needs), cant_tell('b', saw, needs), controlled, monitored]
}
