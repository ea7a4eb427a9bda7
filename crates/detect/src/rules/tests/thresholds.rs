//! The thresholds at which each rule begins to fire.

use super::*;

#[test]
fn brute_force_threshold() {
    let six = |gap: i64| (0..6).map(|n| failed_login(n * gap)).collect::<Vec<_>>();
    let mut other_address = six(1);
    other_address[5] = failed_login(5).ip("203.0.113.10");
    let mut other_source = six(1);
    other_source[5] = failed_login(5).source(Source::Syslog);

    let mut success = six(1);
    success[5] = draft_event(5, Category::Auth, "login").ip("203.0.113.9");
    check_cases(
        "brute_force",
        &[
            ("five", 0, six(1)[..5].to_vec()),
            ("six", 1, six(1)),
            (
                "the sixth 299 s after the first",
                1,
                [six(1)[..5].to_vec(), vec![failed_login(299)]].concat(),
            ),
            (
                "the sixth 300 s after the first",
                0,
                [six(1)[..5].to_vec(), vec![failed_login(300)]].concat(),
            ),
            ("the same event six times", 0, vec![failed_login(0); 6]),
            ("another address", 0, other_address),
            ("another source", 0, other_source),
            ("a success is not a failure", 0, success),
            (
                "one line that says six times",
                1,
                vec![failed_login(0).times(6)],
            ),
            (
                "one line that says five times",
                0,
                vec![failed_login(0).times(5)],
            ),
            (
                "`login` that failed counts too",
                1,
                (0..6)
                    .map(|n| Draft {
                        action: "login",
                        ..failed_login(n)
                    })
                    .collect(),
            ),
            (
                "no address, no key",
                0,
                (0..9)
                    .map(|n| Draft {
                        ip: None,
                        ..failed_login(n)
                    })
                    .collect(),
            ),
            (
                "again before the cooldown is over",
                1,
                [six(1), (100..106).map(failed_login).collect()].concat(),
            ),
            (
                "again long after",
                2,
                [six(1), (1000..1006).map(failed_login).collect()].concat(),
            ),
        ],
    );

    let found = &run_events(
        only_rule("brute_force"),
        &[six(1), vec![failed_login(9)]].concat(),
    )[0];
    assert_eq!(
        (found.event_count, found.first_seen, found.last_seen),
        (7, at(0), at(9))
    );
    assert_eq!(found.entity.value, "203.0.113.9");
}

#[test]
fn credential_stuffing_threshold() {
    let tries = |n: i64, gap: i64| {
        (0..n)
            .map(|i| failed_login(i * gap).with_metadata(json!({ "username": format!("u{i}") })))
            .collect::<Vec<_>>()
    };

    let same = |n: i64| {
        (0..n)
            .map(|i| failed_login(i).with_metadata(json!({"username": "root"})))
            .collect::<Vec<_>>()
    };

    check_cases(
        "credential_stuffing",
        &[
            ("ten accounts", 0, tries(10, 1)),
            ("eleven", 1, tries(11, 1)),
            ("eleven, the last 590 s after the first", 1, tries(11, 59)),
            ("eleven, the last 600 s after the first", 0, tries(11, 60)),
            ("one account fifty times", 0, same(50)),
            (
                "accounts from mail addresses",
                1,
                (0..11)
                    .map(|i| failed_login(i).with_metadata(json!({"email": format!("{i}@x")})))
                    .collect(),
            ),
        ],
    );
}

#[test]
fn privilege_escalation_cases() {
    let reach = |role: Option<&str>, resource: &str| {
        let meta = role.map_or(json!({}), |role| json!({ "role": role }));
        draft_event(0, Category::Access, "page_view")
            .user(7)
            .resource(resource)
            .with_metadata(meta)
    };

    let admin = draft_event(0, Category::Admin, "user_create")
        .user(7)
        .with_metadata(json!({"role": "user"}));
    let own = Draft {
        action: "password_change",
        ..admin.clone()
    };

    check_cases(
        "privilege_escalation",
        &[
            (
                "a user on an admin endpoint",
                1,
                vec![reach(Some("user"), "/api/admin/users")],
            ),
            (
                "refused",
                1,
                vec![reach(Some("user"), "/admin/").with_result(Outcome::Denied)],
            ),
            (
                "an administrator",
                0,
                vec![reach(Some("system_admin"), "/api/admin/users")],
            ),
            ("an unknown role", 0, vec![reach(None, "/api/admin/users")]),
            (
                "an ordinary page",
                0,
                vec![reach(Some("user"), "/documents/administration")],
            ),
            (
                "the settings",
                1,
                vec![reach(Some("user"), "/app/settings.php")],
            ),
            ("category admin", 1, vec![admin.clone()]),
            ("their own password", 0, vec![own.clone()]),
            (
                "their own password by id",
                0,
                vec![own.clone().resource(&Uuid::from_u128(7).to_string())],
            ),
            (
                "another user's password",
                1,
                vec![own.resource(&Uuid::from_u128(8).to_string())],
            ),
            (
                "no user",
                0,
                vec![Draft {
                    user: None,
                    ..admin
                }],
            ),
        ],
    );

    let mut unknown = new_engine(only_rule("privilege_escalation"));
    unknown.push(&reach(None, "/admin/x").to_event());
    assert_eq!(unknown.counters().unknown_role, 1);
    let mut stored = new_engine(only_rule("privilege_escalation"));
    let user = crate::User {
        name: None,
        role: Some("viewer".to_owned()),
        tenant: None,
    };

    stored.set_users(crate::Users::new([(Uuid::from_u128(7), user)]));
    assert_eq!(
        run_in(&mut stored, &[reach(None, "/admin/x")]).len(),
        1,
        "the role that users.users has"
    );
}

/// Returns the events of a known user: `n` views over `hours` from one address.
fn familiar_user(n: i64, hours: i64) -> Vec<Draft> {
    let view = |i: i64| {
        draft_event(i * hours * 3600 / (n - 1), Category::Access, "view")
            .user(7)
            .ip("192.0.2.1")
            .agent("A")
    };
    (0..n).map(view).collect()
}

#[test]
fn anomalous_access_cases() {
    let new_ip = draft_event(200_000, Category::Access, "view")
        .user(7)
        .ip("198.51.100.1")
        .agent("A");
    let after = |known: Vec<Draft>, more: &[Draft]| [known, more.to_vec()].concat();
    check_cases(
        "anomalous_access",
        &[
            (
                "a new address",
                1,
                after(familiar_user(20, 24), std::slice::from_ref(&new_ip)),
            ),
            (
                "19 events",
                0,
                after(familiar_user(19, 24), std::slice::from_ref(&new_ip)),
            ),
            (
                "20 within 23 hours",
                0,
                after(familiar_user(20, 23), std::slice::from_ref(&new_ip)),
            ),
            (
                "a new agent",
                1,
                after(
                    familiar_user(20, 24),
                    &[new_ip.clone().ip("192.0.2.1").agent("B")],
                ),
            ),
            (
                "both new are one",
                1,
                after(familiar_user(20, 24), &[new_ip.clone().agent("B")]),
            ),
            (
                "a failure",
                0,
                after(
                    familiar_user(20, 24),
                    &[new_ip.clone().with_result(Outcome::Failure)],
                ),
            ),
            (
                "another user",
                0,
                after(familiar_user(20, 24), &[new_ip.clone().user(8)]),
            ),
            (
                "learned: not new the second time",
                1,
                after(
                    familiar_user(20, 24),
                    &[
                        new_ip.clone(),
                        Draft {
                            at: at(300_000),
                            n: 3,
                            ..new_ip.clone()
                        },
                    ],
                ),
            ),
        ],
    );

    let both = &run_events(
        only_rule("anomalous_access"),
        &after(familiar_user(20, 24), &[new_ip.agent("B")]),
    )[0];
    assert!(
        both.title.contains("198.51.100.1") && both.title.contains('B'),
        "{}",
        both.title
    );
}

#[test]
fn data_exfiltration_threshold() {
    let export = |i: i64| draft_event(i, Category::Data, "export_data").user(7);
    let exports =
        |n: i64, from: i64, gap: i64| (0..n).map(|i| export(from + i * gap)).collect::<Vec<_>>();
    let megabytes = |n: u64| vec![export(0).with_metadata(json!({ "bytes": n * 1_000_000 }))];

    // Ten in each of three earlier hours: 5 × 10 an hour is this user's limit.
    let normal = [
        exports(10, -18_000, 1),
        exports(10, -14_400, 1),
        exports(10, -10_800, 1),
    ]
    .concat();
    check_cases(
        "data_exfiltration",
        &[
            ("20 exports", 0, exports(20, 0, 1)),
            ("21 exports", 1, exports(21, 0, 1)),
            (
                "21, the last an hour after the first",
                0,
                exports(21, 0, 180),
            ),
            ("500 MB", 0, megabytes(500)),
            ("501 MB", 1, megabytes(501)),
            (
                "50 are normal for this user",
                0,
                [normal.clone(), exports(50, 0, 1)].concat(),
            ),
            ("51 are not", 1, [normal, exports(51, 0, 1)].concat()),
            (
                "downloads count in any category",
                1,
                (0..21)
                    .map(|i| draft_event(i, Category::Access, "file_download").user(7))
                    .collect(),
            ),
            (
                "views do not",
                0,
                (0..99)
                    .map(|i| draft_event(i, Category::Data, "view").user(7))
                    .collect(),
            ),
        ],
    );
}

#[test]
fn ai_abuse_threshold() {
    let trigger = |i: i64, action| {
        draft_event(i, Category::Ai, action)
            .user(7)
            .with_result(Outcome::Denied)
    };

    let guard = |times: &[i64]| {
        times
            .iter()
            .map(|i| trigger(*i, "guardrail_triggered"))
            .collect::<Vec<_>>()
    };

    check_cases(
        "ai_abuse",
        &[
            ("two", 0, guard(&[0, 1])),
            ("three", 1, guard(&[0, 1, 2])),
            ("the third 599 s after the first", 1, guard(&[0, 1, 599])),
            ("the third 600 s after the first", 0, guard(&[0, 1, 600])),
            (
                "jailbreaks count",
                1,
                [guard(&[0, 1]), vec![trigger(2, "jailbreak_detected")]].concat(),
            ),
            (
                "three users",
                0,
                (0..3)
                    .map(|i| trigger(i, "guardrail_triggered").user(10 + i as u128))
                    .collect(),
            ),
        ],
    );
}

#[test]
fn rate_limit_surge_threshold() {
    let hits = |n: i64, step: i64| {
        (0..n)
            .map(|i| Draft {
                at: at(0).plus(Span::millis(i * step)),
                n: i as u128,
                ..draft_event(0, Category::System, "rate_limit_hit")
            })
            .collect::<Vec<_>>()
    };

    check_cases(
        "rate_limit_surge",
        &[
            ("50", 0, hits(50, 1)),
            ("51", 1, hits(51, 1)),
            ("51 within 59.95 s", 1, hits(51, 1199)),
            ("51, the last 60 s after the first", 0, hits(51, 1200)),
        ],
    );
}

#[test]
fn after_hours_cases() {
    let read = |time: &str| Draft {
        at: Timestamp::parse(time).unwrap(),
        n: Timestamp::parse(time).unwrap().as_micros() as u128,
        ..draft_event(0, Category::Data, "view").user(7).cui()
    };

    check_cases(
        "after_hours",
        &[
            ("at noon", 0, vec![read("2026-03-02T12:00:00Z")]),
            ("07:00 is inside", 0, vec![read("2026-03-02T07:00:00Z")]),
            ("before seven", 1, vec![read("2026-03-02T06:59:59Z")]),
            ("19:00 is outside", 1, vec![read("2026-03-02T19:00:00Z")]),
            ("before 19:00", 0, vec![read("2026-03-02T18:59:59Z")]),
            (
                "no CUI",
                0,
                vec![Draft {
                    cui: false,
                    ..read("2026-03-02T23:00:00Z")
                }],
            ),
            (
                "a weekend is one",
                1,
                vec![
                    read("2026-03-06T19:30:00Z"),
                    read("2026-03-07T12:00:00Z"),
                    read("2026-03-09T06:00:00Z"),
                ],
            ),
            (
                "two nights are two",
                2,
                vec![read("2026-03-02T20:00:00Z"), read("2026-03-03T20:00:00Z")],
            ),
            (
                "two users are two",
                2,
                vec![
                    read("2026-03-02T20:00:00Z"),
                    read("2026-03-02T21:00:00Z").user(8),
                ],
            ),
        ],
    );

    let weekend = run_events(
        only_rule("after_hours"),
        &[read("2026-03-06T19:30:00Z"), read("2026-03-08T12:00:00Z")],
    );
    assert_eq!(weekend[0].event_count, 2);

    let mut zone = only_rule("after_hours");
    zone.business_hours.time_zone = "America/New_York".to_owned();
    assert_eq!(
        run_events(zone, &[read("2026-03-02T22:00:00Z")]).len(),
        0,
        "17:00 there"
    );
}

#[test]
fn session_anomaly_cases() {
    let used = |secs: i64, session, ip| {
        draft_event(secs, Category::Access, "view")
            .user(7)
            .session(session)
            .ip(ip)
    };

    let logout = |secs: i64, session| {
        draft_event(secs, Category::Auth, "logout")
            .user(7)
            .session(session)
            .ip("192.0.2.1")
    };

    let (here, there) = ("192.0.2.1", "192.0.2.2");
    check_cases(
        "session_anomaly",
        &[
            ("one place", 0, vec![used(0, "s", here), used(1, "s", here)]),
            (
                "two places within 599 s",
                1,
                vec![used(0, "s", here), used(599, "s", there)],
            ),
            (
                "two places 600 s apart",
                0,
                vec![used(0, "s", here), used(600, "s", there)],
            ),
            (
                "used after logout",
                1,
                vec![used(0, "s", here), logout(10, "s"), used(11, "s", here)],
            ),
            (
                "a new login is a new session",
                0,
                vec![
                    logout(10, "s"),
                    Draft {
                        category: Category::Auth,
                        action: "login",
                        ..used(11, "s", here)
                    },
                    used(12, "s", here),
                ],
            ),
            (
                "three sessions",
                0,
                vec![used(0, "a", here), used(1, "b", there), used(2, "c", here)],
            ),
            (
                "four sessions, two places",
                1,
                vec![
                    used(0, "a", here),
                    used(1, "b", there),
                    used(2, "c", here),
                    used(3, "d", here),
                ],
            ),
            (
                "four sessions, one place",
                0,
                vec![
                    used(0, "a", here),
                    used(1, "b", here),
                    used(2, "c", here),
                    used(3, "d", here),
                ],
            ),
            (
                "four sessions over 300 s",
                0,
                vec![
                    used(0, "a", here),
                    used(1, "b", there),
                    used(2, "c", here),
                    used(300, "d", here),
                ],
            ),
        ],
    );
}

#[test]
fn parameters_change_thresholds_and_unknown_ones_are_named() {
    let three: Vec<Draft> = (0..3).map(failed_login).collect();
    assert_eq!(
        run_events(
            rule_with_params("brute_force", json!({"threshold": 2})),
            &three
        )
        .len(),
        1
    );

    assert_eq!(
        run_events(
            rule_with_params("brute_force", json!({"threshold": 2, "window": "2s"})),
            &three
        )
        .len(),
        0
    );

    let again: Vec<Draft> = [0, 1, 2, 400, 401, 402].map(failed_login).to_vec();
    assert_eq!(
        run_events(
            rule_with_params("brute_force", json!({"threshold": 2, "cooldown": "1h"})),
            &again
        )
        .len(),
        1
    );

    let off = Settings {
        only: vec![],
        ..rule_with_params("brute_force", json!({"enabled": false, "threshold": 0}))
    };

    assert!(
        run_events(off, &three)
            .iter()
            .all(|d| d.rule_id.as_str() != "brute_force")
    );

    for definition in crate::rules::ALL {
        let id = definition.info.id.as_str();
        let error = crate::rules::check_params(id, &json!({"treshold": 1})).unwrap_err();
        assert_eq!(error.key.as_deref(), Some("treshold"), "{id}");
        assert!(
            crate::rules::check_params(id, &(definition.defaults)()).is_ok(),
            "{id}: its own defaults"
        );
        assert!(crate::rules::check_params(id, &json!([1])).is_err(), "{id}");
    }

    let error = crate::rules::check_params("brute_force", &json!({"window": "soon"})).unwrap_err();
    assert!(
        error.to_string().starts_with("rules.brute_force.window: "),
        "{error}"
    );
    assert!(crate::rules::check_params("nonsense", &json!({})).is_err());
    assert!(Engine::new(only_rule("nonsense")).is_err());
}
