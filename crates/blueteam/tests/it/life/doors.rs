//! Where people come in and machines do not, what they accept first, how long they may stay, how much
//! they may ask, and what an administrator changes of what their role may do.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;

use super::daemon::{Daemon, PATIENCE, alert_comes, has_alert};
use super::people::{Browser, PASSWORD, code, json_of, run, secret, signed_in};

const NOTICE: &str = "This system holds CUI.\nYou are watched & recorded.";

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn kind(body: &Value) -> &str {
    let kind = body["type"].as_str().unwrap_or_default();
    kind.rsplit(':').next().unwrap_or_default()
}

async fn get(browser: &mut Browser, path: &str) -> (u16, Value) {
    let answer = browser.ask(Method::GET, path, None).await;
    (answer.status, answer.body)
}

#[expect(
    clippy::too_many_lines,
    reason = "one program, whose start takes longer than all of it"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_have_an_address_a_notice_and_hours_of_their_own() {
    let port = free_port();
    let console = format!(
        "[console]\nlisten = \"127.0.0.1:{port}\"\nnotice = {NOTICE:?}\n\
         [console.sessions]\nlock_after = \"5m\"\n"
    );
    let mut daemon = Daemon::new(&console).await;
    let mut conn = daemon.connect().await;
    let mut people = Browser::of(&daemon);
    people.base = format!("http://127.0.0.1:{port}");
    let mut machines = Browser::of(&daemon);

    // What belongs to the one address is not there at the other.
    for browser in [&mut people, &mut machines] {
        assert_eq!(get(browser, "/healthz").await.0, 200);
    }
    for (path, method) in [
        ("/v1/events", Method::POST),
        ("/v1/logs", Method::POST),
        ("/metrics", Method::GET),
    ] {
        let there = people.ask(method.clone(), path, None).await;
        assert_eq!(there.status, 404, "{path}");
        assert_ne!(machines.ask(method, path, None).await.status, 404, "{path}");
    }
    let doors = ["/enroll", "/passkey.js", "/api/openapi.json", "/api/v1/me"];
    let routes = web::ROUTES.iter().filter(|route| route.method == "get");
    for path in routes.map(|route| route.path).chain(doors) {
        let path = path.replace("{id}", "x").replace("{name}", "x");
        assert_eq!(get(&mut machines, &path).await.0, 404, "{path}");
        assert_ne!(get(&mut people, &path).await.0, 404, "{path}");
    }
    let (status, out, _) = run(&daemon, &["doctor", "--all"]);
    assert!(
        out.contains(&format!("127.0.0.1:{port} is open")),
        "{status} {out}"
    );

    // Nobody is in who has not accepted the notice.
    let args = [
        "users",
        "create",
        "dana",
        "--email",
        "d@example.com",
        "--json",
    ];
    let made = json_of(&daemon, &args);
    assert_eq!(made["page"], format!("http://localhost:{port}/enroll"));
    let (_, notice) = get(&mut people, "/api/v1/sign-in/notice").await;
    assert_eq!(notice["text"], NOTICE);
    let version = notice["version"].as_str().unwrap();
    let link = made["code"].as_str().unwrap();
    let page = people
        .client
        .post(format!("{}/enroll", people.base))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("enrollment_code={link}"));
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(
        page.contains("watched &amp; recorded.") && page.contains(version),
        "{page}"
    );
    let begun = people
        .post("/api/v1/enrollment", json!({ "enrollment_code": link }))
        .await;
    let totp = secret(begun.body["totp_secret"].as_str().unwrap());
    let complete = |notice: Option<&str>| {
        json!({
            "enrollment_code": link, "password": PASSWORD, "code": code(&totp, None).0,
            "notice": notice,
        })
    };
    let path = "/api/v1/enrollment/complete";
    for wrong in [None, Some("0123456789abcdef")] {
        let refused = people.post(path, complete(wrong)).await;
        assert_eq!(
            (refused.status, kind(&refused.body)),
            (403, "notice-needed")
        );
    }
    let done = people.post(path, complete(Some(version))).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let codes: Vec<String> = serde_json::from_value(done.body["recovery_codes"].clone()).unwrap();
    let with = |notice: Option<&str>, code: &str| json!({"username": "dana", "password": PASSWORD, "code": code, "notice": notice});
    let refused = people.post("/api/v1/sign-in", with(None, &codes[0])).await;
    assert_eq!(
        (refused.status, kind(&refused.body)),
        (403, "notice-needed")
    );
    let passkey = json!({"credential": {}});
    let refused = people.post("/api/v1/sign-in/passkey", passkey).await;
    assert_eq!(kind(&refused.body), "notice-needed");
    let signed = people
        .post("/api/v1/sign-in", with(Some(version), &codes[0]))
        .await;
    assert_eq!(signed.status, 200, "{}", signed.body);
    let accepted: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT new_value ->> 'notice_version' FROM audit.audit_log WHERE action = 'LOGIN'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(accepted, vec![Some(version.to_owned()); 2]);

    // Sooner than the 15 minutes that are the most; unlocking asks for no notice again.
    conn.execute("UPDATE users.sessions SET seen_at = now() - interval '6 minutes'")
        .await
        .unwrap();
    assert_eq!(kind(&people.me().await.body), "locked");
    let proof = json!({"password": PASSWORD, "code": codes[1]});
    assert_eq!(people.post("/api/v1/unlock", proof).await.status, 204);

    // A list goes on after a restart.
    let (_, page) = get(&mut people, "/api/v1/compliance/gaps?limit=2").await;
    let next = page["next"].as_str().unwrap().to_owned();
    daemon.terminate().await;
    daemon.start().await;
    let path = format!("/api/v1/compliance/gaps?limit=2&cursor={next}");
    let (status, after) = get(&mut people, &path).await;
    assert_eq!(status, 200, "{after}");
    assert_ne!(after["items"], page["items"]);
}

#[expect(
    clippy::too_many_lines,
    reason = "one program, whose start takes longer than all of it"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_changes_what_a_role_may_do_within_the_safe_core() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let mut user = signed_in(&daemon, "user").await;
    let mut chief = signed_in(&daemon, "system_admin").await;
    let silence = || json!({"entity": "ip:203.0.113.7", "length": "1h", "reason": "a test", "allow_unknown": true});
    let silenced = async |user: &mut Browser| {
        let answer = user.post("/api/v1/silences", silence()).await;
        (answer.status, kind(&answer.body).to_owned())
    };
    assert_eq!(silenced(&mut user).await, (403, "denied".to_owned()));

    let permissions = |args: &[&str]| {
        let mut all = vec!["policy", "permissions"];
        all.extend(args);
        run(&daemon, &all)
    };
    let (status, out, err) = permissions(&["allow", "user", "write", "silences"]);
    assert!(status == 0 && out.contains("from now on"), "{out}{err}");
    assert!(
        permissions(&["allow", "user", "write", "silences"])
            .1
            .contains("already")
    );
    assert_eq!(silenced(&mut user).await.0, 200);
    let (_, changed, _) = permissions(&["list", "--changed", "--json"]);
    let changed: Value = serde_json::from_str(&changed).unwrap();
    assert_eq!(changed.as_array().unwrap().len(), 1, "{changed}");
    assert_eq!(changed[0]["allowed"], true);

    // What is taken away is gone, also from what is built in, at once.
    assert_eq!(permissions(&["revoke", "user", "write", "silences"]).0, 0);
    assert_eq!(silenced(&mut user).await.0, 403);
    let alerts = "/api/v1/alerts";
    assert_eq!(get(&mut user, alerts).await.0, 200);
    let deny = json!({"role": "user", "action": "read", "resource": "alerts", "allowed": false});
    let refused = user.post("/api/v1/permissions", deny.clone()).await;
    assert_eq!(refused.status, 403);
    let done = chief.post("/api/v1/permissions", deny).await;
    assert_eq!(done.status, 204, "{}", done.body);
    assert_eq!(get(&mut user, alerts).await.0, 403);
    let (_, listed) = get(&mut chief, "/api/v1/permissions?limit=200").await;
    let denied = listed["items"].as_array().unwrap().iter().find(|one| {
        one["role"] == "user" && one["resource"] == "alerts" && one["action"] == "read"
    });
    assert_eq!(denied.unwrap()["built_in"], true);

    // Nobody gets below the safe core: neither by a command, nor by the API, nor by a planted row.
    for core in [
        ["allow", "assessor", "write", "evidence"],
        ["allow", "user", "write", "users"],
        ["allow", "admin", "write", "permissions"],
        ["allow", "system_admin", "write", "audit_log"],
        ["revoke", "system_admin", "write", "users"],
    ] {
        let (status, out, err) = permissions(&core);
        assert_eq!(status, 1, "{core:?}: {out}{err}");
    }
    let planted = json!({"role": "user", "action": "write", "resource": "users", "allowed": true});
    assert_eq!(chief.post("/api/v1/permissions", planted).await.status, 409);
    conn.execute(
        "INSERT INTO users.permissions (role, action, resource, effect)
         VALUES ('user', 'read', 'users', 'allow'), ('user', 'write', 'users', 'allow')",
    )
    .await
    .unwrap();
    let new = json!({"username": "x", "email": "x@example.com", "role": "user"});
    assert_eq!(user.post("/api/v1/users", new).await.status, 403);
    assert_eq!(
        get(&mut user, alerts).await.0,
        403,
        "what denies does not fall with it"
    );
    let recorded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log WHERE metadata ->> 'table' = 'users.permissions'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(
        recorded, 5,
        "allowed, taken back, denied, and the planted ones"
    );

    // A list of known passwords counts at once.
    let list = daemon.path("list");
    std::fs::write(&list, "seven brass hinges whisper\n").unwrap();
    let args = ["users", "blocklist", "import", list.to_str().unwrap()];
    assert_eq!(run(&daemon, &args).0, 0);
    let imported: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit.audit_log
         WHERE action = 'UPDATE' AND new_value ->> 'what' = 'known passwords'
           AND (new_value ->> 'entries')::int = 1 AND actor <> ''",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(imported, 1);
    // A way back into an account raises an alert, whoever makes it; the first way in does not.
    assert!(!has_alert(&mut conn, "console_account", "user").await);
    let link = json_of(&daemon, &["users", "recover", "user", "--json"]);
    let link = link["code"].as_str().unwrap();
    alert_comes(&mut conn, "console_account", "user", PATIENCE).await;
    let by_api = "/api/v1/users/system-admin/enroll-link";
    assert_eq!(chief.post(by_api, json!({})).await.status, 200);
    alert_comes(&mut conn, "console_account", "system-admin", PATIENCE).await;
    let begun = user
        .post("/api/v1/enrollment", json!({ "enrollment_code": link }))
        .await;
    let totp = secret(begun.body["totp_secret"].as_str().unwrap());
    let known = json!({
        "enrollment_code": link, "password": "seven brass hinges whisper",
        "code": code(&totp, None).0,
    });
    let refused = user.post("/api/v1/enrollment/complete", known).await;
    assert_eq!(
        (refused.status, kind(&refused.body)),
        (422, "weak-password")
    );

    // Who asks without end is told to wait, and nobody else is.
    let mut answers = Vec::new();
    for _ in 0..620 {
        answers.push(get(&mut chief, "/api/v1/policy").await.0);
    }
    assert!(answers.contains(&429));
    assert_eq!(answers[0], 200);
    let waits = chief
        .client
        .get(format!("{}/api/v1/users", chief.base))
        .header(
            "cookie",
            format!("__Host-blueteam={}", chief.cookie.clone().unwrap()),
        )
        .send()
        .await
        .unwrap();
    assert_eq!(waits.status(), 429);
    let after: u32 = waits.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=61).contains(&after), "{after}");
    assert_eq!(get(&mut user, "/api/v1/incidents").await.0, 200);
}
