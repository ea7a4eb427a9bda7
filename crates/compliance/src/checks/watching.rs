//! The conditions under which the system is monitored: a guard for every check that would return
//! met about monitoring.
//!
//! An enabled rule detects nothing while the daemon is stopped, while no event arrives, or while
//! the sources that it needs are silent. Without this guard an installation that has never received
//! one event looks like one without attacks.

use model::facts::{DaemonFacts, Facts, RuleFacts, SourceFacts};
use model::{Span, Timestamp};

use super::{CheckResult, cant_tell, list_first, met};

/// A detection task without a pulse for longer than this is not running. It gives one every ten
/// seconds.
const PULSE_MAX: Span = Span::mins(1);
/// An event that waits unread for longer than this means that the detection task is behind.
const UNREAD_MAX: Span = Span::mins(1);

/// Returns met if all known sources were monitored by all rules over the whole period; otherwise
/// "can't tell" with what is missing.
pub(super) fn met_if_watching<'r>(
    objective: char,
    facts: &Facts,
    rules: impl Iterator<Item = &'r RuleFacts>,
    saw: impl Into<String>,
) -> CheckResult {
    let mut missing = missing_daemon(facts.daemon.as_ref(), facts.taken_at);
    missing.extend(missing_sources(facts));
    missing.extend(missing_rules(rules));
    met_unless_missing(objective, saw, &missing)
}

/// Returns met if every known source was heard over the whole period; otherwise "can't tell" with
/// what is missing.
pub(super) fn met_if_recorded(
    objective: char,
    facts: &Facts,
    saw: impl Into<String>,
) -> CheckResult {
    met_unless_missing(objective, saw, &missing_sources(facts))
}

fn met_unless_missing(objective: char, saw: impl Into<String>, missing: &[String]) -> CheckResult {
    if missing.is_empty() {
        met(objective, saw)
    } else {
        cant_tell(objective, saw, missing.join("; "))
    }
}

fn missing_daemon(daemon: Option<&DaemonFacts>, now: Timestamp) -> Vec<String> {
    let Some(daemon) = daemon else {
        return vec!["to know whether the daemon runs".to_owned()];
    };
    let mut missing = Vec::new();

    // A pulse in the future comes from a wrong clock.
    let fresh = |at: Timestamp| at <= now.plus(PULSE_MAX) && now.since(at) <= PULSE_MAX;
    match daemon.pulse {
        None => missing.push("a running daemon: none has ever read the events".to_owned()),
        Some(at) if !daemon.running || !fresh(at) => {
            missing.push(format!(
                "a running daemon: the last one read the events at {at}"
            ));
        }
        Some(_) => {}
    }

    if let Some(since) = daemon
        .unread_since
        .filter(|since| now.since(*since) > UNREAD_MAX)
    {
        missing.push(format!(
            "the daemon to read the events that wait since {since}"
        ));
    }

    missing
}

fn missing_sources(facts: &Facts) -> Vec<String> {
    let Some(sources) = &facts.sources else {
        return vec!["to know the sources".to_owned()];
    };
    let since = facts.taken_at.minus(Span::days(i64::from(facts.days)));

    let names = |of: &dyn Fn(&&SourceFacts) -> bool| -> Vec<String> {
        sources
            .iter()
            .filter(of)
            .map(|s| s.source_id.clone())
            .collect()
    };

    if !sources.iter().any(|s| was_heard(s, since)) {
        return vec![format!(
            "a source that was heard within {} days",
            facts.days
        )];
    }

    let mut missing = Vec::new();
    let mut need = |what: &str, names: Vec<String>| {
        if !names.is_empty() {
            missing.push(format!("{what} {}", list_first(&names)));
        }
    };

    need("word from", names(&|s| !was_heard(s, since)));
    need(
        &format!("{} whole days of", facts.days),
        names(&|s| was_heard(s, since) && s.first_seen.is_none_or(|at| at > since)),
    );
    need("no gaps in", names(&|s| s.gaps > 0 || s.open_gaps > 0));

    missing
}

/// Returns whether a source sent something since `since`, and something of it was understood. A
/// configured source that still waits for its first line was not heard.
pub(super) fn was_heard(source: &SourceFacts, since: Timestamp) -> bool {
    source.understood.is_some_and(|n| n > 0) && source.last_received.is_some_and(|at| at >= since)
}

fn missing_rules<'r>(rules: impl Iterator<Item = &'r RuleFacts>) -> Vec<String> {
    let blind = |rule: &RuleFacts| rule.blind_to.as_ref().is_none_or(|kinds| !kinds.is_empty());
    let blind: Vec<String> = rules
        .filter(|rule| rule.enabled && blind(rule))
        .map(name_with_needs)
        .collect();
    if blind.is_empty() {
        Vec::new()
    } else {
        vec![format!(
            "what these rules are blind to: {}",
            list_first(&blind)
        )]
    }
}

fn name_with_needs(rule: &RuleFacts) -> String {
    match &rule.blind_to {
        Some(kinds) => format!("{} ({})", rule.rule_id, list_first(kinds)),
        None => format!("{} (not recorded)", rule.rule_id),
    }
}
