//! Straight into the table, as a role that may add and nothing else.

use std::time::Duration;

use blueteam_audit::{AuditLogger, Category, Event, Outcome, action};
use serde_json::json;

use crate::door::Database;

const SECOND: Duration = Duration::from_secs(1);

fn event(n: u64) -> Event {
    Event::new(Category::Access, action::PAGE_VIEW, Outcome::Success)
        .ip("192.0.2.1".parse().unwrap())
        .detail("n", n)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_become_rows_once_through_an_outage() {
    let db = Database::new().await;
    let spool = tempfile::tempdir().unwrap();
    let audit = AuditLogger::builder("app")
        .postgres(db.writer().await)
        .spool(spool.path())
        .patience(SECOND)
        .start()
        .unwrap();
    for n in 0..1500 {
        audit.log(event(n));
    }

    db.wait("page_view", 1500).await;
    db.set_away(true).await;
    for n in 1500..1800 {
        audit.log(event(n));
    }

    audit.flush().await;
    let stats = audit.stats();
    assert!(stats.away && stats.spooled >= 300, "{stats:?}");
    assert_eq!(db.rows("page_view").await.len(), 1500);
    db.set_away(false).await;

    let rows = db.wait("page_view", 1800).await;
    assert!(
        rows.iter()
            .enumerate()
            .all(|(n, row)| row["metadata"]["n"] == n)
    );
    assert_eq!(rows[0]["ip_address"], "192.0.2.1");

    let end = audit.shutdown(5 * SECOND).await;
    assert_eq!((end.dropped, end.rejected, end.spooled), (0, 0, 0));
    assert_eq!(db.assert_whole(audit.producer()).await, end.logged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_s_lines_are_sent_and_a_broken_one_is_set_apart() {
    let db = Database::new().await;
    let spool = tempfile::tempdir().unwrap();
    let slot = spool.path().join("0");
    std::fs::create_dir_all(&slot).unwrap();
    let line = |id: u8, more: &str| {
        format!(
            r#"{{"event_id":"019a0000-0000-7000-8000-0000000000{id:02x}","timestamp":"2026-03-05T00:00:00.000001Z","category":"access","action":"page_view","result":"success","cui_accessed":false,"metadata":{{"n":{id}}}{more}}}"#
        )
    };

    let lines = [
        line(0, ""),
        line(1, r#","user_id":"nobody""#),
        line(2, ""),
        "{torn".to_owned(),
        line(0, ""),
        line(3, ""),
    ];
    std::fs::write(
        slot.join("000000000004.ndjson"),
        lines.join("\n") + "\n{\"half",
    )
    .unwrap();

    std::fs::write(slot.join("running"), "app/dead").unwrap();
    let audit = AuditLogger::builder("app")
        .postgres(db.writer().await)
        .spool(spool.path())
        .start()
        .unwrap();
    let rows = db.wait("page_view", 3).await;
    let mut found: Vec<_> = rows
        .iter()
        .map(|row| row["metadata"]["n"].clone())
        .collect();

    found.sort_by_key(serde_json::Value::as_u64);
    assert_eq!(found, [0, 2, 3].map(|n| json!(n)));
    let start = db.wait("audit_start", 1).await.remove(0);
    assert_eq!(start["metadata"]["unclean_end_of"], json!(["app/dead"]));
    assert_eq!(db.wait("audit_failure", 1).await.len(), 1);
    assert_eq!(audit.shutdown(5 * SECOND).await.rejected, 2);

    let buried = std::fs::read_to_string(slot.join("refused.ndjson.log")).unwrap();
    assert_eq!(buried.lines().count(), 2, "{buried}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_login_may_add_and_nothing_else() {
    let db = Database::new().await;
    let url = db.writer().await;
    let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&url)
        .await
        .unwrap();
    for sql in [
        "SELECT 1 FROM audit_events",
        "DELETE FROM audit_events",
        "UPDATE audit_events SET action = 'x'",
    ] {
        let error = sqlx::query(sql).execute(&mut conn).await.unwrap_err();
        assert_eq!(
            error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .as_deref(),
            Some("42501"),
            "{sql}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_where_nothing_is_async_and_when_it_is_just_dropped() {
    let db = Database::new().await;
    let url = db.writer().await;
    let spool = tempfile::tempdir().unwrap();
    let (one, two) = (url.clone(), spool.path().to_owned());
    std::thread::spawn(move || {
        let audit = AuditLogger::builder("app").postgres(one).start().unwrap();
        audit.log(event(1));
        assert_eq!(audit.shutdown_blocking(10 * SECOND).sent, 3);
        let audit = AuditLogger::builder("app")
            .postgres(url)
            .spool(two)
            .start()
            .unwrap();
        audit.log(event(2));
    })
    .join()
    .unwrap();

    db.wait("page_view", 2).await;
    db.wait("audit_stop", 2).await;
}
