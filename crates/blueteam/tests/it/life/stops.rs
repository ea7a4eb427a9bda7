//! Ends and starts as an operator knows them.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::daemon::{Daemon, alert_comes, alerts, failure};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_start_goes_on_where_the_first_stopped() {
    let mut daemon = Daemon::new("").await;
    let client = daemon.client();
    for _ in 0..4 {
        client.send(&[failure("198.51.100.7", "root")]).await;
    }

    let (began, cluster) = (Instant::now(), daemon.postmaster());
    assert!(cluster.is_some());
    assert_eq!(daemon.terminate().await.code(), Some(0), "{}", daemon.log());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );

    assert_eq!(
        daemon.postmaster(),
        None,
        "its PostgreSQL is stopped with it"
    );

    daemon.start().await;
    let greeting = |start: u32| std::fs::read_to_string(daemon.path(&format!("out.{start}")));
    assert!(greeting(1).unwrap().contains("Send a first event"));
    assert!(!greeting(2).unwrap().contains("Send a first event"));

    let mut conn = daemon.connect().await;
    assert!(alerts(&mut conn).await.is_empty());
    client
        .send(&[
            failure("198.51.100.7", "root"),
            failure("198.51.100.7", "root"),
        ])
        .await;

    alert_comes(
        &mut conn,
        "brute_force",
        "198.51.100.7",
        Duration::from_secs(5),
    )
    .await;
    assert!(!daemon.log().contains("restored"), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let mut daemon = Daemon::new("").await;
    assert_eq!(daemon.terminate().await.code(), Some(0), "{}", daemon.log());
    daemon.start_unread().await;
    daemon
        .client()
        .send(&vec![failure("198.51.100.9", "root"); 6])
        .await;

    alert_comes(
        &mut daemon.connect().await,
        "brute_force",
        "198.51.100.9",
        Duration::from_secs(5),
    )
    .await;
    assert_eq!(daemon.terminate().await.code(), Some(0));

    assert_eq!(
        daemon.postmaster(),
        None,
        "its PostgreSQL is stopped with it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_on_a_state_directory_is_refused() {
    let daemon = Daemon::new("").await;
    let second = daemon.command().arg("serve").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains("error: another blueteam daemon runs on "),
        "{said}"
    );

    // The first is none the worse for it.
    daemon
        .client()
        .send(&[failure("198.51.100.8", "root")])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_in_the_middle_of_work_logs_no_error() {
    let logs = tempfile::tempdir().unwrap();
    let access = logs.path().join("access.log");
    std::fs::write(&access, "").unwrap();
    let mut daemon = Daemon::new(&format!(
        "[[collect.files]]\npath = \"{}\"\nformat = \"nginx\"\n\
         [[collect.listeners]]\naddress = \"unix:{}\"\n",
        access.display(),
        logs.path().join("syslog").display()
    ))
    .await;

    for round in 0..3 {
        if round > 0 {
            daemon.start().await;
        }
        let client = daemon.client();
        let sending = tokio::spawn(async move {
            let event = failure("198.51.100.9", "root");
            while client.try_send(&vec![event.clone(); 20]).await.is_some() {}
        });
        let line = "198.51.100.9 - - [01/Mar/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 404 1\n";
        let mut log = std::fs::OpenOptions::new()
            .append(true)
            .open(&access)
            .unwrap();
        log.write_all(line.repeat(500).as_bytes()).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(daemon.terminate().await.code(), Some(0), "{}", daemon.log());
        sending.await.unwrap();
    }
    assert!(!daemon.log().contains(" ERROR "), "{}", daemon.log());
}
