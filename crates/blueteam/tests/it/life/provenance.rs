//! Where events were: machine, peer, source and line, and what becomes of the line.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE};

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Waits until a query says true.
async fn until(daemon: &Daemon, what: &str, sql: &str) {
    let since = Instant::now();
    loop {
        let mut conn = daemon.connect().await;
        let found: Result<Option<bool>, _> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut conn)
            .await;
        if matches!(found, Ok(Some(true))) {
            return;
        }
        assert!(
            since.elapsed() < PATIENCE,
            "{what}: {found:?}\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_machines_behind_one_listener_are_told_apart() {
    let port = free_port();
    let daemon = Daemon::new(&format!(
        "[[collect.listeners]]\naddress = \"udp:127.0.0.1:{port}\"\nformat = \"syslog\""
    ))
    .await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |text: &str| {
        socket
            .send_to(text.as_bytes(), ("127.0.0.1", port))
            .unwrap();
    };

    for host in ["web01", "DB02"] {
        send(&format!(
            "<86>1 2026-03-04T10:00:00Z {host} useradd 77 - - new user: name=eve-{host}, \
             UID=1001, GID=1001, home=/home/eve, shell=/bin/bash, password=hunter2"
        ));
    }
    let all = "SELECT count(*) = 2 AND bool_and(
                   source_id = 'syslog:udp:127.0.0.1:PORT' AND peer = '127.0.0.1'
                   AND program = 'useradd' AND pid = 77 AND facility = 'authpriv'
                   AND raw LIKE '<86>1 % password=***')
                 FROM blueteam.log_events WHERE host IN ('web01', 'DB02')";
    until(&daemon, "events", &all.replace("PORT", &port.to_string())).await;
    let senders = "SELECT array_agg(host ORDER BY host) = '{\"\",db02,web01}'
                     FROM blueteam.source_senders WHERE peer = '127.0.0.1'";
    until(&daemon, "senders", senders).await;

    // What acted and what was acted upon are told apart, and the alert names the machine.
    let view = "SELECT bool_and(user_name IS NULL AND target LIKE 'eve-%')
                  FROM blueteam.all_events WHERE action = 'user_create'";
    until(&daemon, "actor and target", view).await;
    let titles = "SELECT count(*) = 2 FROM blueteam.alert_history
                   WHERE rule_id = 'account_created' AND title ~ ' on (web01|DB02)'";
    until(&daemon, "alerts", titles).await;

    // Nobody changes a row; retention empties its line when it is old enough, and only then.
    let mut conn = daemon.connect().await;
    let refused = sqlx::query("UPDATE blueteam.log_events SET raw = NULL")
        .execute(&mut conn)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("append-only"), "{refused}");
    while store::log_events::empty_raw_lines(&mut conn, 10_000)
        .await
        .unwrap()
        .is_some()
    {}
    until(
        &daemon,
        "kept",
        "SELECT bool_and(raw IS NOT NULL) FROM blueteam.log_events WHERE host = 'web01'",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_is_not_understood_is_one_alert() {
    let port = free_port();
    let daemon = Daemon::new(&format!(
        "[[collect.listeners]]\naddress = \"udp:127.0.0.1:{port}\"\nformat = \"syslog\""
    ))
    .await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..30 {
        let text = format!("what no syslog daemon writes, {n}");
        socket
            .send_to(text.as_bytes(), ("127.0.0.1", port))
            .unwrap();
    }

    let told = "SELECT count(*) = 1 FROM blueteam.alert_history
                 WHERE rule_id = 'audit_log_gap' AND title LIKE '%lines were not understood%'";
    until(&daemon, "one alert", told).await;
    sleep(Duration::from_secs(6)).await;
    until(&daemon, "still one", told).await;

    // It heals.
    for n in 0..2000 {
        let text = format!("<13>Mar  4 10:00:00 web cron[1]: nothing {n}");
        socket
            .send_to(text.as_bytes(), ("127.0.0.1", port))
            .unwrap();
        if n % 200 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    until(
        &daemon,
        "understood again",
        "SELECT bool_and(unread_since IS NULL) FROM blueteam.source_senders WHERE host = ''",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_folder_are_found_and_end_when_they_are_gone() {
    let logs = tempfile::tempdir().unwrap();
    let path = |name: &str| logs.path().join(name);
    let line = |who: &str| {
        format!(
            "Mar  4 10:00:00 web sshd[7]: Failed password for {who} from 192.0.2.9 port 4 ssh2\n"
        )
    };
    std::fs::write(path("one.log"), line("first")).unwrap();
    std::fs::write(path("one.log.1"), line("rotated")).unwrap();
    let daemon = Daemon::new(&format!(
        "[[collect.files]]\npath = \"{}/*.log\"\nformat = \"syslog\"",
        logs.path().display()
    ))
    .await;

    let tried =
        |who: &str| format!("SELECT count(*) = 1 FROM blueteam.log_events WHERE account = '{who}'");
    until(&daemon, "the file that was there", &tried("first")).await;
    std::fs::write(path("two.log"), line("second")).unwrap();
    until(&daemon, "a new file", &tried("second")).await;
    until(
        &daemon,
        "a source each",
        "SELECT count(*) = 2 FROM blueteam.sources WHERE source_id ~ '(one|two).log$'",
    )
    .await;

    std::fs::remove_file(path("two.log")).unwrap();
    until(
        &daemon,
        "gone",
        "SELECT gone_at IS NOT NULL FROM blueteam.sources WHERE source_id LIKE '%two.log'",
    )
    .await;
}
