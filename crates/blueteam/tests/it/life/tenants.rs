//! Two tenants at one door: what is one's is for the other as if it were not there (decisions 0049
//! and 0054).

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

use super::bodies::body_for;
use super::daemon::{Daemon, PATIENCE, failure};
use super::people::{Browser, signed_in, signed_in_as};

/// In every row of the first tenant.
const MARK: &str = "tangerine";

/// Rows of the first tenant, each of which a route names.
const PLANTED: &str = "
    INSERT INTO blueteam.alert_history (alert_id, fingerprint, rule_id, severity, title)
        SELECT i, i, 'brute_force', 'critical', 'tangerine' FROM gen_random_uuid() AS i;
    INSERT INTO blueteam.security_incidents
            (title, severity, detected_by, source, entity_type, entity_value)
        VALUES ('tangerine', 'high', 'manual', 'syslog', 'ip', 'tangerine');
    INSERT INTO blueteam.silences (kind, reason, author, ends_at, rule_id)
        VALUES ('silence', 'tangerine', 'dana', now() + interval '1 hour', 'tangerine');
    INSERT INTO blueteam.sources (source_id, kind) VALUES ('tangerine', 'syslog');
    INSERT INTO users.api_keys (user_id, key_name, key_prefix, key_hash, scopes)
        SELECT user_id, 'tangerine', 'bt_aaaa', 'aa', '{metrics:read}' FROM users.users LIMIT 1;
    INSERT INTO blueteam.compliance_evidence (control_id, evidence_type, description)
        VALUES ('3.1.1', 'policy_doc', 'tangerine');
    INSERT INTO blueteam.poam_items (control_id, weakness_description, risk_level, remediation_plan)
        VALUES ('3.1.1', 'tangerine', 'high', 'tangerine');
    INSERT INTO blueteam.redteam_runs
            (format, tool, target, subject, scope, ran_at, file_name, sha256, items, changes, seen)
        VALUES ('own', 'tangerine', '', '', '[]', now(), 'tangerine', repeat('a', 64), 0,
            '{\"new\": 0, \"back\": 0, \"proposed\": 0}', '{}');
    INSERT INTO blueteam.redteam_findings
            (fingerprint, tool, target, rule, title, severity, location, area, check_group, is_of_module,
             cwes, cves, controls, detail, instances, state, first_run, last_run)
        SELECT repeat('a', 64), 'tangerine', '', 'tangerine', 'tangerine', 'high', '', '', '', true,
            '{}', '{}', '{}', '', 1, 'open', run_id, run_id
          FROM blueteam.redteam_runs;
    INSERT INTO blueteam.log_events (timestamp, source, category, action, result)
        VALUES (now(), 'syslog', 'auth', 'tangerine', 'success')";

/// Another tenant, to which one account is moved with all that is its own. No statement does that in
/// a running installation: a trigger refuses it.
const MOVED: &str = "
    INSERT INTO users.tenants (tenant_id, name)
        VALUES ('00000000-0000-7000-8000-000000000002', 'other');
    ALTER TABLE users.users DISABLE TRIGGER a_keep_tenant;
    ALTER TABLE users.sessions DISABLE TRIGGER a_keep_tenant;
    UPDATE users.users SET tenant_id = '00000000-0000-7000-8000-000000000002'
        WHERE username = 'system-admin';
    UPDATE users.sessions SET tenant_id = '00000000-0000-7000-8000-000000000002'
        WHERE user_id = (SELECT user_id FROM users.users WHERE username = 'system-admin');
    ALTER TABLE users.users ENABLE ALWAYS TRIGGER a_keep_tenant;
    ALTER TABLE users.sessions ENABLE ALWAYS TRIGGER a_keep_tenant";

/// What a route is asked about: something of the first tenant, and something that is not there.
const NAMED: &[(&str, &str, &str)] = &[
    (
        "/api/v1/alerts/",
        "SELECT alert_id::text FROM blueteam.alert_history",
        NOTHING,
    ),
    (
        "/api/v1/silences/",
        "SELECT mute_id::text FROM blueteam.silences",
        NOTHING,
    ),
    (
        "/api/v1/incidents/",
        "SELECT incident_id::text FROM blueteam.security_incidents",
        NOTHING,
    ),
    (
        "/api/v1/redteam/runs/",
        "SELECT run_id::text FROM blueteam.redteam_runs",
        NOTHING,
    ),
    (
        "/api/v1/redteam/findings/",
        "SELECT finding_id::text FROM blueteam.redteam_findings",
        NOTHING,
    ),
    (
        "/api/v1/sources/",
        "SELECT source_id FROM blueteam.sources WHERE source_id = 'tangerine'",
        "nosource",
    ),
    (
        "/api/v1/keys/",
        "SELECT key_id::text FROM users.api_keys WHERE key_name = 'tangerine'",
        NOTHING,
    ),
    (
        "/api/v1/compliance/evidence/",
        "SELECT evidence_id::text FROM blueteam.compliance_evidence WHERE description = 'tangerine'",
        NOTHING,
    ),
    (
        "/api/v1/compliance/poam/",
        "SELECT poam_id::text FROM blueteam.poam_items",
        NOTHING,
    ),
    (
        "/api/v1/users/",
        "SELECT username FROM users.users WHERE username = 'manager'",
        "nobody",
    ),
    (
        "/api/v1/sessions/",
        "SELECT s.session_id::text FROM users.sessions s JOIN users.users u USING (user_id) WHERE username = 'manager'",
        NOTHING,
    ),
];

const NOTHING: &str = "00000000-0000-0000-0000-00000000dead";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_another_tenants_answers_like_what_is_not_there() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let mut ours = signed_in(&daemon, "manager").await;
    let mut other = signed_in(&daemon, "system_admin").await;
    conn.execute(sqlx::raw_sql(PLANTED)).await.unwrap();

    // With one tenant both see it all.
    for browser in [&mut ours, &mut other] {
        let found = get(browser, "/api/v1/incidents").await;
        assert!(found.contains(MARK), "{found}");
    }
    conn.execute(sqlx::raw_sql(MOVED)).await.unwrap();

    let (mut lists, mut asked) = (0, 0);
    for route in web::ROUTES {
        let method: reqwest::Method = route.method.to_uppercase().parse().unwrap();
        if !route.path.contains('{') {
            if route.method == "get" {
                let found = get(&mut other, route.path).await;
                assert!(
                    !found.contains(MARK) && !found.contains("manager@"),
                    "{}: {found}",
                    route.path
                );
                lists += 1;
            }
            continue;
        }

        let Some((_, find, nothing)) = NAMED
            .iter()
            .find(|(path, _, _)| route.path.starts_with(path))
        else {
            assert!(
                route.path.starts_with("/api/v1/rules/"),
                "{} names something of which no test knows whose it is",
                route.path
            );
            continue;
        };
        let theirs: String = sqlx::query_scalar(AssertSqlSafe(*find))
            .fetch_one(&mut conn)
            .await
            .unwrap();
        let mut answers = Vec::new();
        for named in [theirs.as_str(), nothing] {
            let path = route
                .path
                .replace("{id}", named)
                .replace("{name}", named)
                .replace("{number}", "1");
            let answer = other.ask(method.clone(), &path, body_for(route.path)).await;
            answers.push((answer.status, answer.body.to_string().replace(named, "…")));
        }
        assert_eq!(answers[0], answers[1], "{} {}", route.method, route.path);
        assert_eq!(answers[0].0, 404, "{} {}", route.method, route.path);
        asked += 1;
    }
    assert!(lists > 12 && asked > 12, "{lists} {asked}");

    // Nothing was changed, and who is at home sees as much as before.
    let found = get(&mut ours, "/api/v1/incidents").await;
    assert!(
        found.contains(MARK) && found.contains("detected"),
        "{found}"
    );
}

async fn get(browser: &mut Browser, path: &str) -> String {
    let answer = browser.ask(reqwest::Method::GET, path, None).await;
    assert!(answer.status < 500, "{path}: {}", answer.body);
    match answer.body {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A second tenant with an account that sends.
const OTHER: &str = "
    INSERT INTO users.tenants (tenant_id, name)
        VALUES ('00000000-0000-7000-8000-000000000002', 'other');
    INSERT INTO users.users (username, email, tenant_id)
        VALUES ('sender', 's@x.test', '00000000-0000-7000-8000-000000000002')";

/// The events of each alert of brute force, by tenant and entity.
async fn brute_force(conn: &mut sqlx::PgConnection) -> Vec<(String, String, i64)> {
    sqlx::query_as(
        "SELECT t.name, a.entity_value, a.event_count
         FROM blueteam.alert_history a JOIN users.tenants t USING (tenant_id)
         WHERE a.rule_id = 'brute_force'
         ORDER BY 1, 2",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

async fn comes(conn: &mut sqlx::PgConnection, expected: &[(&str, &str, i64)]) {
    let since = std::time::Instant::now();
    loop {
        let found = brute_force(conn).await;
        let is_there = found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|((t, e, n), (tenant, entity, events))| {
                    t == tenant && e == entity && n == events
                });
        if is_there {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{found:?}, not {expected:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The same attack against both, with a kill in between; the lists of sources and channels, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tenant_has_its_own_events_and_alerts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let config = format!(
        "[[collect.files]]\npath = \"{}\"\nformat = \"syslog\"\ntenant = \"other\"",
        path.display()
    );
    let mut daemon = Daemon::new(&config).await;
    let mut conn = daemon.connect().await;
    // While there is one tenant: a command on the machine names none.
    let our_key = daemon.key();
    conn.execute(sqlx::raw_sql(OTHER)).await.unwrap();
    let key = app::auth::mint([9; 32]);
    let made = format!(
        "INSERT INTO users.api_keys (user_id, key_hash, key_name, key_prefix, scopes, tenant_id)
         SELECT user_id, '{}', 'k', '{}', '{{events:write}}', tenant_id
         FROM users.users WHERE username = 'sender'",
        key.hash, key.prefix
    );
    conn.execute(sqlx::raw_sql(AssertSqlSafe(made)))
        .await
        .unwrap();
    let ours = daemon.client_with(our_key.clone());
    let theirs = daemon.client_with(key.secret.clone());

    // Three and three are not six, whatever an event says of whose it is.
    let mut claims = failure("203.0.113.7", "root");
    claims["instance_id"] = "00000000-0000-7000-8000-000000000001".into();
    claims["metadata"]["tenant_id"] = "00000000-0000-7000-8000-000000000001".into();
    claims["metadata"]["producer"] = "eqmon".into();
    claims["metadata"]["producer_seq"] = 1.into();
    for _ in 0..3 {
        ours.send(&[failure("203.0.113.7", "root")]).await;
        theirs.send(&[claims.clone()]).await;
    }
    for _ in 0..6 {
        ours.send(&[failure("203.0.113.5", "root")]).await;
        theirs.send(&[failure("203.0.113.5", "root")]).await;
    }
    let both = [("default", "203.0.113.5", 6), ("other", "203.0.113.5", 6)];
    comes(&mut conn, &both).await;

    // Killed, each goes on where it was: one's alert grows, the other's window has three.
    daemon.kill();
    daemon.start().await;
    let mut conn = daemon.connect().await;
    let ours = daemon.client_with(our_key);
    let theirs = daemon.client_with(key.secret);
    theirs
        .send(&[
            failure("203.0.113.5", "root"),
            claims.clone(),
            claims.clone(),
        ])
        .await;
    ours.send(&[
        failure("203.0.113.7", "root"),
        failure("203.0.113.7", "root"),
    ])
    .await;
    comes(&mut conn, &[both[0], ("other", "203.0.113.5", 7)]).await;
    theirs.send(&[claims]).await;
    let last = ("other", "203.0.113.7", 6);
    comes(&mut conn, &[both[0], ("other", "203.0.113.5", 7), last]).await;

    // A file that belongs to the other tenant, which has no channels and so no notifications.
    let now = model::Clock::now(&model::SystemClock);
    let line =
        format!("{now} web sshd[7]: Failed password for root from 203.0.113.9 port 4 ssh2\n");
    std::fs::write(&path, line.repeat(6)).unwrap();
    let count = |text: &'static str| sqlx::query_scalar::<_, i64>(text);
    let since = std::time::Instant::now();
    while brute_force(&mut conn).await.len() < 4 {
        assert!(since.elapsed() < PATIENCE, "no alert of the file");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for (text, expected) in [
        (
            "SELECT count(*) FROM blueteam.log_events JOIN users.tenants USING (tenant_id) WHERE name = 'default'",
            0,
        ),
        (
            "SELECT count(*) FROM blueteam.notifications JOIN users.tenants USING (tenant_id) WHERE name = 'other'",
            0,
        ),
        (
            "SELECT count(*) FROM blueteam.sources JOIN users.tenants USING (tenant_id)
           WHERE name = 'default' AND (source_id LIKE 'producer:%' OR source_id LIKE 'syslog:%')",
            0,
        ),
        (
            "SELECT count(*) FROM blueteam.sources JOIN users.tenants USING (tenant_id)
           WHERE name = 'other' AND (source_id = 'producer:eqmon' OR source_id LIKE 'syslog:%')",
            2,
        ),
        (
            "SELECT count(*) FROM blueteam.security_incidents WHERE entity_value = '203.0.113.5'",
            2,
        ),
    ] {
        assert_eq!(
            count(text).fetch_one(&mut conn).await.unwrap(),
            expected,
            "{text}"
        );
    }
}

/// What a command says, on both ways, and how it ends.
fn said(daemon: &Daemon, args: &[&str]) -> (String, Option<i32>) {
    let out = daemon.command().args(args).output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (String::from_utf8(text).unwrap(), out.status.code())
}

fn json_of(daemon: &Daemon, args: &[&str]) -> Value {
    let out = daemon.command().args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{args:?}: {errors}");
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The first day of an organization, by commands alone.
#[expect(
    clippy::too_many_lines,
    reason = "one day, of which each step needs the one before"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_is_made_by_a_command_and_lives_apart() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let _ours = signed_in(&daemon, "system_admin").await;

    let (text, code) = said(
        &daemon,
        &["tenants", "create", "acme", "--title", "Acme LLC"],
    );
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("made the tenant `acme`"), "{text}");
    // Nobody would hear of its alerts.
    assert!(text.contains("[alerts.organizations.acme]"), "{text}");
    // A part that has no time on a busy machine says so.
    let since = std::time::Instant::now();
    while !said(&daemon, &["doctor"])
        .0
        .contains("nobody is notified of alerts of the tenant acme")
    {
        assert!(since.elapsed() < PATIENCE);
    }
    for (args, code, expected) in [
        (
            &["tenants", "create", "acme"][..],
            1,
            "there is a tenant `acme` already",
        ),
        (&["tenants", "create", "Acme"], 2, "lower-case"),
        (&["tenants", "show", "acne"], 1, "there is default, acme"),
        (
            &["alerts", "list", "--tenant", "acne"],
            1,
            "there is no tenant `acne`",
        ),
        (&["tenants", "list", "--tenant", "acme"], 2, "--tenant"),
        (&["tenants", "limits", "acme"], 2, "name a limit"),
        (
            &["tenants", "limits", "acme", "--retention-months", "2"],
            2,
            "90 days",
        ),
        (
            &["tenants", "limits", "acme", "--users", "0"],
            2,
            "at least 1",
        ),
    ] {
        let (text, got) = said(&daemon, args);
        assert_eq!(got, Some(code), "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
    }

    // Its administrator sees it and nothing else, and its record has begun.
    let mut theirs = signed_in_as(&daemon, "dana", "system_admin", Some("acme")).await;
    let listed = get(&mut theirs, "/api/v1/tenants").await;
    assert!(
        listed.contains("Acme LLC") && !listed.contains("default"),
        "{listed}"
    );
    let accounts = get(&mut theirs, "/api/v1/users").await;
    assert!(
        accounts.contains("dana") && !accounts.contains("system-admin"),
        "{accounts}"
    );
    let gaps = json_of(
        &daemon,
        &["compliance", "show", "3.1.1", "--json", "--tenant", "acme"],
    );
    assert!(gaps.to_string().contains("3.1.1"), "{gaps}");

    // The other one's administrator is not its own: it keeps one.
    let (text, code) = said(
        &daemon,
        &[
            "users", "disable", "dana", "--reason", "a test", "--tenant", "acme",
        ],
    );
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("last system administrator"), "{text}");

    // Events by its key are its own, and so are their alerts.
    let args = [
        "--tenant",
        "acme",
        "keys",
        "create",
        "shop",
        "--scope",
        "events:write",
        "--service",
        "shop",
    ];
    let out = daemon.command().args(args).output().unwrap();
    let key = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    let sender = daemon.client_with(key);
    for _ in 0..6 {
        sender.send(&[failure("203.0.113.5", "root")]).await;
    }
    comes(&mut conn, &[("acme", "203.0.113.5", 6)]).await;
    let theirs = json_of(&daemon, &["alerts", "list", "--json", "--tenant", "acme"]);
    assert!(theirs.to_string().contains("203.0.113.5"), "{theirs}");
    let (text, code) = said(&daemon, &["alerts", "list"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("203.0.113.5"), "{text}");
    assert!(text.contains("this is about `default`"), "{text}");
    let variable = daemon
        .command()
        .args(["alerts", "list", "--json"])
        .env("BLUETEAM_TENANT", "acme")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&variable.stdout).contains("203.0.113.5"));

    // The next user and the next key are refused; an event never is.
    let limits = [
        "tenants", "limits", "acme", "--plan", "small", "--users", "1", "--keys", "1", "--events",
        "3",
    ];
    let (text, code) = said(&daemon, &limits);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("users: 1 of 1") && text.contains("one more is refused"),
        "{text}"
    );
    for args in [
        &[
            "users", "create", "eve", "--email", "e@x.test", "--role", "user", "--tenant", "acme",
        ][..],
        &[
            "keys",
            "create",
            "two",
            "--scope",
            "events:write",
            "--tenant",
            "acme",
        ],
        &[
            "keys", "create", "two", "--owner", "dana", "--tenant", "acme",
        ],
    ] {
        let (text, code) = said(&daemon, args);
        assert_eq!(code, Some(1), "{args:?}: {text}");
        assert!(
            text.contains("the plan allows 1") && text.contains("tenants limits"),
            "{text}"
        );
    }
    let elsewhere = ["keys", "create", "two", "--scope", "events:write"];
    assert_eq!(said(&daemon, &elsewhere).1, Some(0));
    sender.send(&[failure("203.0.113.6", "root")]).await;

    // Counted within a minute, and shown.
    let since = std::time::Instant::now();
    loop {
        let shown = json_of(&daemon, &["tenants", "show", "acme", "--json"]);
        let usage = &shown["usage"];
        if usage["events"].as_u64() >= Some(7) && usage["bytes"].as_u64() > Some(0) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{shown}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let (text, _) = said(&daemon, &["tenants", "show", "acme"]);
    assert!(
        text.contains("7 of 3 events this month: nothing is refused"),
        "{text}"
    );
    let (text, _) = said(&daemon, &["tenants", "limits", "acme", "--users", "none"]);
    assert!(text.contains("users: 1\n"), "{text}");
    let (text, _) = said(
        &daemon,
        &["tenants", "rename", "acme", "--title", "Acme Precision"],
    );
    assert!(text.contains("Acme Precision"), "{text}");

    // Who did it is on record, of the organization whose row it was.
    let recorded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log JOIN users.tenants t USING (tenant_id)
         WHERE t.name = 'acme' AND metadata ->> 'table' IN ('users.tenants', 'users.subscriptions')
           AND actor IS NOT NULL",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(recorded, 4);
}
