//! New incidents get their tasks, and people are warned of the clocks of the law: once a mark.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::daemon::{Daemon, PATIENCE};
use super::mails::take_mail;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_warns_once_a_mark_through_a_kill_and_when_it_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = mpsc::channel(64);
    tokio::spawn(take_mail(listener, tell));
    let folder = tempfile::tempdir().unwrap();
    // The operator's playbook takes the place of the built-in one.
    std::fs::write(
        folder.path().join("slow_spray.txt"),
        "# ours\n- Call the prime.\nLock what was guessed.\n",
    )
    .unwrap();
    let mut daemon = Daemon::new(&format!(
        "[channels.email]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"plain\"\nfrom = \
            \"a@example.com\"\nto = [\"b@example.com\"]\n\
         [digest]\nchannels = []\n[heartbeat]\ninterval = \"0s\"\n[compliance]\nchannels = []\n\
         [incidents]\nplaybooks = \"{}\"\n\
         clocks = [{{ id = \"contract\", name = \"Contract N00019\", within = \"100h\", \
            runs_on = \"every\" }}]\n",
        folder.path().display()
    ))
    .await;

    let mut conn = daemon.connect().await;
    // 10 hours are left of DFARS, 38 of the contract; of the second, which saw no CUI, 90.
    sqlx::raw_sql(
        "INSERT INTO blueteam.security_incidents
             (title, severity, detected_by, correlation_rule, cui_involved, dfars_reportable, detected_at)
         VALUES ('Guessing', 'high', 'correlation_rule', 'slow_spray', true, true, now() - interval '62 hours'),
                ('A scan', 'high', 'correlation_rule', 'web_scanner', false, false, now() - interval '10 hours')",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    drop(conn);
    daemon.kill();
    daemon.start().await;

    let mail = tokio::time::timeout(PATIENCE, told.recv())
        .await
        .unwrap()
        .unwrap();
    for part in [
        "[REMINDER]",
        "2 duties to report are due",
        "DFARS 252.204-7012: 9 h left, undecided",
        "Contract N00019: 37 h left, undecided",
    ] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    assert!(!mail.contains("A scan"), "{mail}");

    let mut conn = daemon.connect().await;
    let tasks = "SELECT count(*) FROM blueteam.incident_tasks WHERE playbook = $1";
    let since = Instant::now();
    for (playbook, wanted) in [("slow_spray", 2_i64), ("injection", 5)] {
        loop {
            let found: i64 = sqlx::query_scalar(tasks)
                .bind(playbook)
                .fetch_one(&mut conn)
                .await
                .unwrap();
            if found == wanted {
                break;
            }
            assert!(since.elapsed() < PATIENCE, "{found} {}", daemon.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    daemon.kill();
    daemon.start().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(told.try_recv().is_err(), "each mark is told once");

    // Time goes on; the contract was reported.
    sqlx::raw_sql(
        "UPDATE blueteam.security_incidents SET detected_at = detected_at - interval '20 hours'
          WHERE title = 'Guessing';
         INSERT INTO blueteam.incident_reports (incident_id, duty, sent_at, recorded_by)
         SELECT incident_id, 'contract', now(), 'test' FROM blueteam.security_incidents
          WHERE title = 'Guessing'",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    drop(conn);
    daemon.kill();
    daemon.start().await;
    let mail = tokio::time::timeout(PATIENCE, told.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(
        mail.contains("Report due: DFARS 252.204-7012: overdue by 10 h, undecided"),
        "{mail}"
    );
    assert!(!mail.contains("Contract"), "{mail}");
}
