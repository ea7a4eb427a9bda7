//! Rules that depend on order, with events out of order.

use super::*;

const HOME: &str = "192.0.2.1";
const AWAY: &str = "198.51.100.1";

#[test]
fn order_of_failures_does_not_matter() {
    let mut events: Vec<Draft> = (0..6).map(failed_login).collect();
    let straight = run_events(only_rule("brute_force"), &events);
    events.reverse();
    let reversed = run_events(only_rule("brute_force"), &events);
    assert_eq!(reversed.len(), 1);
    assert_eq!(
        (reversed[0].fingerprint, reversed[0].event_count),
        (straight[0].fingerprint, straight[0].event_count)
    );
}

#[test]
fn event_older_than_the_window_only_counts_as_late() {
    let mut engine = new_engine(only_rule("brute_force"));
    for secs in [0, 301, 302, 303, 304, 305] {
        engine.push(&failed_login(secs).to_event());
    }
    engine.push(&failed_login(1).to_event());
    assert_eq!(engine.counters().late, 1);
    engine.finish();
    assert!(drain_changes(&mut engine).is_empty());
}

#[test]
fn account_takeover_in_either_order_of_arrival() {
    let before = draft_event(-3600, Category::Access, "view")
        .user(7)
        .ip(HOME);
    let change = draft_event(0, Category::Auth, "password_change")
        .user(7)
        .ip(HOME);
    let access = |secs: i64, ip| draft_event(secs, Category::Data, "view").user(7).ip(ip);

    check_cases(
        "account_takeover",
        &[
            (
                "from a new address",
                1,
                vec![before.clone(), change.clone(), access(60, AWAY)],
            ),
            (
                "the change arrives after the access",
                1,
                vec![before.clone(), access(20, AWAY), change.clone()],
            ),
            (
                "from a known address",
                0,
                vec![before.clone(), change.clone(), access(60, HOME)],
            ),
            (
                "1799 s later",
                1,
                vec![before.clone(), change.clone(), access(1799, AWAY)],
            ),
            (
                "1800 s later",
                0,
                vec![before.clone(), change.clone(), access(1800, AWAY)],
            ),
            (
                "before the change",
                0,
                vec![before.clone(), access(-10, AWAY), change.clone()],
            ),
            (
                "a failed change",
                0,
                vec![
                    before.clone(),
                    change.clone().with_result(Outcome::Failure),
                    access(60, AWAY),
                ],
            ),
            (
                "another user's access",
                0,
                vec![before.clone(), change.clone(), access(60, AWAY).user(8)],
            ),
            (
                "CUI of any category",
                1,
                vec![
                    before,
                    change,
                    Draft {
                        category: Category::Access,
                        ..access(60, AWAY)
                    }
                    .cui(),
                ],
            ),
        ],
    );
}

#[test]
fn cross_tenant_waits_for_a_late_login() {
    let login = |secs: i64, tenant| {
        draft_event(secs, Category::Auth, "login")
            .user(7)
            .tenant(tenant)
    };
    let view = |secs: i64, tenant| {
        draft_event(secs, Category::Data, "view")
            .user(7)
            .tenant(tenant)
    };
    let stated = |tenant: u128| json!({ "home_instance_id": Uuid::from_u128(tenant).to_string() });
    check_cases(
        "cross_tenant",
        &[
            ("at home", 0, vec![login(0, 1), view(5, 1)]),
            ("elsewhere", 1, vec![login(0, 1), view(5, 2)]),
            (
                "refused elsewhere",
                1,
                vec![login(0, 1), view(5, 2).with_result(Outcome::Denied)],
            ),
            (
                "logged in there meanwhile",
                0,
                vec![login(0, 1), login(4, 2), view(5, 2)],
            ),
            (
                "that login arrives after the access",
                0,
                vec![login(0, 1), view(5, 2), login(4, 2)],
            ),
            (
                "a login after the access does not excuse it",
                1,
                vec![login(0, 1), view(5, 2), login(6, 2)],
            ),
            (
                "the event states its home",
                1,
                vec![view(5, 2).with_metadata(stated(1))],
            ),
            (
                "the event states that this is home",
                0,
                vec![login(0, 1), view(5, 2).with_metadata(stated(2))],
            ),
            ("the home is not known", 0, vec![view(5, 2)]),
            (
                "no tenant",
                0,
                vec![login(0, 1), draft_event(5, Category::Data, "view").user(7)],
            ),
        ],
    );

    let mut engine = new_engine(only_rule("cross_tenant"));
    let user = crate::User {
        name: None,
        role: None,
        tenant: Some(Uuid::from_u128(1)),
    };

    engine.set_users(crate::Users::new([(Uuid::from_u128(7), user)]));
    assert_eq!(
        run_in(&mut engine, &[view(5, 2)]).len(),
        1,
        "the tenant in users.users"
    );
}

/// Accesses before the watermark were decided before the restart; the others are decided after it.
#[test]
fn only_undecided_accesses_are_decided_after_a_restart() {
    let login = draft_event(0, Category::Auth, "login").user(7).tenant(1);
    let view = |secs: i64| draft_event(secs, Category::Data, "view").user(7).tenant(2);
    let mut engine = new_engine(only_rule("cross_tenant"));
    for event in [login, view(10), view(5000), view(20_000)] {
        engine.rebuild(&event.to_event(), false);
    }

    engine.resume(at(20_001));
    engine.advance_clock(at(30_000));
    let told: Vec<_> = drain_changes(&mut engine)
        .into_iter()
        .filter(|change| change.opened)
        .map(|c| c.detection.last_seen)
        .collect();
    assert_eq!(told, [at(20_000)]);
}

/// An old event that arrived late is not a silence until today, also when the past is replayed in
/// order of time.
#[test]
fn old_event_is_not_a_silence_after_a_restart() {
    let mut settings = only_rule("audit_log_gap");
    settings.allowed_lateness = Span::secs(30);
    let mut engine = new_engine(settings);
    for secs in [-600_000, -10, -5] {
        engine.rebuild(
            &draft_event(secs, Category::Access, "view").to_event(),
            true,
        );
    }

    engine.resume(at(0));
    engine.push(&draft_event(1, Category::Access, "view").to_event());
    engine.advance_clock(at(40));
    engine.advance_clock(at(100));
    assert!(drain_changes(&mut engine).is_empty());
}

#[test]
fn late_logout_still_ends_the_session() {
    let used = draft_event(20, Category::Access, "view")
        .user(7)
        .session("s")
        .ip(HOME);
    let logout = draft_event(10, Category::Auth, "logout")
        .user(7)
        .session("s")
        .ip(HOME);
    assert_eq!(
        count_detections("session_anomaly", &[used.clone(), logout.clone()]),
        1
    );

    assert_eq!(
        count_detections("session_anomaly", &[Draft { at: at(9), ..used }, logout]),
        0,
        "used before it"
    );
}

#[test]
fn logout_after_the_next_login_belongs_to_the_session_before() {
    let event = |secs: i64, category, action| {
        draft_event(secs, category, action)
            .user(7)
            .session("s")
            .ip(HOME)
    };
    let (logout, login) = (
        event(10, Category::Auth, "logout"),
        event(11, Category::Auth, "login"),
    );
    let view = |secs| event(secs, Category::Access, "view");
    let events = [
        event(0, Category::Auth, "login"),
        login.clone(),
        logout.clone(),
        view(12),
        view(1000),
    ];

    assert_eq!(count_detections("session_anomaly", &events), 0);
    let next = event(20, Category::Auth, "logout");
    assert_eq!(
        count_detections(
            "session_anomaly",
            &[login.clone(), logout.clone(), next.clone(), view(25)]
        ),
        1,
        "used after the next"
    );

    let events = [
        view(5),
        Draft {
            at: at(12),
            ..logout
        },
        login,
        view(25),
    ];
    assert_eq!(
        count_detections("session_anomaly", &events),
        1,
        "a login before the logout does not matter"
    );
}

/// Returns a failure event of blueteam itself.
fn own_failure(secs: i64) -> SecurityEvent<'static> {
    let mut event = draft_event(secs, Category::System, "audit_failure")
        .with_result(Outcome::Failure)
        .to_event();
    event.resource_type = Some(model::event::OURSELVES.into());
    event.classify()
}

#[test]
fn own_failure_event_does_not_advance_the_watermark() {
    let login = |secs, tenant| {
        draft_event(secs, Category::Auth, "login")
            .user(7)
            .tenant(tenant)
            .ip(HOME)
    };

    let view = draft_event(5, Category::Data, "view")
        .user(7)
        .tenant(2)
        .ip(HOME);
    let mut engine = new_engine(only_rule("cross_tenant"));
    engine.advance_clock(at(90_000));
    engine.push(&login(0, 1).to_event());
    engine.push(&view.to_event());
    engine.push(&own_failure(90_000));
    engine.advance_clock(at(90_001));
    engine.push(&login(4, 2).to_event());

    engine.advance_clock(at(90_100));
    assert!(!engine.has_changes(), "the user had logged in there");
}

#[test]
fn own_failure_event_does_not_end_a_silence() {
    let mut engine = new_engine(only_rule("audit_log_gap"));
    for event in [
        app_event(0).to_event(),
        own_failure(200),
        app_event(400).to_event(),
    ] {
        engine.push(&event);
    }

    engine.finish();
    let silences = drain_changes(&mut engine)
        .into_iter()
        .filter(|change| change.detection.event_ids.is_empty());
    assert_eq!(silences.count(), 1);
}

fn app_event(secs: i64) -> Draft {
    draft_event(secs, Category::Access, "view")
}

#[test]
fn silence_is_found_in_a_replay() {
    check_cases(
        "audit_log_gap",
        &[
            ("300 s", 0, vec![app_event(0), app_event(300)]),
            ("301 s", 1, vec![app_event(0), app_event(301)]),
            (
                "an event that arrives late breaks it",
                0,
                vec![app_event(0), app_event(310), app_event(295)],
            ),
            (
                "at night",
                0,
                vec![app_event(12 * 3600), app_event(14 * 3600)],
            ),
            (
                "a source reports that logging failed",
                1,
                vec![
                    draft_event(0, Category::System, "audit_failure").with_result(Outcome::Failure),
                ],
            ),
            (
                "a source that is not expected",
                0,
                vec![
                    app_event(0).source(Source::Nginx),
                    app_event(900).source(Source::Nginx),
                ],
            ),
        ],
    );

    let expected = rule_with_params("audit_log_gap", json!({"expected": ["nginx"]}));
    let nginx = [
        app_event(0).source(Source::Nginx),
        app_event(900).source(Source::Nginx),
    ];
    assert_eq!(run_events(expected, &nginx)[0].entity.value, "nginx");
}

#[test]
fn silence_is_found_by_the_clock() {
    let mut engine = new_engine(only_rule("audit_log_gap"));
    engine.advance_clock(at(0));
    engine.push(&app_event(0).to_event());
    engine.advance_clock(at(300));
    assert!(!engine.has_changes(), "five minutes are allowed");
    engine.advance_clock(at(302));

    let opened = drain_changes(&mut engine);
    assert_eq!(
        (
            opened.len(),
            opened[0].opened,
            opened[0].detection.first_seen
        ),
        (1, true, at(0))
    );

    engine.advance_clock(at(400));
    let extended = drain_changes(&mut engine);
    assert_eq!(
        (
            extended.len(),
            extended[0].opened,
            extended[0].detection.last_seen
        ),
        (1, false, at(400))
    );

    assert_eq!(
        extended[0].detection.fingerprint,
        opened[0].detection.fingerprint
    );

    let mut night = new_engine(only_rule("audit_log_gap"));
    night.advance_clock(at(12 * 3600));
    night.advance_clock(at(14 * 3600));
    assert!(!night.has_changes(), "outside business hours");
}

/// A source that never sent an event has not fallen silent; it is expected from its first event on.
#[test]
fn source_is_expected_from_its_first_event_on() {
    let mut engine = new_engine(only_rule("audit_log_gap"));
    engine.set_unheard(vec![Source::AuditDb]);
    engine.advance_clock(at(0));
    engine.advance_clock(at(600));
    assert!(!engine.has_changes(), "nothing has ended");
    engine.push(&app_event(600).to_event());
    engine.advance_clock(at(902));

    let opened = drain_changes(&mut engine);
    assert_eq!((opened.len(), opened[0].detection.first_seen), (1, at(600)));
}
