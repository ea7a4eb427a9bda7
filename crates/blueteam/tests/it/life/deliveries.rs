//! Messages reach their receiver whatever is killed meanwhile, soon, and as fast as they come.
//!
//! `BLUETEAM_TEST_KILLS=100` kills that often; `BLUETEAM_TEST_STORM=1000000` sends that many
//! events; `BLUETEAM_TEST_FIGURES=1` prints the figures, which mean something in a release build.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::{Clock as _, SystemClock, Timestamp};
use scenario::Random;
use serde_json::Value;
use sqlx::PgConnection;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::alerts::request;
use super::daemon::{Daemon, PATIENCE, failure};
use super::mails::take_mail;

/// Messages that wait for their receiver at once.
const HEAP: usize = 1500;

/// When each delivery came, and of which alert.
type Received = Arc<Mutex<Vec<(Timestamp, String, String)>>>;

/// A receiver of webhooks, and the configuration that leads to it.
async fn sink(more: &str) -> (Received, String, tempfile::TempDir) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of the test's own").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let config = format!(
        "[channels.webhook]\nurl = \"{url}\"\nsecret_file = \"{}\"\n{more}",
        secret.display()
    );

    let received = Received::default();
    let taken = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let taken = Arc::clone(&taken);
            tokio::spawn(async move {
                while let Some((_, body)) = request(&mut stream).await {
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let alert = text(&body["alert"]["alert_id"]);
                    taken.lock().unwrap().push((
                        SystemClock.now(),
                        text(&body["delivery_id"]),
                        alert,
                    ));
                    // Whoever asked may be dead by now.
                    if stream
                        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
            });
        }
    });

    (received, config, folder)
}

async fn pending(conn: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) FROM blueteam.notifications WHERE channel = 'webhook' AND state = 'pending'";
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_commit_and_delivery_nothing_is_lost() {
    let kills: usize = std::env::var("BLUETEAM_TEST_KILLS").map_or(4, |n| n.parse().unwrap());
    let (received, config, _folder) =
        sink("[alerts]\nhigh = [\"webhook\"]\ncritical = [\"webhook\"]\n").await;
    let mut daemon = Daemon::new(&config).await;
    let client = daemon.client();
    let mut random = Random::new(11);
    for kill in 0..kills {
        // A dozen alerts at once, and the end somewhere on their way out.
        for n in 0..12 {
            let ip = format!("198.51.{kill}.{n}");
            let guesses: Vec<Value> = (0..6).map(|_| failure(&ip, "root")).collect();
            client.send(&guesses).await;
        }

        sleep(Duration::from_millis(random.range(0, 120).unsigned_abs())).await;
        daemon.kill();

        // What was under way comes back when its lease is over; nobody wants to wait for that here.
        let mut conn = daemon.connect().await;
        sqlx::query(
            "UPDATE blueteam.notifications SET next_attempt_at = now() WHERE state = 'pending'",
        )
        .execute(&mut conn)
        .await
        .unwrap();
        drop(conn);

        daemon.start().await;
    }
    let mut conn = daemon.connect().await;
    let brute = "SELECT count(*) FROM blueteam.alert_history WHERE rule_id = 'brute_force'";
    let since = Instant::now();
    while sqlx::query_scalar::<_, i64>(brute)
        .fetch_one(&mut conn)
        .await
        .unwrap()
        < 12 * kills as i64
        || pending(&mut conn).await > 0
    {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        sleep(Duration::from_millis(50)).await;
    }
    let wanted: Vec<(String, String)> = sqlx::query_as(
        "SELECT delivery_id::text, alert_id::text FROM blueteam.notifications WHERE \
            channel = 'webhook'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let received = received.lock().unwrap().clone();
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, id, alert) in received.iter().filter(|(_, _, alert)| !alert.is_empty()) {
        ids.entry(alert).or_default().insert(id);
    }
    for (delivery, alert) in &wanted {
        assert!(
            received.iter().any(|(_, id, _)| id == delivery),
            "delivery {delivery} was never received"
        );
        assert_eq!(
            ids[alert.as_str()].len(),
            1,
            "a repetition carries the id of the first"
        );
    }
    assert_eq!(wanted.len(), 12 * kills, "one message an alert");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_told_at_once_and_thousands_in_seconds() {
    let (received, config, _folder) =
        sink("[alerts]\nhigh = [\"webhook\"]\ncritical = [\"webhook\"]\n").await;
    let daemon = Daemon::new(&config).await;
    let client = daemon.client();
    for n in 0..40 {
        let guesses: Vec<Value> = (0..6)
            .map(|_| failure(&format!("198.51.100.{n}"), "root"))
            .collect();
        client.send(&guesses).await;
        sleep(Duration::from_millis(20)).await;
    }

    let mut conn = daemon.connect().await;
    let since = Instant::now();
    while received.lock().unwrap().len() < 40 {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        sleep(Duration::from_millis(20)).await;
    }

    let begun: Vec<(String, i64)> = sqlx::query_as(
        "SELECT delivery_id::text, (extract(epoch FROM created_at) * 1000000)::bigint FROM \
            blueteam.notifications",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let begun: BTreeMap<String, i64> = begun.into_iter().collect();
    let mut waits: Vec<i64> = received
        .lock()
        .unwrap()
        .iter()
        .filter_map(|(at, id, _)| Some((at.as_micros() - begun.get(id)?) / 1000))
        .collect();

    waits.sort_unstable();
    let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);

    // A heap of them, as after a night without the receiver.
    received.lock().unwrap().clear();
    sqlx::query(
        "INSERT INTO blueteam.notifications (alert_id, channel, kind, payload)
         SELECT NULL, 'webhook', 'heartbeat', (SELECT payload FROM blueteam.notifications LIMIT 1) \
         FROM generate_series(1, $1)",
    )
    .bind(HEAP as i64)
    .execute(&mut conn)
    .await
    .unwrap();

    let since = Instant::now();
    while received.lock().unwrap().len() < HEAP {
        assert!(
            since.elapsed() < PATIENCE,
            "{} of {HEAP}\n{}",
            received.lock().unwrap().len(),
            daemon.log()
        );
        sleep(Duration::from_millis(10)).await;
    }

    let taken = received.lock().unwrap().clone();
    let (first, last) = (
        taken.iter().map(|t| t.0).min().unwrap(),
        taken.iter().map(|t| t.0).max().unwrap(),
    );
    let rate = HEAP as f64 / (last.since(first).as_micros() as f64 / 1e6);

    assert_eq!(
        taken.iter().map(|t| &t.1).collect::<BTreeSet<_>>().len(),
        HEAP,
        "each once"
    );

    if std::env::var_os("BLUETEAM_TEST_FIGURES").is_some() {
        println!("commit to receipt: median {median} ms, worst {worst} ms; {rate:.0} deliveries/s");
    }

    // Far from what is asked, so that a busy machine and a debug build are no failure; far from
    // what a commit each would give.
    assert!(
        median < 2000 && worst < 20_000,
        "median {median} ms, worst {worst} ms"
    );
    assert!(rate > 50.0, "{rate} deliveries/s");
}

/// Many attackers at once: an incident each, as many mails as the limit says, and one that tells of
/// the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_summed_up_and_nothing_of_it_is_lost() {
    let events: usize = std::env::var("BLUETEAM_TEST_STORM").map_or(360, |n| n.parse().unwrap());
    let attackers = (events / 6).min(1000);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = mpsc::channel(256);
    tokio::spawn(take_mail(listener, tell));
    let daemon = Daemon::new(&format!(
        "[channels.email]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"plain\"\nfrom = \
            \"a@example.com\"\nto = [\"b@example.com\"]\n\
         [alerts]\nmessages = 10\nmessages_per = \"30s\"\n"
    ))
    .await;
    let (client, began) = (daemon.client(), Instant::now());
    let mut guesses = Vec::new();
    for n in 0..events {
        let attacker = n % attackers;
        guesses.push(failure(
            &format!("198.51.{}.{}", attacker / 200, attacker % 200),
            "root",
        ));
        if guesses.len() == 5000 || n + 1 == events {
            client.send(&std::mem::take(&mut guesses)).await;
        }
    }
    let mut mails = Vec::new();
    while !mails
        .iter()
        .any(|mail: &String| mail.contains("were not sent one by one"))
    {
        let mail = tokio::time::timeout(PATIENCE, told.recv()).await;
        mails.push(mail.unwrap_or_else(|_| panic!("{}", daemon.log())).unwrap());
    }
    let summary = format!("{} more alerts, the worst high", attackers - 10);
    assert!(mails[10].contains(&summary), "{}", mails[10]);
    assert_eq!(mails.len(), 11, "{mails:?}");
    let mut conn = daemon.connect().await;
    let seen =
        "SELECT sum(event_count)::bigint FROM blueteam.alert_history WHERE rule_id = 'brute_force'";
    let since = Instant::now();
    while sqlx::query_scalar::<_, i64>(seen)
        .fetch_one(&mut conn)
        .await
        .unwrap()
        < events as i64
    {
        assert!(since.elapsed() < PATIENCE, "{}", daemon.log());
        sleep(Duration::from_millis(100)).await;
    }
    while let Ok(mail) = told.try_recv() {
        mails.push(mail);
    }
    let windows = began.elapsed().as_secs() as usize / 30 + 1;
    assert!(
        mails.len() <= 11 * windows,
        "{} mails in {windows} times half a minute",
        mails.len()
    );
    for (sql, wanted) in [
        (
            "SELECT count(*) FROM blueteam.security_incidents WHERE entity_type = 'ip'",
            attackers,
        ),
        (
            "SELECT count(*) FROM blueteam.alert_history WHERE rule_id = 'brute_force'",
            attackers,
        ),
        (
            "SELECT count(*) FROM blueteam.rate_limited_alerts f JOIN blueteam.alert_history USING \
                (alert_id) WHERE rule_id = 'brute_force'",
            attackers - 10,
        ),
        (
            "SELECT count(*) FROM blueteam.rate_limited_alerts WHERE told_by IS NULL",
            0,
        ),
    ] {
        assert_eq!(
            sqlx::query_scalar::<_, i64>(sql)
                .fetch_one(&mut conn)
                .await
                .unwrap(),
            wanted as i64,
            "{sql}"
        );
    }
    let peak = daemon.peak_memory();
    assert!(peak < 400 << 20, "{} MB at its peak", peak >> 20);
    if std::env::var_os("BLUETEAM_TEST_FIGURES").is_some() {
        println!(
            "{events} events of {attackers} attackers in {:?}: {} mails, {} MB at the peak",
            began.elapsed(),
            mails.len(),
            peak >> 20
        );
    }
}
