//! People who sign in by an OpenID Connect provider: `oidc-provider`, which is certified to conform.
//! It is stopped in the middle.

#![expect(clippy::panic, reason = "a step that fails is a failed test")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Row as _;

use super::daemon::{Daemon, PATIENCE};
use super::people::{self, Browser, json_of, run};

const CLIENT_SECRET: &str = "a secret+of/the client";
const PROVIDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/tools/oidc-provider/provider.mjs"
);

/// Where `scripts/setup --tests` has installed a tool.
pub(super) fn installed(tool: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("BLUETEAM_TEST_TOOLS").map(PathBuf::from);
    let cache = || {
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Some(cache.or_else(home)?.join("blueteam-test-tools"))
    };
    let folder = tools.or_else(cache)?.join(tool);
    folder.join("node_modules").is_dir().then_some(folder)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

struct Provider {
    port: u16,
    redirect_url: String,
    algorithm: &'static str,
    folder: PathBuf,
    people: PathBuf,
    _dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Provider {
    fn start(&mut self) {
        let mut node = Command::new("node");
        node.arg(PROVIDER)
            .args([
                &self.port.to_string(),
                &self.redirect_url,
                CLIENT_SECRET,
                self.algorithm,
            ])
            .arg(&self.people)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(node.spawn().unwrap());
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "oidc-provider does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn know(&self, people: &Value) {
        std::fs::write(&self.people, people.to_string()).unwrap();
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A browser that goes where it is sent, with a cookie jar for blueteam and one for the provider.
struct Visitor {
    client: reqwest::Client,
    blueteam: String,
    jars: BTreeMap<bool, BTreeMap<String, String>>,
}

struct Seen {
    status: u16,
    location: Option<String>,
    body: Value,
}

impl Visitor {
    fn of(daemon: &Daemon) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            client: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(PATIENCE)
                .build()
                .unwrap(),
            blueteam: format!("http://127.0.0.1:{}", daemon.port),
            jars: BTreeMap::new(),
        }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder, is_ours: bool) -> Seen {
        let jar = self.jars.entry(is_ours).or_default();
        let cookies: Vec<String> = jar.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let answer = request
            .header("cookie", cookies.join("; "))
            .send()
            .await
            .unwrap();
        for set in answer.headers().get_all("set-cookie") {
            let set = set.to_str().unwrap();
            if is_ours {
                assert!(set.starts_with("__Host-blueteam"), "{set}");
                for part in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
                    assert!(set.contains(part), "{set}");
                }
            }
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            jar.insert(name.to_owned(), value.to_owned());
            if value.is_empty() {
                jar.remove(name);
            }
        }
        let location = answer.headers().get("location");
        let location = location.map(|value| value.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Seen {
            status,
            location,
            body,
        }
    }

    async fn get(&mut self, path: &str) -> Seen {
        let request = self.client.get(format!("{}{path}", self.blueteam));
        self.send(request, true).await
    }

    async fn post(&mut self, path: &str, body: Value) -> Seen {
        let request = self
            .client
            .post(format!("{}{path}", self.blueteam))
            .header("content-type", "application/json")
            .body(body.to_string());
        self.send(request, true).await
    }

    /// Signs in at the provider as `account`; returns the path that the browser is sent back to.
    async fn visit(&mut self, account: &str) -> String {
        // Nobody is signed in there from before.
        self.jars.remove(&false);
        let begun = self.get("/api/v1/sign-in/oidc").await;
        assert_eq!(begun.status, 303, "{}", begun.body);
        let mut url = begun.location.unwrap();
        for _ in 0..5 {
            if let Some((_, path)) = url.split_once("/api/v1/sign-in/oidc/callback") {
                return format!("/api/v1/sign-in/oidc/callback{path}");
            }
            let request = self.client.get(&url).header("x-test-account", account);
            let seen = self.send(request, false).await;
            let place = seen
                .location
                .unwrap_or_else(|| panic!("{} {}", seen.status, seen.body));
            let from = reqwest::Url::parse(&url).unwrap();
            url = from.join(&place).unwrap().into();
        }
        panic!("the provider sends the browser around: {url}");
    }

    async fn sign_in(&mut self, account: &str) -> Seen {
        let back = self.visit(account).await;
        self.get(&back).await
    }
}

fn kind(seen: &Seen) -> (u16, &str) {
    let kind = seen.body["type"].as_str().unwrap_or_default();
    (
        seen.status,
        kind.trim_start_matches("urn:blueteam:problem:"),
    )
}

fn person(name: &str, groups: &[&str], amr: &[&str]) -> Value {
    json!({
        "claims": {
            "preferred_username": name, "name": name, "email": format!("{name}@example.com"),
            "groups": groups,
        },
        "amr": amr,
    })
}

async fn setup(algorithm: &'static str) -> Option<(Daemon, Provider)> {
    let Some(folder) = installed("oidc-provider") else {
        eprintln!(
            "SKIPPED: oidc-provider is not installed (scripts/setup --tests, which needs npm): \
             nobody has shown that people can sign in by a real provider"
        );
        return None;
    };
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("client.secret");
    std::fs::write(&secret, CLIENT_SECRET).unwrap();
    let more = format!(
        "[console.oidc]\nissuer = \"http://127.0.0.1:{port}\"\nclient_id = \"blueteam\"\n\
         client_secret_file = \"{}\"\nmfa_amr = [\"mfa\"]\n\
         roles = [{{ group = \"soc-leads\", role = \"admin\" }}, {{ group = \"soc\", role = \"user\" }}]\n",
        secret.display()
    );
    let daemon = Daemon::new(&more).await;
    let redirect_url = format!(
        "http://localhost:{}/api/v1/sign-in/oidc/callback",
        daemon.port
    );
    let mut provider = Provider {
        port,
        redirect_url,
        algorithm,
        folder,
        people: dir.path().join("people.json"),
        _dir: dir,
        child: None,
    };
    provider.know(&json!({}));
    provider.start();
    Some((daemon, provider))
}

#[expect(
    clippy::too_many_lines,
    reason = "one provider and one daemon, which take longest, for all that is asked of them"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_sign_in_by_a_provider_that_is_stopped_in_the_middle() {
    let Some((daemon, mut provider)) = setup("RS256").await else {
        return;
    };
    // A local administrator, for when the provider is away.
    let mut local = people::signed_in(&daemon, "system_admin").await;
    let mfa = ["pwd", "mfa"];
    let known = |lee: &[&str]| {
        json!({
            "sub-lee": person("lee", lee, &mfa),
            "sub-mallory": person("mallory", &["SOC", "soc-leads-2"], &mfa),
            "sub-imposter": person("system-admin", &["soc-leads"], &mfa),
            "sub-kim": person("kim", &["soc"], &["pwd"]),
        })
    };
    provider.know(&known(&["soc"]));

    // In, with the role of the group; the way back counts once, and in one browser.
    let mut lee = Visitor::of(&daemon);
    let back = lee.visit("sub-lee").await;
    let mut thief = Visitor::of(&daemon);
    assert_eq!(kind(&thief.get(&back).await), (401, "provider-refused"));
    let before = lee.jars[&true].clone();
    let seen = lee.get(&back).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    assert_eq!(seen.body["person"]["username"], "lee");
    assert_eq!(seen.body["person"]["role"], "user");
    assert_eq!(seen.body["person"]["stepped_up"], true);
    assert_eq!(lee.get("/api/v1/me").await.status, 200);
    let mut replay = Visitor::of(&daemon);
    replay.jars.insert(true, before);
    assert_eq!(kind(&replay.get(&back).await), (401, "provider-refused"));
    // The same code within another sign-in: the provider takes it no more, nor would its verifier fit.
    let fresh = replay.visit("sub-lee").await;
    let param = |path: &str, name: &str| {
        let found = path
            .split(['?', '&'])
            .find(|part| part.starts_with(&format!("{name}=")));
        found.unwrap().to_owned()
    };
    let mixed = fresh.replace(&param(&fresh, "code"), &param(&back, "code"));
    assert_eq!(kind(&replay.get(&mixed).await), (401, "provider-refused"));
    // Another provider's answer.
    let fresh = replay.visit("sub-lee").await;
    let mixed = fresh.replace(&param(&fresh, "iss"), "iss=https%3A%2F%2Fevil.example");
    assert_eq!(kind(&replay.get(&mixed).await), (401, "provider-refused"));

    // Another group, another role, on record; the sessions of the former one have ended.
    provider.know(&known(&["soc-leads"]));
    let mut again = Visitor::of(&daemon);
    let seen = again.sign_in("sub-lee").await;
    assert_eq!(seen.body["person"]["role"], "admin", "{}", seen.body);
    assert_eq!(lee.get("/api/v1/me").await.status, 401);

    // Nobody is let in by groups that are only like one, or takes an account over by its name.
    let mut other = Visitor::of(&daemon);
    assert_eq!(
        kind(&other.sign_in("sub-mallory").await),
        (403, "not-mapped")
    );
    assert_eq!(
        kind(&other.sign_in("sub-imposter").await),
        (409, "name-taken")
    );
    let (status, _, _) = run(&daemon, &["users", "show", "mallory"]);
    assert_eq!(status, 1, "mallory has no account");
    // Linked by an administrator, it is the account; and the last system administrator stays one.
    let link = ["users", "link", "system-admin", "--oidc", "sub-imposter"];
    let (status, _, err) = run(&daemon, &link);
    assert_eq!(status, 0, "{err}");
    assert_eq!(run(&daemon, &link).0, 1, "it is linked already");
    let seen = other.sign_in("sub-imposter").await;
    assert_eq!(seen.body["person"]["role"], "system_admin", "{}", seen.body);
    assert_eq!(
        local.me().await.status,
        200,
        "the local password was kept, and the session"
    );
    let (status, _, err) = run(&daemon, &["users", "unlink", "system-admin"]);
    assert_eq!(status, 0, "{err}");
    assert_eq!(
        kind(&other.sign_in("sub-imposter").await),
        (409, "name-taken")
    );

    // Whoever used one factor there sets up a second one here, without a password.
    let mut kim = Visitor::of(&daemon);
    assert_eq!(kind(&kim.sign_in("sub-kim").await), (403, "not-enrolled"));
    let made = json_of(&daemon, &["users", "enroll-link", "kim", "--json"]);
    let enrollment_code = made["code"].as_str().unwrap();
    let mut browser = Browser::of(&daemon);
    let body = json!({ "enrollment_code": enrollment_code });
    let begun = browser.post("/api/v1/enrollment", body).await;
    assert_eq!(begun.body["min_length"], Value::Null, "{}", begun.body);
    let totp = people::secret(begun.body["totp_secret"].as_str().unwrap());
    let (code, _) = people::code(&totp, None);
    let body = json!({ "enrollment_code": enrollment_code, "code": code });
    let done = browser.post("/api/v1/enrollment/complete", body).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let seen = kim.sign_in("sub-kim").await;
    assert_eq!(kind(&seen), (401, "code-needed"));
    assert_eq!(kim.get("/api/v1/me").await.status, 401);
    let enter = "/api/v1/sign-in/oidc/code";
    let wrong = kim.post(enter, json!({ "code": "000000" })).await;
    assert_eq!(kind(&wrong), (401, "wrong"));
    let recovery = done.body["recovery_codes"][0].clone();
    let seen = kim.post(enter, json!({ "code": recovery })).await;
    assert_eq!(
        (seen.status, &seen.body["person"]["username"]),
        (200, &json!("kim"))
    );
    // A password of kim's own would not be asked for.
    let shown = json_of(&daemon, &["users", "show", "kim", "--json"]);
    assert_eq!(shown["has_password"], false, "{shown}");

    // Stopped in the middle: whoever is on the way is told so, and a local administrator gets in.
    let back = other.visit("sub-lee").await;
    provider.stop();
    assert_eq!(kind(&other.get(&back).await), (503, "provider-away"));
    let away = other.get("/api/v1/sign-in/oidc").await;
    assert_eq!(kind(&away), (503, "provider-away"));
    let detail = away.body["detail"].as_str().unwrap();
    assert!(detail.contains("Local administrators"), "{detail}");
    let body = json!({ "username": "system-admin", "password": people::PASSWORD });
    let seen = other.post("/api/v1/sign-in", body).await;
    assert_eq!(kind(&seen), (401, "code-needed"), "the password is right");

    // Back again, with other keys.
    provider.start();
    let began = Instant::now();
    while other.get("/api/v1/sign-in/oidc").await.status != 303 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(other.sign_in("sub-lee").await.status, 200);
    let (status, _, err) = run(&daemon, &["users", "disable", "lee", "--reason", "left"]);
    assert_eq!(status, 0, "{err}");
    assert_eq!(kind(&other.sign_in("sub-lee").await), (403, "disabled"));

    what_is_recorded(&daemon).await;
}

/// What the records say of [`people_sign_in_by_a_provider_that_is_stopped_in_the_middle`].
async fn what_is_recorded(daemon: &Daemon) {
    let mut conn = daemon.connect().await;
    let rows = sqlx::query(
        "SELECT action::text AS action, actor, new_value
         FROM audit.audit_log
         WHERE resource_type = 'USER' AND new_value ->> 'username' = 'lee'
         ORDER BY created_at, id",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let of = |wanted: &str| {
        let found = rows
            .iter()
            .filter(|row| row.get::<String, _>("action") == wanted);
        found
            .map(|row| {
                (
                    row.get::<String, _>("actor"),
                    row.get::<Value, _>("new_value"),
                )
            })
            .collect::<Vec<_>>()
    };
    let logins = of("LOGIN");
    assert_eq!(logins.len(), 3, "{logins:?}");
    assert!(
        logins
            .iter()
            .all(|(actor, new)| actor == "lee" && new["method"] == "oidc"),
        "{logins:?}"
    );
    let roles = of("ROLE_CHANGE");
    assert_eq!(roles.len(), 1, "{roles:?}");
    assert!(
        roles[0].0.starts_with("oidc") && roles[0].1["role"] == "admin",
        "{roles:?}"
    );

    // Each refusal is an event, and none of those that anybody could have sent names a person.
    let began = Instant::now();
    loop {
        let failed = sqlx::query(
            "SELECT metadata FROM audit_events
             WHERE action = 'login_failed' AND metadata ->> 'method' = 'oidc'",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap();
        let names: Vec<Option<String>> = failed
            .iter()
            .map(|row| row.get::<Value, _>("metadata"))
            .map(|metadata| metadata["username"].as_str().map(str::to_owned))
            .collect();
        let count = |name: Option<&str>| names.iter().filter(|n| n.as_deref() == name).count();
        if names.len() >= 9 {
            // The thief, the replay, the other code, the other issuer.
            assert_eq!(count(None), 4, "{names:?}");
            assert_eq!(
                (count(Some("mallory")), count(Some("system-admin"))),
                (1, 2),
                "{names:?}"
            );
            assert_eq!(
                (count(Some("kim")), count(Some("lee"))),
                (1, 1),
                "{names:?}"
            );
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{names:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_signs_with_es256_lets_people_in() {
    let Some((daemon, provider)) = setup("ES256").await else {
        return;
    };
    provider.know(&json!({ "sub-lee": person("lee@example.com", &["soc"], &["mfa"]) }));
    let mut lee = Visitor::of(&daemon);
    let seen = lee.sign_in("sub-lee").await;
    assert_eq!(
        seen.body["person"]["username"], "lee@example.com",
        "{}",
        seen.body
    );

    // Links that anybody can make: they let nobody in, and accuse nobody.
    for path in [
        "/api/v1/sign-in/oidc/callback",
        "/api/v1/sign-in/oidc/callback?code=x&state=y",
        "/api/v1/sign-in/oidc/callback?error=access_denied&state=dana",
    ] {
        let seen = Visitor::of(&daemon).get(path).await;
        assert_eq!(kind(&seen), (401, "provider-refused"), "{path}");
    }
    // Another site's page does not have people signed in without their saying so.
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    let led = client
        .build()
        .unwrap()
        .get(format!(
            "http://127.0.0.1:{}/api/v1/sign-in/oidc",
            daemon.port
        ))
        .header("sec-fetch-site", "cross-site")
        .send()
        .await
        .unwrap();
    assert_eq!(led.status(), 200);
    assert!(led.headers().get("set-cookie").is_none());
    let page = led.text().await.unwrap();
    assert!(page.contains("href=\"/api/v1/sign-in/oidc\""), "{page}");
    let twice = "/api/v1/sign-in/oidc/callback?code=x&state=y&state=z";
    assert_eq!(Visitor::of(&daemon).get(twice).await.status, 400);
}
