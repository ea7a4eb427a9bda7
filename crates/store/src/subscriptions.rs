//! What tenants have subscribed to, and how much of it they use (decision 0058).

use model::{Actor, TenantId, Timestamp};
use sqlx::{Connection as _, PgConnection};

use crate::StoreError;
use crate::db::{Ts, begin, take_exclusively};

/// What a tenant has subscribed to; a limit that is none does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// What the plan is called.
    pub plan: String,
    /// The most people who can sign in.
    pub max_users: Option<i32>,
    /// The most API keys in force.
    pub max_keys: Option<i32>,
    /// The most agents.
    pub max_agents: Option<i32>,
    /// Events a calendar month (UTC).
    pub max_events: Option<i64>,
    /// Bytes of events.
    pub max_bytes: Option<i64>,
    /// Months that log events are kept at least.
    pub retention_months: Option<i16>,
}

/// A tenant's subscription; none where it has no limits.
pub async fn of(
    conn: &mut PgConnection,
    tenant: TenantId,
) -> Result<Option<Subscription>, StoreError> {
    let row = sqlx::query_as!(
        Subscription,
        "SELECT
             plan, max_users, max_keys, max_agents, max_events, max_bytes, retention_months
         FROM users.subscriptions
         WHERE tenant_id = $1",
        tenant.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Writes what a tenant has subscribed to, in place of what it had before.
pub async fn set(
    conn: &mut PgConnection,
    actor: &Actor,
    tenant: TenantId,
    subscription: &Subscription,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "INSERT INTO users.subscriptions (
             tenant_id, plan, max_users, max_keys, max_agents, max_events, max_bytes,
             retention_months
         )
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant_id) DO UPDATE
         SET
             plan = excluded.plan, max_users = excluded.max_users, max_keys = excluded.max_keys,
             max_agents = excluded.max_agents, max_events = excluded.max_events,
             max_bytes = excluded.max_bytes, retention_months = excluded.retention_months,
             updated_at = now()",
        tenant.0,
        subscription.plan,
        subscription.max_users,
        subscription.max_keys,
        subscription.max_agents,
        subscription.max_events,
        subscription.max_bytes,
        subscription.retention_months
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// How much a tenant uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// People who can sign in.
    pub users: u64,
    /// API keys in force.
    pub keys: u64,
    /// Events that were stored this month (UTC), as far as they are counted.
    pub events: u64,
    /// Its part of the bytes of all events, by their number; none before any was counted.
    pub bytes: Option<u64>,
}

/// How much a tenant uses at a time.
pub async fn usage(
    conn: &mut PgConnection,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Usage, StoreError> {
    let row = sqlx::query_file!("src/subscriptions/usage.sql", tenant.0, Ts(now) as Ts)
        .fetch_one(conn)
        .await?;
    Ok(Usage {
        users: row.users.unsigned_abs(),
        keys: row.keys.unsigned_abs(),
        events: row.events.unsigned_abs(),
        bytes: row.bytes.map(i64::unsigned_abs),
    })
}

/// Counts what was stored since it was last counted, by tenant and month. Returns how many events.
/// Must run in the engine's role, which sees all of them.
pub async fn count_events(conn: &mut PgConnection) -> Result<u64, StoreError> {
    let mut tx = conn.begin().await?;
    // A statement of its own: what counts must see what the one before it has written.
    take_exclusively(&mut tx, "event_counts").await?;
    let counted = sqlx::query_file_scalar!("src/subscriptions/count_events.sql")
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(counted.unsigned_abs())
}

/// The longest retention of log events, in months, that a tenant has subscribed to.
pub async fn longest_retention(conn: &mut PgConnection) -> Result<Option<u16>, StoreError> {
    let months = sqlx::query_scalar!("SELECT max(retention_months) FROM users.subscriptions")
        .fetch_one(conn)
        .await?;
    Ok(months.map(i16::unsigned_abs))
}
