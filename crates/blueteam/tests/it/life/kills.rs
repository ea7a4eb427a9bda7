//! Killed at random moments under load: nothing that was acknowledged is lost, no alert is lost or
//! made twice.
//!
//! `BLUETEAM_TEST_KILLS=50` kills that many times; the default is for every day.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::{Clock as _, SystemClock};
use rustix::process::{Signal, kill_process};
use scenario::{Activity, Expected, Plan, Random};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::sleep;
use uuid::Uuid;

use super::daemon::{Client, Daemon, PATIENCE, alerts, failure};

/// Batches between two kills.
const BATCHES: usize = 60;
/// Attackers of today, whose alerts are delivered for sure; those of the scenario may be too old
/// for that.
const ATTACKERS: usize = 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Daemon,
    Postgres,
}

fn kills(default: usize) -> usize {
    std::env::var("BLUETEAM_TEST_KILLS").map_or(default, |n| n.parse().unwrap())
}

fn address(attacker: usize) -> String {
    format!("203.0.113.{attacker}")
}

/// Three days of somebody's past, then guesses at passwords right now.
fn load(seed: u64) -> (Vec<Value>, BTreeSet<Expected>) {
    let now = SystemClock.now();
    let activity = Activity::make(&Plan::last_working_day(now, seed));
    let ssh: String = activity.ssh.iter().map(|(_, line)| line.as_str()).collect();
    let mut expected: BTreeSet<_> = activity
        .expected
        .into_iter()
        .filter(|e| !ssh.contains(&format!(" {} ", e.entity)))
        .collect();

    let mut events: Vec<Value> = activity
        .events
        .into_iter()
        .map(|e| Value::Object(e.json))
        .collect();
    for guess in 0..11 {
        for attacker in 0..ATTACKERS {
            let ip = address(attacker);
            let mut event = failure(&ip, &format!("guess{guess}"));
            event["event_id"] = json!(Uuid::now_v7());
            event["timestamp"] = json!(now);
            events.push(event);

            for rule in ["brute_force", "credential_stuffing"] {
                expected.insert(Expected {
                    rule: rule.into(),
                    entity: ip.clone(),
                });
            }
        }
    }

    (events, expected)
}

/// Sends everything in order, each share of it once the killer has come so far.
async fn feed(client: Client, events: Arc<Vec<Value>>, shares: usize, released: Arc<AtomicUsize>) {
    let share = events.len().div_ceil(shares);
    for (n, share) in events.chunks(share).enumerate() {
        while released.load(Ordering::SeqCst) <= n {
            sleep(Duration::from_millis(5)).await;
        }
        for batch in share.chunks(share.len().div_ceil(BATCHES)) {
            client.send(batch).await;
        }
    }
}

/// Waits until all of them are in the table and read, and the alerts have stopped to grow. Says
/// what alerts there are.
async fn settled(daemon: &Daemon, events: usize) -> BTreeSet<(String, String, Uuid)> {
    let mut conn = daemon.connect().await;
    let (began, mut since, mut last) = (Instant::now(), Instant::now(), (0, 0));
    loop {
        sleep(Duration::from_millis(100)).await;
        assert!(
            began.elapsed() < PATIENCE,
            "{last:?} of {events} events\n{}",
            daemon.log()
        );

        let stored = count(
            &mut conn,
            "SELECT count(*) FROM audit_events WHERE action <> 'audit_failure'",
        )
        .await;
        let grown = count(
            &mut conn,
            "SELECT coalesce(sum(event_count), 0)::bigint FROM blueteam.alert_history",
        )
        .await;

        let unread = store::overview::lag(&mut conn, store::reader::LIVE_CURSOR)
            .await
            .unwrap()
            .unwrap()
            .unread;
        if unread > 0 || stored < events as i64 || (stored, grown) != last {
            (last, since) = ((stored, grown), Instant::now());
        }

        if since.elapsed() > Duration::from_millis(1500) {
            return alerts(&mut conn).await;
        }
    }
}

async fn count(conn: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
}

async fn undisturbed(events: &Arc<Vec<Value>>) -> BTreeSet<(String, String, Uuid)> {
    let daemon = Daemon::new("").await;
    feed(
        daemon.client(),
        Arc::clone(events),
        1,
        Arc::new(AtomicUsize::new(1)),
    )
    .await;

    settled(&daemon, events.len()).await
}

async fn disturb(daemon: &mut Daemon, victim: Victim) {
    match victim {
        Victim::Daemon => {
            daemon.kill();
            daemon.start().await;
        }
        Victim::Postgres => {
            let pid = daemon.postmaster().unwrap();
            kill_process(pid, Signal::KILL).unwrap();
            let since = Instant::now();
            while daemon.postmaster() == Some(pid) || daemon.try_connect().await.is_err() {
                assert!(
                    since.elapsed() < PATIENCE,
                    "PostgreSQL does not come back:\n{}",
                    daemon.log()
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Every acknowledged event is there once: as many as were sent, each id of them.
async fn nothing_is_lost(daemon: &Daemon, events: &[Value]) {
    let mut conn = daemon.connect().await;
    let sql = "SELECT event_id FROM audit_events WHERE action <> 'audit_failure'";
    let ids: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(&mut conn).await.unwrap();
    assert_eq!(ids.len(), events.len(), "events are lost or there twice");
    let ids: BTreeSet<String> = ids.iter().map(Uuid::to_string).collect();
    assert!(
        events
            .iter()
            .all(|e| ids.contains(e["event_id"].as_str().unwrap()))
    );

    // The critical ones of today go to the console, each once.
    let deliveries =
        "SELECT d.alert_id, d.channel::text, d.kind::text FROM blueteam.notifications d
                        JOIN blueteam.alert_history a USING (alert_id)
                       WHERE a.rule_id = 'credential_stuffing' AND a.entity_value = ANY ($1)";
    let attackers: Vec<String> = (0..ATTACKERS).map(address).collect();
    let deliveries: Vec<(Uuid, String, String)> = sqlx::query_as(deliveries)
        .bind(attackers)
        .fetch_all(&mut conn)
        .await
        .unwrap();
    let count = deliveries.len();

    assert_eq!(
        (count, BTreeSet::from_iter(deliveries).len()),
        (ATTACKERS, ATTACKERS)
    );
}

async fn check(victim: Victim, times: usize, seed: u64) {
    let (events, expected) = load(seed);
    let events = Arc::new(events);
    let mut reference = undisturbed(&events).await;

    // Thresholds are looked at by the clock: whether one is seen to be crossed depends on how long
    // a run takes.
    let detected = |(rule, _, _): &(String, String, Uuid)| !rule.starts_with("monitor_");
    reference.retain(detected);
    let found: BTreeSet<_> = reference
        .iter()
        .map(|(rule, entity, _)| Expected {
            rule: rule.clone().into(),
            entity: entity.clone(),
        })
        .collect();
    assert_eq!(found, expected, "the undisturbed run");

    let mut daemon = Daemon::new("").await;
    let released = Arc::new(AtomicUsize::new(0));
    let feeding = tokio::spawn(feed(
        daemon.client(),
        Arc::clone(&events),
        times.max(1),
        Arc::clone(&released),
    ));

    let mut random = Random::new(seed ^ u64::from(std::process::id()));
    for _ in 0..times.max(1) {
        released.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(random.range(20, 500) as u64)).await;
        disturb(&mut daemon, victim).await;
    }

    feeding.await.unwrap();
    let mut alerts = settled(&daemon, events.len()).await;

    // That nobody read while the database was away is news of its own.
    alerts.retain(|(rule, _, _)| victim == Victim::Daemon || rule != "audit_log_gap");
    alerts.retain(detected);
    assert_eq!(alerts, reference, "{}", daemon.log());
    nothing_is_lost(&daemon, &events).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_loses_nothing_and_repeats_nothing() {
    check(Victim::Daemon, kills(5), 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_loses_nothing_and_repeats_nothing() {
    check(Victim::Postgres, kills(3), 12).await;
}
