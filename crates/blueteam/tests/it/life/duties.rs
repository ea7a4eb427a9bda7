//! The compliance work on schedule: checks run by themselves, and people are reminded once an item
//! and stage.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::daemon::{Daemon, PATIENCE};
use super::mails::take_mail;

async fn count(conn: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_run_on_schedule_and_people_are_reminded_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = mpsc::channel(64);
    tokio::spawn(take_mail(listener, tell));

    let mut daemon = Daemon::new(&format!(
        "[channels.email]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"plain\"\nfrom = \
            \"a@example.com\"\nto = [\"b@example.com\"]\n\
         [digest]\nchannels = []\n[heartbeat]\nevery = \"0s\"\n[compliance]\nevery = \"4s\"\n"
    ))
    .await;
    let mut conn = daemon.connect().await;

    let piece = |what: &str, days: i32| {
        format!(
            "INSERT INTO blueteam.compliance_evidence (control_id, evidence_type, description, \
                content, state, approved_by, approved_at, valid_until)
             VALUES ('3.1.1', 'policy_doc', '{what}', 'x', 'final', 'alice', now(), now() + \
             interval '{days} days')"
        )
    };

    for sql in [
        piece("access policy", 10),
        piece("old policy", -1),
        piece("new policy", 300),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut conn)
            .await
            .unwrap();
    }

    let mail = tokio::time::timeout(PATIENCE, told.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(
        mail.contains("[REMINDER]") && mail.contains("Compliance: 2 items are due, 1 of them late"),
        "{mail}"
    );

    assert!(
        mail.contains("access policy")
            && mail.contains("old policy")
            && !mail.contains("new policy"),
        "{mail}"
    );

    // Every check ran, and runs again.
    let results = "SELECT count(*) FROM blueteam.compliance_evidence WHERE check_id IS NOT NULL";
    let all = i64::try_from(compliance::checks::ALL.len()).unwrap();
    let since = Instant::now();
    while count(&mut conn, results).await < 2 * all {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let by = "SELECT count(*) FROM blueteam.compliance_evidence WHERE check_id IS NOT NULL AND \
        approved_by IS DISTINCT FROM 'check ' || check_id";
    assert_eq!(count(&mut conn, by).await, 0);
    assert!(
        count(
            &mut conn,
            "SELECT count(*) FROM blueteam.compliance_objectives WHERE proposed IS NOT NULL"
        )
        .await
            > 0
    );

    // The score once, since nothing changed, and the posture once a day.
    for kept in [
        "SELECT count(*) FROM blueteam.posture_scores WHERE details->>'kind' = 'dod_score'",
        "SELECT count(*) FROM blueteam.posture_scores WHERE details->>'kind' = 'posture'",
    ] {
        assert_eq!(count(&mut conn, kept).await, 1, "{kept}");
    }
    drop(conn);
    daemon.kill();
    daemon.start().await;

    let mut conn = daemon.connect().await;
    // While somebody else runs them, the daemon does not.
    sqlx::query("SELECT pg_advisory_lock(hashtextextended('blueteam.compliance.checks', 0))")
        .execute(&mut conn)
        .await
        .unwrap();

    let before = count(&mut conn, results).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(count(&mut conn, results).await, before);
    assert!(told.try_recv().is_err(), "each stage is told once");

    assert_eq!(
        count(
            &mut conn,
            "SELECT count(*) FROM blueteam.scheduled_notifications WHERE kind = 'reminder'"
        )
        .await,
        2
    );
}
