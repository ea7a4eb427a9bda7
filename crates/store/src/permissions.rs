//! What an administrator has changed about what roles may do.

use model::{Actor, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// A change of the built-in permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionRow {
    /// Whose.
    pub role: String,
    /// What is done.
    pub action: String,
    /// To what.
    pub resource: String,
    /// `allow` or `deny`.
    pub effect: String,
    /// When it was changed.
    pub created_at: Timestamp,
}

/// The changes of the tenant.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<PermissionRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT role, action, resource, effect, created_at AS "created_at: Ts"
           FROM users.permissions
           ORDER BY role, resource, action"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| PermissionRow {
            role: r.role,
            action: r.action,
            resource: r.resource,
            effect: r.effect,
            created_at: r.created_at.0,
        })
        .collect())
}

/// What a change is about.
#[derive(Clone, Copy, Debug)]
pub struct PermissionKey<'a> {
    /// Whose.
    pub role: &'a str,
    /// What is done.
    pub action: &'a str,
    /// To what.
    pub resource: &'a str,
}

/// Changes what a role may do: `allow` or `deny`, or, without an effect, as it is built in. False if
/// it was so before.
pub async fn set(
    conn: &mut PgConnection,
    actor: &Actor,
    key: PermissionKey<'_>,
    effect: Option<&str>,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done =
        match effect {
            Some(effect) => {
                sqlx::query!(
                    "INSERT INTO users.permissions (role, action, resource, effect)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (tenant_id, role, resource, action)
                 DO UPDATE SET effect = $4, created_at = now()
                 WHERE permissions.effect <> $4",
                    key.role,
                    key.action,
                    key.resource,
                    effect
                )
                .execute(&mut *tx)
                .await?
            }
            None => sqlx::query!(
                "DELETE FROM users.permissions WHERE role = $1 AND action = $2 AND resource = $3",
                key.role,
                key.action,
                key.resource
            )
            .execute(&mut *tx)
            .await?,
        };

    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}
