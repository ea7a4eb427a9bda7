//! What OWASP ASVS 5.0 asks of passwords and sessions at the door (`docs/security/asvs.md`): how a
//! password is changed, when a token is worth nothing any more, and where neither is kept.

use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};

use super::daemon::Daemon;
use super::people::{PASSWORD, code, json_of, run, secret};

/// Longer than 64 characters, of several scripts (ASVS 6.2.5, 6.2.9).
const LONG: &str =
    "Käsekuchen und Kirschen im Juli 🍒 schmecken am See doch besser als daheim, sagt Oma";

/// A browser that shows all that it gets.
struct Visitor {
    client: reqwest::Client,
    base: String,
    cookie: Option<String>,
}

struct Page {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Page {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    fn kind(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.rsplit(':').next().unwrap().to_owned()
    }

    fn header(&self, name: impl reqwest::header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Visitor {
    fn of(daemon: &Daemon) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(super::daemon::PATIENCE);
        Self {
            client: client.build().unwrap(),
            base: format!("http://127.0.0.1:{}", daemon.port),
            cookie: None,
        }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        // Whatever a client says of where it comes from, its connection counts (ASVS 4.1.3).
        let mut request = request
            .header("x-forwarded-for", "203.0.113.9")
            .header("x-real-ip", "203.0.113.9");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("__Host-blueteam={cookie}"));
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        if let Some(set) = headers.get(SET_COOKIE) {
            let set = set.to_str().unwrap();
            let token = set["__Host-blueteam=".len()..].split(';').next().unwrap();
            self.cookie = (!token.is_empty()).then(|| token.to_owned());
        }
        let text = answer.text().await.unwrap();
        Page {
            status,
            headers,
            text,
        }
    }

    async fn get(&mut self, path: &str) -> Page {
        let request = self
            .client
            .request(Method::GET, format!("{}{path}", self.base));
        self.send(request).await
    }

    async fn post(&mut self, path: &str, body: Value) -> Page {
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        self.send(request).await
    }

    async fn sign_in(&mut self, password: &str, code: &str) -> Page {
        let body = json!({"username": "dana", "password": password, "code": code});
        self.post("/api/v1/sign-in", body).await
    }

    async fn is_in(&mut self) -> bool {
        self.get("/api/v1/me").await.status == StatusCode::OK
    }

    /// Another browser with the same cookie.
    fn with_same_cookie(&self) -> Self {
        Self {
            client: self.client.clone(),
            base: self.base.clone(),
            cookie: self.cookie.clone(),
        }
    }

    async fn enroll(&mut self, link: &str, password: &str) -> Vec<String> {
        let begun = self
            .post("/api/v1/enrollment", json!({ "enrollment_code": link }))
            .await;
        let totp = secret(begun.json()["totp_secret"].as_str().unwrap());
        let body = json!({
            "enrollment_code": link, "password": password, "code": code(&totp, None).0,
        });
        let done = self.post("/api/v1/enrollment/complete", body).await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.text);
        serde_json::from_value(done.json()["recovery_codes"].clone()).unwrap()
    }
}

fn create(daemon: &Daemon, name: &str) -> String {
    let email = format!("{name}@example.com");
    let made = json_of(
        daemon,
        &["users", "create", name, "--email", &email, "--json"],
    );
    made["code"].as_str().unwrap().to_owned()
}

/// Dana, set up and signed in, with her recovery codes.
async fn dana(daemon: &Daemon) -> (Visitor, Vec<String>) {
    let link = create(daemon, "dana");
    let mut visitor = Visitor::of(daemon);
    let codes = visitor.enroll(&link, PASSWORD).await;
    (visitor, codes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_by_all_factors_and_ends_every_other_session() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let with_password: i64 =
        sqlx::query_scalar("SELECT count(*) FROM users.users WHERE has_password")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!(with_password, 0, "no account comes with a password");

    let (mut visitor, codes) = dana(&daemon).await;
    let mut other = Visitor::of(&daemon);
    assert_eq!(other.sign_in(PASSWORD, &codes[0]).await.status, 200);

    let change = |password: &str, code: &str, new: &str| json!({"username": "dana", "password": password, "code": code, "new_password": new});
    for (password, code, new, status, kind) in [
        ("not the password", &codes[1], LONG, 401, "wrong"),
        (PASSWORD, &"000000".to_owned(), LONG, 401, "wrong"),
        (PASSWORD, &codes[1], "password1234", 422, "weak-password"),
        (
            PASSWORD,
            &codes[1],
            "my blue.team sings",
            422,
            "weak-password",
        ),
        (
            PASSWORD,
            &codes[1],
            "an Example.com song",
            422,
            "weak-password",
        ),
    ] {
        let page = visitor
            .post("/api/v1/password", change(password, code, new))
            .await;
        let found = (page.status.as_u16(), page.kind());
        assert_eq!(found, (status, kind.to_owned()), "{new}: {}", page.text);
    }
    assert!(other.is_in().await);

    let mut old = visitor.with_same_cookie();
    let page = visitor
        .post("/api/v1/password", change(PASSWORD, &codes[1], LONG))
        .await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(page.header(CACHE_CONTROL), "no-store");
    assert!(visitor.is_in().await && !old.is_in().await && !other.is_in().await);

    // As it is, and nothing else (ASVS 6.2.8).
    let (lower, cut) = (LONG.to_lowercase(), LONG.trim_end_matches("Oma"));
    for wrong in [PASSWORD, &lower, cut] {
        assert_eq!(other.sign_in(wrong, &codes[2]).await.status, 401, "{wrong}");
    }
    assert_eq!(other.sign_in(LONG, &codes[2]).await.status, 200);

    // A recovery takes the old factors away, with all that was signed in by them (ASVS 6.4.3).
    let link = json_of(&daemon, &["users", "recover", "dana", "--json"]);
    let mut anew = Visitor::of(&daemon);
    let newest = "eleven green kettles agree";
    anew.enroll(link["code"].as_str().unwrap(), newest).await;
    assert!(!other.is_in().await && !visitor.is_in().await);
    for password in [LONG, newest] {
        let page = other.sign_in(password, &codes[3]).await;
        assert_eq!(page.status, 401, "{password}");
    }

    let foreign: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log
         WHERE ip_address::text LIKE '203.0.113.9%' OR action = 'LOGIN' AND ip_address IS NULL",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(foreign, 0, "an address is the connection's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_another_one_after_each_proof_and_ends_by_time() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let (mut visitor, codes) = dana(&daemon).await;

    // Whoever has copied the token of a locked session has no use for it.
    let mut thief = visitor.with_same_cookie();
    conn.execute("UPDATE users.sessions SET seen_at = now() - interval '16 minutes'")
        .await
        .unwrap();
    assert_eq!(thief.get("/api/v1/me").await.kind(), "locked");
    let proof = |code: &str| json!({"password": PASSWORD, "code": code});
    let unlocked = visitor.post("/api/v1/unlock", proof(&codes[0])).await;
    assert_eq!(unlocked.status, 204, "{}", unlocked.text);
    assert!(unlocked.header(SET_COOKIE).contains("; HttpOnly"));
    assert!(visitor.is_in().await);
    assert_eq!(thief.get("/api/v1/me").await.kind(), "sign-in");
    let stolen = thief.post("/api/v1/unlock", proof(&codes[1])).await;
    assert_eq!(stolen.kind(), "sign-in");

    // Ten sessions at most, and one's own are ended by who proves who they are.
    let filled = conn
        .execute(
            "INSERT INTO users.sessions (user_id, token_hash, factors)
             SELECT user_id, sha256(n::text::bytea), '{password,totp}'
             FROM users.users, generate_series(1, 9) AS n WHERE username = 'dana'",
        )
        .await
        .unwrap();
    assert_eq!(filled.rows_affected(), 9);
    let mut eleventh = Visitor::of(&daemon);
    assert_eq!(eleventh.sign_in(PASSWORD, &codes[2]).await.status, 200);
    assert!(!visitor.is_in().await, "the oldest makes way");
    let own = eleventh.get("/api/v1/me/sessions").await;
    assert_eq!(own.json().as_array().unwrap().len(), 10, "{}", own.text);
    conn.execute("UPDATE users.sessions SET stepped_up_at = now() - interval '11 minutes'")
        .await
        .unwrap();
    let id = own.json()[5]["session_id"].as_str().unwrap().to_owned();
    let revoke = format!("/api/v1/me/sessions/{id}/revoke");
    assert_eq!(
        eleventh.post(&revoke, json!({})).await.kind(),
        "proof-needed"
    );
    let proved = eleventh.post("/api/v1/unlock", proof(&codes[3])).await;
    assert_eq!(proved.status, 204);
    assert_eq!(eleventh.post(&revoke, json!({})).await.status, 204);

    // A session is no way around a password that must be chosen.
    let must = ["users", "require-password-change", "dana"];
    assert_eq!(run(&daemon, &must).0, 0);
    let kept = eleventh.post("/api/v1/unlock", proof(&codes[4])).await;
    assert_eq!(kept.kind(), "password-change-needed", "{}", kept.text);
    conn.execute("UPDATE users.users SET must_change_password = false")
        .await
        .unwrap();

    // No use of a session moves its end, and being idle is one.
    conn.execute("ALTER TABLE users.sessions DISABLE TRIGGER keep_session")
        .await
        .unwrap();
    for (column, hours, reason) in [("created_at", 13, "absolute"), ("seen_at", 1, "idle")] {
        let mut guest = Visitor::of(&daemon);
        let code = &codes[5 + usize::from(reason == "idle")];
        assert_eq!(guest.sign_in(PASSWORD, code).await.status, 200);
        assert!(guest.is_in().await);
        let past = format!(
            "UPDATE users.sessions SET {column} = now() - interval '{hours} hours 1 minute'
             WHERE ended_at IS NULL"
        );
        conn.execute(AssertSqlSafe(past)).await.unwrap();
        assert_eq!(guest.get("/api/v1/me").await.kind(), "sign-in", "{reason}");
        let reasons: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT end_reason FROM users.sessions WHERE end_reason = $1",
        )
        .bind(reason)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        assert_eq!(reasons, [reason]);
    }

    // An administrator ends one person's sessions, or everybody's.
    for which in [["--user", "dana"].as_slice(), &["--all"]] {
        let mut guest = Visitor::of(&daemon);
        let code = &codes[7 + usize::from(which.len() == 1)];
        assert_eq!(guest.sign_in(PASSWORD, code).await.status, 200);
        let mut args = vec!["sessions", "revoke"];
        args.extend(which);
        assert_eq!(run(&daemon, &args).0, 0);
        assert!(!guest.is_in().await, "{which:?}");
    }

    // What is left in a browser after a sign-out is cleared (ASVS 14.3.1).
    let mut guest = Visitor::of(&daemon);
    assert_eq!(guest.sign_in(PASSWORD, &codes[9]).await.status, 200);
    let mut copy = guest.with_same_cookie();
    let out = guest.post("/api/v1/sign-out", json!({})).await;
    assert!(out.header("clear-site-data").contains("storage"));
    assert!(guest.cookie.is_none() && !copy.is_in().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_enrollment_page_hides_passwords_and_keeps_nothing() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let link = create(&daemon, "dana");
    let mut visitor = Visitor::of(&daemon);
    let form = format!("enrollment_code={link}");
    let post = |body: String| {
        let kind = "application/x-www-form-urlencoded";
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client
            .post(format!("http://127.0.0.1:{}/enroll", daemon.port))
            .header(CONTENT_TYPE, kind)
            .body(body)
    };
    let page = visitor.send(post(form.clone())).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(page.header(CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(page.header(CACHE_CONTROL), "no-store");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    for name in ["password", "repeated"] {
        let input = format!(
            "<input id=\"{name}\" name=\"{name}\" type=\"password\" required \
             autocomplete=\"new-password\">"
        );
        assert!(page.text.contains(&input), "{}", page.text);
    }
    // Nothing that could keep a password manager from pasting, or a password from being long.
    for hindrance in ["<script", "onpaste", "maxlength", "pattern="] {
        assert!(!page.text.contains(hindrance), "{hindrance}");
    }

    // The code is for a day.
    conn.execute(
        "UPDATE users.enrollment_links
         SET created_at = now() - interval '25 hours', expires_at = now() - interval '1 hour'",
    )
    .await
    .unwrap();
    assert_eq!(visitor.send(post(form)).await.status, StatusCode::GONE);
    let late = visitor
        .post("/api/v1/enrollment", json!({ "enrollment_code": link }))
        .await;
    assert_eq!(late.status, StatusCode::GONE, "{}", late.text);

    // What fails inside is said in the log and nowhere else (ASVS 16.5.1).
    visitor.cookie = Some("bt_session_".to_owned() + &"A".repeat(43));
    conn.execute("REVOKE SELECT ON users.sessions FROM blueteam_accounts")
        .await
        .unwrap();
    let failed = visitor.get("/api/v1/me").await;
    assert_ne!(failed.status, 200);
    assert!(!failed.text.contains("permission") && !failed.text.contains("users."));
}
