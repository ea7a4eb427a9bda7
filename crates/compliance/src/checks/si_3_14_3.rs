//! 3.14.3: alerts and advisories are monitored and acted on. Decided from how people responded.

use model::facts::{AdvisoryFacts, Facts};
use model::{ControlId, Span};

use super::{
    Check, CheckResult, Counted, Scope, Section, cant_read, cant_tell, list_first, not_met,
};

pub(super) const CHECK: Check = Check {
    id: "si_3_14_3",
    control: ControlId::known("3.14.3"),
    title: "Alerts and advisories that people acted on",
    reads: &[Section::Alerts, Section::Advisories],
    scope: Scope {
        population: "every alert, and every advisory about anything in use",
        counted: Counted::Components,
        cannot_see: "software that no inventory lists, and what people did",
    },
    decide,
};

/// A feed last read longer ago than this is not monitored.
const FEED_AGE_MAX: Span = Span::days(30);

fn decide(facts: &Facts) -> Vec<CheckResult> {
    let Some(a) = &facts.alerts else {
        return cant_read("abc", "alerts");
    };
    let total: u64 = a.by_severity.values().sum();
    let saw = format!(
        "{} of {total} alerts were acknowledged in {} days",
        a.acknowledged, facts.days
    );

    let advisories = facts.advisories.as_ref().filter(|a| !a.feeds.is_empty());
    let taken = match (total, a.acknowledged, advisories) {
        (1.., 0, _) => not_met('c', saw.clone()),
        (.., Some(b)) if b.overdue > 0 => not_met(
            'c',
            format!(
                "open advisories about what runs here: {}, past their date: {}",
                b.open, b.overdue
            ),
        ),
        (.., Some(b)) if b.answered > 0 => cant_tell(
            'c',
            format!(
                "{saw}; advisories closed with a reason: {}; open, and none past its date: {}",
                b.answered, b.open
            ),
            "a person who looks at the responses",
        ),
        (0, ..) => cant_tell(
            'c',
            saw.clone(),
            "an alert or an advisory that was responded to",
        ),
        _ => cant_tell('c', saw.clone(), "a person who looks at the responses"),
    };

    let watched = match advisories {
        None => cant_tell(
            'b',
            saw,
            "the advisories that are followed (CISA, vendors): `blueteam advisories import`",
        ),
        Some(advisories) => decide_monitored(advisories, facts),
    };

    vec![cant_tell('a', "", "the procedure"), watched, taken]
}

fn decide_monitored(advisories: &AdvisoryFacts, facts: &Facts) -> CheckResult {
    let stale = |feed: &&model::facts::FeedFacts| {
        feed.failed || facts.taken_at.since(feed.read_at) > FEED_AGE_MAX
    };
    let old: Vec<String> = advisories
        .feeds
        .iter()
        .filter(stale)
        .map(|feed| feed.name.clone())
        .collect();

    let names: Vec<String> = advisories
        .feeds
        .iter()
        .map(|feed| feed.name.clone())
        .collect();
    let items: u64 = advisories.feeds.iter().map(|feed| feed.items).sum();
    let saw = format!(
        "advisories of {}: {items}, held against the components of inventories: {}; open: {}",
        list_first(&names),
        advisories.components,
        advisories.open
    );

    if !old.is_empty() {
        not_met(
            'b',
            format!(
                "not read within 30 days, or not readable: {}",
                list_first(&old)
            ),
        )
    } else if advisories.components == 0 {
        cant_tell(
            'b',
            saw,
            "a list of what runs here: `blueteam advisories inventory import`",
        )
    } else {
        cant_tell(
            'b',
            saw,
            "to know that these inventories name all that runs here",
        )
    }
}
