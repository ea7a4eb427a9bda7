//! Rules that depend on order, fed in the wrong one.

use super::*;

const HOME: &str = "192.0.2.1";
const AWAY: &str = "198.51.100.1";

#[test]
fn failures_in_any_order_are_the_same_failures() {
    let mut events: Vec<Draft> = (0..6).map(failure).collect();
    let straight = run(only("brute_force"), &events);
    events.reverse();
    let reversed = run(only("brute_force"), &events);
    assert_eq!(reversed.len(), 1);
    assert_eq!(
        (reversed[0].fingerprint, reversed[0].event_count),
        (straight[0].fingerprint, straight[0].event_count)
    );
}

#[test]
fn an_event_older_than_the_window_counts_as_late_and_for_nothing_else() {
    let mut engine = engine(only("brute_force"));
    for secs in [0, 301, 302, 303, 304, 305] {
        engine.push(&failure(secs).event());
    }
    engine.push(&failure(1).event());
    assert_eq!(engine.counters().late, 1);
    engine.finish();
    assert!(drain(&mut engine).is_empty());
}

#[test]
fn account_takeover_whichever_comes_first() {
    let before = draft(-3600, Category::Access, "view").user(7).ip(HOME);
    let change = draft(0, Category::Auth, "password_change").user(7).ip(HOME);
    let access = |secs: i64, ip| draft(secs, Category::Data, "view").user(7).ip(ip);
    check(
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
                    change.clone().result(Outcome::Failure),
                    access(60, AWAY),
                ],
            ),
            (
                "somebody else's access",
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
fn cross_tenant_waits_for_a_login_that_is_under_way() {
    let login = |secs: i64, tenant| draft(secs, Category::Auth, "login").user(7).tenant(tenant);
    let view = |secs: i64, tenant| draft(secs, Category::Data, "view").user(7).tenant(tenant);
    let stated = |tenant: u128| json!({ "home_instance_id": Uuid::from_u128(tenant).to_string() });
    check(
        "cross_tenant",
        &[
            ("at home", 0, vec![login(0, 1), view(5, 1)]),
            ("elsewhere", 1, vec![login(0, 1), view(5, 2)]),
            (
                "refused elsewhere",
                1,
                vec![login(0, 1), view(5, 2).result(Outcome::Denied)],
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
                "the event says its home",
                1,
                vec![view(5, 2).meta(stated(1))],
            ),
            (
                "the event says this is home",
                0,
                vec![login(0, 1), view(5, 2).meta(stated(2))],
            ),
            ("nobody knows the home", 0, vec![view(5, 2)]),
            (
                "no tenant",
                0,
                vec![login(0, 1), draft(5, Category::Data, "view").user(7)],
            ),
        ],
    );

    let mut engine = engine(only("cross_tenant"));
    let user = crate::User {
        role: None,
        tenant: Some(Uuid::from_u128(1)),
    };

    engine.set_users(crate::Users::new([(Uuid::from_u128(7), user)]));
    assert_eq!(
        run_in(&mut engine, &[view(5, 2)]).len(),
        1,
        "the tenant that users.users has"
    );
}

/// What was decided before a restart is in the stored past; what was not is decided after it.
#[test]
fn a_restart_decides_again_only_what_was_not_decided() {
    let login = draft(0, Category::Auth, "login").user(7).tenant(1);
    let view = |secs: i64| draft(secs, Category::Data, "view").user(7).tenant(2);
    let mut engine = engine(only("cross_tenant"));
    for event in [login, view(10), view(5000), view(20_000)] {
        engine.rebuild(&event.event(), false);
    }

    engine.resume(at(20_001));
    engine.advance(at(30_000));
    let told: Vec<_> = drain(&mut engine)
        .into_iter()
        .filter(|change| change.opened)
        .map(|c| c.detection.last_seen)
        .collect();
    assert_eq!(told, [at(20_000)]);
}

/// An old event that arrives late is no silence until today, and becomes none when the past is
/// shown in its order.
#[test]
fn a_restart_makes_no_silence_of_an_old_event() {
    let mut settings = only("audit_log_gap");
    settings.settle = Span::secs(30);
    let mut engine = engine(settings);
    for secs in [-600_000, -10, -5] {
        engine.rebuild(&draft(secs, Category::Access, "view").event(), true);
    }

    engine.resume(at(0));
    engine.push(&draft(1, Category::Access, "view").event());
    engine.advance(at(40));
    engine.advance(at(100));
    assert!(drain(&mut engine).is_empty());
}

#[test]
fn a_logout_that_arrives_late_still_ends_the_session() {
    let used = draft(20, Category::Access, "view")
        .user(7)
        .session("s")
        .ip(HOME);
    let logout = draft(10, Category::Auth, "logout")
        .user(7)
        .session("s")
        .ip(HOME);
    assert_eq!(count("session_anomaly", &[used.clone(), logout.clone()]), 1);

    assert_eq!(
        count("session_anomaly", &[Draft { at: at(9), ..used }, logout]),
        0,
        "used before it"
    );
}

#[test]
fn a_logout_that_arrives_after_the_next_login_is_of_the_session_before() {
    let event =
        |secs: i64, category, action| draft(secs, category, action).user(7).session("s").ip(HOME);
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

    assert_eq!(count("session_anomaly", &events), 0);
    let next = event(20, Category::Auth, "logout");
    assert_eq!(
        count(
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
        count("session_anomaly", &events),
        1,
        "a login before it saves nobody"
    );
}

/// What the product tells of itself at that time.
fn own_failure(secs: i64) -> SecurityEvent<'static> {
    let mut event = draft(secs, Category::System, "audit_failure")
        .result(Outcome::Failure)
        .event();
    event.resource_type = Some(model::event::OURSELVES.into());
    event.classify()
}

#[test]
fn a_failure_of_our_own_amid_a_backlog_does_not_hurry_it() {
    let login = |secs, tenant| {
        draft(secs, Category::Auth, "login")
            .user(7)
            .tenant(tenant)
            .ip(HOME)
    };

    let view = draft(5, Category::Data, "view").user(7).tenant(2).ip(HOME);
    let mut engine = engine(only("cross_tenant"));
    engine.advance(at(90_000));
    engine.push(&login(0, 1).event());
    engine.push(&view.event());
    engine.push(&own_failure(90_000));
    engine.advance(at(90_001));
    engine.push(&login(4, 2).event());

    engine.advance(at(90_100));
    assert!(!engine.has_changes(), "the user had logged in there");
}

#[test]
fn a_failure_of_our_own_does_not_show_that_the_application_speaks() {
    let mut engine = engine(only("audit_log_gap"));
    for event in [spoke(0).event(), own_failure(200), spoke(400).event()] {
        engine.push(&event);
    }

    engine.finish();
    let silences = drain(&mut engine)
        .into_iter()
        .filter(|change| change.detection.event_ids.is_empty());
    assert_eq!(silences.count(), 1);
}

fn spoke(secs: i64) -> Draft {
    draft(secs, Category::Access, "view")
}

#[test]
fn silence_is_noticed_in_a_replay() {
    check(
        "audit_log_gap",
        &[
            ("300 s", 0, vec![spoke(0), spoke(300)]),
            ("301 s", 1, vec![spoke(0), spoke(301)]),
            (
                "an event that arrives late breaks it",
                0,
                vec![spoke(0), spoke(310), spoke(295)],
            ),
            ("at night", 0, vec![spoke(12 * 3600), spoke(14 * 3600)]),
            (
                "logging says that it failed",
                1,
                vec![draft(0, Category::System, "audit_failure").result(Outcome::Failure)],
            ),
            (
                "a source that nobody expects",
                0,
                vec![
                    spoke(0).source(Source::Nginx),
                    spoke(900).source(Source::Nginx),
                ],
            ),
        ],
    );

    let expected = with("audit_log_gap", json!({"expected": ["nginx"]}));
    let nginx = [
        spoke(0).source(Source::Nginx),
        spoke(900).source(Source::Nginx),
    ];
    assert_eq!(run(expected, &nginx)[0].entity.value, "nginx");
}

#[test]
fn silence_is_noticed_by_the_clock() {
    let mut engine = engine(only("audit_log_gap"));
    engine.advance(at(0));
    engine.push(&spoke(0).event());
    engine.advance(at(300));
    assert!(!engine.has_changes(), "five minutes are allowed");
    engine.advance(at(302));

    let opened = drain(&mut engine);
    assert_eq!(
        (
            opened.len(),
            opened[0].opened,
            opened[0].detection.first_seen
        ),
        (1, true, at(0))
    );

    engine.advance(at(400));
    let extended = drain(&mut engine);
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

    let mut night = super::engine(only("audit_log_gap"));
    night.advance(at(12 * 3600));
    night.advance(at(14 * 3600));
    assert!(!night.has_changes(), "nobody works at night");
}

/// A source that has never spoken has not fallen silent; one that has is watched from then on.
#[test]
fn a_source_is_expected_from_its_first_event_on() {
    let mut engine = engine(only("audit_log_gap"));
    engine.set_unheard(vec![Source::AuditDb]);
    engine.advance(at(0));
    engine.advance(at(600));
    assert!(!engine.has_changes(), "nothing has ended");
    engine.push(&spoke(600).event());
    engine.advance(at(902));

    let opened = drain(&mut engine);
    assert_eq!((opened.len(), opened[0].detection.first_seen), (1, at(600)));
}
