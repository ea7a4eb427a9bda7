//! A clock that differs from the database's by more than an hour is not believed, and people hear
//! of it once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::sleep;

use super::daemon::{Daemon, PATIENCE, alert_comes, failure};
use super::spools::Server;

/// Has the database's clock say something else, for connections from now on; what the server itself
/// keeps of times stays right.
async fn set_database_clock(conn: &mut PgConnection, days: i32) {
    let script = format!(
        "CREATE SCHEMA IF NOT EXISTS other_time;
         GRANT USAGE ON SCHEMA other_time TO PUBLIC;
         CREATE OR REPLACE FUNCTION other_time.clock_timestamp() RETURNS timestamptz
             LANGUAGE sql AS 'SELECT pg_catalog.clock_timestamp() + {days} * interval ''1 day''';
         ALTER DATABASE blueteam SET search_path = other_time, pg_catalog, public"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(conn)
        .await
        .unwrap();
}

fn status(daemon: &Daemon) -> Value {
    let out = daemon
        .command()
        .args(["status", "--json"])
        .output()
        .unwrap();
    serde_json::from_slice(&out.stdout).unwrap()
}

async fn until(what: &str, daemon: &Daemon, holds: impl Fn(&Value) -> bool) {
    let since = Instant::now();
    loop {
        let status = status(daemon);
        if holds(&status) {
            return;
        }

        assert!(
            since.elapsed() < PATIENCE,
            "{what}: {status}\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(200)).await;
    }
}

async fn clock_alerts(conn: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) FROM blueteam.alert_history WHERE entity_value = 'blueteam clock'";
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_not_judged_by_a_clock_that_differs_from_the_database() {
    let mut server = Server::new().await;
    let url = server.url_file();
    let mut daemon = Daemon::new(&format!("[database]\nurl_file = \"{url}\"\n")).await;
    let mut conn = server.connect().await;
    assert!(status(&daemon)["clock"].is_null());

    // They agreed, so that it is the other one that jumped: events are judged as before.
    set_database_clock(&mut conn, 400).await;
    until("the jump", &daemon, |s| s["clock"]["why"].is_string()).await;
    let why = status(&daemon)["clock"]["why"].to_string();
    assert!(
        why.contains("the database server jumped ahead by 400d"),
        "{why}"
    );
    alert_comes(&mut conn, "audit_log_gap", "blueteam clock", PATIENCE).await;

    let old = json!({"category": "auth", "action": "login_failed", "result": "failure",
        "timestamp": "2001-01-01T00:00:00Z"});
    let client = daemon.client();
    client.answers(std::slice::from_ref(&old), 422).await;

    // Nobody can say which is right: no event is too old, and attacks are found.
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    daemon.start().await;
    until("the difference", &daemon, |s| s["clock"]["why"].is_string()).await;
    client.answers(std::slice::from_ref(&old), 200).await;
    client.send(&vec![failure("192.0.2.41", "root"); 6]).await;
    alert_comes(&mut conn, "brute_force", "192.0.2.41", PATIENCE).await;
    assert!(clock_alerts(&mut conn).await <= 2, "once at each start");

    // It is over.
    set_database_clock(&mut conn, 0).await;
    until("the end", &daemon, |s| s["clock"].is_null()).await;
    client.answers(&[old], 422).await;
    drop(conn);
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    server.stop().await;
}
