//! People at the door: an account is made, set up with the code of its link, signed in as, locked
//! and disabled; and blueteam's own rules watch the door.

use std::fmt::Write as _;

use identity::Role;
use identity::role::Permissions;
use model::{Clock as _, SystemClock};
use serde_json::{Value, json};
use sqlx::Row as _;
use totp_rs::{Builder, Secret};

use super::bodies::body_for;
use super::daemon::Daemon;

/// A sentence that no list holds.
pub(super) const PASSWORD: &str = "nine purple kettles argue";

pub(super) struct Browser {
    pub(super) client: reqwest::Client,
    pub(super) base: String,
    pub(super) cookie: Option<String>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Browser {
    pub(super) fn of(daemon: &Daemon) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(super::daemon::PATIENCE)
                .build()
                .unwrap(),
            base: format!("http://127.0.0.1:{}", daemon.port),
            cookie: None,
        }
    }

    pub(super) async fn ask(
        &mut self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.base));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("__Host-blueteam={cookie}"));
        }
        if method != reqwest::Method::GET {
            // Whatever it is now: these tests are of other things.
            request = request.header("if-match", "*");
        }
        if let Some(body) = body {
            let text = serde_json::to_string(&body).unwrap();
            request = request
                .header("content-type", "application/json")
                .body(text);
        }

        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let set = answer.headers().get("set-cookie").map(|value| {
            let value = value.to_str().unwrap();
            for part in [
                "__Host-blueteam=",
                "; Path=/",
                "; Secure",
                "; HttpOnly",
                "; SameSite=Lax",
            ] {
                assert!(value.contains(part), "{value}");
            }
            value["__Host-blueteam=".len()..]
                .split(';')
                .next()
                .unwrap()
                .to_owned()
        });
        if let Some(token) = set {
            self.cookie = (!token.is_empty()).then_some(token);
        }
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, body }
    }

    pub(super) async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.ask(reqwest::Method::POST, path, Some(body)).await
    }

    pub(super) async fn me(&mut self) -> Answer {
        self.ask(reqwest::Method::GET, "/api/v1/me", None).await
    }
}

/// The secret that the enrollment showed, as an app reads it.
pub(super) fn secret(base32: &str) -> [u8; 20] {
    let mut bits = String::new();
    for c in base32.chars() {
        let value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).unwrap();
        write!(bits, "{value:05b}").unwrap();
    }
    let bytes: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

/// The code that an app shows now, and its step; a newer one than `after`, if one is given.
pub(super) fn code(secret: &[u8; 20], after: Option<u64>) -> (String, u64) {
    let totp = Builder::new()
        .with_digits(6)
        .with_skew(0)
        .with_step_duration(30)
        .with_secret(Secret::new_stack(*secret))
        .build_noncompliant();
    loop {
        let now = u64::try_from(SystemClock.now().as_secs()).unwrap();
        if after.is_none_or(|after| now / 30 > after) {
            return (totp.generate(now).to_string(), now / 30);
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

pub(super) fn run(daemon: &Daemon, args: &[&str]) -> (i32, String, String) {
    let out = daemon.command().args(args).output().unwrap();
    (
        out.status.code().unwrap(),
        String::from_utf8(out.stdout).unwrap(),
        String::from_utf8(out.stderr).unwrap(),
    )
}

pub(super) fn json_of(daemon: &Daemon, args: &[&str]) -> Value {
    let (status, out, err) = run(daemon, args);
    assert_eq!(status, 0, "{args:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

#[expect(
    clippy::too_many_lines,
    reason = "one person's way, of which each step needs the one before"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_invited_enrolled_signed_in_and_kept_out() {
    let daemon = Daemon::new("").await;
    let made = json_of(
        &daemon,
        &[
            "users",
            "create",
            "dana",
            "--email",
            "dana@example.com",
            "--role",
            "system_admin",
            "--json",
        ],
    );
    let link = made["code"].as_str().unwrap().to_owned();
    assert!(link.starts_with("bt_enroll_"));
    assert_eq!(
        made["page"],
        format!("http://localhost:{}/enroll", daemon.port)
    );

    // Weak passwords and wrong codes use nothing up.
    let mut browser = Browser::of(&daemon);
    let begun = browser
        .post("/api/v1/enrollment", json!({"enrollment_code": link}))
        .await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    let again = browser
        .post("/api/v1/enrollment", json!({"enrollment_code": link}))
        .await;
    assert_eq!(begun.body["totp_secret"], again.body["totp_secret"]);
    let totp = secret(begun.body["totp_secret"].as_str().unwrap());
    let (now, step) = code(&totp, None);
    for (password, code, status) in [
        ("password1234", &now, 422),
        (PASSWORD, &"000000".to_owned(), 401),
    ] {
        let body = json!({"enrollment_code": link, "password": password, "code": code});
        let refused = browser.post("/api/v1/enrollment/complete", body).await;
        assert_eq!(refused.status, status, "{}", refused.body);
    }

    let body = json!({"enrollment_code": link, "password": PASSWORD, "code": code(&totp, None).0});
    let done = browser
        .post("/api/v1/enrollment/complete", body.clone())
        .await;
    assert_eq!(done.status, 200, "{}", done.body);
    let recovery: Vec<String> =
        serde_json::from_value(done.body["recovery_codes"].clone()).unwrap();
    assert_eq!(recovery.len(), 10);
    assert_eq!(browser.me().await.body["person"]["username"], "dana");
    assert_eq!(
        Browser::of(&daemon)
            .post("/api/v1/enrollment/complete", body)
            .await
            .status,
        410
    );

    // A code counts once; a recovery code, too.
    let used = code(&totp, None);
    let mut other = Browser::of(&daemon);
    let missing = other
        .post(
            "/api/v1/sign-in",
            json!({"username": "DANA", "password": PASSWORD}),
        )
        .await;
    assert_eq!(
        (missing.status, &missing.body["type"]),
        (401, &json!("urn:blueteam:problem:code-needed"))
    );
    let body = json!({"username": "dana", "password": PASSWORD, "code": recovery[0]});
    assert_eq!(
        other.post("/api/v1/sign-in", body.clone()).await.status,
        200
    );
    assert_eq!(
        Browser::of(&daemon)
            .post("/api/v1/sign-in", body)
            .await
            .status,
        401
    );
    let (fresh, _) = code(&totp, Some(step.max(used.1)));
    let body = json!({"username": "dana", "password": PASSWORD, "code": fresh});
    assert_eq!(
        other.post("/api/v1/sign-in", body.clone()).await.status,
        200
    );
    assert_eq!(
        Browser::of(&daemon)
            .post("/api/v1/sign-in", body)
            .await
            .status,
        401
    );

    // Whose page it is that asks.
    let foreign = browser
        .client
        .post(format!("{}/api/v1/sign-out", browser.base))
        .header("sec-fetch-site", "cross-site")
        .header(
            "cookie",
            format!("__Host-blueteam={}", other.cookie.clone().unwrap()),
        )
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), 403);
    let sessions = json_of(&daemon, &["sessions", "list", "dana", "--json"]);
    assert_eq!(sessions.as_array().unwrap().len(), 2, "{sessions}");

    let own = other
        .ask(reqwest::Method::GET, "/api/v1/me/sessions", None)
        .await;
    assert_eq!(own.body.as_array().unwrap().len(), 2, "{}", own.body);
    let stranger = "/api/v1/me/sessions/00000000-0000-0000-0000-000000000000/revoke";
    assert_eq!(
        other
            .ask(reqwest::Method::POST, stranger, None)
            .await
            .status,
        404
    );

    // A lock, and what unlocks.
    assert_eq!(
        other
            .ask(reqwest::Method::POST, "/api/v1/lock", None)
            .await
            .status,
        204
    );
    assert_eq!(other.me().await.body["type"], "urn:blueteam:problem:locked");
    let proof = json!({"password": PASSWORD, "code": recovery[1]});
    assert_eq!(other.post("/api/v1/unlock", proof).await.status, 204);
    assert_eq!(other.me().await.status, 200);
    assert_eq!(
        other
            .ask(reqwest::Method::POST, "/api/v1/sign-out", None)
            .await
            .status,
        204
    );
    assert_eq!(other.me().await.status, 401);

    // The last administrator stays one; a role ends sessions, and so does being disabled.
    let (status, _, err) = run(&daemon, &["users", "role", "dana", "user"]);
    assert!(
        status == 1 && err.contains("last system administrator"),
        "{err}"
    );
    let (status, _, err) = run(&daemon, &["users", "disable", "dana", "--reason", "left"]);
    assert!(
        status == 1 && err.contains("last system administrator"),
        "{err}"
    );
    json_of(
        &daemon,
        &[
            "users",
            "create",
            "lee",
            "--email",
            "lee@example.com",
            "--role",
            "system_admin",
            "--json",
        ],
    );
    let (status, _, err) = run(&daemon, &["users", "disable", "dana", "--reason", "left"]);
    assert_eq!(status, 0, "{err}");
    assert_eq!(browser.me().await.status, 401);
    let (status, _, err) = run(
        &daemon,
        &["users", "create", "Dana", "--email", "d2@example.com"],
    );
    assert!(status == 1 && err.contains("not given twice"), "{err}");

    let mut conn = daemon.connect().await;
    let actions: Vec<String> = sqlx::query(
        "SELECT action::text FROM audit.audit_log
         WHERE resource_type = 'USER' AND resource_id = $1 ORDER BY created_at, id",
    )
    .bind(made["user_id"].as_str().unwrap())
    .fetch_all(&mut conn)
    .await
    .unwrap()
    .iter()
    .map(|row| row.get(0))
    .collect();
    for action in ["CREATE", "PASSWORD_CHANGE", "LOGIN", "LOGOUT", "UPDATE"] {
        assert!(actions.iter().any(|a| a == action), "{action}: {actions:?}");
    }
    let with_origin: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log
         WHERE action = 'LOGIN' AND ip_address = '127.0.0.1' AND metadata ->> 'via' = 'web'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    // One is the session that took the place of the locked one.
    assert_eq!(with_origin, 4);

    // Nothing of what was secret is in the record or the log.
    let leaked: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log l
         WHERE l::text LIKE '%$argon2%' OR l::text LIKE '%bt\\_enroll%' OR l::text LIKE '%' || $1 || '%'",
    )
    .bind(PASSWORD)
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(leaked, 0);
    assert!(!daemon.log().contains(PASSWORD) && !daemon.log().contains("bt_session_"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_guesses_passwords_is_told_nothing_locked_out_and_seen() {
    let daemon = Daemon::new("").await;
    json_of(
        &daemon,
        &[
            "users",
            "create",
            "dana",
            "--email",
            "dana@example.com",
            "--json",
        ],
    );
    let mut browser = Browser::of(&daemon);
    let mut answers = Vec::new();
    for username in ["dana", "nobody"] {
        for n in 0..6 {
            let body = json!({"username": username, "password": format!("guess number {n}"), "code": "123456"});
            let answer = browser.post("/api/v1/sign-in", body).await;
            answers.push((answer.status, answer.body));
        }
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert_eq!(answers[0].0, 401);

    let locked = json_of(&daemon, &["users", "list", "--locked", "--json"]);
    assert_eq!(locked[0]["username"], "dana");
    assert_eq!(locked.as_array().unwrap().len(), 1);
    let (status, out, _) = run(&daemon, &["users", "unlock", "--all"]);
    assert_eq!((status, out.as_str()), (0, "unlocked dana\n"));

    // The rules see it like any other guessing.
    let since = std::time::Instant::now();
    loop {
        let alerts = json_of(&daemon, &["alerts", "list", "--json"]);
        let seen = alerts
            .as_array()
            .unwrap()
            .iter()
            .any(|a| a["rule_id"] == "brute_force");
        if seen {
            break;
        }
        assert!(
            since.elapsed() < super::daemon::PATIENCE,
            "{alerts}\n{}",
            daemon.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }

    // Beyond the limit nothing is hashed any more.
    let mut refused = 0;
    for n in 0..20 {
        let body = json!({"username": format!("user{n}"), "password": "x", "code": "1"});
        let answer = browser.post("/api/v1/sign-in", body).await;
        refused += u32::from(answer.status == 429);
    }
    assert!(refused >= 10, "{refused}");
}

/// Makes an account of that role, sets it up and signs it in.
pub(super) async fn signed_in(daemon: &Daemon, role: &str) -> Browser {
    signed_in_as(daemon, &role.replace('_', "-"), role, None).await
}

/// The same of that name, and of another tenant than `default`.
pub(super) async fn signed_in_as(
    daemon: &Daemon,
    name: &str,
    role: &str,
    tenant: Option<&str>,
) -> Browser {
    made_for(daemon, name, role, tenant).await.0
}

/// The same for an account of that name, with its recovery codes.
pub(super) async fn with_recovery_codes(
    daemon: &Daemon,
    name: &str,
    role: &str,
) -> (Browser, Vec<String>) {
    made_for(daemon, name, role, None).await
}

async fn made_for(
    daemon: &Daemon,
    name: &str,
    role: &str,
    tenant: Option<&str>,
) -> (Browser, Vec<String>) {
    let email = format!("{name}@example.com");
    let mut args = vec![
        "users", "create", name, "--email", &email, "--role", role, "--json",
    ];
    args.extend(tenant.iter().flat_map(|tenant| ["--tenant", tenant]));
    let link = json_of(daemon, &args)["code"].as_str().unwrap().to_owned();
    let mut browser = Browser::of(daemon);
    let codes = set_up(&mut browser, &link).await;
    (browser, codes)
}

/// Sets an account up with the code of its link, and returns its recovery codes.
pub(super) async fn set_up(browser: &mut Browser, link: &str) -> Vec<String> {
    let begun = browser
        .post("/api/v1/enrollment", json!({ "enrollment_code": link }))
        .await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    let totp = secret(begun.body["totp_secret"].as_str().unwrap());
    let body = json!({
        "enrollment_code": link, "password": PASSWORD, "code": code(&totp, None).0,
    });
    let done = browser.post("/api/v1/enrollment/complete", body).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let codes = done.body["recovery_codes"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned());
    codes.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_asks_each_role_and_records_whom_it_refuses() {
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let permissions = Permissions::built_in();
    let (mut allowed, mut refused) = (0_i64, 0_i64);

    for role in Role::ALL {
        let mut browser = signed_in(&daemon, role.as_str()).await;
        for route in web::ROUTES {
            let name = route
                .path
                .replace("{id}", NOBODY)
                .replace("{number}", "1")
                .replace("{name}", "nobody-of-this-name");
            let method = route.method.to_uppercase().parse().unwrap();
            // Typesetting takes long, and is asked for elsewhere.
            let name = if route.path.contains("/reports/") {
                format!("{name}?format=markdown")
            } else {
                name
            };
            // A made key or user is there for the next role, too.
            let body = body_for(route.path).map(|mut body| {
                if route.path == "/api/v1/users" {
                    let name = format!("new-{}", role.as_str().replace('_', "-"));
                    body["email"] = json!(format!("{name}@example.com"));
                    body["username"] = json!(name);
                }
                body
            });
            let answer = browser.ask(method, &name, body).await;
            let what = format!(
                "{role}: {} {name}: {} {}",
                route.method, answer.status, answer.body
            );
            let denied = answer.body["type"] == "urn:blueteam:problem:denied";
            if permissions.allows(*role, route.action, route.resource) {
                assert!(
                    !denied && answer.status != 401 && answer.status < 500,
                    "{what}"
                );
                allowed += 1;
            } else {
                assert!(denied && answer.status == 403, "{what}");
                refused += 1;
            }
        }
    }

    assert!(allowed > 80 && refused > 30, "{allowed} {refused}");
    let recorded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log
         WHERE action = 'PERMISSION_DENIED' AND ip_address = '127.0.0.1' AND metadata ? 'resource'
             AND metadata ->> 'via' = 'web' AND metadata ? 'session'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(recorded, refused);

    // Without a session no route tells or does anything.
    let mut stranger = Browser::of(&daemon);
    for route in web::ROUTES {
        let path = route.path.replace("{id}", NOBODY).replace("{name}", "dana");
        let method = route.method.to_uppercase().parse().unwrap();
        let answer = stranger.ask(method, &path, body_for(route.path)).await;
        assert_eq!(
            answer.status, 401,
            "{} {path}: {}",
            route.method, answer.body
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_takes_over_nobody_above_and_proves_who_they_are() {
    let daemon = Daemon::new("").await;
    let mut chief = signed_in(&daemon, "system_admin").await;
    let mut admin = signed_in(&daemon, "admin").await;
    for (path, body) in [
        ("/api/v1/users/system-admin/enroll-link", None),
        (
            "/api/v1/users/system-admin/disable",
            Some(json!({"reason": "mine now"})),
        ),
        (
            "/api/v1/users/system-admin/role",
            Some(json!({"role": "user"})),
        ),
        (
            "/api/v1/users/admin/role",
            Some(json!({"role": "system_admin"})),
        ),
        (
            "/api/v1/users",
            Some(json!({
                "username": "puppet", "email": "p@example.com", "role": "system_admin",
            })),
        ),
    ] {
        let answer = admin.ask(reqwest::Method::POST, path, body).await;
        assert!(
            [403, 409].contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
    }
    assert_eq!(chief.me().await.status, 200);

    // What is dangerous asks for both factors again after ten minutes.
    let mut conn = daemon.connect().await;
    sqlx::query("UPDATE users.sessions SET stepped_up_at = now() - interval '11 minutes'")
        .execute(&mut conn)
        .await
        .unwrap();
    let key = json!({"name": "late", "scopes": ["metrics:read"]});
    let late = chief.post("/api/v1/keys", key).await;
    assert_eq!(
        (late.status, &late.body["type"]),
        (403, &json!("urn:blueteam:problem:proof-needed")),
        "{}",
        late.body
    );
    let lists = chief.ask(reqwest::Method::GET, "/api/v1/keys", None).await;
    assert_eq!(lists.status, 200, "{}", lists.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_key_shuts_the_door_and_takes_events_in_all_the_same() {
    let mut daemon = Daemon::stopped("");
    std::fs::write(daemon.path("accounts.key"), "too short").unwrap();
    daemon.start().await;
    let event = super::daemon::failure("192.0.2.7", "root");
    daemon.client().answers(&[event], 200).await;
    assert_eq!(Browser::of(&daemon).me().await.status, 404);
    assert!(
        daemon.log().contains("accounts.key is no key"),
        "{}",
        daemon.log()
    );
}
