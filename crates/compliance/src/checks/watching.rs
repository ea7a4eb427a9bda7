//! The conditions under which the system is monitored: a guard for every check that would return
//! met about monitoring.
//!
//! An enabled rule detects nothing while the daemon is stopped, while no event arrives, or while
//! the sources that it needs are silent. Without this guard an installation that has never received
//! one event looks like one without attacks.

use model::facts::{AlertFacts, DaemonFacts, Facts, RuleFacts, SourceFacts};
use model::{Span, Timestamp};

use super::coverage::{unheard_hosts, unlisted_hosts};
use super::{CheckResult, cant_tell, list_first, met};

/// A detection task without a pulse for longer than this is not running. It gives one every ten
/// seconds.
const PULSE_MAX: Span = Span::mins(1);
/// An event that waits unread for longer than this means that the detection task is behind.
const UNREAD_MAX: Span = Span::mins(1);
/// A clock that is wrong by more than this moves events out of the windows of the rules, in
/// milliseconds.
const SKEW_MAX_MS: i64 = 60_000;

/// A day is no period: whoever is heard now may be silent at other times.
const PERIOD_MIN: u16 = 28;
/// Built-in rules without which monitoring has a hole. A table that lacks one has no row to say
/// that it is off.
pub const ATTACK_RULES: [&str; 24] = [
    "account_created",
    "account_takeover",
    "after_hours",
    "ai_abuse",
    "anomalous_access",
    "audit_log_gap",
    "audit_tampering",
    "brute_force",
    "credential_stuffing",
    "cross_source_attack",
    "cross_tenant",
    "data_exfiltration",
    "database_superuser_made",
    "distributed_guessing",
    "injection_attempt",
    "logging_stopped",
    "privilege_escalation",
    "privileged_group_added",
    "rate_limit_surge",
    "session_anomaly",
    "slow_spray",
    "success_after_brute_force",
    "sudo_refused",
    "web_scanner",
];
/// Channels that do not reach people by themselves, of the versions whose records do not say which
/// do.
const NOT_TO_PEOPLE: [&str; 4] = ["console", "syslog", "ocsf", "cef"];

/// Returns whether a channel reaches people by itself, rather than a terminal or another system.
pub(super) fn reaches_people(alerts: &AlertFacts, channel: &str) -> bool {
    match &alerts.to_people {
        Some(known) => known.iter().any(|name| name == channel),
        None => !NOT_TO_PEOPLE.contains(&channel),
    }
}

/// Returns met if the records of every asset arrived over the whole period, every rule looked at
/// them, and people hear of what the rules find; otherwise "can't tell" with what is missing.
pub(super) fn met_if_watching(
    objective: char,
    facts: &Facts,
    saw: impl Into<String>,
) -> CheckResult {
    let mut missing = missing_daemon(facts.daemon.as_ref(), facts.taken_at);
    missing.extend(missing_records(facts));
    missing.extend(missing_rules(facts.rules.as_deref()));
    missing.extend(missing_people(facts.alerts.as_ref()));
    met_unless_missing(objective, saw, &missing)
}

/// Returns met if the records of every asset arrived over the whole period; otherwise "can't tell"
/// with what is missing.
pub(super) fn met_if_recorded(
    objective: char,
    facts: &Facts,
    saw: impl Into<String>,
) -> CheckResult {
    met_unless_missing(objective, saw, &missing_records(facts))
}

/// Returns "can't tell" with what is missing for monitoring, followed by `needs`, which no
/// monitoring shows. For objectives that also rest on what the organization defined or does.
pub(super) fn watched_but(
    objective: char,
    facts: &Facts,
    saw: impl Into<String>,
    needs: &str,
) -> CheckResult {
    let mut missing = missing_daemon(facts.daemon.as_ref(), facts.taken_at);
    missing.extend(missing_sources(facts));
    missing.extend(missing_rules(facts.rules.as_deref()));
    missing.push(needs.to_owned());
    cant_tell(objective, saw, missing.join("; "))
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

/// Lists what is missing of the records: assets that nobody listed or that do not report, sources,
/// and a person who signed what is logged.
fn missing_records(facts: &Facts) -> Vec<String> {
    let mut missing = missing_assets(facts);
    missing.extend(missing_sources(facts));
    if facts.days < PERIOD_MIN {
        missing.push(format!("a period of {PERIOD_MIN} days or more"));
    }

    // Which records an asset must send is known only to a person.
    let reviewed = facts.programme.as_ref().and_then(|p| p.last_review);
    let since = facts.taken_at.minus(crate::review::VALID);
    if reviewed.is_none_or(|at| at < since || at > facts.taken_at) {
        missing.push("a signed review of the types of events that are logged".to_owned());
    }

    missing
}

fn missing_assets(facts: &Facts) -> Vec<String> {
    let Some(inventory) = &facts.inventory else {
        return vec!["to know the assets in scope".to_owned()];
    };
    if inventory.in_scope.is_empty() {
        return vec!["an asset inventory: no asset is in scope".to_owned()];
    }
    let mut missing = Vec::new();

    // An inventory that lacks a machine hides it from every count.
    let year = facts.taken_at.minus(Span::days(366));
    if inventory
        .confirmed
        .is_none_or(|at| at < year || at > facts.taken_at)
    {
        missing.push(
            "a person who found within a year that the asset inventory is maintained \
            (3.4.1[f])"
                .to_owned(),
        );
    }
    let unlisted = unlisted_hosts(inventory);
    if !unlisted.is_empty() {
        missing.push(format!(
            "an inventory with all hosts: {} reported and are not in scope",
            list_first(&unlisted)
        ));
    }

    if inventory.reporting.is_none() {
        missing.push("to know which hosts the records are from".to_owned());
        return missing;
    }
    let unheard = unheard_hosts(inventory, facts.days);
    if !unheard.is_empty() {
        missing.push(format!(
            "records of each of {} days from {}",
            facts.days,
            list_first(&unheard)
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
    need(
        "more than a sample of",
        names(&|s| {
            let rare = |entries: u64| entries > 0 && entries < u64::from(facts.days);
            s.understood.is_some_and(rare)
        }),
    );
    // A source that is allowed a long silence makes no gap.
    need(
        "records of the last day from",
        names(&|s| was_heard(s, since) && !was_heard(s, facts.taken_at.minus(Span::days(1)))),
    );
    need("no gaps in", names(&|s| s.gaps > 0 || s.open_gaps > 0));
    need(
        "to understand each line of",
        names(&|s| s.unread.map_or(s.rejected > 0, |lines| lines > 0)),
    );
    need(
        "a right clock in",
        names(&|s| s.skew_ms.is_some_and(|ms| ms.abs() > SKEW_MAX_MS)),
    );

    missing
}

/// Returns whether a source sent something since `since`, and something of it was understood. A
/// configured source that still waits for its first line was not heard.
pub(super) fn was_heard(source: &SourceFacts, since: Timestamp) -> bool {
    source.understood.is_some_and(|n| n > 0) && source.last_received.is_some_and(|at| at >= since)
}

fn missing_rules(rules: Option<&[RuleFacts]>) -> Vec<String> {
    let Some(rules) = rules.filter(|rules| !rules.is_empty()) else {
        return vec!["rules".to_owned()];
    };
    let names = |of: &dyn Fn(&&RuleFacts) -> bool| -> Vec<String> {
        rules
            .iter()
            .filter(of)
            .map(|rule| rule.rule_id.clone())
            .collect()
    };
    let mut missing = Vec::new();

    let mut off = names(&|rule| !rule.enabled);
    let absent = ATTACK_RULES
        .iter()
        .filter(|id| !rules.iter().any(|rule| rule.rule_id == **id));
    off.extend(absent.map(ToString::to_string));
    if !off.is_empty() {
        missing.push(format!("the rules that are off: {}", list_first(&off)));
    }

    let is_blind = |rule: &&RuleFacts| {
        rule.blind_to.as_ref().is_none_or(|kinds| !kinds.is_empty())
            || !rule.partly_blind_to.is_empty()
    };
    let blind: Vec<String> = rules
        .iter()
        .filter(|rule| rule.enabled && is_blind(rule))
        .map(name_with_needs)
        .collect();
    if !blind.is_empty() {
        missing.push(format!(
            "what these rules are blind to: {}",
            list_first(&blind)
        ));
    }

    // A threshold that nobody reaches is a rule that is off, and the fixtures run with the
    // defaults.
    let changed: Vec<String> = rules
        .iter()
        .filter(|rule| rule.enabled && !rule.changed_parameters.is_empty())
        .map(|rule| {
            let parameters = rule.changed_parameters.join(", ");
            format!("{} ({parameters})", rule.rule_id)
        })
        .collect();
    if !changed.is_empty() {
        missing.push(format!(
            "fixtures that show these rules to work with other parameters than the defaults: {}",
            list_first(&changed)
        ));
    }

    let untested = names(&|rule| rule.enabled && (rule.last_proven.is_none() || rule.proof_failed));
    if !untested.is_empty() {
        missing.push(format!(
            "fixtures that show these rules to work: {}",
            list_first(&untested)
        ));
    }

    missing
}

/// Lists what is missing for people to hear of alerts. A rule that fires into a void monitors
/// nothing.
fn missing_people(alerts: Option<&AlertFacts>) -> Vec<String> {
    let Some(alerts) = alerts else {
        return vec!["to know the alerts".to_owned()];
    };
    let mut missing = Vec::new();
    if alerts.silences.is_none_or(|n| n > 0) {
        missing.push("to know that no silence holds back alerts".to_owned());
    }

    let to_people = |state: &str| {
        alerts
            .deliveries
            .iter()
            .filter_map(|(what, n)| Some((what.split_once(' ')?, *n)))
            .filter(|((channel, to), _)| *to == state && reaches_people(alerts, channel))
            .map(|(_, n)| n)
            .sum::<u64>()
    };
    if to_people("delivered") == 0 {
        missing.push("an alert that was delivered to a person".to_owned());
    }
    if alerts
        .deliveries
        .iter()
        .any(|(what, n)| *n > 0 && !what.ends_with(" delivered"))
    {
        missing.push("every message to be delivered".to_owned());
    }

    let urgent: u64 = ["critical", "high"]
        .iter()
        .filter_map(|severity| alerts.by_severity.get(*severity))
        .sum();
    if alerts.acknowledged < urgent.max(1) {
        missing.push("people who acknowledge the urgent alerts".to_owned());
    }

    missing
}

fn name_with_needs(rule: &RuleFacts) -> String {
    match &rule.blind_to {
        Some(kinds) => {
            let unseen = [&kinds[..], &rule.partly_blind_to].concat();
            format!("{} ({})", rule.rule_id, list_first(&unseen))
        }
        None => format!("{} (not recorded)", rule.rule_id),
    }
}
