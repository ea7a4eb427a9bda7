//! What one row, one lock or one open transaction can do to a running daemon: hold up itself, and
//! nothing else. What does hold everything up is reported to people, whatever the cause.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::daemon::{Daemon, PATIENCE, alert_comes, failure};

/// Messages that a webhook or a watchdog got: the path and the body.
struct Receiver {
    url: String,
    messages: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (out, messages) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                let out = out.clone();
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    let mut chunk = [0; 16_384];
                    loop {
                        let Ok(read @ 1..) = peer.read(&mut chunk).await else {
                            return;
                        };
                        bytes.extend_from_slice(&chunk[..read]);
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        let Some((head, body)) = text.split_once("\r\n\r\n") else {
                            continue;
                        };
                        let length = head.lines().find_map(|line| {
                            let (name, value) = line.split_once(':')?;
                            name.eq_ignore_ascii_case("content-length")
                                .then(|| value.trim().parse::<usize>().unwrap())
                        });

                        if body.len() < length.unwrap_or(0) {
                            continue;
                        }

                        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                        let _ = out.send((path, serde_json::from_str(body).unwrap_or_default()));
                        let _ = peer
                            .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                            .await;

                        return;
                    }
                });
            }
        });

        Self { url, messages }
    }

    /// Waits for a message that holds `text`; returns how long it took.
    async fn comes(&mut self, text: &str, limit: Duration) -> Duration {
        let since = Instant::now();
        loop {
            let left = limit.saturating_sub(since.elapsed());
            let message = timeout(left, self.messages.recv()).await;
            assert!(
                message.is_ok(),
                "no message with \"{text}\" within {limit:?}"
            );

            let (_, body) = message.unwrap().unwrap();
            if body.to_string().contains(text) {
                return since.elapsed();
            }
        }
    }
}

/// A daemon that reports trouble quickly to a webhook, and pings a watchdog each second.
async fn reporting(more: &str) -> (Daemon, Receiver, tempfile::TempDir) {
    let receiver = Receiver::start().await;
    let secrets = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = secrets.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };

    let hook = file("hook", format!("{}/hook", receiver.url));
    let ping = file("ping", format!("{}/ping", receiver.url));
    let secret = file("secret", "0123456789abcdef0123456789abcdef".to_owned());
    let config = format!(
        "[channels.webhook]\nurl_file = \"{hook}\"\nsecret_file = \"{secret}\"\n\
         [watchdog]\nurl_file = \"{ping}\"\nevery = \"1s\"\nstuck_after = \"6s\"\n{more}"
    );

    (Daemon::new(&config).await, receiver, secrets)
}

/// A session of the application's, which may add events and nothing else.
async fn application(daemon: &Daemon) -> PgConnection {
    let mut conn = daemon.connect().await;
    sqlx::query("SET ROLE eqmon_audit_writer")
        .execute(&mut conn)
        .await
        .unwrap();
    conn
}

async fn brute_force_is_found(daemon: &Daemon, ip: &str) {
    daemon.client().send(&vec![failure(ip, "root"); 6]).await;
    alert_comes(&mut daemon.connect().await, "brute_force", ip, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_no_index_can_hold_end_nothing() {
    let daemon = Daemon::new("").await;
    let mut eqmon = application(&daemon).await;
    let part = |n: u8| {
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &[n])
            .simple()
            .to_string()
    };

    let random: String = (0..100).map(part).collect();
    for column in ["session_id", "resource_type", "resource_id", "action"] {
        for ip in ["198.51.100.1", "198.51.100.2"] {
            let sql = format!(
                "INSERT INTO audit_events (category, action, result, user_id, ip_address, \
                    session_id, resource_type,
                     resource_id, metadata)
                 SELECT 'data', coalesce(r.action, 'view'), 'success', \
                 '7b0c6a52-0000-4000-8000-000000000001', $1::inet,
                        r.session_id, r.resource_type, r.resource_id,
                        jsonb_build_object('username', $2, 'role', $2, 'home_instance_id', $2, \
                        'service', $2)
                   FROM json_to_record(json_build_object('{column}', $2::text))
                        AS r (action text, session_id text, resource_type text, resource_id text)"
            );

            let inserted = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(ip)
                .bind(&random)
                .execute(&mut eqmon)
                .await;

            // What its column does not take, the application cannot store either.
            assert!(
                inserted.is_ok() || column == "action",
                "{column}: {inserted:?}"
            );
        }
    }

    brute_force_is_found(&daemon, "198.51.100.7").await;
    let mut conn = daemon.connect().await;
    let entity: String = loop {
        let sql =
            "SELECT entity_value FROM blueteam.alert_history WHERE rule_id = 'session_anomaly'";
        match sqlx::query_scalar(sql)
            .fetch_optional(&mut conn)
            .await
            .unwrap()
        {
            Some(entity) => break entity,
            None => sleep(Duration::from_millis(50)).await,
        }
    };

    assert!(
        entity.len() <= 1_024 && entity.starts_with(&random[..500]),
        "{entity}"
    );
    let longest: i32 = sqlx::query_scalar("SELECT max(length(title)) FROM blueteam.alert_history")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(longest <= 1_500, "{longest}");

    assert!(!daemon.log().contains("starts over"), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_cannot_be_read_are_reported_and_the_others_are_analyzed() {
    let daemon = Daemon::new("").await;
    let mut owner = daemon.connect().await;
    sqlx::raw_sql("ALTER TABLE audit_events DROP CONSTRAINT audit_events_category_check")
        .execute(&mut owner)
        .await
        .unwrap();

    let mut eqmon = application(&daemon).await;
    sqlx::raw_sql(
        "INSERT INTO audit_events (category, action, result) VALUES ('security', \
        'scan', 'success')",
    )
    .execute(&mut eqmon)
    .await
    .unwrap();

    brute_force_is_found(&daemon, "198.51.100.7").await;
    alert_comes(&mut owner, "audit_log_gap", "blueteam reader", PATIENCE).await;
    let said: String = sqlx::query_scalar(
        "SELECT string_agg(metadata ->> 'message', ' ') FROM audit_events WHERE action = \
            'audit_failure'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert!(
        said.contains("1 row of audit_events: an unknown category"),
        "{said}"
    );

    assert!(!daemon.log().contains("starts over"), "{}", daemon.log());
    let status = daemon
        .command()
        .args(["status", "--json"])
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["unreadable"][0]["rows"], json!(1), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_of_other_logins_stop_no_alert() {
    let mut daemon = Daemon::new("").await;
    let mut eqmon = application(&daemon).await;
    for key in [
        "blueteam.alerts.apply",
        "blueteam.reader.monitor",
        "blueteam.rate_limited_alerts",
    ] {
        let lock = format!("SELECT pg_advisory_lock(hashtextextended('{key}', 0))");
        sqlx::query(sqlx::AssertSqlSafe(lock))
            .execute(&mut eqmon)
            .await
            .unwrap();
    }

    brute_force_is_found(&daemon, "198.51.100.7").await;

    // A restart that finds them held starts all the same.
    daemon.kill();
    daemon.start().await;
    brute_force_is_found(&daemon, "198.51.100.8").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_delays_its_own_event_alone() {
    let mut daemon = Daemon::new("").await;
    let mut eqmon = application(&daemon).await;
    let mut event = failure("198.51.100.6", "root");
    let id = uuid::Uuid::now_v7();
    event["event_id"] = json!(id);
    event["timestamp"] = json!("2026-11-02T10:00:00Z");

    let mut held = eqmon.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO audit_events (event_id, timestamp, category, action, result)
         VALUES ($1, '2026-11-02T10:00:00Z', 'auth', 'login', 'success')",
    )
    .bind(id)
    .execute(&mut *held)
    .await
    .unwrap();

    // Its own batch goes on but for it, and so do all others.
    let batch: Vec<Value> = std::iter::once(event)
        .chain(vec![failure("198.51.100.7", "root"); 6])
        .collect();
    daemon.client().send(&batch).await;
    let mut conn = daemon.connect().await;
    alert_comes(&mut conn, "brute_force", "198.51.100.7", PATIENCE).await;
    brute_force_is_found(&daemon, "198.51.100.8").await;
    assert!(
        !daemon.log().contains("they go to the spool"),
        "{}",
        daemon.log()
    );

    // It waits on disk, over a kill too, and comes when the transaction is gone.
    daemon.kill();
    daemon.start().await;
    held.rollback().await.ok();
    drop(eqmon);
    let since = Instant::now();
    loop {
        let stored: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM audit_events WHERE event_id = $1 AND action = 'login_failed'",
        )
        .bind(id)
        .fetch_one(&mut daemon.connect().await)
        .await
        .unwrap();
        if stored == 1 {
            break;
        }

        assert!(
            since.elapsed() < PATIENCE,
            "the event that was acknowledged is lost:\n{}",
            daemon.log()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_up_the_alerts_the_people_hear_of_it_and_the_watchdog_gets_no_ping() {
    let (daemon, mut receiver, _secrets) = reporting("").await;
    brute_force_is_found(&daemon, "198.51.100.6").await;
    receiver.comes("198.51.100.6", PATIENCE).await;

    let mut owner = daemon.connect().await;
    let mut held = owner.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE blueteam.alert_history IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    daemon
        .client()
        .send(&vec![failure("198.51.100.7", "root"); 6])
        .await;

    receiver.comes("Alerts cannot be written", PATIENCE).await;
    // The pings have stopped by now.
    sleep(Duration::from_secs(2)).await;
    while receiver.messages.try_recv().is_ok() {}
    sleep(Duration::from_secs(4)).await;
    while let Ok((path, _)) = receiver.messages.try_recv() {
        assert_ne!(path, "/ping", "the watchdog is told that all is well");
    }

    held.rollback().await.unwrap();
    receiver.comes("198.51.100.7", PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_up_the_events_the_people_hear_of_it() {
    let (daemon, mut receiver, _secrets) = reporting("").await;
    let client = daemon.client();
    client.send(&[failure("198.51.100.6", "root")]).await;

    let mut owner = daemon.connect().await;
    let mut held = owner.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE audit_events IN SHARE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    client.send(&vec![failure("198.51.100.7", "root"); 6]).await;
    receiver
        .comes("Events are not being stored", PATIENCE)
        .await;

    held.rollback().await.unwrap();

    receiver.comes("198.51.100.7", PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_up_the_reader_the_people_hear_of_it() {
    let (daemon, mut receiver, _secrets) = reporting("").await;
    let client = daemon.client();
    client.send(&[failure("198.51.100.6", "root")]).await;

    let mut owner = daemon.connect().await;
    let mut held = owner.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE blueteam.reader_cursor IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    client.send(&vec![failure("198.51.100.7", "root"); 6]).await;
    receiver
        .comes("Events are not being analyzed", PATIENCE)
        .await;

    held.rollback().await.unwrap();

    receiver.comes("198.51.100.7", PATIENCE).await;
}
