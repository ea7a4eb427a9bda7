//! 3.3.1: audit records are created with the defined content and retained. From the completeness
//! ledger and the events themselves.

use model::ControlId;
use model::facts::Facts;

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
    watching,
};

pub(super) const CHECK: Check = Check {
    id: "au_3_3_1",
    control: ControlId::known("3.3.1"),
    title: "Events, their content, and how long they are kept",
    reads: &[Section::Events, Section::Sources],
    scope: Scope {
        population: "every event that is to be logged, on every asset, on every day",
        counted: Counted::Records,
        cannot_see: "what is never logged, and for how long it must be kept",
    },
    decide,
};

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let (Some(e), Some(sources)) = (&facts.events, &facts.sources) else {
        return cant_read("abcdef", "events");
    };
    let gaps: Vec<String> = sources
        .iter()
        .filter(|s| s.open_gaps > 0)
        .map(|s| s.source_id.clone())
        .collect();

    let saw = format!(
        "{} events of {} types from {} sources in {} days",
        e.total,
        e.types.len(),
        sources.len(),
        facts.days
    );
    let created = match (e.total, gaps.is_empty()) {
        (0, _) => not_met('c', format!("no event in {} days", facts.days)),
        (_, false) => not_met(
            'c',
            format!("something is missing from {}", list_first(&gaps)),
        ),
        _ => {
            let since = facts
                .taken_at
                .minus(model::Span::days(i64::from(facts.days)));
            let heard = sources
                .iter()
                .filter(|s| watching::was_heard(s, since))
                .count();
            let share = format!(
                "{saw}, no gap that lasts; {heard} of {} sources were heard",
                sources.len()
            );

            cant_tell(
                'c',
                share,
                "the list of events that are to be logged, and of the systems that log them",
            )
        }
    };

    let addressed: u64 = e
        .types
        .iter()
        .filter(|t| t.category == "auth")
        .map(|t| t.events - t.with_address.min(t.events))
        .sum();
    let content = if e.total == 0 {
        cant_tell('d', "", "events")
    } else if addressed > 0 {
        not_met(
            'd',
            format!("{addressed} events of authentication name no address"),
        )
    } else {
        cant_tell(
            'd',
            "each event has time, category, action, result and source, by constraint; those of \
                authentication name an address",
            "the content that the policy defines, to compare it with",
        )
    };

    let kept = e
        .oldest
        .map_or_else(String::new, |at| format!("the oldest event is of {at}"));
    let needs = "the policy that says so";
    vec![
        cant_tell('a', saw, needs),
        cant_tell('b', "the columns of audit_events", needs),
        created,
        content,
        cant_tell('e', kept.clone(), needs),
        cant_tell('f', kept, "the period for which records are to be kept"),
    ]
}
