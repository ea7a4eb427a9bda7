//! The conventions of `/api/v1` against a running program: what is documented is what is answered.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::daemon::{Daemon, failure};
use super::people::{Browser, json_of, run, signed_in};

struct Reply {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| Value::String(self.text.clone()))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    fn kind(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.trim_start_matches("urn:blueteam:problem:").to_owned()
    }
}

/// A request with headers of its own.
async fn send(
    browser: &Browser,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Reply {
    let cookie = format!("__Host-blueteam={}", browser.cookie.clone().unwrap());
    let mut request = browser
        .client
        .request(method, format!("{}{path}", browser.base))
        .header("cookie", cookie);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let answer = request.send().await.unwrap();
    Reply {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        text: answer.text().await.unwrap(),
    }
}

async fn get(browser: &Browser, path: &str) -> Reply {
    send(browser, Method::GET, path, &[], None).await
}

async fn exported(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM audit.audit_log WHERE action = 'EXPORT'")
        .fetch_one(conn)
        .await
        .unwrap()
}

/// Alerts of so many addresses.
pub(super) async fn with_alerts(daemon: &Daemon, addresses: u8) {
    let events: Vec<Value> = (1..=addresses)
        .flat_map(|n| vec![failure(&format!("192.0.2.{n}"), &format!("=root{n}")); 12])
        .collect();
    daemon.client().answers(&events, 200).await;
    let since = std::time::Instant::now();
    loop {
        let alerts = json_of(daemon, &["alerts", "list", "--json"]);
        if alerts.as_array().unwrap().len() >= usize::from(addresses) {
            return;
        }
        assert!(since.elapsed() < super::daemon::PATIENCE, "{alerts}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_have_pages_totals_and_forms_and_each_export_is_on_record() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    with_alerts(&daemon, 5).await;
    let chief = signed_in(&daemon, "system_admin").await;

    // Page by page nothing is left out and nothing comes twice.
    for list in [
        "/api/v1/alerts",
        "/api/v1/rules",
        "/api/v1/events",
        "/api/v1/notifications",
    ] {
        let whole = get(&chief, &format!("{list}?limit=200")).await;
        assert_eq!(whole.status, 200, "{list}: {}", whole.text);
        let mut whole: Vec<String> = items(&whole).iter().map(Value::to_string).collect();
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        for _ in 0..100 {
            let page = get(&chief, &format!("{list}?limit=7{cursor}")).await;
            paged.extend(items(&page).iter().map(Value::to_string));
            match page.json()["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        whole.sort();
        paged.sort();
        assert_eq!(whole.len(), paged.len(), "{list}");
        assert!(whole == paged, "{list}");
    }
    let counted = get(&chief, "/api/v1/alerts?limit=2&count=true")
        .await
        .json();
    let first = counted["next"].as_str().unwrap().to_owned();
    assert!(counted["total"].as_u64().unwrap() >= 5, "{counted}");
    assert_eq!(counted["items"].as_array().unwrap().len(), 2);

    // A cursor counts for its own list and filters, and nobody makes one up.
    let mut forged = first.clone();
    forged.replace_range(30..31, if &first[30..31] == "A" { "B" } else { "A" });
    for query in [
        format!("/api/v1/incidents?cursor={first}"),
        format!("/api/v1/alerts?cursor={first}&all=true"),
        format!("/api/v1/alerts?cursor={forged}"),
        "/api/v1/alerts?cursor=x".to_owned(),
        "/api/v1/alerts?limit=0".to_owned(),
        "/api/v1/alerts?limit=201".to_owned(),
        "/api/v1/alerts?limit=1&limit=2".to_owned(),
        "/api/v1/alerts?unheard=of".to_owned(),
        "/api/v1/alerts?severity=worst".to_owned(),
        "/api/v1/events?count=true".to_owned(),
    ] {
        let refused = get(&chief, &query).await;
        assert_eq!(
            (refused.status, refused.kind().as_str()),
            (400, "bad-parameter"),
            "{query}"
        );
        assert!(
            refused.json()["errors"][0]["parameter"].is_string(),
            "{query}"
        );
    }

    // As a sheet, in which nothing that a stranger has sent is a formula, and on record.
    let before = exported(&mut conn).await;
    let accept = [("accept", "text/csv")];
    let sheet = send(
        &chief,
        Method::GET,
        "/api/v1/events?limit=200",
        &accept,
        None,
    )
    .await;
    assert!(sheet.header("content-type").starts_with("text/csv"));
    assert!(sheet.text.starts_with("action,category,"), "{}", sheet.text);
    let accept = [("accept", "text/csv;q=1, */*;q=0.1")];
    let path = "/api/v1/rules?limit=1";
    let sheet = send(&chief, Method::GET, path, &accept, None).await;
    assert!(
        sheet.header("link").ends_with("rel=\"next\""),
        "{}",
        sheet.header("link")
    );
    let accept = [("accept", "application/x-ndjson")];
    let lines = send(&chief, Method::GET, "/api/v1/alerts", &accept, None).await;
    for line in lines.text.lines() {
        assert!(serde_json::from_str::<Value>(line).unwrap()["alert_id"].is_string());
    }
    let report = get(&chief, "/api/v1/reports/assessor?format=markdown").await;
    assert_eq!(report.status, 200, "{}", report.text);
    assert!(
        report
            .header("content-disposition")
            .contains("assessor-report.md")
    );
    for path in [
        "/api/v1/reports/ssp?format=json",
        "/api/v1/reports/poam?format=csv",
    ] {
        let report = get(&chief, path).await;
        assert_eq!(report.status, 200, "{path}: {}", report.text);
    }
    assert_eq!(
        get(&chief, "/api/v1/reports/ssp?format=csv").await.status,
        422
    );
    assert_eq!(exported(&mut conn).await, before + 6);

    // Whoever may read a list and not export it gets no sheet.
    let reader = signed_in(&daemon, "user").await;
    let accept = [("accept", "text/csv")];
    assert_eq!(get(&reader, "/api/v1/events").await.status, 200);
    let refused = send(&reader, Method::GET, "/api/v1/events", &accept, None).await;
    assert_eq!((refused.status, refused.kind().as_str()), (403, "denied"));
    assert_eq!(exported(&mut conn).await, before + 6);
    let searches: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM blueteam.event_searches WHERE actor IN ('user', 'system-admin')",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert!(searches >= 5, "{searches}");

    // Many at once: first what would be done, then what was.
    let found = get(&chief, "/api/v1/alerts").await;
    let id = items(&found)[0]["alert_id"].as_str().unwrap().to_owned();
    let ids = json!([id, "00000000-0000-0000-0000-000000000000", ""]);
    for (dry_run, results) in [
        (true, ["would-acknowledge", "not-found", "ambiguous"]),
        (false, ["acknowledged", "not-found", "ambiguous"]),
        (false, ["already-acknowledged", "not-found", "ambiguous"]),
    ] {
        let body = json!({"ids": ids, "dry_run": dry_run});
        let done = send(
            &reader,
            Method::POST,
            "/api/v1/alerts:batch",
            &[],
            Some(&body),
        )
        .await;
        let done = done.json();
        let seen: Vec<_> = done["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| &i["result"])
            .collect();
        assert_eq!(json!(seen), json!(results));
    }
    let body = json!({"ids": vec![id; 501]});
    let done = send(
        &reader,
        Method::POST,
        "/api/v1/alerts:batch",
        &[],
        Some(&body),
    )
    .await;
    assert_eq!(done.status, 422);
}

fn items(reply: &Reply) -> Vec<Value> {
    reply.json()["items"].as_array().unwrap().clone()
}

#[expect(
    clippy::too_many_lines,
    reason = "one program, whose start takes longer than all of it"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_overwrites_what_they_have_not_seen_and_nothing_is_done_twice() {
    let daemon = Daemon::new("").await;
    let mut conn = daemon.connect().await;
    let chief = signed_in(&daemon, "system_admin").await;
    let admin = signed_in(&daemon, "admin").await;

    // Sent again it is answered again, without the secret, and not done again.
    let named = |name: &str| json!({"username": name, "email": format!("{name}@example.com"), "role": "user"});
    let once = [("idempotency-key", "7d5b8b5e-0001")];
    let path = "/api/v1/users";
    let first = send(&chief, Method::POST, path, &once, Some(&named("dana"))).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert!(first.json()["enrollment_code"].is_string());
    let again = send(&chief, Method::POST, path, &once, Some(&named("dana"))).await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (200, "true")
    );
    assert_eq!(again.json()["user_id"], first.json()["user_id"]);
    assert!(again.json()["enrollment_code"].is_null());
    let other = send(&chief, Method::POST, path, &once, Some(&named("lee"))).await;
    assert_eq!(
        (other.status, other.kind().as_str()),
        (422, "idempotency-key-reused")
    );
    // The key is one person's: another's request of that name is another request.
    let conflict = send(&admin, Method::POST, path, &once, Some(&named("dana"))).await;
    assert_eq!(conflict.status, 409, "{}", conflict.text);
    let mended = send(&admin, Method::POST, path, &once, Some(&named("kim"))).await;
    assert_eq!(
        mended.status, 200,
        "what failed is not kept: {}",
        mended.text
    );
    for key in ["", "a b", &"x".repeat(256)] {
        let wrong = [("idempotency-key", key)];
        let refused = send(&chief, Method::POST, path, &wrong, Some(&named("x"))).await;
        assert_eq!(refused.status, 400, "{key}");
    }
    sqlx::query("UPDATE users.idempotency_keys SET status = NULL WHERE person = 'admin'")
        .execute(&mut conn)
        .await
        .unwrap();
    let flying = send(&admin, Method::POST, path, &once, Some(&named("kim"))).await;
    assert_eq!((flying.status, flying.kind().as_str()), (409, "in-flight"));
    let body = json!({"name": "mine", "scopes": ["read"]});
    let made = send(&chief, Method::POST, "/api/v1/keys", &once, Some(&body)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let kept: Vec<String> = sqlx::query_scalar("SELECT body FROM users.idempotency_keys")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    assert!(
        kept.len() >= 2 && kept.iter().all(|body| !body.contains("bt_")),
        "{kept:?}"
    );

    // What has a version is changed by whoever has seen it.
    let seen = get(&chief, "/api/v1/users/dana").await;
    let tag = seen.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 30, "{tag}");
    let path = "/api/v1/users/dana/role";
    let role = json!({"role": "manager"});
    let blind = send(&chief, Method::POST, path, &[], Some(&role)).await;
    assert_eq!(
        (blind.status, blind.kind().as_str()),
        (428, "if-match-needed")
    );
    let changed = send(
        &chief,
        Method::POST,
        path,
        &[("if-match", &tag)],
        Some(&role),
    )
    .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.json()["role"], "manager");
    assert_ne!(changed.header("etag"), tag);
    let role = json!({"role": "assessor"});
    let stale = send(
        &admin,
        Method::POST,
        path,
        &[("if-match", &tag)],
        Some(&role),
    )
    .await;
    assert_eq!((stale.status, stale.kind().as_str()), (412, "changed"));
    assert_eq!(stale.json()["current"]["role"], "manager");
    assert_eq!(stale.header("etag"), changed.header("etag"));

    // Of two who change the same at once one learns of the other.
    let tag = [("if-match", changed.header("etag"))];
    let (one, two) = (json!({"role": "user"}), json!({"role": "assessor"}));
    let (one, two) = tokio::join!(
        send(&chief, Method::POST, path, &tag, Some(&one)),
        send(&admin, Method::POST, path, &tag, Some(&two)),
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);

    // Where a version may be left out, it counts if it is sent.
    for path in [
        "/api/v1/users/dana/unlock",
        "/api/v1/users/dana/enroll-link",
    ] {
        let stale = send(&chief, Method::POST, path, &tag, None).await;
        assert_eq!(
            (stale.status, stale.kind().as_str()),
            (412, "changed"),
            "{path}"
        );
        let blind = send(&chief, Method::POST, path, &[], None).await;
        assert!(blind.status < 300, "{path}: {}", blind.text);
    }

    // Whoever may not learns nothing about what the body should be.
    let user = signed_in(&daemon, "user").await;
    for (kind, body) in [("application/json", "no json"), ("text/plain", "x")] {
        let cookie = format!("__Host-blueteam={}", user.cookie.clone().unwrap());
        let refused = user
            .client
            .post(format!("{}/api/v1/users", user.base))
            .header("cookie", cookie)
            .header("content-type", kind)
            .body(body)
            .send();
        assert_eq!(refused.await.unwrap().status(), 403, "{kind}");
    }
    let wrong = json!({"username": "x", "email": "x@example.com", "role": "emperor"});
    let wrong = send(&chief, Method::POST, "/api/v1/users", &[], Some(&wrong)).await;
    assert_eq!((wrong.status, wrong.kind().as_str()), (422, "bad-body"));
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/role");
    let long = json!({"username": "x".repeat(2_000_000)});
    let long = send(&chief, Method::POST, "/api/v1/users", &[], Some(&long)).await;
    assert_eq!((long.status, long.kind().as_str()), (413, "too-large"));
}

/// Typesetting takes the processor: the third report at once waits for its turn, and everything else
/// goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_report_at_once_is_asked_to_come_again() {
    let daemon = Daemon::new("").await;
    let chief = signed_in(&daemon, "system_admin").await;
    let report = || get(&chief, "/api/v1/reports/ssp?format=pdf");
    let (one, two, three, four) = tokio::join!(report(), report(), report(), report());
    let all = [one, two, three, four];
    let refused: Vec<&Reply> = all.iter().filter(|reply| reply.status == 429).collect();
    let statuses: Vec<u16> = all.iter().map(|reply| reply.status).collect();
    assert!((1..=2).contains(&refused.len()), "{statuses:?}");
    for reply in refused {
        assert_eq!(
            (reply.kind().as_str(), reply.header("retry-after")),
            ("busy", "5")
        );
    }
    // A place is given back.
    assert!(all.iter().any(|reply| reply.status == 200));
    assert_eq!(report().await.status, 200);
}

/// Checks an answer against what the document says of it.
fn check(document: &Value, schema: &Value, answer: &Value, what: &str) {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(answer)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}: {errors:?}\n{answer}");
}

#[expect(
    clippy::too_many_lines,
    reason = "one program, whose start takes longer than all of it"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_documented_is_what_is_answered() {
    let daemon = Daemon::new("").await;
    with_alerts(&daemon, 2).await;
    let chief = signed_in(&daemon, "system_admin").await;
    let document = get(&chief, "/api/openapi.json").await.json();
    assert_eq!(document, web::openapi_document());
    let nobody = chief.client.get(format!("{}/api/openapi.json", chief.base));
    assert_eq!(nobody.send().await.unwrap().status(), 401);

    // Something of each kind is there.
    // Not everything is met: the exit code says so.
    assert!([0, 3].contains(&run(&daemon, &["compliance", "checks", "run"]).0));
    let post = async |path: &str, body: Value| {
        let made = send(&chief, Method::POST, path, &[], Some(&body)).await;
        assert_eq!(made.status, 200, "{path}: {}", made.text);
        let schema = &document["paths"][path]["post"]["responses"]["200"]["content"];
        let made = made.json();
        check(
            &document,
            &schema["application/json"]["schema"],
            &made,
            path,
        );
        made
    };
    for verdict in ["not_vulnerable", "vulnerable"] {
        let report = daemon.path(verdict);
        let modules = json!([{"name": "a", "verdict": verdict, "requests": 2}, {"name": "b", "verdict": "vulnerable"}]);
        let text = json!({"run_id": verdict, "target": "x", "modules": modules}).to_string();
        std::fs::write(&report, text).unwrap();
        let report = report.to_str().unwrap();
        assert_eq!(run(&daemon, &["redteam", "import", report]).0, 0);
    }
    let silence = json!({
        "entity": "ip:203.0.113.7", "length": "1h", "reason": "a test", "allow_unknown": true,
    });
    post("/api/v1/silences", silence).await;
    let plan = json!({"control": "3.1.1", "weakness": "a test", "remediation": "mend it", "kind": "operational"});
    let plan = post("/api/v1/compliance/poam", plan).await;
    let piece = json!({
        "text": "seen", "supports": ["3.1.1"], "kind": "policy_doc", "shows": "that it is so",
    });
    post("/api/v1/compliance/evidence", piece).await;
    let key = post(
        "/api/v1/keys",
        json!({"name": "x", "scopes": ["metrics:read"]}),
    )
    .await;
    let own = post("/api/v1/keys", json!({"name": "y", "scopes": ["read"]})).await;
    assert_eq!(
        (&key["kind"], &own["kind"]),
        (&json!("machine"), &json!("person"))
    );
    let user = json!({"username": "lee", "email": "lee@example.com", "role": "user"});
    post("/api/v1/users", user).await;
    let path = format!(
        "/api/v1/compliance/poam/{}",
        plan["poam_id"].as_str().unwrap()
    );
    let tag = get(&chief, &path).await.header("etag").to_owned();
    let change = json!({"owner": "lee", "status": "in_progress"});
    let changed = send(
        &chief,
        Method::PATCH,
        &path,
        &[("if-match", &tag)],
        Some(&change),
    )
    .await;
    assert_eq!(
        (changed.status, &changed.json()["owner"]),
        (200, &json!("lee"))
    );
    let incident = get(&chief, "/api/v1/incidents").await;
    if let Some(incident) = items(&incident).first() {
        let path = format!(
            "/api/v1/incidents/{}",
            incident["incident_id"].as_str().unwrap()
        );
        let tag = get(&chief, &path).await.header("etag").to_owned();
        let body = json!({"status": "analyzing", "reason": "a test"});
        let path = format!("{path}/status");
        let moved = send(
            &chief,
            Method::POST,
            &path,
            &[("if-match", &tag)],
            Some(&body),
        )
        .await;
        assert_eq!(
            (moved.status, &moved.json()["status"]),
            (200, &json!("analyzing"))
        );
    }

    // Every list and every single thing that the lists name.
    let mut empty = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let answers = &operations["get"]["responses"]["200"]["content"]["application/json"];
        if path.contains('{') || !answers["schema"]["properties"]["items"].is_object() {
            continue;
        }
        let all = format!("{path}?limit=200");
        let query = if has_parameter(&operations["get"], "all") {
            "&all=true"
        } else {
            ""
        };
        let list = get(&chief, &format!("{all}{query}")).await;
        assert_eq!(list.status, 200, "{path}: {}", list.text);
        check(&document, &answers["schema"], &list.json(), path);
        let Some(first) = items(&list).first().cloned() else {
            empty.push(path.clone());
            continue;
        };
        let ids = [
            "alert_id",
            "incident_id",
            "source_id",
            "poam_id",
            "evidence_id",
            "run_id",
            "finding_id",
            "username",
        ];
        for (single, operations) in document["paths"].as_object().unwrap() {
            let of_list = [format!("{path}/{{id}}"), format!("{path}/{{name}}")];
            if !of_list.contains(single) || operations["get"].is_null() {
                continue;
            }
            let id = ids.iter().find_map(|id| first[*id].as_str()).unwrap();
            let shown = get(&chief, &format!("{path}/{id}")).await;
            assert_eq!(shown.status, 200, "{single}: {}", shown.text);
            let schema = &operations["get"]["responses"]["200"]["content"]["application/json"];
            check(&document, &schema["schema"], &shown.json(), single);
        }
    }
    let compare = "/api/v1/redteam/compare";
    let schema = &document["paths"][compare]["get"]["responses"]["200"]["content"];
    let asked = format!("{compare}?before=2026-01-01&after=2100-01-01");
    let compared = get(&chief, &asked).await;
    assert_eq!(compared.status, 200, "{}", compared.text);
    let compared = compared.json();
    check(
        &document,
        &schema["application/json"]["schema"],
        &compared,
        compare,
    );
    assert_eq!(compared["new"].as_array().unwrap().len(), 2);
    assert_eq!(get(&chief, compare).await.status, 422);
    let policy = get(&chief, "/api/v1/policy").await.json();
    let schema = json!({"$ref": "#/components/schemas/Policy"});
    check(&document, &schema, &policy, "policy");
    assert!(
        empty
            .iter()
            .all(|path| path.ends_with("advisories") || path.ends_with("notifications")),
        "{empty:?}"
    );
}

fn has_parameter(operation: &Value, name: &str) -> bool {
    let parameters = operation["parameters"].as_array();
    parameters.is_some_and(|all| all.iter().any(|one| one["name"] == name))
}
