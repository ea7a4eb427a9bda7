//! What detections say to people: names, counts that grow, times in their zone.

use model::time::BusinessHours;

use super::*;
use crate::{Restored, User, Users};

#[test]
fn the_count_in_the_title_grows_with_the_attack() {
    let mut engine = new_engine(only_rule("brute_force"));
    (0..6).for_each(|n| engine.push(&failed_login(n).to_event()));
    let opened = drain_changes(&mut engine).remove(0).detection;
    assert_eq!(
        opened.title,
        "Brute force: 6 failed logins from 203.0.113.9 within 5m"
    );

    // One every two minutes: the window never holds more than six.
    let slow = |n: i64| failed_login(5 + n * 55);
    (1..=10).for_each(|n| engine.push(&slow(n).to_event()));
    let grown = drain_changes(&mut engine).remove(0).detection;
    assert_eq!(grown.event_count, 16);
    assert_eq!(
        grown.title,
        "Brute force: 16 failed logins from 203.0.113.9 within 10m"
    );
    assert!(
        grown.description.contains("16 logins failed within 10m"),
        "{}",
        grown.description
    );
}

#[test]
fn the_count_in_the_title_grows_after_a_restart() {
    let events: Vec<_> = (0..9).map(failed_login).collect();
    let mut before = new_engine(only_rule("brute_force"));
    events[..6].iter().for_each(|e| before.push(&e.to_event()));
    let stored = drain_changes(&mut before).remove(0).detection;

    let mut after = new_engine(only_rule("brute_force"));
    events[..6]
        .iter()
        .for_each(|e| after.rebuild(&e.to_event(), true));
    assert!(after.restore(Restored {
        detection: stored,
        hold_until: None
    }));
    events[6..].iter().for_each(|e| after.push(&e.to_event()));

    let grown = drain_changes(&mut after).remove(0).detection;
    assert_eq!(
        grown.title,
        "Brute force: 9 failed logins from 203.0.113.9 within 5m"
    );
}

fn night_access(metadata: Value) -> Draft {
    draft_event(-4 * 3600, Category::Data, "view")
        .user(7)
        .cui()
        .with_metadata(metadata)
}

fn title_of(engine: &mut Engine, event: Draft) -> Detection {
    run_in(engine, &[event]).remove(0)
}

#[test]
fn a_user_whose_name_is_known_is_named() {
    let id = Uuid::from_u128(7).to_string();
    let expected =
        |who: &str| format!("After-hours access: user {who} accessed CUI at 2026-03-02 06:00 UTC");
    let settings = only_rule("after_hours");

    let stated = title_of(
        &mut new_engine(settings.clone()),
        night_access(json!({"username": "carla"})),
    );
    assert_eq!(stated.title, expected("carla (00000000…)"));
    assert_eq!(stated.entity_name.as_deref(), Some("carla"));
    assert_eq!(stated.entity.value, id, "silences and keys go by the ID");

    let mut engine = new_engine(settings.clone());
    let known = User {
        name: Some("jsmith".to_owned()),
        ..User::default()
    };
    engine.set_users(Users::new([(Uuid::from_u128(7), known)]));
    let stored = title_of(&mut engine, night_access(json!({"username": "the target"})));
    assert_eq!(
        stored.title,
        expected("jsmith (00000000…)"),
        "the table goes first"
    );

    let unnamed = title_of(&mut new_engine(settings), night_access(json!({})));
    assert_eq!(unnamed.title, expected(&id));
    assert_eq!(unnamed.entity_name, None);
}

#[test]
fn times_are_those_of_the_people_at_work() {
    let settings = Settings {
        business_hours: BusinessHours {
            time_zone: "America/New_York".to_owned(),
            ..BusinessHours::default()
        },
        ..only_rule("after_hours")
    };

    let found = title_of(
        &mut new_engine(settings),
        night_access(json!({"username": "carla"})),
    );
    assert!(
        found
            .title
            .ends_with("accessed CUI at 2026-03-02 01:00 EST (06:00 UTC)"),
        "{}",
        found.title
    );
}

#[test]
fn a_session_is_known_by_its_user() {
    let login = draft_event(0, Category::Auth, "login")
        .user(7)
        .session("s-1")
        .ip("192.0.2.1");
    let elsewhere = draft_event(60, Category::Data, "view")
        .user(7)
        .session("s-1")
        .ip("198.51.100.9")
        .with_metadata(json!({"username": "carla"}));
    let found = run_events(only_rule("session_anomaly"), &[login, elsewhere]);

    assert_eq!(
        found[0].title,
        "Session replay: a session of user carla (00000000…) used from two addresses within 10m"
    );
    assert!(
        found[0].description.starts_with("Session s-1 was used"),
        "{}",
        found[0].description
    );
}
