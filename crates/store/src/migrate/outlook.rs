//! What a migration would do, asked before it begins.

use model::Timestamp;
use sqlx::PgConnection;

use super::{MIGRATOR, pending_migrations};
use crate::StoreError;

/// What lies ahead of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The newest migration that it has; 0 of one that has none.
    pub applied: i64,
    /// The migrations that it lacks, in order.
    pub pending: Vec<i64>,
    /// When it got its first migration; `None` of one that has none.
    pub made: Option<Timestamp>,
}

/// Returns what lies ahead. Changes nothing. Refuses a database of a newer program.
pub async fn outlook(conn: &mut PgConnection) -> Result<Outlook, StoreError> {
    let pending = pending_migrations(conn).await?;
    let pending: Vec<i64> = pending.iter().map(|one| one.version).collect();
    if pending.len() == MIGRATOR.iter().count() {
        return Ok(Outlook {
            applied: 0,
            pending,
            made: None,
        });
    }

    let (applied, made): (Option<i64>, Option<i64>) = sqlx::query_as(
        "SELECT max(version), (extract(epoch FROM min(installed_on)) * 1000000)::bigint
            FROM _sqlx_migrations",
    )
    .fetch_one(conn)
    .await?;

    Ok(Outlook {
        applied: applied.unwrap_or(0),
        pending,
        made: made.map(Timestamp::from_micros),
    })
}
