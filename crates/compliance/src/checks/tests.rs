mod fixtures;
mod honesty;

use std::collections::BTreeSet;

use model::facts::{
    AccountFacts, AlertFacts, DaemonFacts, DatabaseFacts, EventFacts, EventType, Facts, HostFacts,
    IncidentFacts, ProgrammeFacts, TransportFacts,
};
use model::{Finding, Timestamp};

use super::{ALL, Check, find};
use crate::catalog::Catalog;

fn no_facts() -> Facts {
    Facts::none(Timestamp::from_secs(1_800_000_000), 30)
}

fn proposed_finding(check: &str, objective: char, facts: &Facts) -> Option<Finding> {
    let check = find(check).unwrap();
    check
        .run(facts)
        .into_iter()
        .find(|s| s.objective == objective)
        .unwrap()
        .verdict
        .finding()
}

#[test]
fn checks_cover_existing_objectives_once_each() {
    let ids: BTreeSet<&str> = ALL.iter().map(|c| c.id).collect();
    assert_eq!(ids.len(), ALL.len());
    for check in ALL {
        let requirement = Catalog::r2().get(&check.control).unwrap();
        let says = check.run(&no_facts());
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
fn the_reference_is_what_the_checks_say() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/checks.md");
    let made = super::reference();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(file, &made).unwrap();
    }
    assert!(
        std::fs::read_to_string(file).unwrap_or_default() == made,
        "docs/checks.md is not what the checks say; write it with \
            `WRITE_DOCS=1 cargo nextest run -p compliance reference`"
    );
}

#[test]
fn no_check_decides_without_facts() {
    for check in ALL {
        for says in check.run(&no_facts()) {
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

/// Facts with every section present and empty.
fn empty_sections() -> Facts {
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
        ..no_facts()
    }
}

#[test]
fn checks_decide_the_same_from_recorded_facts() {
    let facts = empty_sections();
    for check in ALL {
        let own = check.narrow(&facts);
        let recorded: Facts = serde_json::from_value(serde_json::to_value(&own).unwrap()).unwrap();
        assert_eq!(
            check.run(&recorded),
            check.run(&facts),
            "{} reads more than it says",
            check.id
        );
    }
}

#[test]
fn one_missing_section_leaves_an_objective_undecided() {
    fn without_first_section(facts: &Facts, check: &Check) -> Facts {
        // Everything but the first section that the check reads.
        let mut left = facts.clone();
        let rest = Check {
            reads: &check.reads[..1],
            control: check.control.clone(),
            ..*check
        };

        let first = rest.narrow(facts);
        macro_rules! drop {
            ($($field:ident),+) => {
                $(if first.$field.is_some() { left.$field = None; })+
            };
        }

        drop!(
            events, sources, daemon, database, accounts, rules, alerts, incidents, programme,
            transport, host, inventory
        );

        left
    }

    for check in ALL {
        let left = without_first_section(&empty_sections(), check);
        assert!(
            check
                .run(&left)
                .iter()
                .any(|s| s.verdict.finding().is_none()),
            "{}",
            check.id
        );
    }
}

#[test]
fn unguarded_tables_and_write_access_fail_3_3_8() {
    let mut facts = empty_sections();
    assert_eq!(
        proposed_finding("au_3_3_8", 'b', &facts),
        None,
        "a guarded record is empty, and the logs on the hosts are not seen"
    );
    let database = facts.database.as_mut().unwrap();
    database
        .may_change
        .push("app: DELETE on audit_events".to_owned());
    assert_eq!(
        proposed_finding("au_3_3_8", 'c', &facts),
        Some(Finding::NotMet)
    );
    facts.database = Some(DatabaseFacts {
        unguarded: vec!["audit_events_2026_11".to_owned()],
        ..Default::default()
    });

    assert_eq!(
        proposed_finding("au_3_3_8", 'b', &facts),
        Some(Finding::NotMet)
    );
}

#[test]
fn events_without_a_user_fail_3_3_2() {
    let of = |events, with_user| EventType {
        source: "audit_db".to_owned(),
        category: "data".to_owned(),
        action: "export".to_owned(),
        events,
        with_user,
        ..Default::default()
    };

    let mut facts = empty_sections();
    facts.events.as_mut().unwrap().types = vec![of(10, 10)];
    assert_eq!(
        proposed_finding("au_3_3_2", 'b', &facts),
        None,
        "a shared account has a name, too"
    );
    facts.events.as_mut().unwrap().types = vec![of(10, 9)];

    assert_eq!(
        proposed_finding("au_3_3_2", 'b', &facts),
        Some(Finding::NotMet)
    );
    facts.events.as_mut().unwrap().types.clear();
    assert_eq!(proposed_finding("au_3_3_2", 'b', &facts), None);
}

#[test]
fn gaps_skew_and_failed_rule_tests_fail_monitoring() {
    let mut facts = fixtures::office();
    assert_eq!(
        proposed_finding("si_3_14_6", 'a', &facts),
        Some(Finding::Met)
    );
    facts.sources.as_mut().unwrap()[0].skew_ms = Some(-5_000);
    assert_eq!(
        proposed_finding("au_3_3_7", 'c', &facts),
        Some(Finding::NotMet),
        "a clock is ahead by five seconds"
    );

    facts.rules.as_mut().unwrap()[0].proof_failed = true;
    assert_eq!(
        proposed_finding("si_3_14_6", 'a', &facts),
        Some(Finding::NotMet),
        "its fixtures say that it does not work"
    );

    let mut facts = fixtures::office();
    facts.sources.as_mut().unwrap()[0].open_gaps = 1;
    assert_eq!(
        proposed_finding("si_3_14_6", 'a', &facts),
        Some(Finding::NotMet)
    );
    assert_eq!(
        proposed_finding("au_3_3_1", 'c', &facts),
        Some(Finding::NotMet)
    );
}

#[test]
fn stale_feeds_and_overdue_advisories_fail_3_14_3() {
    use model::facts::{AdvisoryFacts, AlertFacts, FeedFacts};

    let mut facts = no_facts();
    let feed = |days: i64, failed: bool| FeedFacts {
        name: "kev".to_owned(),
        items: 1300,
        read_at: facts.taken_at.minus(model::Span::days(days)),
        failed,
    };

    let (fresh, old, broken) = (feed(1, false), feed(31, false), feed(1, true));
    facts.alerts = Some(AlertFacts::default());
    facts.advisories = Some(AdvisoryFacts::default());
    let says = |facts: &Facts| ['a', 'b', 'c'].map(|o| proposed_finding("si_3_14_3", o, facts));
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
fn contacts_for_audit_failures_must_be_named() {
    use model::facts::{AlertFacts, TransportFacts};

    let mut facts = no_facts();
    (facts.rules, facts.alerts) = (Some(Vec::new()), Some(AlertFacts::default()));
    let mut with = |channels: &[&str], named: Option<&[&str]>| {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        facts.transport = Some(TransportFacts {
            ways: Vec::new(),
            channels: owned(channels),
            audit_failures: named.map(owned),
        });
        proposed_finding("au_3_3_4", 'a', &facts)
    };

    assert_eq!(with(&["console"], Some(&[])), Some(Finding::NotMet));
    assert_eq!(with(&["email"], Some(&[])), None, "a mailbox is no name");
    assert_eq!(with(&["email"], None), None, "recorded before names were");
    assert_eq!(with(&["email"], Some(&["Ann"])), None, "Ann may have left");
}

#[test]
fn records_say_which_channels_reach_people_and_older_ones_are_read_as_they_were_meant() {
    use model::facts::{AlertFacts, TransportFacts};

    let mut facts = no_facts();
    let mut with = |channel: &str, to_people: Option<&[&str]>| {
        facts.rules = Some(Vec::new());
        facts.transport = Some(TransportFacts {
            channels: vec![channel.to_owned()],
            ..TransportFacts::default()
        });
        facts.alerts = Some(AlertFacts {
            to_people: to_people.map(|list| list.iter().map(ToString::to_string).collect()),
            ..AlertFacts::default()
        });
        proposed_finding("au_3_3_4", 'a', &facts)
    };

    assert_eq!(with("printer", Some(&["email"])), Some(Finding::NotMet));
    assert_eq!(with("printer", Some(&["email", "printer"])), None);
    assert_eq!(with("email", None), None);
    assert_eq!(with("cef", None), Some(Finding::NotMet));
}

#[test]
fn kernel_modes_and_disks_of_one_machine_decide_nothing() {
    let mut facts = empty_sections();
    for seen in [None, Some(true), Some(false)] {
        facts.host = Some(HostFacts {
            fips: seen,
            data_encrypted: seen,
            ..HostFacts::default()
        });
        for check in ["sc_3_13_11", "sc_3_13_16"] {
            assert_eq!(proposed_finding(check, 'a', &facts), None, "{seen:?}");
        }
    }
}

#[test]
fn drift_fails_the_check_that_it_is_about() {
    let mut facts = empty_sections();
    let drifted = |drift: &[&str]| HostFacts {
        drift: Some(drift.iter().map(ToString::to_string).collect()),
        ..Default::default()
    };

    let of = |check: &str, objective, facts: &Facts| proposed_finding(check, objective, facts);
    // Without an approved baseline nothing is known; with one, a difference is a counterexample for
    // the check that it is about.
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
fn missing_password_history_fails_3_5_8() {
    let mut facts = empty_sections();
    assert_eq!(
        proposed_finding("ia_3_5_8", 'b', &facts),
        None,
        "older records do not say"
    );

    let accounts = |forgotten| AccountFacts {
        changed: Some(3),
        changed_without_history: Some(forgotten),
        ..Default::default()
    };

    facts.accounts = Some(accounts(0));
    assert_eq!(proposed_finding("ia_3_5_8", 'b', &facts), None);
    facts.accounts = Some(accounts(1));
    assert_eq!(
        proposed_finding("ia_3_5_8", 'b', &facts),
        Some(Finding::NotMet)
    );
}

#[test]
fn objectives_that_depend_on_policy_or_other_systems_stay_undecided() {
    let mut facts = empty_sections();
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
        for says in find(id).unwrap().run(&facts) {
            assert_eq!(
                says.verdict.finding(),
                None,
                "{id}: {}",
                says.verdict.text()
            );
        }
    }

    let text = |id: &str| find(id).unwrap().run(&facts).pop().unwrap().verdict.text();

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
        proposed_finding("ia_3_5_9", 'a', &facts),
        Some(Finding::NotMet),
        "that is a counterexample"
    );
    assert_eq!(
        proposed_finding("cm_3_4_1", 'c', &facts),
        None,
        "one machine is not all of them"
    );
}

#[test]
fn facts_of_an_older_version_serialize_unchanged() {
    let facts = empty_sections();
    let text = serde_json::to_string(&facts).unwrap();
    for later in [
        "kernel",
        "services",
        "\"files\"",
        "writable",
        "changed",
        "inventory",
        "owners",
        "silences",
    ] {
        assert!(
            !text.contains(later),
            "{later} would make an old record look changed"
        );
    }
}
