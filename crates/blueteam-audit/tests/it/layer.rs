//! The tower layer around services that do what services do.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use blueteam_audit::{AuditContext, AuditLayer, AuditLogger, Category};
use serde_json::json;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use uuid::Uuid;

use crate::door::{Database, Row};

const USER: Uuid = Uuid::from_u128(5);

fn request(path: &str) -> Request<Body> {
    let request = Request::get(path)
        .header("user-agent", "curl/8")
        .header("x-forwarded-for", "6.6.6.6, 198.51.100.4");
    request
        .extension("10.0.0.1".parse::<IpAddr>().unwrap())
        .body(Body::empty())
        .unwrap()
}

async fn service(request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
    match request.uri().path() {
        "/status" => {
            let status = request.uri().query().unwrap().parse().unwrap();
            Ok(Response::builder()
                .status(StatusCode::from_u16(status).unwrap())
                .body(Body::empty())
                .unwrap())
        }
        "/export" => {
            let audit = request.extensions().get::<AuditContext>().unwrap().clone();
            audit.update(|event| {
                event.set_user(USER);
                event.set_action(Category::Data, "export_data");
                event.set_cui(true);
            });
            Ok(Response::new(Body::empty()))
        }
        "/error" => Err(std::io::Error::other("fails")),
        "/panic" => panic!("falls"),
        _ => std::future::pending().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_told_however_it_ends() {
    let db = Database::new().await;
    let audit = AuditLogger::builder("app")
        .postgres(db.writer().await)
        .start()
        .unwrap();
    let layer = AuditLayer::new(audit.clone())
        .trusted_proxies(["10.0.0.0/8".parse().unwrap()])
        .fill(|request, event| {
            assert_ne!(request.uri.path(), "/export", "a hook that panics");
            event.set_session("s1");
            event.set_tenant(USER);
        });

    let mut service = layer.layer(service_fn(service));
    for status in [200, 302, 403, 404, 500] {
        let answer = service
            .ready()
            .await
            .unwrap()
            .call(request(&format!("/status?{status}")))
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
    }

    assert_eq!(
        service.call(request("/export")).await.unwrap().status(),
        200
    );
    assert!(service.call(request("/error")).await.is_err());

    let gone =
        tokio::time::timeout(Duration::from_millis(30), service.call(request("/slow"))).await;
    assert!(gone.is_err());
    let falls = service.call(request("/panic"));
    assert!(tokio::spawn(falls).await.unwrap_err().is_panic());

    let end = audit.shutdown(Duration::from_secs(10)).await;
    assert_eq!((end.logged, end.sent), (11, 11));
    let rows = db.rows("").await;
    let says = |row: &Row| {
        format!("{} {} {}", row["action"], row["resource_id"], row["result"]).replace('"', "")
    };
    let said: Vec<String> = rows.iter().map(says).collect();

    let expect = [
        "api_request /status success",
        "api_request /status success",
        "api_request /status denied",
        "api_request /status failure",
        "api_request /status failure",
        "export_data /export success",
        "api_request /error failure",
        "api_request /slow failure",
        "api_request /panic failure",
    ];

    assert_eq!(said, expect);
    for row in &rows {
        assert_eq!(
            (&row["ip_address"], &row["user_agent"]),
            (&json!("198.51.100.4"), &json!("curl/8"))
        );
        assert!(
            row["metadata"]["method"] == "GET" && row["metadata"]["duration_ms"].is_u64(),
            "{row}"
        );
    }

    assert_eq!(
        (&rows[0]["session_id"], &rows[0]["instance_id"]),
        (&json!("s1"), &json!(USER))
    );
    assert_eq!(
        (&rows[2]["metadata"]["status"], &rows[2]["user_id"]),
        (&json!(403), &json!(null))
    );

    let export = &rows[5];
    assert_eq!(
        (&export["user_id"], &export["cui_accessed"]),
        (&json!(USER), &json!(true))
    );
    assert_eq!(
        (&export["category"], &export["session_id"]),
        (&json!("data"), &json!(null))
    );

    let how: Vec<_> = rows
        .iter()
        .filter_map(|row| row["metadata"]["ended"].as_str())
        .collect();
    assert_eq!(how, ["error", "aborted", "panic"]);
    assert!(rows[7]["metadata"]["duration_ms"].as_u64().unwrap() >= 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_waits_for_a_sink_that_hangs_and_no_queue_grows() {
    // Accepts and never answers.
    let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", hangs.local_addr().unwrap());
    let spool = tempfile::tempdir().unwrap();
    let audit = AuditLogger::builder("app")
        .http(url, "k")
        .spool(spool.path())
        .spool_max_bytes(100_000)
        .queue(64)
        .start()
        .unwrap();

    let mut service = AuditLayer::new(audit.clone()).layer(service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    let since = std::time::Instant::now();
    for _ in 0..20_000 {
        service.call(request("/")).await.unwrap();
    }

    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
    tokio::time::sleep(Duration::from_millis(200)).await;

    let stats = audit.stats();
    assert_eq!(stats.spooled + stats.dropped, stats.logged, "{stats:?}");
    assert!(stats.dropped > 0);
    let since = std::time::Instant::now();
    audit.shutdown(Duration::from_millis(300)).await;
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
}
