//! What it costs that people see their tenant alone: the same queries by policy, and with the
//! condition written by hand for a role that no policy holds.
//!
//! `BLUETEAM_TEST_TENANT_ROWS` sets how many events two tenants have together (20,000);
//! `BLUETEAM_TEST_FIGURES` makes a test of the limit.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::sql;

/// By policy a query may take so many times as long.
const LIMIT: f64 = 1.10;
/// What no ratio of short times can show, because it is their scatter.
const SCATTER: Duration = Duration::from_micros(300);
const RUNS: usize = 15;
const OTHER: &str = "00000000-0000-7000-8000-000000000002";

/// Each is asked with `{}` for the condition written by hand.
const QUERIES: &[(&str, &str)] = &[
    (
        "newest events",
        "SELECT event_id FROM blueteam.all_events WHERE true {}
             ORDER BY timestamp DESC, event_id DESC LIMIT 100",
    ),
    (
        "events of an address",
        "SELECT event_id FROM blueteam.all_events WHERE ip_address = '10.0.0.7'
             AND timestamp > now() - interval '7 days' {}
             ORDER BY timestamp DESC, event_id DESC LIMIT 100",
    ),
    (
        "events of a user",
        "SELECT event_id FROM blueteam.all_events WHERE user_id = md5('7')::uuid
             AND timestamp > now() - interval '7 days' {}
             ORDER BY timestamp DESC, event_id DESC LIMIT 100",
    ),
    (
        "count of an hour by category",
        "SELECT gen_random_uuid() FROM (
             SELECT category, count(*) FROM blueteam.all_events
             WHERE timestamp > now() - interval '1 hour' {} GROUP BY category) AS counted",
    ),
    (
        "alerts",
        "SELECT alert_id FROM blueteam.alert_history WHERE true {}
             ORDER BY created_at DESC LIMIT 100",
    ),
];

async fn fill(conn: &mut PgConnection, events: u64) {
    let quarter = events / 4;
    let text = format!(
        "INSERT INTO users.tenants (tenant_id, name) VALUES ('{OTHER}', 'other');
         INSERT INTO audit_events
                 (timestamp, category, action, result, user_id, ip_address, tenant_id)
             SELECT now() - n * interval '0.2 seconds',
                    CASE WHEN n % 50 = 0 THEN 'auth' ELSE 'access' END, 'x',
                    'success', md5((n % 1000)::text)::uuid, '10.0.0.0'::inet + n % 1000, t.tenant_id
             FROM generate_series(1, {quarter}) AS n, users.tenants t;
         INSERT INTO blueteam.log_events
                 (timestamp, source, category, action, result, user_id, ip_address, tenant_id)
             SELECT now() - n * interval '0.2 seconds', 'nginx', 'access', 'request', 'success',
                    md5((n % 1000)::text)::uuid, '10.0.0.0'::inet + n % 1000, t.tenant_id
             FROM generate_series(1, {quarter}) AS n, users.tenants t;
         INSERT INTO blueteam.alert_history
                 (alert_id, fingerprint, severity, title, created_at, tenant_id)
             SELECT i, i, 'high', 'x', now() - n * interval '1 minute', tenant_id
             FROM (SELECT gen_random_uuid() AS i, n, t.tenant_id
                   FROM generate_series(1, least({quarter}, 5000)) AS n, users.tenants t) AS made"
    );
    sql(conn, &text).await;
    sql(conn, "VACUUM ANALYZE audit_events").await;
    sql(conn, "VACUUM ANALYZE blueteam.log_events").await;
    sql(conn, "VACUUM ANALYZE blueteam.alert_history").await;
}

/// The time of one run, and what it found.
async fn ask(conn: &mut PgConnection, query: &str) -> (Duration, Vec<Uuid>) {
    let began = Instant::now();
    let rows = sqlx::query(AssertSqlSafe(query.to_owned()))
        .persistent(false)
        .fetch_all(conn)
        .await
        .unwrap();
    (began.elapsed(), rows.iter().map(|row| row.get(0)).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn policies_cost_as_much_as_a_condition_by_hand() {
    let rows =
        std::env::var("BLUETEAM_TEST_TENANT_ROWS").map_or(20_000, |text| text.parse().unwrap());
    let db = TestDb::new().await;
    let mut owner = db.connect().await;
    fill(&mut owner, rows).await;
    let mut people = db.connect_as("blueteam_admin").await;
    sql(
        &mut people,
        &format!("SET blueteam.tenant = '{OTHER}'; SET jit = off"),
    )
    .await;
    sql(&mut owner, "SET jit = off").await;

    let mut too_slow = Vec::new();
    for (what, query) in QUERIES {
        let by_policy = query.replace("{}", "");
        let by_hand = query.replace("{}", &format!("AND tenant_id = '{OTHER}'"));
        let (mut policy, mut hand) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (time, seen) = ask(&mut people, &by_policy).await;
            policy.push(time);
            let (time, expected) = ask(&mut owner, &by_hand).await;
            hand.push(time);
            assert_eq!(seen.len(), expected.len(), "{what}");
            assert!(
                *what == "count of an hour by category" || seen == expected,
                "{what}"
            );
        }

        let (policy, hand) = (median(policy), median(hand));
        let ratio = policy.as_secs_f64() / hand.as_secs_f64();
        eprintln!("{what} of {rows}: {policy:?} by policy, {hand:?} by hand: {ratio:.2}");
        if ratio > LIMIT && policy.saturating_sub(hand) > SCATTER {
            too_slow.push(format!("{what}: {ratio:.2}"));
        }
    }
    if std::env::var_os("BLUETEAM_TEST_FIGURES").is_some() {
        assert!(too_slow.is_empty(), "more than {LIMIT}: {too_slow:?}");
    }
}
