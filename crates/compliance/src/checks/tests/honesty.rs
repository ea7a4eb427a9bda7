//! No check returns met for what blueteam cannot know: not with an empty record, not while nothing
//! is monitored, not from one example, not from a part.

use model::Span;
use model::facts::{AdvisoryFacts, FeedFacts, SampleAlert, SourceFacts};

use super::fixtures::{office, source};
use super::*;
use crate::checks::{CheckResult, Counted, Scope, met};

/// Objectives that may be met when every asset in scope was heard on every day, and understood.
const OF_RECORDS: &[&str] = &["3.3.6[a]", "3.3.6[b]"];
/// Objectives that may be met when all of that was monitored, too, and people heard of it.
const OF_MONITORING: &[&str] = &["3.14.6[a]"];

/// Returns the objectives that any check finds met.
fn found_met(facts: &Facts) -> BTreeSet<String> {
    let says = ALL.iter().flat_map(|check| {
        let own = check.narrow(facts);
        (check.decide)(&own)
            .into_iter()
            .map(|s| (s.objective_id(&check.control).0, s.verdict))
    });

    says.filter(|(_, verdict)| verdict.finding() == Some(Finding::Met))
        .map(|(id, _)| id)
        .collect()
}

fn assert_none_but(allowed: &[&[&str]], facts: &Facts, what: &str) {
    let allowed = allowed.concat();
    let beyond: Vec<String> = found_met(facts)
        .into_iter()
        .filter(|id| !allowed.contains(&id.as_str()))
        .collect();
    assert!(beyond.is_empty(), "{what}: {beyond:?}");
}

/// Adds as much activity of people and machines as possible, but no monitoring.
fn with_activity(mut facts: Facts) -> Facts {
    let types = [
        ["audit_db", "admin", "grant"],
        ["audit_db", "data", "export"],
        ["syslog", "auth", "account_locked"],
    ];

    let event = |[source, category, action]: [&str; 3]| EventType {
        source: source.to_owned(),
        category: category.to_owned(),
        action: action.to_owned(),
        events: 1,
        with_user: 1,
        with_address: 1,
        ..EventType::default()
    };

    facts.events = Some(EventFacts {
        total: 3,
        types: types.map(event).to_vec(),
        ..EventFacts::default()
    });

    facts.rules = office().rules;
    facts.alerts = Some(AlertFacts {
        by_severity: [("high".to_owned(), 1)].into(),
        acknowledged: 1,
        audit_failures: 1,
        deliveries: [("email delivered".to_owned(), 1)].into(),
        to_people: None,
        silences: None,
        sample: vec![SampleAlert {
            alert_id: "1".to_owned(),
            rule_id: "brute_force".to_owned(),
            severity: "high".to_owned(),
            title: "x".to_owned(),
            created_at: facts.taken_at,
        }],
    });

    facts.incidents = office().incidents;
    facts.programme = Some(ProgrammeFacts {
        objectives: 320,
        decided_in_a_year: 1,
        checks_run: 94,
        queries: 12,
        assets: [("cui".to_owned(), 1)].into(),
        ..ProgrammeFacts::default()
    });

    facts.advisories = Some(AdvisoryFacts {
        feeds: vec![FeedFacts {
            name: "kev".to_owned(),
            items: 1,
            read_at: facts.taken_at,
            failed: false,
        }],
        components: 1,
        open: 0,
        overdue: 0,
        answered: 1,
    });

    facts.transport = Some(TransportFacts {
        ways: Vec::new(),
        channels: vec!["email".to_owned()],
        audit_failures: Some(vec!["Ann".to_owned()]),
    });

    facts.host = Some(HostFacts {
        clock_synchronised: Some(true),
        time_servers: vec!["ntp.example".to_owned()],
        fips: Some(true),
        data_encrypted: Some(true),
        drift: Some(Vec::new()),
        open_ports: vec![22],
        lock_after: Some(5),
        ..HostFacts::default()
    });

    facts
}

#[test]
fn installation_without_sources_proposes_nothing() {
    assert_none_but(&[], &empty_sections(), "every section empty");
    assert_none_but(
        &[],
        &with_activity(empty_sections()),
        "one of everything, and no source",
    );
}

#[test]
fn objectives_are_met_at_full_coverage() {
    let wanted = [OF_RECORDS, OF_MONITORING].concat();
    assert_eq!(
        found_met(&office()),
        wanted.iter().map(ToString::to_string).collect()
    );
}

/// A change of facts that breaks what "met" rests on.
type ChangeFacts = fn(&mut Facts);

fn assert_each_leaves(allowed: &[&[&str]], broken: &[(&str, ChangeFacts)]) {
    for (what, change) in broken {
        let mut facts = office();
        change(&mut facts);
        assert_none_but(allowed, &facts, what);
    }
}

fn first_source(facts: &mut Facts) -> &mut SourceFacts {
    &mut facts.sources.as_mut().unwrap()[0]
}

fn report_on(facts: &mut Facts, host: &str, days: u16) {
    let inventory = facts.inventory.as_mut().unwrap();
    let hosts = inventory.reporting.as_mut().unwrap();
    hosts.insert(host.to_owned(), days);
}

#[test]
fn stopped_or_stuck_daemon_means_no_monitoring() {
    assert_each_leaves(
        &[OF_RECORDS],
        &[
            ("never ran", |f| f.daemon = Some(DaemonFacts::default())),
            ("is not recorded", |f| f.daemon = None),
            ("was stopped", |f| {
                f.daemon.as_mut().unwrap().running = false;
            }),
            ("hangs", |f| {
                f.daemon.as_mut().unwrap().pulse = Some(f.taken_at.minus(Span::secs(61)));
            }),
            ("has the pulse of a wrong clock", |f| {
                f.daemon.as_mut().unwrap().pulse = Some(f.taken_at.plus(Span::days(1)));
            }),
            ("is behind", |f| {
                f.daemon.as_mut().unwrap().unread_since = Some(f.taken_at.minus(Span::mins(2)));
            }),
        ],
    );
}

#[test]
fn silent_new_or_broken_sources_mean_no_monitoring() {
    assert_each_leaves(
        &[],
        &[
            ("no source", |f| f.sources = Some(Vec::new())),
            ("sources are not recorded", |f| f.sources = None),
            ("a source that waits for its file", |f| {
                let waiting = first_source(f);
                (waiting.last_received, waiting.understood) = (None, Some(0));
            }),
            ("a source of which nothing was understood", |f| {
                first_source(f).understood = Some(0);
            }),
            ("a source that was heard last month", |f| {
                first_source(f).last_received = Some(f.taken_at.minus(Span::days(31)));
            }),
            ("a source that may be silent for long, and is", |f| {
                first_source(f).last_received = Some(f.taken_at.minus(Span::days(2)));
            }),
            ("a source that is new", |f| {
                first_source(f).first_seen = Some(f.taken_at.minus(Span::days(29)));
            }),
            ("a gap within the period", |f| first_source(f).gaps = 1),
            ("lines that were not understood", |f| {
                first_source(f).unread = Some(1);
            }),
            ("one line in a year", |f| {
                first_source(f).understood = Some(1);
            }),
            ("a period of one day", |f| f.days = 1),
            ("a clock that is an hour behind", |f| {
                first_source(f).skew_ms = Some(3_600_000);
            }),
            ("recorded by an older version", |f| {
                let old = first_source(f);
                (old.kind, old.first_seen, old.understood) = (None, None, None);
            }),
        ],
    );
}

#[test]
fn assets_that_are_unlisted_or_silent_mean_no_monitoring() {
    assert_each_leaves(
        &[],
        &[
            ("no inventory was recorded", |f| f.inventory = None),
            ("an empty inventory", |f| {
                f.inventory.as_mut().unwrap().in_scope.clear();
            }),
            ("records do not name their host", |f| {
                f.inventory.as_mut().unwrap().reporting = None;
            }),
            ("an asset that was silent for a day", |f| {
                report_on(f, "cad-1", 29);
            }),
            ("an asset that never reported", |f| {
                f.inventory
                    .as_mut()
                    .unwrap()
                    .in_scope
                    .push("nas".to_owned());
            }),
            ("a host that is in no inventory", |f| {
                report_on(f, "laptop-7", 4);
            }),
            ("an inventory that nobody confirmed", |f| {
                f.inventory.as_mut().unwrap().confirmed = None;
            }),
            ("an inventory that was confirmed years ago", |f| {
                f.inventory.as_mut().unwrap().confirmed = Some(f.taken_at.minus(Span::days(400)));
            }),
            ("types of events that nobody reviewed", |f| {
                f.programme.as_mut().unwrap().last_review = None;
            }),
        ],
    );

    // A host that may be either of two assets shows neither.
    let mut facts = office();
    report_on(&mut facts, "web", 30);
    let both = ["web.prod.example", "web.test.example"].map(str::to_owned);
    facts.inventory.as_mut().unwrap().in_scope.extend(both);
    assert_none_but(&[], &facts, "two assets, one host");
    report_on(&mut facts, "web.prod.example", 30);
    assert_none_but(&[], &facts, "one of them is named");

    // People write names as they like.
    let mut facts = office();
    report_on(&mut facts, "NAS.office.example", 30);
    facts
        .inventory
        .as_mut()
        .unwrap()
        .in_scope
        .push("nas".to_owned());
    assert!(found_met(&facts).contains("3.14.6[a]"));
}

#[test]
fn rules_that_are_off_blind_or_untested_mean_no_monitoring() {
    assert_each_leaves(
        &[OF_RECORDS],
        &[
            ("a rule is off", |f| {
                f.rules.as_mut().unwrap()[3].enabled = false;
            }),
            ("a rule is blind", |f| {
                f.rules.as_mut().unwrap()[2].blind_to = Some(vec!["audit_db".to_owned()]);
            }),
            ("what a rule sees is not recorded", |f| {
                f.rules.as_mut().unwrap()[2].blind_to = None;
            }),
            ("a rule was never tested", |f| {
                f.rules.as_mut().unwrap()[2].last_proven = None;
            }),
            ("a rule does not pass its fixtures", |f| {
                f.rules.as_mut().unwrap()[2].proof_failed = true;
            }),
            ("a threshold that nobody reaches", |f| {
                f.rules.as_mut().unwrap()[2].changed_parameters = vec!["threshold".to_owned()];
            }),
            ("rules are not recorded", |f| f.rules = None),
            ("one rule of one's own, and none of blueteam's", |f| {
                let rules = f.rules.as_mut().unwrap();
                rules.truncate(1);
                rules[0].rule_id = "everything_is_fine".to_owned();
            }),
        ],
    );
}

#[test]
fn alerts_that_reach_nobody_mean_no_monitoring() {
    fn deliver(facts: &mut Facts, what: &[&str]) {
        let deliveries = what.iter().map(|what| ((*what).to_owned(), 3));
        facts.alerts.as_mut().unwrap().deliveries = deliveries.collect();
    }

    assert_each_leaves(
        &[OF_RECORDS],
        &[
            ("nothing was delivered", |f| deliver(f, &[])),
            ("only machines were notified", |f| {
                deliver(f, &["syslog delivered", "console delivered"]);
            }),
            ("some messages were given up", |f| {
                deliver(f, &["email delivered", "email dead"]);
            }),
            ("a silence", |f| {
                f.alerts.as_mut().unwrap().silences = Some(1);
            }),
            ("silences are not recorded", |f| {
                f.alerts.as_mut().unwrap().silences = None;
            }),
            ("nobody acknowledges", |f| {
                f.alerts.as_mut().unwrap().acknowledged = 1;
            }),
            ("there was no alert yet", |f| {
                f.alerts.as_mut().unwrap().by_severity.clear();
                f.alerts.as_mut().unwrap().acknowledged = 0;
            }),
            ("alerts are not recorded", |f| f.alerts = None),
        ],
    );
}

#[test]
fn coverage_below_the_population_overrules_a_check() {
    fn always_met(_: &Facts) -> Vec<CheckResult> {
        vec![met('a', "all is well")]
    }

    let check = |counted| Check {
        decide: always_met,
        control: find("au_3_3_1").unwrap().control.clone(),
        scope: Scope {
            counted,
            ..find("au_3_3_1").unwrap().scope
        },
        ..**find("au_3_3_1").as_ref().unwrap()
    };
    let mut facts = office();
    let text = |counted, facts: &Facts| check(counted).run(facts)[0].verdict.text();

    assert_eq!(
        text(Counted::Records, &facts),
        "seen on 5 of 5 hosts: all is well"
    );
    report_on(&mut facts, "cad-1", 29);
    assert_eq!(
        text(Counted::Records, &facts),
        "seen on 4 of 5 hosts: all is well; needs all hosts to be known and seen"
    );

    // One machine is a full population only where it is the whole system.
    assert!(text(Counted::Settings, &facts).contains("needs all hosts"));
    facts.inventory.as_mut().unwrap().in_scope = vec!["MONITOR.example.com".to_owned()];
    assert!(!text(Counted::Settings, &facts).contains("needs"));
    facts.inventory.as_mut().unwrap().in_scope.clear();
    assert!(text(Counted::Settings, &facts).contains("of an unknown number of hosts"));
}

#[test]
fn source_paths_and_console_logins_are_not_misread() {
    let mut facts = office();
    facts.sources = Some(vec![source(
        "php:/srv/access-denied-notes.log",
        "php_error",
        facts.taken_at,
    )]);
    assert_eq!(proposed_finding("si_3_14_6", 'b', &facts), None);
    facts.sources = Some(vec![source(
        "nginx:/var/log/nginx/access.log",
        "nginx",
        facts.taken_at,
    )]);

    assert_eq!(
        proposed_finding("si_3_14_6", 'b', &facts),
        None,
        "a web server's log is not the boundary"
    );

    let console = EventType {
        source: "syslog".to_owned(),
        category: "auth".to_owned(),
        action: "login_failed".to_owned(),
        events: 1,
        ..EventType::default()
    };

    facts.events.as_mut().unwrap().types = vec![console];
    facts.host.as_mut().unwrap().open_ports = vec![2222];
    assert_eq!(proposed_finding("ac_3_1_12", 'd', &facts), None);
    facts.host.as_mut().unwrap().open_ports = vec![22];
    assert_eq!(
        proposed_finding("ac_3_1_12", 'd', &facts),
        Some(Finding::NotMet),
        "SSH is open, and the console is all that was heard"
    );
}
