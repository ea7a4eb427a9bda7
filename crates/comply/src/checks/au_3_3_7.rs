//! 3.3.7: internal clocks are compared and synchronised with an authoritative source.

use model::ControlId;
use model::facts::Facts;

use super::{Check, Says, Section, cant_tell, met, not_met, some, unread};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_7",
    control: ControlId::known("3.3.7"),
    title: "Clocks",
    reads: &[Section::Sources, Section::Host],
    decide,
};

/// Milliseconds by which a producer's clock may differ.
const SKEW_MAX: i64 = 2_000;

fn decide(facts: &Facts) -> Vec<Says> {
    let (Some(sources), Some(h)) = (&facts.sources, &facts.host) else { return unread("abc", "clocks") };
    let off: Vec<String> = sources
        .iter()
        .filter_map(|s| s.skew_ms.filter(|ms| *ms < -SKEW_MAX).map(|ms| format!("{} by {} s", s.source_id, -ms / 1000)))
        .collect();
    let synchronised = match h.clock_synchronised {
        Some(false) => not_met('c', "the system says that its clock is not synchronised"),
        _ if !off.is_empty() => not_met('c', format!("clocks are ahead of ours: {}", some(&off))),
        Some(true) => met(
            'c',
            format!("the system says that its clock is synchronised; no producer is ahead by more than {SKEW_MAX} ms"),
        ),
        None => cant_tell(
            'c',
            format!("no producer is ahead by more than {SKEW_MAX} ms"),
            "a system that says whether its clock is synchronised (timedatectl)",
        ),
    };
    let specified = if h.time_servers.is_empty() {
        cant_tell('b', "no time server was found in this machine's settings", "the name of the authoritative source")
    } else {
        met('b', format!("this machine follows {}", some(&h.time_servers)))
    };
    vec![
        met('a', "time stamps are the system clocks of the producers, compared with ours when they arrive"),
        specified,
        synchronised,
    ]
}
