//! What a person has looked at and taken out, as the audit log has it.

use model::{Actor, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// Records that the actor has looked at a page: `READ` in the audit log.
pub async fn record_reading(
    conn: &mut PgConnection,
    actor: &Actor,
    place: &str,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!("SELECT audit.record_reading($1)", place)
        .execute(&mut *tx)
        .await?;

    tx.commit().await?;
    Ok(())
}

/// An entry of a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `READ`, `EXPORT`, `LOGIN` and so on.
    pub action: String,
    /// What: the address of a page, or the name of what left.
    pub what: String,
    /// From which address of the network.
    pub address: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// The latest entries of the audit log that an account has caused, the newest first.
pub async fn of(
    conn: &mut PgConnection,
    username: &str,
    limit: u32,
) -> Result<Vec<Step>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT action::text AS "action!",
                  coalesce(new_value ->> 'what', resource_id, '') AS "what!",
                  ip_address::text AS address, created_at AS "at!: Ts"
           FROM audit.audit_log
           WHERE actor = $1
           ORDER BY created_at DESC, id DESC
           LIMIT $2"#,
        username,
        i64::from(limit)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Step {
            action: row.action,
            what: row.what,
            address: row.address,
            at: row.at.0,
        })
        .collect())
}
