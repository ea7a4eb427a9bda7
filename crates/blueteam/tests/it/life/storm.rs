//! However many attack at once, a critical alert is not kept behind them. `BLUETEAM_TEST_ATTACKERS`
//! says how many addresses there are; `BLUETEAM_TEST_FIGURES=1` prints the figures, which mean
//! something in a release build.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::{Daemon, alert_comes, failure};

/// Events in a request.
const BATCH: usize = 6000;
/// How long a critical alert may take behind a storm.
const LIMIT: Duration = Duration::from_secs(10);
/// What a debug build on a busy machine may take of it.
const SLACK: u32 = 6;
/// What the daemon writes at least, in alerts a second.
const RATE: f64 = 2000.0;

fn attackers() -> usize {
    std::env::var("BLUETEAM_TEST_ATTACKERS").map_or(300, |n| n.parse().unwrap())
}

fn address(n: usize) -> String {
    format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_alert_is_not_kept_behind_a_storm() {
    let count = attackers();
    let daemon = Daemon::new("").await;
    let client = daemon.client();
    let mut conn = daemon.connect().await;

    let began = Instant::now();
    let mut guesses: Vec<Value> = Vec::new();
    for n in 0..count {
        guesses.extend(vec![failure(&address(n), &format!("user{n}")); 6]);
        if guesses.len() >= BATCH || n + 1 == count {
            client.send(&std::mem::take(&mut guesses)).await;
        }
    }

    let sent = Instant::now();
    let failed = json!({"category": "system", "action": "audit_failure", "result": "failure",
        "metadata": {"message": "disk full"}});
    client.send(&[failed]).await;

    let is_release = std::env::var_os("BLUETEAM_TEST_PROGRAM").is_some();
    let limit = if is_release { LIMIT } else { LIMIT * SLACK };
    alert_comes(&mut conn, "audit_log_gap", "audit_db", limit).await;
    let behind = sent.elapsed();

    let last = address(count - 1);
    alert_comes(&mut conn, "brute_force", &last, limit).await;
    let alerts: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM blueteam.alert_history WHERE rule_id = 'brute_force'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(alerts, count as i64);

    let rate = count as f64 / began.elapsed().as_secs_f64();
    if std::env::var_os("BLUETEAM_TEST_FIGURES").is_some() {
        println!("{count} attackers: the critical alert came after {behind:?}; {rate:.0} alerts/s");
    }
    assert!(
        !is_release || count < 10_000 || rate >= RATE,
        "{rate:.0} alerts/s"
    );
}
