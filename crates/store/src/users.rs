//! Accounts, as far as detection and API keys need them.

use model::Actor;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::begin;

/// What the engine knows of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFacts {
    /// The user.
    pub user_id: Uuid,
    /// Their name.
    pub username: String,
    /// Their role.
    pub role: String,
    /// The instance of an application that they belong to.
    pub home_instance_id: Option<Uuid>,
}

/// Names, roles and home instances of all users of the tenant.
pub async fn all_facts(conn: &mut PgConnection) -> Result<Vec<UserFacts>, StoreError> {
    Ok(sqlx::query_as!(
        UserFacts,
        "SELECT user_id, username, role, home_instance_id
         FROM users.users
         WHERE tenant_id = (SELECT blueteam.tenant_of_new())"
    )
    .fetch_all(conn)
    .await?)
}

/// Names, roles and home instances of those of the given users that there are.
pub async fn facts(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<UserFacts>, StoreError> {
    Ok(sqlx::query_as!(
        UserFacts,
        "SELECT user_id, username, role, home_instance_id
         FROM users.users WHERE user_id = ANY ($1)",
        ids
    )
    .fetch_all(conn)
    .await?)
}

/// The user of that name.
pub async fn named(conn: &mut PgConnection, username: &str) -> Result<Option<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT user_id FROM users.users WHERE username = $1",
        username
    )
    .fetch_optional(conn)
    .await?)
}

/// Records that a person who has signed in was refused something.
pub async fn record_denied(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &str,
    resource: &str,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!("SELECT audit.record_denied($1, $2)", action, resource)
        .execute(&mut *tx)
        .await?;

    tx.commit().await?;
    Ok(())
}

/// The account that owns machines' keys: it has no password that could match, so that nobody logs
/// in as it. Made when it is missing; returns its id.
pub async fn ensure_service(
    conn: &mut PgConnection,
    actor: &Actor,
    username: &str,
) -> Result<Uuid, StoreError> {
    let mut tx = begin(conn, actor).await?;

    sqlx::query!(
        "INSERT INTO users.users (username, email, role, is_service, tenant_id)
         SELECT
             $1::text, replace($1::text, '@', '.') || '@service.invalid', 'user', true,
             blueteam.tenant_of_new()
         WHERE NOT EXISTS (SELECT FROM users.users WHERE lower(username) = lower($1::text))",
        username
    )
    .execute(&mut *tx)
    .await?;

    let id = sqlx::query_scalar!(
        "SELECT user_id FROM users.users WHERE username = $1",
        username
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(id)
}
