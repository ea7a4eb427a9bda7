//! The database goes and comes back.

use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, ClusterConfig, Login};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::http::{Running, call, event, mint};

const PATIENCE: Duration = Duration::from_secs(1);

struct Own {
    cluster: Option<Cluster>,
    dir: tempfile::TempDir,
}

impl Own {
    fn config(dir: &std::path::Path) -> ClusterConfig {
        ClusterConfig {
            durable: false,
            ..ClusterConfig::new(dir)
        }
    }

    async fn new() -> (Self, sqlx::PgPool) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(
            dir.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();

        let cluster = Cluster::start(Self::config(dir.path())).await.unwrap();
        let pool = store::pool(cluster.options(Login::Owner, "postgres").unwrap(), 8);
        store::migrate(&mut pool.acquire().await.unwrap())
            .await
            .unwrap();

        (
            Self {
                cluster: Some(cluster),
                dir,
            },
            pool,
        )
    }

    async fn down(&mut self) {
        self.cluster.take().unwrap().stop().await.unwrap();
    }

    async fn up(&mut self) {
        self.cluster = Some(Cluster::start(Self::config(self.dir.path())).await.unwrap());
    }
}

const OTHER: uuid::Uuid = uuid::Uuid::from_u128(2);

/// Adds a tenant; returns a key of it.
async fn other_tenant(pool: &sqlx::PgPool) -> String {
    let key = app::auth::mint([77; 32]);
    let sql = format!(
        "INSERT INTO users.tenants (tenant_id, name) VALUES ('{OTHER}', 'other');
         INSERT INTO users.users (username, email, tenant_id) VALUES ('o', 'o@x', '{OTHER}');
         INSERT INTO users.api_keys (user_id, key_hash, key_name, key_prefix, scopes, tenant_id)
         SELECT user_id, '{}', 'o', '{}', '{{events:write}}', tenant_id
         FROM users.users WHERE username = 'o'",
        key.hash, key.prefix
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(pool)
        .await
        .unwrap();
    key.secret
}

async fn drained(run: &Running) {
    for _ in 0..600 {
        if run.ingest.spool_is_empty() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the spool is not drained: {:?}", run.ingest.stats());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_is_there_once_and_in_order() {
    let (mut own, pool) = Own::new().await;
    let run = Arc::new(Running::on(pool, None, |s| s.ingest.timeouts.acquire = PATIENCE).await);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..20_u64 {
        let (run, stop) = (Arc::clone(&run), Arc::clone(&stop));
        clients.spawn(async move {
            let (mut acked, mut spooled) = (Vec::new(), 0);
            for n in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }

                let id = client * 1_000_000 + n;
                let answer = run.post(event(id)).await;
                match answer.status {
                    200 => acked.push(id),
                    202 => {
                        assert_eq!(answer.json()["spooled"], 1);
                        spooled += 1;
                        acked.push(id);
                    }
                    503 => {}
                    _ => panic!("{answer:?}"),
                }
            }

            (acked, spooled)
        });
    }

    for _ in 0..2 {
        sleep(Duration::from_millis(300)).await;
        own.down().await;
        sleep(Duration::from_millis(1500)).await;
        own.up().await;
        drained(&run).await;
    }

    sleep(Duration::from_millis(300)).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let done = clients.join_all().await;
    drained(&run).await;
    assert!(done.iter().map(|(_, spooled)| spooled).sum::<u64>() > 0);

    for (acked, _) in &done {
        let client = acked[0] / 1_000_000;
        let sql = "SELECT ('x' || right(event_id::text, 12))::bit(48)::bigint FROM audit_events
                   WHERE category = 'auth' AND ('x' || right(event_id::text, \
                   12))::bit(48)::bigint / 1000000 = $1 ORDER BY seq";
        let found: Vec<i64> = sqlx::query_scalar(sql)
            .bind(client as i64)
            .fetch_all(&run.pool)
            .await
            .unwrap();
        let found: Vec<u64> = found
            .into_iter()
            .map(|id| id as u64 % 1_000_000 + client * 1_000_000)
            .collect();

        assert!(
            found.is_sorted_by(|a, b| a < b),
            "client {client}: out of order or twice"
        );
        let lost: Vec<_> = acked
            .iter()
            .filter(|id| found.binary_search(id).is_err())
            .collect();
        assert!(
            lost.is_empty(),
            "client {client}: lost {lost:?} of {}, found {}",
            acked.len(),
            found.len()
        );
    }

    let told: Vec<Value> =
        sqlx::query_scalar("SELECT metadata FROM audit_events WHERE action = 'audit_failure'")
            .fetch_all(&run.pool)
            .await
            .unwrap();
    assert!(told.len() >= 2, "{told:?}");
    assert!(
        told.iter()
            .all(|t| t["from"].is_string() && t["to"].is_string())
    );

    own.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_refuses_and_a_restart_writes_what_it_holds() {
    let (mut own, pool) = Own::new().await;
    let mut run = Running::on(pool.clone(), None, |s| {
        s.ingest.spool_max_bytes = 2000;
        s.ingest.timeouts.acquire = PATIENCE;
    })
    .await;
    assert_eq!(run.post(event(0)).await.status, 200);
    let of_other = other_tenant(&pool).await;
    let ours = std::mem::replace(&mut run.key, of_other.clone());
    // What it says of itself is heard by nobody.
    let claims = json!({ "category": "auth", "action": "login", "result": "failure",
        "instance_id": model::TenantId::DEFAULT,
        "metadata": { "tenant_id": model::TenantId::DEFAULT, "service": "default" } });
    assert_eq!(run.post(claims.to_string()).await.status, 200);
    own.down().await;
    assert_eq!(run.post(claims.to_string()).await.status, 202);
    run.key = ours;

    let mut taken = Vec::new();
    let refused = loop {
        let n = 1 + taken.len() as u64;
        let answer = run.post(event(n)).await;
        if answer.status != 202 {
            break answer;
        }
        taken.push(n);
    };

    assert_eq!(
        (refused.status, refused.head.contains("retry-after: 5")),
        (503, true)
    );
    assert!(taken.len() > 3 && run.ingest.stats().spool_bytes <= 2000);

    // A collector of OpenTelemetry is told to come again in its own words (gRPC's code 14,
    // UNAVAILABLE).
    let record = json!({ "eventName": "user.login", "body": { "stringValue": "x".repeat(2000) } });
    let logs =
        json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] }).to_string();
    let headers = format!(
        "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
        run.key
    );
    let answer = call(run.to, "POST /v1/logs", &headers, logs.as_bytes()).await;
    assert_eq!(
        (answer.status, answer.head.contains("retry-after: 5")),
        (503, true),
        "{answer:?}"
    );

    assert_eq!(answer.json()["code"], 14, "{answer:?}");
    let health = call(run.to, "GET /healthz", "", b"").await;
    assert_eq!((health.status, &*health.text), (503, "degraded\n"));

    // A key that nobody has seen cannot be checked.
    let good = std::mem::replace(&mut run.key, app::auth::mint([8; 32]).secret);
    assert_eq!(run.post(event(999)).await.status, 503);
    run.key = good;

    // The program ends and starts again while the database is unreachable, and then it comes back.
    run.stop().await;
    let spool = run.spool.clone();
    own.up().await;
    mint(&pool, 1, "{events:write}", "NULL").await;
    let again = Running::on(pool, None, |s| s.ingest.spool_dir = spool).await;
    drained(&again).await;
    assert_eq!(again.rows().await, 1 + taken.len() as i64 + 1 + 2);
    let theirs = "SELECT count(*) FROM audit_events WHERE tenant_id = $1";
    let theirs: i64 = sqlx::query_scalar(theirs)
        .bind(OTHER)
        .fetch_one(&again.pool)
        .await
        .unwrap();
    assert_eq!(theirs, 2, "the spool remembers whose they are");

    let mut left: Vec<_> = std::fs::read_dir(&run.spool)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["held", "lock"], "no events are left");
    own.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_in_the_drain_is_a_dead_letter() {
    let (mut own, pool) = Own::new().await;
    let run = Running::on(pool, None, |s| s.ingest.timeouts.acquire = PATIENCE).await;
    assert_eq!(run.post(event(0)).await.status, 200);
    let dislike = "ALTER TABLE audit_events ADD CONSTRAINT disliked CHECK (session_id <> 's2')";
    sqlx::raw_sql(dislike).execute(&run.pool).await.unwrap();
    own.down().await;

    let answer = run
        .post(format!("[{},{},{}]", event(1), event(2), event(3)))
        .await;
    assert_eq!(
        (answer.status, answer.json()["spooled"].as_u64()),
        (202, Some(3))
    );
    own.up().await;

    drained(&run).await;
    assert_eq!(run.rows().await, 4);
    let letters = std::fs::read_to_string(run.spool.join("dead-letter.ndjson")).unwrap();
    assert_eq!(letters.lines().count(), 1);
    assert_eq!(
        serde_json::from_str::<Value>(&letters).unwrap()["field"],
        "disliked"
    );

    assert_eq!(run.ingest.stats().dead_letters, 1);
    own.down().await;
}

/// An event is judged the same whether the database is there or not, and a retry is known across
/// the outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_in_an_outage_is_stored_once() {
    let (mut own, pool) = Own::new().await;
    let run = Running::on(pool, None, |s| s.ingest.timeouts.acquire = PATIENCE).await;
    assert_eq!(run.post(event(0)).await.status, 200);
    let dislike = "ALTER TABLE audit_events ADD CONSTRAINT disliked CHECK (session_id <> 's2')";
    sqlx::raw_sql(dislike).execute(&run.pool).await.unwrap();
    own.down().await;

    let ahead = crate::http::now().plus(model::Span::mins(10));
    let of = |n: u64, extra: &str| {
        format!(
            r#"{{"event_id":"4f0b5c1e-63a8-4f0e-9c51-{n:012x}","category":"auth","action":"a","result":"failure"{extra}}}"#
        )
    };

    let events = [
        of(1, r#","metadata":{"a":"\u41zz"}"#),
        of(2, r#","metadata":{"a":"\ud800\u0000"}"#),
        of(3, &format!(r#","timestamp":"{ahead}""#)),
        of(4, ""),
        of(
            5,
            &format!(
                r#","session_id":"{}","metadata":{{"a":"{}"}}"#,
                "x".repeat(5000),
                "x".repeat(70_000)
            ),
        ),
    ];

    for _ in 0..2 {
        let answer = run.post(format!("[{}]", events.join(","))).await;
        assert_eq!(
            (answer.status, answer.json()["spooled"].as_u64()),
            (202, Some(5)),
            "{answer:?}"
        );
    }

    // Letters that there is no more room for do not keep the others' events in the spool.
    let letters = std::fs::File::create(run.spool.join("dead-letter.ndjson")).unwrap();
    letters.set_len(64 * 1024 * 1024).unwrap();
    assert_eq!(run.post(event(9).replace("s9", "s2")).await.status, 202);
    own.up().await;
    drained(&run).await;
    assert_eq!(
        run.post(format!("[{}]", events.join(","))).await.counts(),
        (0, 5, 0)
    );

    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_events WHERE action = 'a'")
        .fetch_one(&run.pool)
        .await
        .unwrap();
    assert_eq!(stored, 5);

    let full = std::fs::metadata(run.spool.join("dead-letter.ndjson"))
        .unwrap()
        .len();
    assert_eq!(
        (full, run.ingest.stats().dead_letters),
        (64 * 1024 * 1024, 1),
        "counted, and not kept"
    );

    own.down().await;
}
