//! Guarantees of the engine to every rule: bounds, restarts, and no repeated detections.

use model::Phase;

use super::*;
use crate::Restored;

fn rule_usage(engine: &Engine, rule: &str) -> crate::Usage {
    engine
        .status()
        .into_iter()
        .find(|s| s.rule_id.as_str() == rule)
        .unwrap()
        .usage
}

#[test]
fn keys_are_capped_and_evictions_counted() {
    let mut engine = new_engine(rule_with_params("brute_force", json!({"max_keys": 2})));
    for (n, ip) in ["203.0.113.1", "203.0.113.2", "203.0.113.3"]
        .into_iter()
        .enumerate()
    {
        engine.push(&failed_login(n as i64).ip(ip).to_event());
    }
    let usage = rule_usage(&engine, "brute_force");
    assert_eq!((usage.keys, usage.evicted), (2, 1));

    // The first address was evicted: five more failures make five for it, but six for the third.
    for n in 10..15 {
        engine.push(&failed_login(n).ip("203.0.113.3").to_event());
    }
    for n in 20..25 {
        engine.push(&failed_login(n).ip("203.0.113.1").to_event());
    }

    engine.finish();
    let found: Vec<String> = drain_changes(&mut engine)
        .into_iter()
        .map(|c| c.detection.entity.value)
        .collect();
    assert_eq!(found, ["203.0.113.3"]);
}

#[test]
fn detection_opens_extends_and_closes() {
    let mut engine = new_engine(only_rule("brute_force"));
    engine.advance_clock(at(0));
    (0..6).for_each(|n| engine.push(&failed_login(n).to_event()));
    let changes = drain_changes(&mut engine);
    assert_eq!(
        (changes.len(), changes[0].phase, changes[0].opened),
        (1, Phase::Opened, true)
    );

    engine.push(&failed_login(6).to_event());
    let changes = drain_changes(&mut engine);
    assert_eq!(
        (
            changes[0].phase,
            changes[0].opened,
            changes[0].detection.event_count
        ),
        (Phase::Extended, false, 7)
    );

    engine.advance_clock(at(300));
    assert!(!engine.has_changes());
    engine.advance_clock(at(400));
    let changes = drain_changes(&mut engine);
    assert_eq!((changes.len(), changes[0].phase), (1, Phase::Closed));
    engine.advance_clock(at(401));
    assert_eq!(
        (engine.open_detections(), engine.has_changes()),
        (0, false),
        "forgotten once it was reported"
    );
}

#[test]
fn detection_names_a_hundred_events_and_counts_all() {
    let found = &run_events(
        only_rule("brute_force"),
        &(0..250).map(failed_login).collect::<Vec<_>>(),
    )[0];
    assert_eq!(
        (found.event_count, found.event_ids.len()),
        (250, crate::EVENT_IDS_MAX)
    );
}

#[test]
fn restored_detection_is_extended_and_not_opened_again() {
    let mut before = new_engine(only_rule("brute_force"));
    (0..6).for_each(|n| before.push(&failed_login(n).to_event()));
    let stored = drain_changes(&mut before).remove(0).detection;

    let mut after = new_engine(only_rule("brute_force"));
    (0..6).for_each(|n| after.rebuild(&failed_login(n).to_event(), true));
    assert!(!after.has_changes(), "nothing is reported again");
    assert!(after.restore(Restored {
        detection: stored.clone(),
        hold_until: None
    }));
    assert!(!after.has_changes());

    after.push(&failed_login(6).to_event());
    let changes = drain_changes(&mut after);
    assert_eq!(
        (changes.len(), changes[0].phase, changes[0].opened),
        (1, Phase::Extended, false)
    );
    assert_eq!(changes[0].detection.fingerprint, stored.fingerprint);
    assert_eq!(changes[0].detection.event_count, 7);

    let mut without = new_engine(only_rule("ai_abuse"));
    assert!(
        !without.restore(Restored {
            detection: stored,
            hold_until: None
        }),
        "its rule does not run"
    );
}

#[test]
fn windows_survive_a_restart() {
    let mut engine = new_engine(only_rule("brute_force"));
    (0..5).for_each(|n| engine.rebuild(&failed_login(n).to_event(), true));
    engine.push(&failed_login(5).to_event());
    assert_eq!(drain_changes(&mut engine)[0].detection.event_count, 6);
}

#[test]
fn profiles_survive_a_restart() {
    let view = |i: i64| {
        draft_event(i * 4600, Category::Access, "view")
            .user(7)
            .ip("192.0.2.1")
    };

    let mut before = new_engine(only_rule("anomalous_access"));
    (0..20).for_each(|i| before.push(&view(i).to_event()));
    let mut after = new_engine(only_rule("anomalous_access"));
    before
        .take_dirty_profiles()
        .into_iter()
        .for_each(|stored| after.restore_profile(stored));

    // The stored profile includes it: a rebuild must not learn it twice.
    after.rebuild(&view(19).to_event(), true);
    after.push(&view(20).ip("198.51.100.1").to_event());
    assert_eq!(drain_changes(&mut after).len(), 1);
}

#[test]
fn fingerprints_do_not_depend_on_the_process() {
    let events: Vec<Draft> = (0..6).map(failed_login).collect();
    let (a, b) = (
        run_events(only_rule("brute_force"), &events),
        run_events(only_rule("brute_force"), &events),
    );
    assert_eq!(a, b);

    let other: Vec<Draft> = events.iter().map(|e| e.clone().with_number(1)).collect();
    assert_ne!(
        run_events(only_rule("brute_force"), &other)[0].fingerprint,
        a[0].fingerprint,
        "another first event"
    );
}

/// Also with caps that are far too small, so that prefetched slots are evicted before their events.
#[test]
fn batches_give_the_same_detections_as_single_events() {
    use proptest::prelude::*;

    let event = (0_i64..2000, 0_u128..6, 0_usize..5, 0_usize..4, 0_usize..6).prop_map(
        |(secs, user, session, ip, what)| {
            let (category, action) = [
                (Category::Auth, "login"),
                (Category::Auth, "login_failed"),
                (Category::Auth, "logout"),
                (Category::Auth, "password_change"),
                (Category::Data, "file_download"),
                (Category::Access, "page_view"),
            ][what];

            let session = ["", "s1", "s2", "s3", "s4"][session];
            let ip = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"][ip];
            let result = if action == "login_failed" {
                Outcome::Failure
            } else {
                Outcome::Success
            };

            draft_event(secs, category, action)
                .user(user)
                .session(session)
                .ip(ip)
                .agent("Firefox")
                .with_result(result)
        },
    );

    let caps = prop_oneof![Just(1_u64), Just(3), Just(1000)];
    proptest!(|(drafts in proptest::collection::vec(event, 1..200), cap in caps)| {
        let settings = || Settings {
            rules: crate::rules::ALL.iter().map(|d| (d.info.id.to_string(), json!({"max_keys": cap}))).collect(),
            users_max: cap as usize,
            ..Settings::default()
        };

        let (mut alone, mut together) = (new_engine(settings()), new_engine(settings()));
        let events: Vec<_> = drafts.iter().enumerate().map(|(n, d)| d.clone().with_number(n as u128 + 1).to_event()).collect();
        for event in &events {
            alone.push(event);
        }

        let mut prefilter = together.prefilter();
        let headers: Vec<_> = events.iter().map(|event| prefilter.header_of(event)).collect();
        together.push_all(&events, &headers);
        let end = |engine: &mut Engine| {
            engine.finish();
            let mut changes = drain_changes(engine);
            changes.sort_by_key(|c| c.detection.fingerprint.0);
            changes
        };

        prop_assert_eq!(end(&mut alone), end(&mut together));
    });
}

/// Raising the mean hour by hour, each time by less than the factor, works only up to the ceiling.
#[test]
fn exports_of_unknown_size_have_no_size_in_their_alert() {
    let exports = |bytes: u64| {
        let export = |i: i64| draft_event(i, Category::Data, "export_data").user(7);
        let export = |i| export(i).with_metadata(json!({ "bytes": bytes }));
        let found = run_events(
            only_rule("data_exfiltration"),
            &(0..30).map(export).collect::<Vec<_>>(),
        );
        let detection = found.into_iter().next().unwrap();
        format!("{}\n{}", detection.title, detection.description)
    };

    let texts = exports(0);
    assert!(texts.contains(" exported 30 times within "), "{texts}");
    assert!(!texts.contains("at least"), "{texts}");
    let texts = exports(1_000_000);
    assert!(
        texts.contains(" 30 times, at least 21 MB, within "),
        "{texts}"
    );
}

#[test]
fn a_patient_exporter_meets_the_ceiling() {
    let mut events = Vec::new();
    let mut id = 0;
    for (hour, exports) in [20, 90, 250, 550, 1100].into_iter().enumerate() {
        for n in 0..exports {
            id += 1;
            let secs = hour as i64 * 7200 + i64::from(n) * 3500 / i64::from(exports);
            let export = draft_event(secs, Category::Data, "export_data").user(7);
            events.push(export.with_number(id));
        }
    }

    let found = run_events(only_rule("data_exfiltration"), &events);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].event_count > 1000);
    let unlimited = json!({"ceiling": 1_000_000});
    let found = run_events(rule_with_params("data_exfiltration", unlimited), &events);
    assert_eq!(found.len(), 0, "the mean alone: {found:?}");
}
