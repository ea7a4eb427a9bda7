//! The audit log: who changed what.

use model::Timestamp;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::Ts;
use crate::{Before, StoreError};

/// Which entries of the log; what is `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whoever acted, or for whom.
    pub actor: Option<String>,
    /// The table that was changed, with its schema.
    pub table: Option<String>,
    /// `CREATE`, `UPDATE`, `EXPORT` and others.
    pub action: Option<String>,
    /// At or after this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The entry.
    pub id: Uuid,
    /// When.
    pub created_at: Timestamp,
    /// Who acted.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what kind of thing.
    pub resource_type: String,
    /// To which.
    pub resource_id: Option<String>,
    /// The row before.
    pub old_value: Option<Value>,
    /// The row after.
    pub new_value: Option<Value>,
    /// From where.
    pub address: Option<String>,
    /// The table, the way, and for whom.
    pub metadata: Value,
}

/// The newest entries after `before`, at most `limit`.
pub async fn page(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<Before>,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query_file!(
        "src/audit_log/page.sql",
        filter.actor,
        filter.table,
        filter.action,
        filter.since.map(Ts) as Option<Ts>,
        filter.until.map(Ts) as Option<Ts>,
        i64::from(limit),
        before.map(|before| Ts(before.at)) as Option<Ts>,
        before.map(|before| before.id)
    )
    .fetch_all(conn)
    .await?;

    Ok(rows
        .into_iter()
        .map(|row| Entry {
            id: row.id,
            created_at: row.created_at.0,
            actor: row.actor,
            action: row.action,
            resource_type: row.resource_type,
            resource_id: row.resource_id,
            old_value: row.old_value,
            new_value: row.new_value,
            address: row.ip_address,
            metadata: row.metadata,
        })
        .collect())
}
