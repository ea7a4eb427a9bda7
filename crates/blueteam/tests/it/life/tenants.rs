//! Two tenants at one door: what is one's is for the other as if it were not there (decision 0049).

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

use super::daemon::Daemon;
use super::people::{Browser, body_for, signed_in};

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
            let path = route.path.replace("{id}", named).replace("{name}", named);
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
