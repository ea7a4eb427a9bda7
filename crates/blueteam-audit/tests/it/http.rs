//! Through the ingest API.

use std::time::{Duration, Instant};

use blueteam_audit::{AuditLogger, Category, Event, Outcome, StartError, action};
use serde_json::json;
use uuid::Uuid;

use crate::door::{Database, Door, nowhere};

const SECOND: Duration = Duration::from_secs(1);

fn event(n: u64) -> Event {
    Event::new(Category::Access, action::PAGE_VIEW, Outcome::Success).detail("n", n)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_with_all_that_they_said() {
    let db = Database::new().await;
    let door = Door::any(&db).await;
    let audit = AuditLogger::builder("app")
        .http(door.url(), &door.key)
        .start()
        .unwrap();
    let (user, tenant) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let full = Event::new(Category::Data, action::EXPORT_DATA, Outcome::Denied)
        .user(user)
        .session("s\0")
        .ip("2001:db8::1".parse().unwrap())
        .user_agent("curl")
        .resource("document", "7")
        .tenant(tenant)
        .cui()
        .detail("role", "analyst");

    audit.log(full);
    audit.flush().await;
    let row = db.wait("export_data", 1).await.remove(0);
    for (column, expect) in [
        ("category", json!("data")),
        ("result", json!("denied")),
        ("user_id", json!(user)),
        ("session_id", json!("s\u{fffd}")),
        ("ip_address", json!("2001:db8::1")),
        ("user_agent", json!("curl")),
        ("resource_type", json!("document")),
        ("resource_id", json!("7")),
        ("instance_id", json!(tenant)),
        ("cui_accessed", json!(true)),
        (
            "metadata",
            json!({"role": "analyst", "producer": audit.producer(), "producer_seq": 2}),
        ),
    ] {
        assert_eq!(row[column], expect, "{column}");
    }

    let end = audit.shutdown(5 * SECOND).await;
    assert_eq!(
        (end.logged, end.sent, end.dropped, end.rejected),
        (3, 3, 0, 0)
    );
    assert_eq!(db.assert_whole(audit.producer()).await, 3);
    assert_eq!(db.rows("audit_stop").await.len(), 1);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_the_door_is_shut_arrives_once_when_it_opens() {
    let db = Database::new().await;
    let spool = tempfile::tempdir().unwrap();
    let to = nowhere();
    let key = crate::door::mint(&db.pool).await;
    let audit = AuditLogger::builder("app")
        .http(format!("http://{to}"), key)
        .spool(spool.path())
        .batch(100)
        .start()
        .unwrap();

    for n in 0..500 {
        audit.log(event(n));
    }

    audit.flush().await;
    let stats = audit.stats();
    assert_eq!(
        (stats.away, stats.sent, stats.spooled),
        (true, 0, 501),
        "500 and the start"
    );

    let door = Door::open(&db, to, |_| {}).await;
    for n in 500..700 {
        audit.log(event(n));
    }

    let rows = db.wait("page_view", 700).await;
    assert!(
        rows.iter()
            .enumerate()
            .all(|(n, row)| row["metadata"]["n"] == n),
        "each once, in order"
    );

    let end = audit.shutdown(10 * SECOND).await;
    assert_eq!((end.dropped, end.rejected, end.spooled), (0, 0, 0));
    assert_eq!(db.assert_whole(audit.producer()).await, end.logged);
    assert!(db.rows("audit_failure").await.is_empty());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_fit_is_counted_and_told_afterwards() {
    let db = Database::new().await;
    let spool = tempfile::tempdir().unwrap();
    let to = nowhere();
    let key = crate::door::mint(&db.pool).await;
    let audit = AuditLogger::builder("app")
        .http(format!("http://{to}"), key)
        .spool(spool.path())
        .spool_max_bytes(4000)
        .start()
        .unwrap();

    for n in 0..100 {
        audit.log(event(n));
        audit.flush().await;
    }

    let lost = audit.stats().dropped;
    assert!((50..100).contains(&lost), "{lost}");
    let door = Door::open(&db, to, |_| {}).await;
    let told = db.wait("audit_failure", 1).await.remove(0);
    assert_eq!(
        (&told["category"], &told["result"]),
        (&json!("system"), &json!("failure"))
    );

    assert_eq!(told["metadata"]["dropped"], lost);
    let end = audit.shutdown(10 * SECOND).await;

    // What was lost is what is missing in the sequence.
    let sql = "SELECT max((metadata->>'producer_seq')::bigint) - count(*) FROM audit_events";
    let holes: i64 = sqlx::query_scalar(sql).fetch_one(&db.pool).await.unwrap();
    assert_eq!((holes as u64, end.dropped), (lost, lost));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_door_refuses_costs_its_neighbors_nothing() {
    let db = Database::new().await;
    let door = Door::open(&db, "127.0.0.1:0".parse().unwrap(), |s| {
        s.ingest.max_batch_events = 3;
    })
    .await;
    let spool = tempfile::tempdir().unwrap();
    let audit = AuditLogger::builder("app")
        .http(door.url(), &door.key)
        .spool(spool.path())
        .start()
        .unwrap();

    for n in 0..20 {
        let late = std::time::SystemTime::now() - Duration::from_hours(24 * 40);
        audit.log(if n == 7 { event(n).at(late) } else { event(n) });
    }

    let rows = db.wait("page_view", 19).await;
    assert!(rows.iter().all(|row| row["metadata"]["n"] != 7));
    let told = db.wait("audit_failure", 1).await.remove(0);
    assert_eq!(
        (&told["metadata"]["rejected"], &told["metadata"]["dropped"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(audit.shutdown(5 * SECOND).await.rejected, 1);

    let buried = std::fs::read_to_string(spool.path().join("0/refused.ndjson.log")).unwrap();
    assert!(
        buried.lines().count() == 1 && buried.contains("timestamp"),
        "{buried}"
    );
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_waits_for_the_right_one_and_holds_up_nobody() {
    let db = Database::new().await;
    let door = Door::any(&db).await;
    let spool = tempfile::tempdir().unwrap();
    let wrong = app::auth::mint([9; 32]).secret;
    let audit = AuditLogger::builder("app")
        .http(door.url(), wrong)
        .spool(spool.path())
        .start()
        .unwrap();
    audit.log(event(0));

    audit.flush().await;
    assert!(audit.stats().away && audit.stats().rejected == 0);
    let since = Instant::now();
    let end = audit.shutdown(SECOND).await;
    assert!(since.elapsed() < 3 * SECOND && end.spooled == 3, "{end:?}");

    let audit = AuditLogger::builder("app")
        .http(door.url(), &door.key)
        .spool(spool.path())
        .start()
        .unwrap();

    db.wait("page_view", 1).await;
    // The first run ended well, with its events on disk.
    let start = db.wait("audit_start", 2).await;
    assert!(
        start
            .iter()
            .all(|row| row["metadata"].get("unclean_end_of").is_none()),
        "{start:?}"
    );

    audit.shutdown(5 * SECOND).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_patience_gets_it() {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use std::sync::{Arc, Mutex};
    let seen: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let answer = move |body: String| async move {
        let mut seen = kept.lock().unwrap();
        seen.push((Instant::now(), body));
        match seen.len() {
            1 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "2")], "").into_response(),
            _ => (
                StatusCode::ACCEPTED,
                r#"{"accepted":0,"duplicates":0,"spooled":1,"rejected":[]}"#,
            )
                .into_response(),
        }
    };

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/v1/events", axum::routing::post(answer));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let audit = AuditLogger::builder("app").http(url, "k").start().unwrap();
    while audit.stats().sent < 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    {
        let seen = seen.lock().unwrap();
        assert!(seen[1].0 - seen[0].0 >= 2 * SECOND);
        assert_eq!(seen[0].1, seen[1].1, "the same id and the same time");
    }

    audit.shutdown(SECOND).await;
    server.abort();
}

#[test]
fn what_can_never_work_is_said_at_the_start() {
    let start = |url: &str, key: &str| AuditLogger::builder("app").http(url, key).start().map(drop);
    assert!(
        matches!(start("http://192.0.2.1:8514", "k"), Err(StartError::Url(_))),
        "in the clear over the network"
    );
    assert!(matches!(
        start("audit.example.com", "k"),
        Err(StartError::Url(_))
    ));

    assert!(matches!(
        start("https://audit.example.com", "k\n"),
        Err(StartError::Key)
    ));
    assert!(matches!(
        AuditLogger::builder("app").start(),
        Err(StartError::NoSink)
    ));

    let bad = AuditLogger::builder("app")
        .http("https://audit.example.com", "k")
        .ca_pem("-----BEGIN CERTIFICATE-----\n!\n");
    assert!(bad.start().is_err());
}

/// Callers that go on while the program ends: each event is sent, spooled or counted as dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_logged_while_the_program_ends_is_counted() {
    for _ in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let audit = AuditLogger::builder("app")
            .http(format!("http://{}", nowhere()), "k")
            .spool(dir.path())
            .start()
            .unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let (logged, stats) = std::thread::scope(|scope| {
            let log = || {
                let mut n = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    audit.log(Event::new(Category::Access, "read", Outcome::Success));
                    n += 1;
                    if n % 50 == 0 {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }

                n
            };

            let threads: Vec<_> = (0..8).map(|_| scope.spawn(log)).collect();
            std::thread::sleep(Duration::from_millis(5));
            audit.shutdown_blocking(Duration::ZERO);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let logged: u64 = threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum();

            (logged, audit.stats())
        });

        let spool = std::fs::read_dir(dir.path().join("0"))
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let spool: String = spool.collect();
        let word = u64::from(spool.contains("\"action\":\"audit_failure\""));

        assert_eq!(
            spool.lines().filter(|line| line.starts_with('{')).count() as u64,
            stats.spooled
        );

        // The start, the stop and a word about losses are the logger's own.
        assert_eq!(
            stats.spooled + stats.dropped,
            logged + 2 + word,
            "{stats:?}"
        );
    }
}
