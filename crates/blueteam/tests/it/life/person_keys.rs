//! API keys of people at the door: what they open, what they do not, and who answers for it.

use serde_json::{Value, json};
use sqlx::{PgConnection, Row as _};

use super::daemon::{Daemon, failure};
use super::people::{Browser, json_of, run, signed_in};

/// A program that has a key.
struct Program {
    client: reqwest::Client,
    base: String,
}

impl Program {
    fn of(daemon: &Daemon) -> Self {
        let browser = Browser::of(daemon);
        Self {
            client: browser.client,
            base: browser.base,
        }
    }

    async fn ask(&self, method: &str, path: &str, key: &str, body: Option<&Value>) -> (u16, Value) {
        let method: reqwest::Method = method.parse().unwrap();
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {key}"));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    async fn status(&self, path: &str, key: &str) -> u16 {
        self.ask("GET", path, key, None).await.0
    }
}

fn invite(daemon: &Daemon, name: &str, role: &str) {
    let email = format!("{name}@example.com");
    let args = ["users", "create", name, "--email", &email, "--role", role];
    let (status, _, err) = run(daemon, &args);
    assert_eq!(status, 0, "{err}");
}

fn make(daemon: &Daemon, owner: &str, more: &[&str]) -> (String, String) {
    let args = [
        &["keys", "create", "test", "--owner", owner, "--json"],
        more,
    ]
    .concat();
    let made = json_of(daemon, &args);
    assert_eq!(made["kind"], "person");
    (
        made["key_id"].as_str().unwrap().to_owned(),
        made["key"].as_str().unwrap().to_owned(),
    )
}

const ALERTS: &str = "/api/v1/alerts";

async fn execute(conn: &mut PgConnection, sql: &str) {
    sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(conn)
        .await
        .unwrap();
}

#[expect(
    clippy::too_many_lines,
    reason = "one key's life, of which each step needs the one before"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_key_opens_what_its_owner_and_its_scopes_may_and_nothing_of_machines() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let program = Program::of(&daemon);
    invite(&daemon, "chief", "system_admin");
    invite(&daemon, "dana", "manager");

    // It reads, unless more was asked for; and what needs both factors again is no key's.
    let (_, reader) = make(&daemon, "chief", &[]);
    assert!(reader.starts_with("bt_api_"));
    for route in web::ROUTES.iter().filter(|route| route.method == "get") {
        let nobody = "00000000-0000-0000-0000-000000000000";
        let mut path = route.path.replace("{id}", nobody).replace("{name}", "x");
        if path.ends_with("/compare") {
            path.push_str("?before=2026-01-01&after=2026-02-01");
        }
        let answer = program.ask("GET", &path, &reader, None).await;
        let exports = route.action == identity::Action::Export;
        let expected: &[u16] = if exports { &[403] } else { &[200, 404, 409] };
        assert!(expected.contains(&answer.0), "{path}: {answer:?}");
    }
    for route in web::ROUTES.iter().filter(|route| route.method != "get") {
        let method = route.method.to_uppercase();
        let answer = program.ask(&method, route.path, &reader, None).await;
        let kind = answer.1["type"].as_str().unwrap_or_default().to_owned();
        let expected = if identity::role::requires_step_up(route.action, route.resource) {
            "urn:blueteam:problem:not-by-key"
        } else {
            "urn:blueteam:problem:denied"
        };
        assert_eq!((answer.0, kind.as_str()), (403, expected), "{}", route.path);
    }
    for scope in [
        "users:write",
        "rules:write",
        "evidence:approve",
        "everything",
    ] {
        let args = ["keys", "create", "x", "--owner", "chief", "--scope", scope];
        assert_eq!(run(&daemon, &args).0, 2, "{scope}");
    }
    let args = [
        "keys",
        "create",
        "x",
        "--owner",
        "dana",
        "--scope",
        "sources:write",
    ];
    let (status, _, err) = run(&daemon, &args);
    assert!(status == 2 && err.contains("manager"), "{err}");
    let args = [
        "keys",
        "create",
        "x",
        "--owner",
        "dana",
        "--expires",
        "400d",
    ];
    assert_eq!(run(&daemon, &args).0, 2);

    // Neither kind of key is the other.
    let machine = daemon.key_with(&["--scope", "metrics:read"]);
    assert_eq!(program.status("/metrics", &machine).await, 200);
    assert_eq!(program.status(ALERTS, &machine).await, 401);
    assert_eq!(program.status("/metrics", &reader).await, 401);
    let event = failure("192.0.2.7", "root");
    let sent = program.ask("POST", "/v1/events", &reader, Some(&event));
    assert_eq!(sent.await.0, 401);
    let args = [
        "keys",
        "create",
        "x",
        "--owner",
        "dana",
        "--scope",
        "read",
        "--scope",
        "events:write",
    ];
    assert_eq!(run(&daemon, &args).0, 2);

    // What it changes is on record with it, and its owner's role counts when it is used.
    let (worker_id, worker) = make(&daemon, "dana", &["--scope", "silences:write"]);
    assert_eq!(program.status(ALERTS, &worker).await, 403);
    let silence = json_of(
        &daemon,
        &[
            "silences",
            "add",
            "--rule",
            "brute_force",
            "--for",
            "1h",
            "--reason",
            "test",
            "--json",
        ],
    );
    let id = silence["mute_id"].as_str().unwrap();
    let path = format!("/api/v1/silences/{id}/expire");
    execute(
        &mut conn,
        "UPDATE users.users SET role = 'user' WHERE username = 'dana'",
    )
    .await;
    assert_eq!(program.ask("POST", &path, &worker, None).await.0, 403);
    execute(
        &mut conn,
        "UPDATE users.users SET role = 'manager' WHERE username = 'dana'",
    )
    .await;
    let done = program.ask("POST", &path, &worker, None).await;
    assert_eq!(done.0, 204, "{}", done.1);
    let recorded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log
         WHERE actor = 'dana' AND metadata ->> 'via' = 'api key' AND metadata ->> 'session' = $1
             AND metadata ->> 'table' = 'blueteam.silences' AND ip_address = '127.0.0.1'",
    )
    .bind(&worker_id)
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(recorded, 1);

    // Whoever is locked, disabled or over lends nothing to a key.
    for (out, back) in [
        (
            "account_locked_until = now() + interval '1 hour'",
            "account_locked_until = NULL",
        ),
        ("is_active = false", "is_active = true"),
        (
            "expires_at = now() - interval '1 second'",
            "expires_at = NULL",
        ),
    ] {
        execute(
            &mut conn,
            &format!("UPDATE users.users SET {out} WHERE username = 'dana'"),
        )
        .await;
        assert_eq!(
            program.ask("POST", &path, &worker, None).await.0,
            401,
            "{out}"
        );
        execute(
            &mut conn,
            &format!("UPDATE users.users SET {back} WHERE username = 'dana'"),
        )
        .await;
        assert_ne!(
            program.ask("POST", &path, &worker, None).await.0,
            401,
            "{back}"
        );
    }

    // The secret is replaced: the old one counts for a while, or not at all.
    let rotated = json_of(
        &daemon,
        &["keys", "rotate", &worker_id, "--grace", "10m", "--json"],
    );
    let second = rotated["key"].as_str().unwrap().to_owned();
    for key in [&worker, &second] {
        assert_ne!(program.ask("POST", &path, key, None).await.0, 401);
    }
    let rotated = json_of(
        &daemon,
        &["keys", "rotate", &worker_id, "--grace", "0s", "--json"],
    );
    let third = rotated["key"].as_str().unwrap().to_owned();
    for (key, in_force) in [(&worker, false), (&second, false), (&third, true)] {
        let status = program.ask("POST", &path, key, None).await.0;
        assert_eq!(status != 401, in_force, "{status}");
    }
    assert_eq!(
        run(&daemon, &["keys", "rotate", &worker_id, "--grace", "25h"]).0,
        2
    );
    assert_eq!(run(&daemon, &["keys", "revoke", &worker_id]).0, 0);
    assert_eq!(program.ask("POST", &path, &third, None).await.0, 401);
    assert_eq!(run(&daemon, &["keys", "rotate", &worker_id]).0, 1);

    // Guessing is limited by network and recorded; a good key goes on working beside it.
    let mut refused = false;
    for n in 0..60 {
        let guess = format!("bt_api_{n:0>43}");
        refused = program.status(ALERTS, &guess).await == 429;
        if refused {
            break;
        }
    }
    assert!(refused);
    assert_eq!(program.status(ALERTS, &reader).await, 200);

    // Nobody changes what a key is, and no secret is in the record or the log.
    for sql in [
        "UPDATE users.person_keys SET scopes = '{silences:write}'",
        "UPDATE users.person_keys SET revoked_at = NULL",
        "UPDATE users.person_key_secrets SET valid_until = now() + interval '1 hour'
         WHERE valid_until <= now()",
        "UPDATE users.person_keys SET expires_at = now() + interval '2 years'",
    ] {
        assert!(sqlx::query(sql).execute(&mut conn).await.is_err(), "{sql}");
    }
    let leaked: i64 = sqlx::query(
        "SELECT count(*) FROM audit.audit_log l, users.person_key_secrets s
         WHERE l::text LIKE '%' || $1 || '%' OR l::text LIKE '%' || encode(s.token_hash, 'hex') || '%'",
    )
    .bind(&third["bt_api_Xk3vQ".len()..])
    .fetch_one(&mut conn)
    .await
    .unwrap()
    .get(0);
    assert_eq!(leaked, 0);
    assert!(!daemon.log().contains("bt_api_"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_makes_and_rotates_keys_of_their_own_alone() {
    let daemon = Daemon::new("").await;
    let program = Program::of(&daemon);
    invite(&daemon, "chief", "system_admin");
    let (chiefs, secret) = make(&daemon, "chief", &[]);
    let mut admin = signed_in(&daemon, "admin").await;

    let made = admin
        .post("/api/v1/keys", json!({"name": "mine", "scopes": ["read"]}))
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    let own = made.body["key"].as_str().unwrap();
    assert_eq!(program.status(ALERTS, own).await, 200);
    let body = json!({"name": "x", "scopes": ["read"], "owner": "chief"});
    assert_eq!(admin.post("/api/v1/keys", body).await.status, 403);
    let path = format!("/api/v1/keys/{chiefs}/rotate");
    assert_eq!(admin.post(&path, json!({})).await.status, 403);
    assert_eq!(program.status(ALERTS, &secret).await, 200);

    // Uses are counted, and a header is not made up for by a cookie.
    let cookie = format!("__Host-blueteam={}", admin.cookie.clone().unwrap());
    let mixed = program
        .client
        .get(format!("{}{ALERTS}", program.base))
        .header("cookie", cookie)
        .header("authorization", "Bearer bt_api_x")
        .send();
    assert_eq!(mixed.await.unwrap().status(), 401);
    let since = std::time::Instant::now();
    loop {
        let keys = json_of(&daemon, &["keys", "list", "--json"]);
        let mut keys = keys.as_array().unwrap().iter();
        let used = keys.find(|key| key["key_id"] == chiefs.as_str()).unwrap();
        if used["usage_count"] == 1 && !used["last_used"].is_null() {
            break;
        }
        assert!(since.elapsed() < super::daemon::PATIENCE, "{used}");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}
