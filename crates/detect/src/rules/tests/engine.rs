//! What the engine owes to every rule: bounds, restarts, and a past that is not told twice.

use model::Phase;

use super::*;
use crate::Restored;

fn usage(engine: &Engine, rule: &str) -> crate::Usage {
    engine
        .status()
        .into_iter()
        .find(|s| s.rule_id.as_str() == rule)
        .unwrap()
        .usage
}

#[test]
fn the_cap_on_keys_holds_and_evictions_are_counted() {
    let mut engine = engine(with("brute_force", json!({"max_keys": 2})));
    for (n, ip) in ["203.0.113.1", "203.0.113.2", "203.0.113.3"]
        .into_iter()
        .enumerate()
    {
        engine.push(&failure(n as i64).ip(ip).event());
    }
    let usage = usage(&engine, "brute_force");
    assert_eq!((usage.keys, usage.evicted), (2, 1));
    // The quietest one went: five more failures of the first address are five, of the third six.
    for n in 10..15 {
        engine.push(&failure(n).ip("203.0.113.3").event());
    }
    for n in 20..25 {
        engine.push(&failure(n).ip("203.0.113.1").event());
    }
    engine.finish();
    let found: Vec<String> = drain(&mut engine)
        .into_iter()
        .map(|c| c.detection.entity.value)
        .collect();
    assert_eq!(found, ["203.0.113.3"]);
}

#[test]
fn a_detection_opens_extends_and_closes() {
    let mut engine = engine(only("brute_force"));
    engine.advance(at(0));
    (0..6).for_each(|n| engine.push(&failure(n).event()));
    let changes = drain(&mut engine);
    assert_eq!(
        (changes.len(), changes[0].phase, changes[0].opened),
        (1, Phase::Opened, true)
    );

    engine.push(&failure(6).event());
    let changes = drain(&mut engine);
    assert_eq!(
        (
            changes[0].phase,
            changes[0].opened,
            changes[0].detection.event_count
        ),
        (Phase::Extended, false, 7)
    );

    engine.advance(at(300));
    assert!(!engine.has_changes());
    engine.advance(at(400));
    let changes = drain(&mut engine);
    assert_eq!((changes.len(), changes[0].phase), (1, Phase::Closed));
    engine.advance(at(401));
    assert_eq!(
        (engine.open_detections(), engine.has_changes()),
        (0, false),
        "forgotten once it was told"
    );
}

#[test]
fn an_alert_names_a_hundred_events_and_counts_all() {
    let found = &run(
        only("brute_force"),
        &(0..250).map(failure).collect::<Vec<_>>(),
    )[0];
    assert_eq!(
        (found.event_count, found.event_ids.len()),
        (250, crate::EVENT_IDS_MAX)
    );
}

#[test]
fn after_a_restart_a_detection_is_extended_and_not_opened_anew() {
    let mut before = engine(only("brute_force"));
    (0..6).for_each(|n| before.push(&failure(n).event()));
    let stored = drain(&mut before).remove(0).detection;

    let mut after = engine(only("brute_force"));
    (0..6).for_each(|n| after.rebuild(&failure(n).event(), true));
    assert!(!after.has_changes(), "what was told is not told again");
    assert!(after.restore(Restored {
        detection: stored.clone(),
        hold_until: None
    }));
    assert!(!after.has_changes());

    after.push(&failure(6).event());
    let changes = drain(&mut after);
    assert_eq!(
        (changes.len(), changes[0].phase, changes[0].opened),
        (1, Phase::Extended, false)
    );
    assert_eq!(changes[0].detection.fingerprint, stored.fingerprint);
    assert_eq!(changes[0].detection.event_count, 7);

    let mut without = engine(only("ai_abuse"));
    assert!(
        !without.restore(Restored {
            detection: stored,
            hold_until: None
        }),
        "its rule does not run"
    );
}

#[test]
fn windows_span_a_restart() {
    let mut engine = engine(only("brute_force"));
    (0..5).for_each(|n| engine.rebuild(&failure(n).event(), true));
    engine.push(&failure(5).event());
    assert_eq!(drain(&mut engine)[0].detection.event_count, 6);
}

#[test]
fn profiles_span_a_restart() {
    let view = |i: i64| {
        draft(i * 4600, Category::Access, "view")
            .user(7)
            .ip("192.0.2.1")
    };

    let mut before = engine(only("anomalous_access"));
    (0..20).for_each(|i| before.push(&view(i).event()));
    let mut after = engine(only("anomalous_access"));
    before
        .take_dirty_profiles()
        .into_iter()
        .for_each(|stored| after.restore_profile(stored));

    // Known to the stored profile: a rebuild must not learn it twice.
    after.rebuild(&view(19).event(), true);
    after.push(&view(20).ip("198.51.100.1").event());
    assert_eq!(drain(&mut after).len(), 1);
}

#[test]
fn the_same_events_give_the_same_fingerprints_in_every_process() {
    let events: Vec<Draft> = (0..6).map(failure).collect();
    let (a, b) = (
        run(only("brute_force"), &events),
        run(only("brute_force"), &events),
    );
    assert_eq!(a, b);

    let other: Vec<Draft> = events.iter().map(|e| e.clone().n(1)).collect();
    assert_ne!(
        run(only("brute_force"), &other)[0].fingerprint,
        a[0].fingerprint,
        "another first event"
    );
}

/// Whether they are shown one by one or looked up together; also when what was found ahead is given
/// up before its turn, because the caps are far too small.
#[test]
fn events_shown_together_say_what_they_say_alone() {
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

            draft(secs, category, action)
                .user(user)
                .session(session)
                .ip(ip)
                .agent("Firefox")
                .result(result)
        },
    );

    let caps = prop_oneof![Just(1_u64), Just(3), Just(1000)];
    proptest!(|(drafts in proptest::collection::vec(event, 1..200), cap in caps)| {
        let settings = || Settings {
            rules: crate::rules::ALL.iter().map(|d| (d.info.id.to_string(), json!({"max_keys": cap}))).collect(),
            users_max: cap as usize,
            ..Settings::default()
        };

        let (mut alone, mut together) = (engine(settings()), engine(settings()));
        let events: Vec<_> = drafts.iter().enumerate().map(|(n, d)| d.clone().n(n as u128 + 1).event()).collect();
        for event in &events {
            alone.push(event);
        }

        let mut glances = together.glances();
        let seen: Vec<_> = events.iter().map(|event| glances.at(event)).collect();
        together.push_all(&events, &seen);
        let end = |engine: &mut Engine| {
            engine.finish();
            let mut changes = drain(engine);
            changes.sort_by_key(|c| c.detection.fingerprint.0);
            changes
        };

        prop_assert_eq!(end(&mut alone), end(&mut together));
    });
}
