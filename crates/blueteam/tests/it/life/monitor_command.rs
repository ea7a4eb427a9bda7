//! `blueteam monitor`: everything but the HTTP server.

use std::io::Write as _;

use super::daemon::{Daemon, PATIENCE, alert_comes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitor_reads_logs_and_raises_alerts_without_an_http_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let mut log = std::fs::File::create(&path).unwrap();
    let files = format!(
        "[[collect.files]]\npath = \"{}\"\nformat = \"syslog\"\n",
        path.display()
    );
    let mut daemon = Daemon::monitor(&files).await;

    for second in 0..8 {
        writeln!(
            log,
            "2026-03-04T10:00:0{second}Z web sshd[7]: Failed password for root from 192.0.2.9 port \
             4{second} ssh2"
        )
        .unwrap();
    }

    let mut conn = daemon.connect().await;
    alert_comes(&mut conn, "brute_force", "192.0.2.9", PATIENCE).await;

    let refused = std::net::TcpStream::connect(("127.0.0.1", daemon.port));
    assert!(refused.is_err(), "it listens on port {}", daemon.port);
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
}
