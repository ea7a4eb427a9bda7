//! 3.3.7: internal clocks are compared and synchronized with an authoritative source.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_7",
    control: ControlId::known("3.3.7"),
    title: "Clocks",
    reads: &[Section::Sources, Section::Host],
    scope: Scope {
        population: "every clock that stamps a record",
        counted: Counted::Settings,
        cannot_see: "clocks of machines that only forward records, and clocks that are behind",
    },
    decide,
};

/// Milliseconds by which a producer's clock may differ.
const SKEW_MAX: i64 = 2_000;

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(sources), Some(h)) = (&facts.sources, &facts.host) else {
        return cant_read("abc", "clocks");
    };
    let off: Vec<String> = sources
        .iter()
        .filter_map(|s| {
            s.skew_ms
                .filter(|ms| *ms < -SKEW_MAX)
                .map(|ms| format!("{} by {} s", s.source_id, -ms / 1000))
        })
        .collect();

    let synchronized = match h.clock_synchronised {
        Some(false) => not_met('c', "the system says that its clock is not synchronized"),
        _ if !off.is_empty() => not_met(
            'c',
            format!("clocks are ahead of this machine's: {}", list_first(&off)),
        ),
        Some(true) => cant_tell(
            'c',
            format!(
                "this machine says that its clock is synchronized; of {} sources none is ahead by \
                    more than {SKEW_MAX} ms",
                sources.len()
            ),
            "the same of the other machines",
        ),
        None => cant_tell(
            'c',
            format!("no producer is ahead by more than {SKEW_MAX} ms"),
            "a system that says whether its clock is synchronized (timedatectl)",
        ),
    };

    let specified = if h.time_servers.is_empty() {
        cant_tell(
            'b',
            "no time server was found in this machine's settings",
            "the name of the authoritative source",
        )
    } else {
        cant_tell(
            'b',
            format!("this machine follows {}", list_first(&h.time_servers)),
            "the document that specifies the authoritative source",
        )
    };

    vec![
        cant_tell(
            'a',
            format!(
                "time stamps of {} sources are compared with this machine's clock when they arrive",
                sources.len()
            ),
            "the list of machines, each with the clock that its records have their time from",
        ),
        specified,
        synchronized,
    ]
}
