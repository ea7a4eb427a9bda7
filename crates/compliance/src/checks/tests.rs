mod honesty;

use std::collections::BTreeSet;

use model::facts::{
    AccountFacts, AlertFacts, DaemonFacts, DatabaseFacts, EventFacts, EventType, Facts, HostFacts,
    IncidentFacts, ProgrammeFacts, TransportFacts,
};
use model::{Finding, Timestamp};

use super::{ALL, Check, find};
use crate::catalog::Catalog;

fn nothing() -> Facts {
    Facts::none(Timestamp::from_secs(1_800_000_000), 30)
}

fn verdict(check: &str, objective: char, facts: &Facts) -> Option<Finding> {
    let check = find(check).unwrap();
    (check.decide)(facts)
        .into_iter()
        .find(|s| s.objective == objective)
        .unwrap()
        .verdict
        .finding()
}

#[test]
fn checks_are_about_objectives_that_exist_and_say_something_of_each_once() {
    let ids: BTreeSet<&str> = ALL.iter().map(|c| c.id).collect();
    assert_eq!(ids.len(), ALL.len());
    for check in ALL {
        let requirement = Catalog::r2().get(&check.control).unwrap();
        let says = (check.decide)(&nothing());
        let seen: BTreeSet<char> = says.iter().map(|s| s.objective).collect();
        assert_eq!(seen.len(), says.len(), "{}", check.id);

        for s in &says {
            let id = s.objective_id(&check.control);
            assert!(
                requirement.assessment_objectives.iter().any(|o| o.id == id),
                "{}: {id}",
                check.id
            );
        }

        assert_eq!(
            check.id.split('_').skip(1).collect::<Vec<_>>().join("."),
            check.control.0,
            "{}",
            check.id
        );
    }
}

#[test]
fn nobody_guesses_when_nothing_was_seen() {
    for check in ALL {
        for says in (check.decide)(&nothing()) {
            assert_eq!(
                says.verdict.finding(),
                None,
                "{}: {}",
                check.id,
                says.verdict.text()
            );
            assert!(says.verdict.text().contains("needs "), "{}", check.id);
        }
    }
}

/// Facts with every section, empty.
fn empty() -> Facts {
    Facts {
        events: Some(EventFacts::default()),
        sources: Some(Vec::new()),
        daemon: Some(DaemonFacts::default()),
        database: Some(DatabaseFacts {
            password_encryption: "scram-sha-256".to_owned(),
            ..Default::default()
        }),
        accounts: Some(AccountFacts::default()),
        rules: Some(Vec::new()),
        alerts: Some(AlertFacts::default()),
        incidents: Some(IncidentFacts::default()),
        programme: Some(ProgrammeFacts::default()),
        transport: Some(TransportFacts::default()),
        host: Some(HostFacts::default()),
        ..nothing()
    }
}

#[test]
fn a_check_decides_the_same_from_what_it_recorded() {
    let facts = empty();
    for check in ALL {
        let own = check.narrow(&facts);
        let recorded: Facts = serde_json::from_value(serde_json::to_value(&own).unwrap()).unwrap();
        assert_eq!(
            (check.decide)(&recorded),
            (check.decide)(&facts),
            "{} reads more than it says",
            check.id
        );
    }
}

#[test]
fn a_section_that_is_missing_is_enough_to_not_tell() {
    fn without(facts: &Facts, check: &Check) -> Facts {
        // Everything but the first section that it reads.
        let mut left = facts.clone();
        let (id, title, decide, control) =
            (check.id, check.title, check.decide, check.control.clone());
        let rest = Check {
            reads: &check.reads[..1],
            id,
            title,
            decide,
            control,
        };

        let first = rest.narrow(facts);
        macro_rules! drop { ($($field:ident),+) => { $(if first.$field.is_some() { left.$field = None; })+ }; }
        drop!(
            events, sources, daemon, database, accounts, rules, alerts, incidents, programme,
            transport, host
        );

        left
    }

    for check in ALL {
        let left = without(&empty(), check);
        assert!(
            (check.decide)(&left)
                .iter()
                .any(|s| s.verdict.finding().is_none()),
            "{}",
            check.id
        );
    }
}

#[test]
fn the_record_is_guarded_or_it_is_not() {
    let mut facts = empty();
    assert_eq!(verdict("au_3_3_8", 'b', &facts), Some(Finding::Met));
    let database = facts.database.as_mut().unwrap();
    database
        .may_change
        .push("app: DELETE on audit_events".to_owned());
    assert_eq!(verdict("au_3_3_8", 'c', &facts), Some(Finding::NotMet));
    facts.database = Some(DatabaseFacts {
        unguarded: vec!["audit_events_2026_11".to_owned()],
        ..Default::default()
    });

    assert_eq!(verdict("au_3_3_8", 'b', &facts), Some(Finding::NotMet));
}

#[test]
fn an_event_without_its_user_is_a_counterexample() {
    let of = |events, with_user| EventType {
        source: "audit_db".to_owned(),
        category: "data".to_owned(),
        action: "export".to_owned(),
        events,
        with_user,
        ..Default::default()
    };

    let mut facts = empty();
    facts.events.as_mut().unwrap().types = vec![of(10, 10)];
    assert_eq!(
        verdict("au_3_3_2", 'b', &facts),
        None,
        "a shared account has a name, too"
    );
    facts.events.as_mut().unwrap().types = vec![of(10, 9)];

    assert_eq!(verdict("au_3_3_2", 'b', &facts), Some(Finding::NotMet));
    facts.events.as_mut().unwrap().types.clear();
    assert_eq!(verdict("au_3_3_2", 'b', &facts), None);
}

#[test]
fn a_silent_source_blinds() {
    let mut facts = honesty::watched();
    facts.events.as_mut().unwrap().total = 1;
    assert_eq!(verdict("si_3_14_6", 'a', &facts), Some(Finding::Met));
    facts.sources.as_mut().unwrap()[0].skew_ms = Some(-5_000);
    assert_eq!(
        verdict("au_3_3_7", 'c', &facts),
        Some(Finding::NotMet),
        "a clock is ahead by five seconds"
    );

    facts.rules.as_mut().unwrap()[0].proof_failed = true;
    assert_eq!(
        verdict("si_3_14_6", 'a', &facts),
        Some(Finding::NotMet),
        "its fixtures say that it does not work"
    );

    let mut facts = honesty::watched();
    facts.sources.as_mut().unwrap()[0].open_gaps = 1;
    assert_eq!(verdict("si_3_14_6", 'a', &facts), Some(Finding::NotMet));
    assert_eq!(verdict("au_3_3_1", 'c', &facts), Some(Finding::NotMet));
}

#[test]
fn advisories_are_followed_or_not_and_answered_or_not() {
    use model::facts::{AdvisoryFacts, AlertFacts, FeedFacts};

    let mut facts = nothing();
    let feed = |days: i64, failed: bool| FeedFacts {
        name: "kev".to_owned(),
        items: 1300,
        read_at: facts.taken_at.minus(model::Span::days(days)),
        failed,
    };

    let (fresh, old, broken) = (feed(1, false), feed(31, false), feed(1, true));
    facts.alerts = Some(AlertFacts::default());
    facts.advisories = Some(AdvisoryFacts::default());
    let says = |facts: &Facts| ['a', 'b', 'c'].map(|o| verdict("si_3_14_3", o, facts));
    assert_eq!(
        says(&facts),
        [None, None, None],
        "no feed: they may be followed elsewhere"
    );

    let mut with = |feed: &FeedFacts, components, overdue, answered| {
        facts.advisories = Some(AdvisoryFacts {
            feeds: vec![feed.clone()],
            components,
            open: 3,
            overdue,
            answered,
        });
        says(&facts)
    };

    let not_met = Some(Finding::NotMet);
    assert_eq!(
        with(&fresh, 0, 0, 0),
        [None, None, None],
        "nothing to hold them against"
    );
    assert_eq!(
        with(&fresh, 9, 0, 0),
        [None, None, None],
        "an inventory may lack what runs here"
    );

    assert_eq!(
        with(&fresh, 9, 0, 2),
        [None, None, None],
        "one answer is a sample"
    );
    assert_eq!(with(&fresh, 9, 1, 2), [None, None, not_met]);
    assert_eq!(with(&old, 9, 0, 0)[1], not_met);
    assert_eq!(with(&broken, 9, 0, 0)[1], not_met);
}

#[test]
fn whoever_is_told_that_auditing_fails_has_a_name() {
    use model::facts::{AlertFacts, TransportFacts};

    let mut facts = nothing();
    (facts.rules, facts.alerts) = (Some(Vec::new()), Some(AlertFacts::default()));
    let mut with = |channels: &[&str], named: Option<&[&str]>| {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        facts.transport = Some(TransportFacts {
            ways: Vec::new(),
            channels: owned(channels),
            audit_failures: named.map(owned),
        });
        verdict("au_3_3_4", 'a', &facts)
    };

    assert_eq!(with(&["console"], Some(&[])), Some(Finding::NotMet));
    assert_eq!(with(&["email"], Some(&[])), None, "a mailbox is no name");
    assert_eq!(with(&["email"], None), None, "recorded before names were");
    assert_eq!(with(&["email"], Some(&["Ann"])), Some(Finding::Met));
}

#[test]
fn machines_say_what_they_are() {
    let mut facts = empty();
    let host = |fips, data_encrypted| HostFacts {
        fips,
        data_encrypted,
        ..Default::default()
    };

    for (seen, finding) in [
        (None, None),
        (Some(true), None),
        (Some(false), Some(Finding::NotMet)),
    ] {
        facts.host = Some(host(seen, seen));
        assert_eq!(verdict("sc_3_13_11", 'a', &facts), finding, "{seen:?}");
        assert_eq!(verdict("sc_3_13_16", 'a', &facts), finding, "{seen:?}");
    }
}

#[test]
fn what_left_the_approved_baseline_is_named() {
    let mut facts = empty();
    let drifted = |drift: &[&str]| HostFacts {
        drift: Some(drift.iter().map(ToString::to_string).collect()),
        ..Default::default()
    };

    let of = |check: &str, objective, facts: &Facts| verdict(check, objective, facts);
    // Without an approved baseline nothing is known; with one, what differs is a counterexample to
    // what it is about.
    let all = [("cm_3_4_2", 'b'), ("cm_3_4_3", 'c'), ("cm_3_4_6", 'b')];
    for (check, objective) in all {
        assert_eq!(of(check, objective, &facts), None, "{check}");
    }

    for (drift, expected) in [
        (&[][..], [None, None, None]),
        (&["packages"][..], [None, Some(Finding::NotMet), None]),
        (
            &["open ports"][..],
            [None, Some(Finding::NotMet), Some(Finding::NotMet)],
        ),
        (
            &["file /etc/sudoers"][..],
            [Some(Finding::NotMet), Some(Finding::NotMet), None],
        ),
    ] {
        facts.host = Some(drifted(drift));
        assert_eq!(
            all.map(|(check, objective)| of(check, objective, &facts)),
            expected,
            "{drift:?}"
        );
    }

    facts.host = Some(HostFacts {
        writable: Some(Vec::new()),
        ..Default::default()
    });

    assert_eq!(
        of("cm_3_4_5", 'h', &facts),
        None,
        "the other machines are not seen"
    );
    facts.host = Some(HostFacts {
        writable: Some(vec!["/etc".to_owned()]),
        ..Default::default()
    });

    assert_eq!(of("cm_3_4_5", 'h', &facts), Some(Finding::NotMet));
}

#[test]
fn a_password_of_which_nothing_is_kept_can_be_used_again() {
    let mut facts = empty();
    assert_eq!(
        verdict("ia_3_5_8", 'b', &facts),
        None,
        "older records do not say"
    );

    let accounts = |forgotten| AccountFacts {
        changed: Some(3),
        changed_without_history: Some(forgotten),
        ..Default::default()
    };

    facts.accounts = Some(accounts(0));
    assert_eq!(verdict("ia_3_5_8", 'b', &facts), None);
    facts.accounts = Some(accounts(1));
    assert_eq!(verdict("ia_3_5_8", 'b', &facts), Some(Finding::NotMet));
}

#[test]
fn what_the_policy_or_another_system_decides_is_nobody_s_to_guess() {
    let mut facts = empty();
    let logins = EventType {
        source: "audit_db".to_owned(),
        category: "auth".to_owned(),
        action: "login".to_owned(),
        events: 1000,
        ..Default::default()
    };

    facts.events.as_mut().unwrap().types = vec![logins];
    let rules = std::collections::BTreeMap::from([("minlen".to_owned(), "6".to_owned())]);
    facts.host = Some(HostFacts {
        pwquality: Some(rules),
        drift: Some(Vec::new()),
        ..Default::default()
    });

    facts.accounts = Some(AccountFacts {
        active: [("user".to_owned(), 5)].into(),
        ..Default::default()
    });

    for id in ["ia_3_5_3", "ia_3_5_7", "ia_3_5_9"] {
        for says in (find(id).unwrap().decide)(&facts) {
            assert_eq!(
                says.verdict.finding(),
                None,
                "{id}: {}",
                says.verdict.text()
            );
        }
    }

    let text = |id: &str| {
        (find(id).unwrap().decide)(&facts)
            .pop()
            .unwrap()
            .verdict
            .text()
    };

    assert!(
        text("ia_3_5_3").contains("1000 logins and 0 second factors")
            && text("ia_3_5_3").contains("not logged")
    );
    assert!(
        text("ia_3_5_7").contains("minlen = 6") && text("ia_3_5_7").contains("less than the eight")
    );
    assert!(text("ia_3_5_9").contains("of 5 accounts"));

    facts.accounts.as_mut().unwrap().temporary_used = 1;
    assert_eq!(
        verdict("ia_3_5_9", 'a', &facts),
        Some(Finding::NotMet),
        "that is a counterexample"
    );
    assert_eq!(
        verdict("cm_3_4_1", 'c', &facts),
        None,
        "one machine is not all of them"
    );
}

#[test]
fn facts_of_an_older_version_are_written_as_they_were() {
    let facts = empty();
    let text = serde_json::to_string(&facts).unwrap();
    for later in ["kernel", "services", "\"files\"", "writable", "changed"] {
        assert!(
            !text.contains(later),
            "{later} would make an old record look changed"
        );
    }
}
