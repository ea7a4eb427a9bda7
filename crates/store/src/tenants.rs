//! Tenants: the organizations that use this installation, and for which of them a connection works
//! (decision 0049).

use model::{Actor, AlertId, TenantId, TenantName, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::{Ts, begin};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What commands and the configuration call it.
    pub name: TenantName,
    /// What documents call it.
    pub title: Option<String>,
    /// Since when it is there.
    pub created_at: Timestamp,
}

/// Every tenant that the login sees, the first one first.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<Tenant>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT tenant_id, name, title, created_at AS "created_at: Ts"
           FROM users.tenants
           ORDER BY created_at, tenant_id"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let name = row.name.parse();
            Ok(Tenant {
                id: TenantId(row.tenant_id),
                name: name.map_err(|e| StoreError::corrupt("tenants.name", e))?,
                title: row.title,
                created_at: row.created_at.0,
            })
        })
        .collect()
}

/// The tenant of that name, whichever the connection works for.
pub async fn find(
    conn: &mut PgConnection,
    name: &TenantName,
) -> Result<Option<TenantId>, StoreError> {
    let id = sqlx::query_scalar!("SELECT blueteam.tenant_named($1)", name.as_str())
        .fetch_one(conn)
        .await?;
    Ok(id.map(TenantId))
}

/// Makes a tenant. None where one of that name is there.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    name: &TenantName,
    title: Option<&str>,
) -> Result<Option<TenantId>, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO users.tenants (name, title)
         VALUES ($1, $2)
         ON CONFLICT (name) DO NOTHING
         RETURNING tenant_id",
        name.as_str(),
        title
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(id.map(TenantId))
}

/// Gives a tenant another title.
pub async fn set_title(
    conn: &mut PgConnection,
    actor: &Actor,
    id: TenantId,
    title: Option<&str>,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "UPDATE users.tenants SET title = $2 WHERE tenant_id = $1",
        id.0,
        title
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Whose an account is, by its name; none where there is no such account.
pub async fn of_account(
    conn: &mut PgConnection,
    username: &str,
) -> Result<Option<TenantId>, StoreError> {
    let id = sqlx::query_scalar!(
        r#"SELECT tenant_id AS "tenant_id!" FROM users.users WHERE lower(username) = lower($1)"#,
        username
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(TenantId))
}

/// Whose an alert is; none where there is no such alert. For whoever has proven that they may see
/// it: the policies are not asked.
pub async fn of_alert(
    conn: &mut PgConnection,
    id: AlertId,
) -> Result<Option<TenantId>, StoreError> {
    let id = sqlx::query_scalar!("SELECT blueteam.tenant_of_alert($1)", id.0)
        .fetch_one(conn)
        .await?;
    Ok(id.map(TenantId))
}

/// For whom the connection works: its tenant, or the only one there is; none where it names none of
/// several.
pub async fn acting(conn: &mut PgConnection) -> Result<Option<TenantId>, StoreError> {
    let id = sqlx::query_scalar!("SELECT blueteam.tenant()")
        .fetch_one(conn)
        .await?;
    Ok(id.map(TenantId))
}

/// The name of the tenant that the connection works for.
pub async fn acting_name(conn: &mut PgConnection) -> Result<Option<TenantName>, StoreError> {
    let acting = acting(conn).await?;
    let all = list(conn).await?;
    let found = all.into_iter().find(|tenant| Some(tenant.id) == acting);
    Ok(found.map(|tenant| tenant.name))
}

/// From now on the connection works for a tenant: what it writes is that tenant's.
pub async fn act_for(conn: &mut PgConnection, tenant: TenantId) -> Result<(), StoreError> {
    set(conn, tenant, false).await
}

/// The same until the end of the transaction.
pub async fn act_for_now(conn: &mut PgConnection, tenant: TenantId) -> Result<(), StoreError> {
    set(conn, tenant, true).await
}

async fn set(conn: &mut PgConnection, tenant: TenantId, now: bool) -> Result<(), StoreError> {
    sqlx::query_scalar!(
        "SELECT set_config('blueteam.tenant', $1, $2)",
        tenant.to_string(),
        now
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}
