//! How long it takes from the commit of an attack's sixth failed login to the commit of its alert:
//! `latency ROUNDS EVENTS_A_SECOND`, on the database of DATABASE_URL, which a daemon watches. Other
//! events come meanwhile at that rate. Prints the median and the 99th percentile in milliseconds,
//! and how many events a second there were.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

/// Between two looks at the alerts; what is measured is too long by half of it at the median.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// An alert that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Batches of other events a second.
const BATCHES: u64 = 20;

async fn insert_failures(conn: &mut PgConnection, ip: &str, times: i32) {
    sqlx::query(
        "INSERT INTO public.audit_events (category, action, result, ip_address, metadata)
         SELECT 'auth', 'login_failed', 'failure', $1::inet, '{\"username\": \"root\"}' FROM \
         generate_series(1, $2)",
    )
    .bind(ip)
    .bind(times)
    .execute(conn)
    .await
    .unwrap();
}

/// Other people's work, until it is told to stop.
async fn insert_noise(
    mut conn: PgConnection,
    rate: u64,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
) {
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / BATCHES));
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let done = sqlx::query(
            "INSERT INTO public.audit_events (category, action, result, user_id, session_id, \
                ip_address, user_agent, resource_type, resource_id)
             SELECT 'access', 'page_view', 'success', ('019a0000-0000-7000-8000-' || \
             lpad(to_hex(u), 12, '0'))::uuid, 's-' || u,
                    ('10.' || u / 65536 || '.' || u / 256 % 256 || '.' || u % 256)::inet, \
                    'Mozilla/5.0 (X11; Linux x86_64)', 'page', '/p/' || n
               FROM (SELECT n, (random() * 20000)::int AS u FROM generate_series(1, $1) n) x",
        )
        .bind(i32::try_from(rate / BATCHES).unwrap())
        .execute(&mut conn)
        .await
        .unwrap();

        written.fetch_add(done.rows_affected(), Ordering::Relaxed);
    }
}

/// Milliseconds from the commit of the sixth failure until the alert can be seen.
async fn run_round(conn: &mut PgConnection, n: u64) -> f64 {
    // Addresses of each run's own: the alert about one of an earlier run would be there already.
    let ip = format!("2001:db8:0:{:x}::{n:x}", std::process::id() & 0xffff);
    insert_failures(conn, &ip, 5).await;

    // The five are read for themselves.
    tokio::time::sleep(Duration::from_millis(40)).await;
    insert_failures(conn, &ip, 1).await;
    let committed = Instant::now();
    loop {
        let seen: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM blueteam.alert_history WHERE rule_id = 'brute_force' AND \
                entity_value = $1)",
        )
        .bind(&ip)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        if seen {
            return committed.elapsed().as_secs_f64() * 1e3;
        }

        assert!(
            committed.elapsed() < PATIENCE,
            "the alert about {ip} does not come"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let (rounds, rate) = (arguments.next().unwrap(), arguments.next().unwrap());
    let url = std::env::var("DATABASE_URL").unwrap();
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let (stop, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );

    let other = PgConnection::connect(&url).await.unwrap();
    let noise = (rate > 0).then(|| {
        tokio::spawn(insert_noise(
            other,
            rate,
            Arc::clone(&stop),
            Arc::clone(&written),
        ))
    });

    let began = Instant::now();
    let mut took = Vec::new();
    for n in 0..rounds {
        took.push(run_round(&mut conn, n + 1).await);
    }

    stop.store(true, Ordering::Relaxed);
    if let Some(noise) = noise {
        noise.await.unwrap();
    }

    let real = written.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    took.sort_by(f64::total_cmp);
    println!(
        "{:.2} {:.2} {real:.0}",
        took[took.len() / 2],
        took[took.len() * 99 / 100]
    );
}
