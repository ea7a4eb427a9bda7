//! 3.4.7: nonessential ports are restricted.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "cm_3_4_7",
    control: ControlId::known("3.4.7"),
    title: "Open ports",
    reads: &[Section::Host],
    scope: Scope {
        population: "every program, function, port, protocol and service of every system",
        counted: Counted::Settings,
        cannot_see: "programs, UDP ports, firewalls, and other machines",
    },
    decide,
};

/// Obsolete protocols, most of which send passwords in the clear.
const OBSOLETE_PORTS: [(u16, &str); 7] = [
    (21, "ftp"),
    (23, "telnet"),
    (69, "tftp"),
    (111, "rpcbind"),
    (512, "rexec"),
    (513, "rlogin"),
    (514, "rsh"),
];

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(h) = &facts.host else {
        return cant_read("i", "the machine's ports");
    };
    let bad: Vec<String> = OBSOLETE_PORTS
        .iter()
        .filter(|(port, _)| h.open_ports.contains(port))
        .map(|(port, name)| format!("{name} ({port})"))
        .collect();

    let saw = format!("open to others: {:?}", h.open_ports);
    if bad.is_empty() {
        vec![cant_tell('i', saw, "the list of essential ports")]
    } else {
        vec![not_met(
            'i',
            format!("{saw}; among them {}", list_first(&bad)),
        )]
    }
}
