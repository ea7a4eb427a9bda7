//! Load against a running console: `load URL-HOST:PORT KEY-FILE CONNECTIONS EVENTS-A-REQUEST
//! SECONDS`. Prints requests and rows a second and the latency of a request. Without arguments, or
//! with a number of writers alone, it starts a private, durable cluster and a console of its own in
//! a throw-away directory, and measures single events over 64 connections and batches, beside
//! `COPY` of the same rows.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program talks to a person and may fall over"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Cluster, ClusterConfig, Login};
use model::audit::Strangers;
use model::{AuditRecord, EventId, SystemClock, Timestamp};
use sqlx::PgPool;
use store::events::AuditRow;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use web::{Pools, Settings, serve};

/// One event of about 560 bytes, as the PHP application writes them.
fn event_json(n: u64, at: Timestamp) -> String {
    // Everybody has a session and an address: what is measured is the way in, not a storm of
    // alerts.
    let user = n % 20_000;
    // UUIDv7: milliseconds, version, variant, and the number where the random bits go.
    let id = EventId::from_u128(
        ((at.as_micros() / 1000) as u128) << 80 | 7 << 76 | 2 << 62 | u128::from(n),
    );
    format!(
        r#"{{"event_id":"{id}","timestamp":"{at}","category":"access","action":"api_request","result":"success","user_id":"019a0000-0000-7000-8000-{:012x}","session_id":"sess_{:016x}","ip_address":"10.7.{}.{}","user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36","resource_type":"api","resource_id":"/api/v2/documents/{n}/versions","instance_id":"019a0000-0000-7000-8000-0000000000aa","cui_accessed":false,"metadata":{{"method":"GET","status":200,"duration_ms":{},"role":"analyst"}}}}"#,
        user,
        user,
        user / 250,
        user % 250,
        n % 900,
    )
}

fn http_request(body: &str, key: &str) -> Vec<u8> {
    let mut head = String::new();
    write!(
        head,
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: \
            application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();

    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// Sends until the end; returns the latencies in microseconds.
async fn run_client(to: SocketAddr, key: String, batch: u64, id: u64, until: Instant) -> Vec<u32> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut n, mut latencies, mut answer) = (id << 40, Vec::new(), vec![0; 64 * 1024]);
    while Instant::now() < until {
        let now = model::Clock::now(&SystemClock);
        let mut body = String::with_capacity(batch as usize * 600);
        for _ in 0..batch {
            body.push_str(&event_json(n, now));
            body.push('\n');
            n += 1;
        }

        let begin = Instant::now();
        stream.write_all(&http_request(&body, &key)).await.unwrap();
        let mut have = 0;
        loop {
            have += stream.read(&mut answer[have..]).await.unwrap();
            // The report is one small object that ends in `]}`.
            if have > 0 && answer[..have].ends_with(b"]}") {
                break;
            }
        }

        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer[..have])
        );
        latencies.push(begin.elapsed().as_micros() as u32);
    }

    latencies
}

/// Runs the clients; returns requests a second.
async fn run_load(to: SocketAddr, key: &str, connections: u64, batch: u64, seconds: u64) -> f64 {
    let begin = Instant::now();
    let until = begin + Duration::from_secs(seconds);
    let base = model::Clock::now(&SystemClock).as_secs().unsigned_abs() % 1000 * 1000;
    let clients: Vec<_> = (0..connections)
        .map(|id| tokio::spawn(run_client(to, key.to_owned(), batch, base + id, until)))
        .collect();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await.unwrap());
    }

    let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |q: f64| f64::from(latencies[((latencies.len() - 1) as f64 * q) as usize]) / 1000.0;
    println!(
        "{connections:>3} connections × {batch:>5} events: {rate:>9.0} requests/s  {:>9.0} \
            rows/s  p50 {:.2} ms  p99 {:.2} ms",
        rate * batch as f64,
        at(0.5),
        at(0.99)
    );

    rate
}

/// COPY of ready rows over as many connections: what the database alone can do.
async fn copy_floor(pool: &PgPool, connections: u64, batch: u64, seconds: u64) -> f64 {
    let begin = Instant::now();
    let until = begin + Duration::from_secs(seconds);
    let tasks = (0..connections).map(|id| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut conn = pool.acquire().await.unwrap();
            let (mut n, mut rows) = ((1 << 50) + (id << 40), 0);
            while Instant::now() < until {
                let now = model::Clock::now(&SystemClock);
                let texts: Vec<_> = (0..batch).map(|i| event_json(n + i, now)).collect();
                n += batch;
                let rows_of = |t: &String| {
                    let record = AuditRecord::from_json(t.as_bytes(), Strangers::Refuse)
                        .unwrap()
                        .into_owned();
                    AuditRow::new(record, || EventId::from_u128(0), now)
                };

                let ready: Vec<_> = texts.iter().map(rows_of).collect();
                rows += store::events::insert_audit(&mut conn, &ready)
                    .await
                    .unwrap()
                    .accepted;
            }

            rows
        })
    });

    let mut rows = 0;
    for task in tasks.collect::<Vec<_>>() {
        rows += task.await.unwrap();
    }

    rows as f64 / begin.elapsed().as_secs_f64()
}

async fn run_own(writers: usize) {
    let dir = tempfile::Builder::new()
        .prefix("blueteam-load")
        .tempdir_in("/var/tmp")
        .unwrap();
    std::os::unix::fs::chown(dir.path(), None, None).unwrap();
    std::fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();

    let cluster = Cluster::start(ClusterConfig::new(dir.path()))
        .await
        .unwrap();
    let admin = cluster.options(Login::Owner, "postgres").unwrap();
    let pool = store::pool(admin, 40);
    let mut conn = pool.acquire().await.unwrap();
    store::migrate(&mut conn).await.unwrap();
    store::ensure_partitions(&mut conn, 2).await.unwrap();

    let key = app::auth::mint([3; 32]);
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "INSERT INTO users.users (username, email, password_hash) VALUES ('load', 'load@x', '!');
         INSERT INTO users.api_keys (user_id, key_hash, key_name, key_prefix, scopes)
         SELECT user_id, '{}', 'load', '{}', '{{events:write}}' FROM users.users",
        key.hash, key.prefix
    )))
    .execute(&mut *conn)
    .await
    .unwrap();

    drop(conn);
    let mut settings = Settings::new(dir.path().join("spool"));
    settings.ingest.writers = writers;
    settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let pools = Pools {
        events: pool.clone(),
        keys: pool.clone(),
    };

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let console = serve(settings, pools, Arc::new(SystemClock), async move {
        let _ = stopped.await;
    })
    .await
    .unwrap();
    let to = console.address();
    run_load(to, &key.secret, 64, 1, 2).await;

    for _ in 0..3 {
        run_load(to, &key.secret, 1, 1, 2).await;
        run_load(to, &key.secret, 64, 1, 5).await;
        for batch in [1_000, 5_000] {
            let rate = run_load(to, &key.secret, 2, batch, 5).await * batch as f64;
            let floor = copy_floor(&pool, 2, batch, 5).await;
            println!(
                "    COPY of the same rows over 2 connections: {floor:.0} rows/s; ratio {:.2}",
                rate / floor
            );
        }
    }

    let _ = stop.send(());
    println!("{:?}", console.ingest().stats());
    console.ended().await;
    cluster.stop().await.unwrap();
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [to, key, connections, batch, seconds] = args.as_slice() {
        let key = std::fs::read_to_string(key).unwrap();
        let numbers = [connections, batch, seconds].map(|n| n.parse().unwrap());
        run_load(
            to.parse().unwrap(),
            key.trim(),
            numbers[0],
            numbers[1],
            numbers[2],
        )
        .await;
    } else {
        run_own(args.first().map_or(2, |n| n.parse().unwrap())).await;
    }
}
