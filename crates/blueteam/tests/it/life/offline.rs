//! A daemon that is started while its database is unreachable takes in events all the same.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::daemon::{Client, Daemon, PATIENCE, alert_comes, failure};
use super::spools::Server;

/// Waits until the file of keys holds so many.
pub(super) async fn keys_kept(daemon: &Daemon, count: usize) {
    let since = Instant::now();
    loop {
        let text = std::fs::read_to_string(daemon.path("keys.json")).unwrap_or_default();
        let kept: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if kept["keys"]
            .as_object()
            .is_some_and(|keys| keys.len() == count)
        {
            return;
        }

        assert!(since.elapsed() < PATIENCE, "{count}: {text}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn stranger(daemon: &Daemon) -> Client {
    daemon.client_with(format!("bt_{}", "A".repeat(43)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_the_database_takes_in_events_and_stores_them_later() {
    let mut server = Server::new().await;
    let url = server.url_file();
    let mut daemon = Daemon::new(&format!("[database]\nurl_file = \"{url}\"\n")).await;
    let (client, revoked) = (daemon.client(), daemon.client());
    let attack = vec![failure("192.0.2.77", "root"); 6];

    // Nothing but the file of keys says who may send.
    keys_kept(&daemon, 2).await;
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    server.stop().await;
    daemon.start_unready();
    client.answers(&attack[..3], 202).await;
    stranger(&daemon).answers(&attack, 503).await;

    // What was acknowledged outlives a kill before the database has ever answered.
    daemon.kill();
    daemon.start_unready();
    client.answers(&attack[3..], 202).await;
    server.start().await;
    daemon.ready().await;
    let mut conn = server.connect().await;
    alert_comes(&mut conn, "brute_force", "192.0.2.77", PATIENCE).await;
    let stored = "SELECT count(*) FROM audit_events WHERE ip_address = '192.0.2.77'";
    let stored: i64 = sqlx::query_scalar(stored)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(stored, 6);

    // A revocation counts as soon as the database answers, and in the next outage too.
    revoked.answers(&attack[..1], 200).await;
    let sql = "UPDATE users.api_keys SET is_active = false
        WHERE key_id = (SELECT key_id FROM users.api_keys ORDER BY created_at DESC LIMIT 1)";
    sqlx::query(sql).execute(&mut conn).await.unwrap();
    revoked.answers(&attack[..1], 401).await;
    keys_kept(&daemon, 1).await;
    drop(conn);
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    server.stop().await;
    daemon.start_unready();
    client.answers(&attack[..1], 202).await;
    revoked.answers(&attack[..1], 503).await;

    // Without the file nobody is let in, and people are told why.
    daemon.kill();
    std::fs::remove_file(daemon.path("keys.json")).unwrap();
    daemon.start_unready();
    client.answers(&attack[..1], 503).await;
    assert!(
        daemon.log().contains("no keys of a former run"),
        "{}",
        daemon.log()
    );
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
}
