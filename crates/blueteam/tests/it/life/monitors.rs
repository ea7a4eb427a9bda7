//! Monitors: over a threshold there is one alert, told like any other, which closes when it is
//! over.

use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use sqlx::PgConnection;

use super::daemon::{Daemon, PATIENCE, failure};

/// The alerts of a rule: their states, and how many messages each wrote.
async fn alerts(conn: &mut PgConnection, rule: &str) -> Vec<(String, i64)> {
    let sql =
        "SELECT a.state, (SELECT count(*) FROM blueteam.notifications d WHERE d.alert_id = a.alert_id)
                 FROM blueteam.alert_history a WHERE a.rule_id = $1 ORDER BY a.created_at";
    sqlx::query_as(sql)
        .bind(rule)
        .fetch_all(conn)
        .await
        .unwrap()
}

/// Waits until the alerts of a rule are in these states, each told once.
async fn until(daemon: &Daemon, conn: &mut PgConnection, rule: &str, expected: &[&str]) {
    let since = Instant::now();
    loop {
        let found = alerts(conn, rule).await;
        if found
            .iter()
            .map(|(state, _)| state.as_str())
            .eq(expected.iter().copied())
        {
            assert!(
                found.iter().all(|(_, told)| *told == 1),
                "{rule}: {found:?}"
            );
            return;
        }
        assert!(
            since.elapsed() < PATIENCE,
            "{rule}: {found:?}, not {expected:?}\n{}",
            daemon.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn json(daemon: &Daemon, args: &[&str]) -> Value {
    let out = daemon.command().args(args).output().unwrap();
    serde_json::from_slice(&out.stdout).unwrap()
}

fn state_of(daemon: &Daemon, name: &str) -> (String, String) {
    let list = json(daemon, &["monitors", "list", "--json"]);
    let row = list
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["name"] == name)
        .unwrap();
    (
        row["state"].as_str().unwrap().to_owned(),
        row["detail"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_its_threshold_is_one_alert_until_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("eqmon-1.dump");
    std::fs::write(folder.path().join("other.txt"), "x").unwrap();
    let all = "[\"console\"]";
    let daemon = Daemon::new(&format!(
        "[alerts]\nhigh = {all}\nmedium = {all}\nlow = {all}\n[monitors]\nevery = \
            \"1s\"\nclear_after = \"2s\"\n\
         backup_files = [\"{}/eqmon-*.dump\"]\n[monitors.thresholds]\nfailed_logins = 3\nstorage \
         = 0\nconnections = 5\nslow_queries = 1\n",
        folder.path().display()
    ))
    .await;

    let mut conn = daemon.connect().await;
    // Thresholds that are always exceeded, and no backup at all.
    until(&daemon, &mut conn, "monitor_storage", &["open"]).await;
    until(&daemon, &mut conn, "monitor_connections", &["open"]).await;
    until(&daemon, &mut conn, "monitor_backups", &["open"]).await;
    assert_eq!(state_of(&daemon, "archiving").0, "not watched");

    // Three failed logins are allowed, more are not; however many more there are.
    let failures = |n: usize| {
        (0..n)
            .map(|_| failure("203.0.113.9", "root"))
            .collect::<Vec<_>>()
    };

    daemon.client().send(&failures(3)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(alerts(&mut conn, "monitor_failed_logins").await, []);
    daemon.client().send(&failures(2)).await;
    until(&daemon, &mut conn, "monitor_failed_logins", &["open"]).await;
    daemon.client().send(&failures(4)).await;

    // A backup that is there and fresh; then one that is not.
    std::fs::write(&backup, "dump").unwrap();
    until(&daemon, &mut conn, "monitor_backups", &["closed"]).await;
    let old = SystemTime::now() - Duration::from_hours(30);
    std::fs::File::options()
        .write(true)
        .open(&backup)
        .unwrap()
        .set_modified(old)
        .unwrap();

    until(&daemon, &mut conn, "monitor_backups", &["closed", "open"]).await;
    let (state, detail) = state_of(&daemon, "backups");
    assert!(
        state == "OVER" && detail.contains("eqmon-1.dump"),
        "{state} {detail}"
    );
    std::fs::write(folder.path().join("eqmon-2.dump"), "dump").unwrap();
    until(&daemon, &mut conn, "monitor_backups", &["closed", "closed"]).await;

    // A query that runs for seconds, of somebody else's.
    let mut other = daemon.connect().await;
    sqlx::raw_sql("SET application_name = 'eqmon'; SELECT pg_sleep(4)")
        .execute(&mut other)
        .await
        .unwrap();
    until(&daemon, &mut conn, "monitor_slow_queries", &["closed"]).await;

    // What lasts is one alert still, and people see it.
    until(&daemon, &mut conn, "monitor_failed_logins", &["open"]).await;
    until(&daemon, &mut conn, "monitor_storage", &["open"]).await;
    let shown = json(&daemon, &["monitors", "show", "failed_logins", "--json"]);
    assert_eq!(shown["monitor"]["state"], "OVER");

    let values: Vec<f64> = shown["history"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|v| v["value"].as_f64())
        .collect();
    assert!(
        (values.iter().copied().fold(0.0, f64::max) - 9.0).abs() < 0.1,
        "{shown}"
    );

    let status = json(&daemon, &["status", "--json"]);
    let over: Vec<&str> = status["over_threshold"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["monitor"].as_str().unwrap())
        .collect();
    assert_eq!(over, ["connections", "failed_logins", "storage"]);

    assert!(
        status["attention"]
            .to_string()
            .contains("blueteam monitors show storage"),
        "{status}"
    );

    for args in [&["monitors", "list"][..], &["monitors", "show", "storage"]] {
        let out = daemon.command().args(args).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        eprintln!("{}", String::from_utf8_lossy(&out.stdout));
    }

    assert!(
        !daemon
            .command()
            .args(["monitors", "show", "nonsense"])
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_and_a_restart_make_no_second_alert_and_a_monitor_that_is_off_has_none() {
    let mut daemon = Daemon::new(
        "[monitors]\nevery = \"1s\"\nclear_after = \"0s\"\n[monitors.thresholds]\nstorage = 0\n",
    )
    .await;
    let mut conn = daemon.connect().await;
    let count = async |conn: &mut PgConnection, state: &str| -> i64 {
        let sql = "SELECT count(*) FROM blueteam.alert_history WHERE rule_id = 'monitor_storage' \
            AND state = $1";
        sqlx::query_scalar(sql)
            .bind(state)
            .fetch_one(conn)
            .await
            .unwrap()
    };

    let since = Instant::now();
    while count(&mut conn, "open").await == 0 {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    drop(conn);
    daemon.kill();
    daemon.start().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut conn = daemon.connect().await;
    assert_eq!(
        (
            count(&mut conn, "open").await,
            count(&mut conn, "closed").await
        ),
        (1, 0)
    );

    // The rules were put to their test at the first start, and not again at the second.
    let proofs =
        "SELECT count(*) FROM blueteam.rule_test_results WHERE failed = 0 AND actor = 'blueteam'";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(proofs)
            .fetch_one(&mut conn)
            .await
            .unwrap(),
        25
    );

    let off = daemon
        .command()
        .args(["alerts", "rules", "disable", "monitor_storage"])
        .output()
        .unwrap();
    assert!(off.status.success(), "{off:?}");

    let since = Instant::now();
    while count(&mut conn, "closed").await == 0 {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    assert_eq!(state_of(&daemon, "storage").0, "not watched");
}
