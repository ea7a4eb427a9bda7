//! The console: forms at the door, pages for each role, and a real browser that walks through them.

use std::process::Command;

use identity::Role;
use identity::role::Permissions;
use serde_json::json;

use super::daemon::{Daemon, PATIENCE, alert_comes, failure};
use super::oidc::installed;
use super::people::{Browser, run, signed_in};

const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
const WALK: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/tools/browser/console.mjs"
);

/// An answer to a browser that follows no redirect.
pub(super) struct Shown {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) disposition: String,
    pub(super) text: String,
    pub(super) cookie: Option<String>,
    headers: reqwest::header::HeaderMap,
}

impl Shown {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The value of a hidden field of the form that goes to `path`.
    pub(super) fn hidden(&self, path: &str, name: &str) -> String {
        let form = self.text.split_once(&format!("action=\"{path}\""));
        let (_, form) = form.unwrap();
        let (_, rest) = form
            .split_once(&format!("name=\"{name}\" value=\""))
            .unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

/// A person's browser, as far as pages and forms go.
pub(super) struct Person {
    client: reqwest::Client,
    base: String,
    pub(super) cookie: Option<String>,
}

impl Person {
    pub(super) fn of(browser: &Browser) -> Self {
        Self {
            client: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(PATIENCE)
                .build()
                .unwrap(),
            base: browser.base.clone(),
            cookie: browser.cookie.clone(),
        }
    }

    pub(super) async fn ask(&self, path: &str, form: Option<&[(&str, &str)]>) -> Shown {
        let url = format!("{}{path}", self.base);
        let request = match form {
            Some(form) => {
                let fields: Vec<String> = form
                    .iter()
                    .map(|(name, value)| format!("{name}={}", encoded(value)))
                    .collect();
                self.client
                    .post(url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(fields.join("&"))
            }
            None => self.client.get(url),
        };
        self.send(path, request).await
    }

    /// A form with a file, as a browser sends it.
    pub(super) async fn upload(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        name: &str,
        content: &[u8],
    ) -> Shown {
        let mut body = Vec::new();
        for (name, value) in fields {
            let part = format!(
                "--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend_from_slice(part.as_bytes());
        }
        let name = name.replace('"', "%22");
        let head = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: text/html\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--xyz--\r\n");
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .header("content-type", "multipart/form-data; boundary=xyz")
            .body(body);
        self.send(path, request).await
    }

    async fn send(&self, path: &str, mut request: reqwest::RequestBuilder) -> Shown {
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("__Host-blueteam={cookie}"));
        }
        let answer = request.send().await.unwrap();
        let header = |name: &str| {
            let value = answer.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let policy = header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert_eq!(
            header("cache-control").as_deref(),
            Some("no-store"),
            "{path}"
        );
        Shown {
            headers: answer.headers().clone(),
            status: answer.status().as_u16(),
            location: header("location").unwrap_or_default(),
            disposition: header("content-disposition").unwrap_or_default(),
            cookie: header("set-cookie").map(|cookie| {
                let value = cookie.trim_start_matches("__Host-blueteam=");
                value.split(';').next().unwrap().to_owned()
            }),
            text: answer.text().await.unwrap(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Shown {
        self.ask(path, None).await
    }

    /// The token of this session's forms.
    pub(super) async fn token(&self) -> String {
        let page = self.get("/account").await.text;
        let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

/// A page of something.
fn path_of(path: &str, id: &str) -> String {
    path.replace("{id}", id).replace("{section}", "1.3")
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        use std::fmt::Write as _;
        write!(out, "%{byte:02X}").unwrap();
        out
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_page_asks_each_role_and_shows_no_control_that_is_refused() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let permissions = Permissions::built_in();
    let (mut allowed, mut refused) = (0_i64, 0_i64);

    for role in Role::ALL {
        let person = Person::of(&signed_in(&daemon, role.as_str()).await);
        let token = person.token().await;
        let today = person.get("/").await.text;
        for page in web::PAGES {
            let path = path_of(page.path, NOBODY);
            let form = [("form_token", token.as_str()), ("id", NOBODY)];
            let form = (page.method == "post").then_some(&form[..]);
            let shown = person.ask(&path, form).await;
            let what = format!("{role}: {} {path}: {}", page.method, shown.status);
            let may = page
                .needs
                .is_none_or(|(action, resource)| permissions.allows(*role, action, resource));
            if may {
                assert!(shown.status < 500 && shown.status != 403, "{what}");
                allowed += 1;
            } else {
                assert_eq!(shown.status, 403, "{what}");
                // The menu does not lead to where nobody would be let in.
                assert!(
                    !today.contains(&format!("href=\"{path}\" data-go")),
                    "{what}"
                );
                refused += 1;
            }
        }
    }
    assert!(allowed > 80 && refused > 8, "{allowed} {refused}");
    let recorded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log WHERE action = 'PERMISSION_DENIED' AND metadata ? 'session'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(recorded, refused);

    // Without a session every page leads to the door, and from there to where one wanted to go.
    let mut stranger = Browser::of(&daemon);
    stranger.cookie = None;
    let stranger = Person::of(&stranger);
    for page in web::PAGES {
        let path = path_of(page.path, NOBODY);
        let form = (page.method == "post").then_some(&[][..]);
        let shown = stranger.ask(&path, form).await;
        assert_eq!(shown.status, 303, "{path}");
        assert!(
            shown.location.starts_with("/sign-in?next="),
            "{}",
            shown.location
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_are_taken_from_this_sessions_own_pages_alone() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let sender = daemon.client();
    let failures: Vec<_> = (0..7)
        .map(|_| failure("192.0.2.9", "<b>root</b>"))
        .collect();
    sender.send(&failures).await;
    alert_comes(&mut conn, "brute_force", "192.0.2.9", PATIENCE).await;
    let id: uuid::Uuid = sqlx::query_scalar("SELECT alert_id FROM blueteam.alert_history LIMIT 1")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let id = id.to_string();

    let browser = signed_in(&daemon, "admin").await;
    let person = Person::of(&browser);
    let other = Person::of(&signed_in(&daemon, "manager").await);
    let theirs = other.token().await;
    for token in ["", "x", theirs.as_str()] {
        let form = [("form_token", token), ("id", &id), ("here", "/alerts")];
        let shown = person.ask("/alerts/acknowledge", Some(&form)).await;
        assert_eq!(shown.status, 403, "{token}");
    }
    let seen: Option<String> =
        sqlx::query_scalar("SELECT acknowledged_by FROM blueteam.alert_history")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!(seen, None);

    // What a stranger chose is text; and the page says what was done.
    let page = person.get(&format!("/alerts/{id}")).await;
    assert!(
        page.text.contains("&#60;b&#62;root&#60;/b&#62;"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("<b>root</b>"));
    let token = person.token().await;
    let form = [
        ("form_token", token.as_str()),
        ("id", &id),
        ("here", "//evil.example/"),
    ];
    let shown = person.ask("/alerts/acknowledge", Some(&form)).await;
    let undo = shown.location.strip_prefix("/?done=acknowledged-1&undo=");
    assert!(
        undo.is_some_and(|at| at.parse::<i64>().is_ok()),
        "{}",
        shown.location
    );
    let page = person.get(&shown.location).await;
    assert!(
        page.text.contains("You acknowledged 1 alert."),
        "{}",
        page.text
    );

    // Two people move an incident on: the second sees both, and loses nothing.
    let incident: uuid::Uuid =
        sqlx::query_scalar("SELECT incident_id FROM blueteam.security_incidents LIMIT 1")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    let path = format!("/incidents/{incident}");
    let page = person.get(&path).await.text;
    let (_, rest) = page.split_once("name=\"version\" value=\"").unwrap();
    let version = rest.split('"').next().unwrap();
    let form = |token, reason| {
        [
            ("form_token", token),
            ("version", version),
            ("status", "analyzing"),
            ("reason", reason),
        ]
    };
    let moved = format!("{path}/change/step");
    let first = other
        .ask(&moved, Some(&form(&theirs, "a first look")))
        .await;
    assert_eq!(first.location, format!("{path}?done=moved-on"));
    let second = person
        .ask(&moved, Some(&form(&token, "my own <i>words</i>")))
        .await;
    assert_eq!(second.status, 409);
    for part in [
        "a first look",
        "my own &#60;i&#62;words",
        "Someone else has changed the incident",
    ] {
        assert!(second.text.contains(part), "{part}: {}", second.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_lets_in_by_form_and_leads_nobody_elsewhere() {
    let daemon = Daemon::new("").await;
    let person = Person::of(&signed_in(&daemon, "user").await);

    // Locked, nothing is shown before both factors are given again.
    let locked = person.get("/locked?next=/alerts").await;
    assert_eq!(locked.status, 200);
    let shown = person.get("/alerts?show=all").await;
    assert_eq!(shown.location, "/locked?next=/alerts%3Fshow%3Dall");
    let wrong = [
        ("password", "wrong"),
        ("code", "000000"),
        ("next", "/alerts"),
    ];
    let refused = person.ask("/unlock", Some(&wrong)).await;
    assert_eq!(refused.status, 401);
    assert!(refused.cookie.is_none());

    let mut stranger = Browser::of(&daemon);
    stranger.cookie = None;
    let stranger = Person::of(&stranger);
    let form = [
        ("username", "<script>"),
        ("password", "x"),
        ("code", "1"),
        ("next", "https://evil.example/"),
    ];
    let refused = stranger.ask("/sign-in", Some(&form)).await;
    assert_eq!(refused.status, 401);
    assert!(
        refused.text.contains("password or code is wrong"),
        "{}",
        refused.text
    );
    assert!(!refused.text.contains("<script>") && !refused.text.contains("evil.example"));

    // What leaves takes everything along.
    let gone = person.ask("/sign-out", Some(&[])).await;
    assert_eq!((gone.status, gone.location.as_str()), (303, "/sign-in"));
    assert_eq!(gone.cookie.as_deref(), Some(""));
    assert_eq!(person.get("/").await.location, "/sign-in?next=/");
}

/// A browser finds nothing to object to: WCAG by axe, the policy, other origins, keys, forms without a
/// script, the way back from a lock.
#[expect(
    clippy::too_many_lines,
    reason = "one walk, and everything that must be there for it"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_walks_through_the_console() {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let (Some(folder), true) = (
        installed("browser"),
        std::path::Path::new(&chromium).exists(),
    ) else {
        eprintln!(
            "SKIPPED: Chromium or playwright-core is not installed (scripts/setup --tests, which needs \
             npm): nobody has looked at the console in a browser"
        );
        return;
    };

    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let sender = daemon.client();
    for n in 1..=5 {
        let ip = format!("192.0.2.{n}");
        let account = "<img src=x onerror=alert(1)>\u{202e}gpj.exe";
        let failures: Vec<_> = (0..7).map(|_| failure(&ip, account)).collect();
        sender.send(&failures).await;
    }
    for n in 1..=5 {
        alert_comes(&mut conn, "brute_force", &format!("192.0.2.{n}"), PATIENCE).await;
    }
    let one: uuid::Uuid = sqlx::query_scalar("SELECT alert_id FROM blueteam.alert_history LIMIT 1")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let incident: uuid::Uuid =
        sqlx::query_scalar("SELECT incident_id FROM blueteam.security_incidents LIMIT 1")
            .fetch_one(&mut conn)
            .await
            .unwrap();

    let file = daemon.path("=cmd<img src=x>.txt");
    std::fs::write(&file, "<img src=x onerror=alert(1)>").unwrap();
    let file = file.to_str().unwrap();
    for args in [
        &[
            "evidence",
            "add",
            file,
            "--supports",
            "3.3.1",
            "--kind",
            "policy_doc",
            "--shows",
            "<img src=x>",
        ][..],
        &[
            "poam",
            "add",
            "3.3.1",
            "--weakness",
            "<img src=x>",
            "--remediation",
            "<b>none</b>",
        ],
    ] {
        let (code, _, errors) = run(&daemon, &[&["compliance"], args].concat());
        assert_eq!(code, 0, "{errors}");
    }
    let report = daemon.path("<img src=x>.json");
    let module = json!({"name": "<img src=x onerror=alert(1)>", "verdict": "vulnerable", "control_ids": ["3.5.3"],
                        "evidence": "<script>alert(1)</script>"});
    let text = json!({"run_id": "1", "target": "<b>eqmon</b>", "modules": [module]});
    std::fs::write(&report, text.to_string()).unwrap();
    let import = ["redteam", "import", report.to_str().unwrap(), "--open-poam"];
    let (code, _, errors) = run(&daemon, &import);
    assert_eq!(code, 0, "{errors}");
    let mut id_of = async |sql: &'static str| {
        let id: uuid::Uuid = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        id
    };
    let piece =
        id_of("SELECT evidence_id FROM blueteam.compliance_evidence WHERE check_id IS NULL").await;
    let item = id_of("SELECT poam_id FROM blueteam.poam_items").await;
    let red_run = id_of("SELECT run_id FROM blueteam.redteam_runs").await;
    let red_finding = id_of("SELECT finding_id FROM blueteam.redteam_findings").await;

    let browser = signed_in(&daemon, "system_admin").await;
    let cookie = browser.cookie.clone().unwrap();
    let is_file = |path: &str| {
        let files = ["/preview", "/download", "/export"];
        files.iter().any(|file| path.ends_with(file))
    };
    let mut paths: Vec<String> = web::PAGES
        .iter()
        .filter(|page| page.method == "get" && !page.path.starts_with("/live"))
        .filter(|page| !is_file(page.path))
        // Nobody has begun one.
        .filter(|page| page.path != "/backtests/{id}")
        .map(|page| match page.path {
            "/compliance/evidence/{id}" => format!("/compliance/evidence/{piece}"),
            "/compliance/poam/{id}" => format!("/compliance/poam/{item}"),
            "/compliance/ssp/{section}" => "/compliance/ssp/2.1".to_owned(),
            "/alerts/{id}" => format!("/alerts/{one}"),
            "/incidents/{id}" => format!("/incidents/{incident}"),
            "/compliance/{id}" => "/compliance/3.3.1".to_owned(),
            "/sources/{id}" => "/sources/audit_db".to_owned(),
            "/rules/{id}" => "/rules/brute_force".to_owned(),
            "/upkeep/review/{id}" => "/upkeep/review/weekly".to_owned(),
            "/redteam/{id}" => format!("/redteam/{red_run}"),
            "/admin/users/{id}" => "/admin/users/system-admin".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    paths.extend([
        "/alerts?show=all".to_owned(),
        "/events?since=24h".to_owned(),
        format!("/redteam/{red_finding}"),
        format!("/redteam/compare?before={red_run}&after={red_run}"),
    ]);

    let walk = folder.join("console.mjs");
    std::fs::copy(WALK, &walk).unwrap();
    let base = format!("http://localhost:{}", daemon.port);
    let run = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg(walk)
            .args([&base, &cookie])
            .args(paths)
            .env("CHROMIUM", chromium)
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let wrong = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(wrong.trim(), "", "{errors}");
}
