//! Alerts of a storm a second, on the database of DATABASE_URL (rows are added to it): each about
//! an address of its own, with its incident, its message and what the audit log has of them,
//! written in batches as the daemon does. Prints that rate, and the one at which the same rows are
//! inserted into copies of the tables that have their indexes and nothing else.
//!
//! `alert_rates ALERTS`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::time::Instant;

use model::{
    Channel, ControlId, Detection, DetectionUpdate, Entity, EntityKind, EventId, EventKey,
    Fingerprint, Phase, RuleId, Severity, Source, Timestamp,
};
use sqlx::{Connection as _, Executor as _, PgConnection};
use store::alerts::Route;
use uuid::Uuid;

/// As many as a read of 10,000 failed logins makes.
const BATCH: usize = 1666;
/// The events of each.
const EVENTS: u64 = 6;
/// What is written with an alert: the alert, its incident, its message, and two records of them.
const TABLES: [(&str, &str); 4] = [
    ("blueteam.security_incidents", "incidents"),
    ("blueteam.alert_history", "alerts"),
    ("blueteam.notifications", "messages"),
    ("audit.audit_log", "records"),
];

fn opened(n: usize) -> DetectionUpdate {
    let now = model::Clock::now(&model::SystemClock);
    let address = format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256);
    let events: Vec<EventId> = (0..EVENTS).map(|_| EventId(Uuid::now_v7())).collect();

    DetectionUpdate {
        opened: true,
        phase: Phase::Opened,
        events: events.iter().map(|id| key(now, *id)).collect(),
        detection: Detection {
            rule_id: RuleId::builtin("brute_force"),
            severity: Severity::High,
            title: format!("Brute force from {address}"),
            description: format!("{EVENTS} failed logins from {address} in 5 minutes."),
            entity: Entity {
                kind: EntityKind::Ip,
                value: address,
            },
            entity_name: None,
            first_seen: now,
            last_seen: now,
            event_count: EVENTS,
            event_ids: events,
            nist_controls: vec![ControlId::known("3.1.8"), ControlId::known("3.14.6")],
            source: Source::AuditDb,
            cui_involved: false,
            tenant: None,
            fingerprint: Fingerprint(Uuid::now_v7()),
            episode: 0,
        },
    }
}

fn key(timestamp: Timestamp, event_id: EventId) -> EventKey {
    EventKey {
        timestamp,
        event_id,
    }
}

/// Alerts a second as the daemon writes them.
async fn written(conn: &mut PgConnection, alerts: usize) -> f64 {
    let changes: Vec<DetectionUpdate> = (0..alerts).map(opened).collect();
    let began = Instant::now();
    for batch in changes.chunks(BATCH) {
        let to_webhook = |_: &_| Route::from(vec![Channel::named("webhook")]);
        let applied = testkit::apply_alerts(conn, batch, to_webhook).await;
        assert_eq!(applied.opened.len(), batch.len());
    }
    alerts as f64 / began.elapsed().as_secs_f64()
}

/// The same rows by plain INSERTs of as many at once, all their columns at hand.
async fn inserted(conn: &mut PgConnection, alerts: usize) -> f64 {
    for (table, copy) in TABLES {
        let text = format!(
            "CREATE SCHEMA IF NOT EXISTS bench;
             DROP TABLE IF EXISTS bench.{copy}, bench.all_{copy};
             CREATE TABLE bench.{copy} (LIKE {table} INCLUDING ALL);
             CREATE TABLE bench.all_{copy} AS
                 SELECT row_number() OVER () AS row_number, t AS r FROM {table} t;
             ALTER TABLE bench.all_{copy} ADD PRIMARY KEY (row_number)"
        );
        conn.execute(sqlx::AssertSqlSafe(text)).await.unwrap();
    }

    let began = Instant::now();
    for from in (0..alerts).step_by(BATCH) {
        let mut tx = conn.begin().await.unwrap();
        for (_, copy) in TABLES {
            // Two records of each alert: its own and that of its incident.
            let rows = if copy == "records" { 2 } else { 1 };
            let (first, last) = (from * rows, (from + BATCH).min(alerts) * rows);
            let text = format!(
                "INSERT INTO bench.{copy}
                 SELECT (r).* FROM bench.all_{copy} WHERE row_number > {first} AND row_number <= {last}"
            );
            tx.execute(sqlx::AssertSqlSafe(text)).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    let rate = alerts as f64 / began.elapsed().as_secs_f64();
    conn.execute("DROP SCHEMA bench CASCADE").await.unwrap();
    rate
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let alerts = std::env::args().nth(1).unwrap().parse().unwrap();
    let options = store::parse_url(&std::env::var("DATABASE_URL").unwrap()).unwrap();
    let mut conn = store::connect(&options).await.unwrap();

    let written = written(&mut conn, alerts).await;
    let inserted = inserted(&mut conn, alerts).await;
    println!("{written:.0} {inserted:.0}");
}
