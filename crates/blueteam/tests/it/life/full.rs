//! The database is unreachable and the disk of the spool is full: events are refused, and none that
//! was acknowledged is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::daemon::{Daemon, PATIENCE, alerts, failure, private_mounts};

/// KiB of the disk, and what is sent while the database is unreachable: much more.
const DISK: u32 = 64;
const BATCHES: usize = 40;
const ATTACKERS: usize = 12;

/// One guess of each attacker, with what makes a retry safe.
fn batch() -> Vec<Value> {
    let one = |n: usize| {
        let mut event = failure(&format!("203.0.113.{n}"), "root");
        event["event_id"] = json!(Uuid::now_v7());
        event["timestamp"] = json!(model::Timestamp::from_secs(
            model::Clock::now(&model::SystemClock).as_secs()
        ));
        event["metadata"]["note"] = json!("x".repeat(300));
        event
    };
    (0..ATTACKERS).map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_spool_refuses_and_loses_nothing() {
    let can_mount = private_mounts()
        .args(["mount", "-t", "tmpfs", "none", "/tmp"])
        .output();
    if !can_mount.is_ok_and(|probe| probe.status.success()) {
        eprintln!(
            "SKIPPED: this machine lets nobody mount a small disk, not even in a namespace of \
                one's own"
        );
        return;
    }

    let daemon = Daemon::with_spool_disk(DISK).await;
    let client = daemon.client();

    // Only a key that was seen before can be trusted while the database is unreachable.
    let first = batch();
    client.send(&first).await;
    let ids = |events: &[Value]| {
        events
            .iter()
            .map(|e| e["event_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    let sent = Arc::new(std::sync::Mutex::new(ids(&first)));
    let sending = tokio::spawn({
        let sent = Arc::clone(&sent);
        async move {
            for _ in 0..BATCHES {
                let events = batch();
                client.send(&events).await;
                sent.lock().unwrap().extend(ids(&events));
            }
        }
    });

    // Its server dies whenever it is back, until there is no place for an event any more.
    let began = Instant::now();
    while !daemon.log().contains("No space left on device") {
        assert!(
            began.elapsed() < PATIENCE,
            "the spool was never full:\n{}",
            daemon.log()
        );

        if let Some(pid) = daemon.postmaster() {
            let _ = kill_process(pid, Signal::KILL);
        }

        sleep(Duration::from_millis(20)).await;
    }

    sending.await.unwrap();

    let mut conn = daemon.connect().await;
    let own = "SELECT event_id::text FROM audit_events WHERE action <> 'audit_failure' ORDER BY 1";
    let mut expected = sent.lock().unwrap().clone();
    expected.sort();
    let since = Instant::now();
    loop {
        let found: Vec<String> = sqlx::query_scalar(own).fetch_all(&mut conn).await.unwrap();
        let ips: Vec<_> = alerts(&mut conn)
            .await
            .into_iter()
            .filter(|(rule, ..)| rule == "brute_force")
            .collect();
        if found == expected && ips.len() == ATTACKERS {
            break;
        }

        assert!(
            since.elapsed() < PATIENCE,
            "{} of {}, {ips:?}\n{}",
            found.len(),
            expected.len(),
            daemon.log()
        );
        sleep(Duration::from_millis(50)).await;
    }

    let refused = "SELECT coalesce(sum((metadata->>'refused')::bigint), 0)::bigint FROM \
        audit_events WHERE action = 'audit_failure'";
    let refused: i64 = sqlx::query_scalar(refused)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(refused > 0, "it is told that events were refused");
}
