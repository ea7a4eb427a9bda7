//! No check returns met for what blueteam cannot know: not with an empty record, not while nothing
//! is monitored, not from one example.

use model::Span;
use model::facts::{AdvisoryFacts, FeedFacts, RuleFacts, SampleAlert, SourceFacts};

use super::*;

/// Objectives that are fully covered by the database or the machine, or are a named person's own
/// act. Nothing else may be met without monitoring.
const OF_RECORD: &[&str] = &[
    // A person's signature, and the names in the configuration.
    "3.3.3[b]",
    "3.3.4[a]", // The rights and the triggers of the record itself.
    "3.3.8[b]",
    "3.3.8[c]", // Every objective was decided, and every deficiency is planned for.
    "3.12.1[b]",
    "3.12.2[a]",
    "3.12.2[b]", // A person's approval.
    "3.12.4[a]",
];
/// Objectives that may be met while all known sources are monitored.
const OF_WATCHING: &[&str] = &[
    "3.3.5[b]",
    "3.3.6[a]",
    "3.3.6[b]",
    "3.12.3[a]",
    "3.6.1[c]",
    "3.6.2[a]",
    "3.14.6[a]",
    "3.14.7[b]",
];
/// Of these, those for which a complete record is enough.
const OF_SOURCES: &[&str] = &["3.3.6[a]", "3.3.6[b]"];

fn heard_source(id: &str, kind: &str, facts: &Facts) -> SourceFacts {
    SourceFacts {
        source_id: id.to_owned(),
        last_received: Some(facts.taken_at.minus(Span::mins(5))),
        rejected: 0,
        open_gaps: 0,
        gaps: 0,
        skew_ms: Some(20),
        kind: Some(kind.to_owned()),
        first_seen: Some(facts.taken_at.minus(Span::days(90))),
        understood: Some(100_000),
    }
}

fn enabled_rule(id: &str) -> RuleFacts {
    RuleFacts {
        rule_id: id.to_owned(),
        enabled: true,
        controls: Vec::new(),
        last_fired: None,
        last_proven: None,
        proof_failed: false,
        blind_to: Some(Vec::new()),
    }
}

/// Facts of a fully monitored system: the daemon runs, each source was heard, each rule sees what
/// it needs.
pub(super) fn watched_facts() -> Facts {
    let mut facts = empty_sections();
    facts.daemon = Some(DaemonFacts {
        running: true,
        pulse: Some(facts.taken_at),
        unread_since: None,
    });

    facts.sources = Some(vec![
        heard_source("syslog:/var/log/auth.log", "syslog", &facts),
        heard_source("audit_db", "audit_db", &facts),
    ]);

    let of_users = [
        "after_hours",
        "cross_tenant",
        "privilege_escalation",
        "data_exfiltration",
        "account_takeover",
    ]
    .map(enabled_rule);
    facts.rules = Some(
        [
            &[enabled_rule("brute_force"), enabled_rule("audit_log_gap")][..],
            &of_users,
        ]
        .concat(),
    );

    facts.programme = Some(ProgrammeFacts {
        checks_run: 47,
        ..ProgrammeFacts::default()
    });

    facts
        .incidents
        .as_mut()
        .unwrap()
        .by_status
        .insert("closed".to_owned(), 3);

    facts
}

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

    facts.rules = watched_facts().rules;
    facts.alerts = Some(AlertFacts {
        by_severity: [("high".to_owned(), 1)].into(),
        acknowledged: 1,
        audit_failures: 1,
        deliveries: [("email delivered".to_owned(), 1)].into(),
        sample: vec![SampleAlert {
            alert_id: "1".to_owned(),
            rule_id: "brute_force".to_owned(),
            severity: "high".to_owned(),
            title: "x".to_owned(),
            created_at: facts.taken_at,
        }],
    });

    facts.incidents = watched_facts().incidents;
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
fn installation_without_sources_proposes_nothing_beyond_the_record() {
    assert_none_but(&[OF_RECORD], &empty_sections(), "every section empty");
    assert_none_but(
        &[OF_RECORD],
        &with_activity(empty_sections()),
        "one of everything, and no source",
    );
    assert_eq!(
        found_met(&empty_sections()),
        ["3.3.8[b]", "3.3.8[c]"].map(str::to_owned).into()
    );
}

#[test]
fn monitored_objectives_are_met() {
    assert_none_but(
        &[OF_RECORD, OF_WATCHING],
        &with_activity(watched_facts()),
        "all is watched",
    );

    let found = found_met(&watched_facts());
    for id in OF_WATCHING {
        assert!(found.contains(*id), "{id}: {found:?}");
    }
}

/// A change of facts that breaks monitoring.
type ChangeFacts = fn(&mut Facts);

fn first_source(facts: &mut Facts) -> &mut SourceFacts {
    &mut facts.sources.as_mut().unwrap()[0]
}

#[test]
fn stopped_or_stuck_daemon_means_no_monitoring() {
    let broken: [(&str, ChangeFacts); 6] = [
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
    ];

    for (what, change) in broken {
        let mut facts = with_activity(watched_facts());
        change(&mut facts);
        assert_none_but(&[OF_RECORD, OF_SOURCES], &facts, what);
    }
}

#[test]
fn silent_new_or_broken_sources_mean_no_monitoring() {
    let broken: [(&str, ChangeFacts); 8] = [
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
        ("a source that is new", |f| {
            first_source(f).first_seen = Some(f.taken_at.minus(Span::days(29)));
        }),
        ("a gap within the period", |f| first_source(f).gaps = 1),
        ("recorded by an older version", |f| {
            let old = first_source(f);
            (old.kind, old.first_seen, old.understood) = (None, None, None);
        }),
    ];

    for (what, change) in broken {
        let mut facts = with_activity(watched_facts());
        change(&mut facts);
        assert_none_but(&[OF_RECORD], &facts, what);
    }
}

#[test]
fn blind_rule_means_no_monitoring() {
    for blind_to in [Some(vec!["audit_db".to_owned()]), None] {
        let mut facts = with_activity(watched_facts());
        for rule in facts
            .rules
            .as_mut()
            .unwrap()
            .iter_mut()
            .filter(|r| r.rule_id == "after_hours")
        {
            rule.blind_to.clone_from(&blind_to);
        }

        assert_none_but(
            &[OF_RECORD, OF_SOURCES],
            &facts,
            "a rule about users is blind",
        );

        let text = (find("si_3_14_7").unwrap().decide)(&facts)
            .pop()
            .unwrap()
            .verdict
            .text();
        assert!(
            text.contains("needs what these rules are blind to: after_hours"),
            "{text}"
        );

        for rule in facts
            .rules
            .as_mut()
            .unwrap()
            .iter_mut()
            .filter(|r| r.rule_id == "after_hours")
        {
            rule.enabled = false;
        }
        assert!(!found_met(&facts).contains("3.14.7[b]"), "off is no better");
    }
}

#[test]
fn source_paths_and_console_logins_are_not_misread() {
    let mut facts = with_activity(watched_facts());
    facts.sources = Some(vec![heard_source(
        "php:/srv/access-denied-notes.log",
        "php_error",
        &facts,
    )]);
    assert_eq!(proposed_finding("si_3_14_6", 'b', &facts), None);
    facts.sources = Some(vec![heard_source(
        "nginx:/var/log/nginx/access.log",
        "nginx",
        &facts,
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
