//! The rules that logs call for, at their boundaries.

use super::*;

fn shell(secs: i64) -> Draft {
    failure(secs).source(Source::Syslog)
}

fn login(secs: i64) -> Draft {
    draft(secs, Category::Auth, "login")
        .user(7)
        .ip("203.0.113.9")
        .source(Source::Syslog)
}

fn request(secs: i64, target: &str, status: u16) -> Draft {
    let draft = draft(secs, Category::Network, "http_request")
        .source(Source::Nginx)
        .ip("203.0.113.9")
        .resource(target);
    draft.meta(json!({ "status": status }))
}

#[test]
fn success_after_brute_force() {
    let guesses = |n: i64, gap: i64| (0..n).map(|i| shell(i * gap)).collect::<Vec<_>>();
    let then = |mut events: Vec<Draft>, last: Draft| {
        events.push(last);
        events
    };

    check(
        "success_after_brute_force",
        &[
            ("five failures", 0, then(guesses(5, 1), login(9))),
            ("six", 1, then(guesses(6, 1), login(9))),
            (
                "six, the first just within the window",
                1,
                then(guesses(6, 1), login(299)),
            ),
            (
                "six, the first just outside",
                0,
                then(guesses(6, 1), login(300)),
            ),
            (
                "another address",
                0,
                then(guesses(6, 1), login(9).ip("203.0.113.10")),
            ),
            (
                "another source",
                0,
                then(guesses(6, 1), login(9).source(Source::Postgres)),
            ),
            (
                "the application's own",
                0,
                [
                    (0..6).map(failure).collect(),
                    vec![login(9).source(Source::AuditDb)],
                ]
                .concat(),
            ),
            (
                "a login before the failures",
                0,
                [vec![login(-1)], guesses(9, 1)].concat(),
            ),
            (
                "the failures arrive late",
                1,
                [vec![login(9)], guesses(6, 1)].concat(),
            ),
            (
                "failures go on after it",
                1,
                [then(guesses(6, 1), login(9)), (10..16).map(shell).collect()].concat(),
            ),
        ],
    );
}

#[test]
fn slow_spray() {
    let tries = |n: i64, gap: i64| {
        (0..n)
            .map(|i| shell(i * gap).meta(json!({ "username": format!("u{i}") })))
            .collect::<Vec<_>>()
    };

    check(
        "slow_spray",
        &[
            ("ten accounts an hour apart", 0, tries(10, 3600)),
            ("eleven", 1, tries(11, 3600)),
            ("eleven within ten minutes are stuffing", 0, tries(11, 59)),
            ("eleven in just ten minutes", 1, tries(11, 60)),
            ("eleven in more than a day", 0, tries(11, 8640)),
            (
                "fast, and then on",
                0,
                [
                    tries(11, 1),
                    (11..14)
                        .map(|i| shell(i * 600).meta(json!({"username": format!("u{i}")})))
                        .collect(),
                ]
                .concat(),
            ),
        ],
    );
}

#[test]
fn web_scanner() {
    let errors = |n: i64, gap: i64, status| {
        (0..n)
            .map(|i| request(i * gap, &format!("/{i}"), status))
            .collect::<Vec<_>>()
    };

    let probes = |n: usize| {
        ["/.env", "/x/.git/config", "/%2eaws/credentials"][..n]
            .iter()
            .zip(0..)
            .map(|(t, i)| request(i, t, 200))
            .collect::<Vec<_>>()
    };

    check(
        "web_scanner",
        &[
            ("twenty errors", 0, errors(20, 1, 404)),
            ("twenty-one", 1, errors(21, 1, 404)),
            ("twenty-one in more than a minute", 0, errors(21, 3, 403)),
            ("a hundred pages", 0, errors(100, 0, 200)),
            ("errors of the server's own", 0, errors(30, 1, 500)),
            ("two secrets", 0, probes(2)),
            ("three", 1, probes(3)),
            (
                "a tool that says so",
                1,
                vec![request(0, "/", 200).agent("Mozilla/5.00 (Nikto/2.1.6)")],
            ),
            (
                "somebody else's server",
                1,
                (0..3)
                    .map(|i| request(i, "http://example.com/", 400))
                    .collect(),
            ),
            (
                "a page about tools",
                0,
                vec![request(0, "/nikto-review", 200).agent("Mozilla/5.0")],
            ),
        ],
    );
}

#[test]
fn injection_attempt() {
    check(
        "injection_attempt",
        &[
            (
                "an ordinary page",
                0,
                vec![request(0, "/a?id=7&q=select+a+union", 200)],
            ),
            (
                "SQL",
                1,
                vec![request(0, "/a?id=7%27%20union%20select%201", 500)],
            ),
            (
                "again within the hour",
                1,
                vec![
                    request(0, "/../../etc/passwd", 400),
                    request(9, "/../../etc/passwd", 400),
                ],
            ),
            (
                "without an address",
                0,
                vec![Draft {
                    ip: None,
                    ..request(0, "/../../etc/passwd", 400)
                }],
            ),
        ],
    );

    let found = &run(
        only("injection_attempt"),
        &[request(0, "/?x=$%7bjndi:ldap://e%7d", 200)],
    )[0];
    assert!(
        found.title.contains("shell command") && found.description.contains("find out what it did"),
        "{found:?}"
    );
}

#[test]
fn cross_source_attack() {
    let at_shell = |n: i64| (0..n).map(shell).collect::<Vec<_>>();
    let at_web = |n: i64, from: i64| {
        (0..n)
            .map(|i| request(from + i, &format!("/{i}"), 404))
            .collect::<Vec<_>>()
    };

    check(
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
                "the other way round",
                1,
                [at_web(3, 0), at_shell(3)].concat(),
            ),
            (
                "both go on",
                1,
                [at_shell(9), at_web(9, 10), (20..30).map(shell).collect()].concat(),
            ),
            ("an hour apart", 0, [at_shell(3), at_web(3, 3602)].concat()),
            (
                "pages that are there",
                0,
                [
                    at_shell(9),
                    (10..20).map(|i| request(i, "/", 200)).collect(),
                ]
                .concat(),
            ),
            (
                "logins of the application",
                0,
                [at_web(9, 0), (10..20).map(failure).collect()].concat(),
            ),
        ],
    );
}

#[test]
fn audit_tampering() {
    let said = |action, statement: &str| {
        draft(0, Category::Data, action)
            .source(Source::Postgres)
            .user(9)
            .meta(json!({ "statement": statement }))
    };

    check(
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
                "a trigger goes",
                1,
                vec![said(
                    "schema_change",
                    "DROP TRIGGER x ON public.AUDIT_EVENTS",
                )],
            ),
            (
                "another table comes",
                0,
                vec![said("schema_change", "CREATE TABLE invoices (id int)")],
            ),
            ("a login", 0, vec![said("login", "audit_events")]),
            (
                "another source says it",
                0,
                vec![said("permission_denied", "DELETE FROM audit_events").source(Source::AuditDb)],
            ),
        ],
    );
}
