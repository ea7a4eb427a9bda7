//! The rules for log events, at their boundaries.

use model::Severity;

use super::*;

fn failed_shell_login(secs: i64) -> Draft {
    failed_login(secs).source(Source::Syslog)
}

fn shell_login(secs: i64) -> Draft {
    draft_event(secs, Category::Auth, "login")
        .user(7)
        .ip("203.0.113.9")
        .source(Source::Syslog)
}

fn web_request(secs: i64, target: &str, status: u16) -> Draft {
    let draft = draft_event(secs, Category::Network, "http_request")
        .source(Source::Nginx)
        .ip("203.0.113.9")
        .resource(target);
    draft.with_metadata(json!({ "status": status }))
}

#[test]
fn success_after_brute_force_boundaries() {
    let guesses = |n: i64, gap: i64| {
        (0..n)
            .map(|i| failed_shell_login(i * gap))
            .collect::<Vec<_>>()
    };
    let then = |mut events: Vec<Draft>, last: Draft| {
        events.push(last);
        events
    };

    check_cases(
        "success_after_brute_force",
        &[
            ("five failures", 0, then(guesses(5, 1), shell_login(9))),
            ("six", 1, then(guesses(6, 1), shell_login(9))),
            (
                "six, the first just within the window",
                1,
                then(guesses(6, 1), shell_login(299)),
            ),
            (
                "six, the first just outside",
                0,
                then(guesses(6, 1), shell_login(300)),
            ),
            (
                "another address",
                0,
                then(guesses(6, 1), shell_login(9).ip("203.0.113.10")),
            ),
            (
                "another source",
                0,
                then(guesses(6, 1), shell_login(9).source(Source::Postgres)),
            ),
            (
                "the application's own",
                0,
                [
                    (0..6).map(failed_login).collect(),
                    vec![shell_login(9).source(Source::AuditDb)],
                ]
                .concat(),
            ),
            (
                "a login before the failures",
                0,
                [vec![shell_login(-1)], guesses(9, 1)].concat(),
            ),
            (
                "the failures arrive late",
                1,
                [vec![shell_login(9)], guesses(6, 1)].concat(),
            ),
            (
                "failures go on after it",
                1,
                [
                    then(guesses(6, 1), shell_login(9)),
                    (10..16).map(failed_shell_login).collect(),
                ]
                .concat(),
            ),
        ],
    );
}

#[test]
fn slow_spray_boundaries() {
    let tries = |n: i64, gap: i64| {
        (0..n)
            .map(|i| {
                failed_shell_login(i * gap).with_metadata(json!({ "username": format!("u{i}") }))
            })
            .collect::<Vec<_>>()
    };

    check_cases(
        "slow_spray",
        &[
            ("ten accounts an hour apart", 0, tries(10, 3600)),
            ("eleven", 1, tries(11, 3600)),
            ("eleven within ten minutes are stuffing", 0, tries(11, 59)),
            ("eleven in just ten minutes", 1, tries(11, 60)),
            ("eleven in more than a day", 0, tries(11, 8640)),
            (
                "fast, and then slowly",
                0,
                [
                    tries(11, 1),
                    (11..14)
                        .map(|i| {
                            failed_shell_login(i * 600)
                                .with_metadata(json!({"username": format!("u{i}")}))
                        })
                        .collect(),
                ]
                .concat(),
            ),
        ],
    );
}

#[test]
fn web_scanner_boundaries() {
    let errors = |n: i64, gap: i64, status| {
        (0..n)
            .map(|i| web_request(i * gap, &format!("/{i}"), status))
            .collect::<Vec<_>>()
    };

    let probes = |n: usize| {
        ["/.env", "/x/.git/config", "/%2eaws/credentials"][..n]
            .iter()
            .zip(0..)
            .map(|(t, i)| web_request(i, t, 404))
            .collect::<Vec<_>>()
    };

    let every = |n: i64, gap: i64, target: &str, status| {
        (0..n)
            .map(|i| web_request(i * gap, target, status))
            .collect::<Vec<_>>()
    };
    let sign_ins = |n: i64| {
        (0..n)
            .map(|i| Draft {
                method: Some("POST"),
                ..web_request(i, "/blog/wp-login.php", 200)
            })
            .collect::<Vec<_>>()
    };

    check_cases(
        "web_scanner",
        &[
            ("twenty errors", 0, errors(20, 1, 404)),
            ("twenty-one", 1, errors(21, 1, 404)),
            ("twenty-one in more than a minute", 0, errors(21, 3, 403)),
            ("a hundred pages", 0, errors(100, 0, 200)),
            ("errors of the server's own", 0, errors(30, 1, 500)),
            ("a broken image", 0, every(99, 0, "/a.png", 404)),
            ("two secrets", 0, probes(2)),
            ("three", 1, probes(3)),
            ("a secret that is served", 1, every(1, 1, "/.env", 200)),
            ("five over a day", 0, every(5, 1800, "/.env", 404)),
            ("six over a day", 1, every(6, 1800, "/.env", 404)),
            ("six over two days", 0, every(6, 18_000, "/.env", 404)),
            (
                "htpasswd, ssh and Subversion",
                1,
                ["/htpasswd", "/.ssh", "/x/.svn/entries"]
                    .iter()
                    .zip(0..)
                    .map(|(target, i)| web_request(i, target, 404))
                    .collect(),
            ),
            (
                "health checks",
                0,
                every(99, 1, "/actuator/health/readiness", 200),
            ),
            (
                "a status page for monitoring",
                0,
                every(99, 1, "/server-status?auto", 200),
            ),
            (
                "a status page for nobody",
                1,
                every(3, 1, "/server-status", 403),
            ),
            (
                "phpMyAdmin that is there",
                0,
                every(99, 1, "/phpmyadmin/index.php", 200),
            ),
            ("the users of WordPress", 1, every(3, 1, "/?author=1", 301)),
            ("ten sign-ins", 0, sign_ins(10)),
            ("eleven", 1, sign_ins(11)),
            ("a repository", 0, every(9, 1, "/repo.git/info/refs", 200)),
            (
                "a page about secrets",
                0,
                every(9, 1, "/blog/.environment", 200),
            ),
            (
                "a tool with its own user agent",
                1,
                vec![web_request(0, "/", 200).agent("Mozilla/5.00 (Nikto/2.1.6)")],
            ),
            (
                "a foreign host",
                1,
                (0..3)
                    .map(|i| web_request(i, "http://example.com/", 400))
                    .collect(),
            ),
            (
                "a page about tools",
                0,
                vec![web_request(0, "/nikto-review", 200).agent("Mozilla/5.0")],
            ),
        ],
    );
}

#[test]
fn injection_attempt_boundaries() {
    check_cases(
        "injection_attempt",
        &[
            (
                "an ordinary page",
                0,
                vec![web_request(0, "/a?id=7&q=select+a+union", 200)],
            ),
            (
                "SQL",
                1,
                vec![web_request(0, "/a?id=7%27%20union%20select%201", 500)],
            ),
            (
                "again within the hour",
                1,
                vec![
                    web_request(0, "/../../etc/passwd", 400),
                    web_request(9, "/../../etc/passwd", 400),
                ],
            ),
            (
                "without an address",
                0,
                vec![Draft {
                    ip: None,
                    ..web_request(0, "/../../etc/passwd", 400)
                }],
            ),
        ],
    );

    let found = &run_events(
        only_rule("injection_attempt"),
        &[web_request(0, "/?x=$%7bjndi:ldap://e%7d", 200)],
    )[0];
    assert!(
        found.title.contains("shell command") && found.description.contains("find out what it did"),
        "{found:?}"
    );
}

#[test]
fn cross_source_attack_boundaries() {
    let at_shell = |n: i64| {
        (0..n)
            .map(|i| {
                failed_shell_login(i).with_metadata(json!({ "username": format!("u{}", i % 2) }))
            })
            .collect::<Vec<_>>()
    };
    let mistyped = |n: i64| (0..n).map(failed_shell_login).collect::<Vec<_>>();
    let at_web = |n: i64, from: i64| {
        (0..n)
            .map(|i| web_request(from + i, &format!("/{i}"), 404))
            .collect::<Vec<_>>()
    };

    check_cases(
        "cross_source_attack",
        &[
            ("two at the shell", 0, [at_shell(2), at_web(9, 10)].concat()),
            (
                "two at the web server",
                0,
                [at_shell(9), at_web(2, 10)].concat(),
            ),
            ("three and three", 1, [at_shell(3), at_web(3, 10)].concat()),
            (
                "mistyped passwords",
                0,
                [mistyped(10), at_web(9, 20)].concat(),
            ),
            (
                "one account guessed",
                1,
                [mistyped(11), at_web(9, 20)].concat(),
            ),
            (
                "a broken image",
                0,
                [
                    at_shell(9),
                    (10..30).map(|i| web_request(i, "/a.png", 404)).collect(),
                ]
                .concat(),
            ),
            (
                "the other way round",
                1,
                [at_web(3, 0), at_shell(3)].concat(),
            ),
            (
                "both continue",
                1,
                [
                    at_shell(9),
                    at_web(9, 10),
                    (20..30).map(failed_shell_login).collect::<Vec<_>>(),
                ]
                .concat(),
            ),
            ("an hour apart", 0, [at_shell(3), at_web(3, 3602)].concat()),
            (
                "pages that are there",
                0,
                [
                    at_shell(9),
                    (10..20).map(|i| web_request(i, "/", 200)).collect(),
                ]
                .concat(),
            ),
            (
                "logins of the application",
                0,
                [at_web(9, 0), (10..20).map(failed_login).collect()].concat(),
            ),
        ],
    );
}

#[test]
fn audit_tampering_boundaries() {
    let said = |action, statement: &str| {
        draft_event(0, Category::Data, action)
            .source(Source::Postgres)
            .user(9)
            .with_metadata(json!({ "statement": statement }))
    };

    check_cases(
        "audit_tampering",
        &[
            (
                "a refused change",
                1,
                vec![said("permission_denied", "DELETE FROM audit_events")],
            ),
            (
                "a refused change of another table",
                0,
                vec![said("permission_denied", "DELETE FROM invoices")],
            ),
            (
                "a trigger is dropped",
                1,
                vec![said(
                    "schema_change",
                    "DROP TRIGGER x ON public.AUDIT_EVENTS",
                )],
            ),
            (
                "another table is created",
                0,
                vec![said("schema_change", "CREATE TABLE invoices (id int)")],
            ),
            ("a login", 0, vec![said("login", "audit_events")]),
            (
                "names that contain a protected one",
                0,
                vec![
                    said(
                        "schema_change",
                        "CREATE TABLE vanguard_orders (audit_events_id int)",
                    ),
                    said("schema_change", "CREATE TABLE my_audit_log_events ()"),
                    said("permission_denied", "SELECT * FROM bodyguards"),
                ],
            ),
            (
                "a string and a comment",
                0,
                vec![said(
                    "write_refused",
                    "UPDATE notes SET t = 'audit_events' -- audit_events",
                )],
            ),
            (
                "behind a comment, in quotation marks",
                1,
                vec![said(
                    "schema_change",
                    "BEGIN; /* x */ ALTER TABLE \"public\".\"audit_events\" DISABLE TRIGGER ALL",
                )],
            ),
            (
                "the schema of blueteam",
                1,
                vec![said("schema_change", "DROP TABLE blueteam.alert_history")],
            ),
            (
                "a refusal that names another table",
                0,
                vec![
                    said("permission_denied", "DELETE FROM a USING audit_events")
                        .resource("invoices"),
                ],
            ),
            (
                "from another source",
                0,
                vec![said("permission_denied", "DELETE FROM audit_events").source(Source::AuditDb)],
            ),
        ],
    );
}

#[test]
fn injection_attempt_severity_follows_success() {
    let attack = |secs, status: u16, bytes: u64| {
        web_request(secs, "/a?id=1+or+1=1", status)
            .with_metadata(json!({ "status": status, "bytes": bytes }))
    };
    let error = |secs| {
        draft_event(secs, Category::System, "sql_error")
            .source(Source::PhpError)
            .with_result(Outcome::Failure)
    };
    let many = |last: Draft| {
        let mut events: Vec<_> = (0..6).map(|i| attack(i, 200, 900)).collect();
        events.push(last);
        events
    };

    for (what, expected, events) in [
        (
            "an attempt",
            vec![Severity::Medium],
            vec![attack(0, 200, 500)],
        ),
        (
            "the server failed",
            vec![Severity::High],
            vec![attack(0, 500, 500)],
        ),
        (
            "answers of usual sizes",
            vec![Severity::Medium],
            many(attack(9, 200, 1500)),
        ),
        (
            "an unusual size",
            vec![Severity::Medium, Severity::High],
            many(attack(9, 200, 90_000)),
        ),
        (
            "an error follows",
            vec![Severity::Medium, Severity::High],
            vec![attack(0, 200, 500), error(59)],
        ),
        (
            "the error was read first",
            vec![Severity::High],
            vec![error(59), attack(0, 200, 500)],
        ),
        (
            "an error much later",
            vec![Severity::Medium],
            vec![attack(0, 200, 500), error(60)],
        ),
        (
            "an error before",
            vec![Severity::Medium],
            vec![error(-1), attack(0, 200, 500)],
        ),
        (
            "a login follows",
            vec![Severity::Medium, Severity::High],
            vec![attack(0, 200, 500), shell_login(3_000)],
        ),
        (
            "another address logs in",
            vec![Severity::Medium],
            vec![attack(0, 200, 500), shell_login(9).ip("203.0.113.10")],
        ),
        (
            "further attempts extend the suspicion",
            vec![Severity::High],
            vec![attack(0, 500, 500), attack(9, 200, 500)],
        ),
    ] {
        let found = run_events(only_rule("injection_attempt"), &events);
        let severities: Vec<_> = found.iter().map(|d| d.severity).collect();
        assert_eq!(severities, expected, "{what}: {found:?}");
    }
}

#[test]
fn a_success_that_names_only_an_account_is_a_login() {
    let login = Draft {
        user: None,
        ..shell_login(9)
    };
    let mut events: Vec<_> = (0..6).map(failed_shell_login).collect();
    events.push(login.with_metadata(json!({ "username": "ann" })));
    assert_eq!(count_detections("success_after_brute_force", &events), 1);
}
