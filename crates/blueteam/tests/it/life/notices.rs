//! The daily digest and the sign of life: told once, also when nothing happened, whatever is
//! killed.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::daemon::{Daemon, PATIENCE};
use super::mails::take_mail;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_has_one_digest_through_a_kill_and_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = mpsc::channel(64);
    tokio::spawn(take_mail(listener, tell));
    let mut daemon = Daemon::new(&format!(
        "[channels.email]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"plain\"\nfrom = \
            \"a@example.com\"\nto = [\"b@example.com\"]\n\
         [digest]\nat = \"00:00\"\n"
    ))
    .await;
    let kinds = "SELECT count(*) FROM blueteam.scheduled_notifications";
    let mut conn = daemon.connect().await;
    let since = std::time::Instant::now();
    // A new database has no day to tell of yet.
    while sqlx::query_scalar::<_, i64>(kinds)
        .fetch_one(&mut conn)
        .await
        .unwrap()
        < 2
    {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(told.try_recv().is_err());
    // As if its first days were yesterday's.
    sqlx::raw_sql(
        "ALTER TABLE blueteam.scheduled_notifications DISABLE TRIGGER append_only;
         UPDATE blueteam.scheduled_notifications SET key = 'before', at = at - interval '1 day';
         ALTER TABLE blueteam.scheduled_notifications ENABLE ALWAYS TRIGGER append_only",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    drop(conn);
    daemon.kill();
    daemon.start().await;
    let mut mails = Vec::new();
    for _ in 0..2 {
        mails.push(
            tokio::time::timeout(PATIENCE, told.recv())
                .await
                .unwrap()
                .unwrap(),
        );
    }
    let digest = mails
        .iter()
        .find(|m| m.contains("[DIGEST]"))
        .unwrap_or_else(|| panic!("{mails:?}"));
    assert!(
        digest.contains("Daily digest: all quiet, 0 events, 0 sources alive"),
        "{digest}"
    );
    assert!(mails.iter().any(|m| m.contains("[ALIVE]")), "{mails:?}");
    daemon.kill();
    daemon.start().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(told.try_recv().is_err(), "the day was told already");
    let mut conn = daemon.connect().await;
    let sent = "SELECT kind FROM blueteam.notifications WHERE alert_id IS NULL ORDER BY 1";
    let kinds: Vec<String> = sqlx::query_scalar(sent).fetch_all(&mut conn).await.unwrap();
    assert_eq!(kinds, ["digest", "heartbeat"]);
}

/// PostgreSQL is not there yet when we start: we wait, tell people, and end when told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_the_database_waits_and_people_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = mpsc::channel(64);
    tokio::spawn(take_mail(listener, tell));
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("blueteam.toml");
    let text = format!(
        "[channels.email]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"plain\"\nfrom = \
            \"a@example.com\"\nto = [\"b@example.com\"]\n\
         [watchdog]\ndatabase_away = \"1s\"\n"
    );

    std::fs::write(&config, text).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_blueteam"))
        .arg("--config")
        .arg(&config)
        .arg("--state-dir")
        .arg(dir.path().join("state"))
        .arg("monitor")
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();

    let mail = tokio::time::timeout(PATIENCE, told.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(
        mail.contains("[CRITICAL] The database of the audit record is unreachable"),
        "{mail}"
    );

    assert!(child.try_wait().unwrap().is_none(), "it waits");
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    )
    .unwrap();

    let since = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(since.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
