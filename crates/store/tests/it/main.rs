//! The store against a real PostgreSQL, each test in a database of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed step of a test is a failed test, helpers included; what is skipped or \
        measured is said"
)]

mod accounts;
mod adoption;
mod adoption_live;
mod adoption_upgrade;
mod alert_names;
mod alerts;
mod alerts_in_bulk;
mod audit_log;
mod cluster;
mod compliance;
mod duties;
mod escalations;
mod events;
mod incident_evidence;
mod incidents;
mod migration_scale;
mod misc;
mod posture;
mod reader;
mod reader_property;
mod record;
mod redteam;
mod releases;
mod remote_audit;
mod roles;
mod schema_doc;
mod search;
mod servers;
mod silences;
mod sources;
mod stuck;
mod subscriptions;
mod tenant_scale;
mod tenants;
mod tenants_apart;
mod unclean;
mod upkeep;

use model::audit::Strangers;
use model::{Actor, AuditRecord, EventId, SecurityEvent, Timestamp, Via};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use store::events::AuditRow;
use uuid::Uuid;

/// 2026-11-02T10:00:00Z plus `secs`.
fn at(secs: i64) -> Timestamp {
    Timestamp::parse("2026-11-02T10:00:00Z")
        .unwrap()
        .plus(model::Span::secs(secs))
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0000 + n)
}

fn row(json: &str, n: u128) -> AuditRow<'_> {
    let record = AuditRecord::from_json(json.as_bytes(), Strangers::Refuse).unwrap();
    AuditRow::new(record, || EventId(id(n)), at(i64::try_from(n).unwrap()))
}

const LOGIN: &str = r#"{"category":"auth","action":"login","result":"failure","ip_address":"203.0.113.9",
    "session_id":"s","user_agent":"curl/8","resource_type":"page","resource_id":"/login","metadata":{"username":"eve","n":1}}"#;

/// Somebody at the command line.
fn person(name: &str) -> Actor {
    Actor {
        via: Via::CommandLine,
        ..Actor::task(name)
    }
}

/// Rows whose ids are the given numbers.
fn logins(ids: impl IntoIterator<Item = u128>) -> Vec<AuditRow<'static>> {
    ids.into_iter().map(|n| row(LOGIN, n)).collect()
}

fn number(event: &SecurityEvent<'_>) -> u128 {
    event.event_id.as_u128() - id(0).as_u128()
}

async fn sql(conn: &mut PgConnection, text: &str) {
    if let Err(error) = try_sql(conn, text).await {
        panic!("{text}: {error}");
    }
}

async fn try_sql(conn: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    conn.execute(sqlx::raw_sql(AssertSqlSafe(text.to_owned())))
        .await
        .map(|_| ())
}

async fn count(conn: &mut PgConnection, what: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {what}")))
        .fetch_one(conn)
        .await
        .unwrap()
}
