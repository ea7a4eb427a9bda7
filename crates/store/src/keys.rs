//! API keys. The store sees a key's hash (hex SHA-256 of 256 random bits) and its first characters,
//! never the key.

use model::Actor;
use model::{ServiceName, TenantId, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Ts, begin};

/// A key to be stored.
#[derive(Clone)]
pub struct NewKey<'a> {
    /// Its owner.
    pub user_id: Uuid,
    /// A name for people, at most 100 characters.
    pub name: &'a str,
    /// Hex SHA-256 of the key.
    pub hash: &'a str,
    /// Its first characters, at most 10, so that people can tell keys apart.
    pub prefix: &'a str,
    /// What it may do.
    pub scopes: &'a [String],
    /// The service that sends with it; none for a relay, which speaks for several.
    pub service: Option<&'a ServiceName>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What a valid key says about its bearer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyInfo {
    /// The key.
    pub key_id: Uuid,
    /// Its owner.
    pub user_id: Uuid,
    /// Whose events it sends. A list that an earlier version kept on disk does not say.
    #[serde(default)]
    pub tenant: TenantId,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The service that sends with it; none for a relay, which speaks for several.
    pub service: Option<ServiceName>,
    /// For a relay: the services that have a key of their own in force, for which it may not speak.
    pub reserved: Vec<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The key.
    pub key_id: Uuid,
    /// Its owner.
    pub username: String,
    /// Its name.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The service that sends with it; none for a relay, which speaks for several.
    pub service: Option<String>,
    /// Whether it is in force, its end apart.
    pub is_active: bool,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute or so.
    pub last_used: Option<Timestamp>,
    /// How often it was used.
    pub usage_count: i32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Stores a key; returns its id.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    key: &NewKey<'_>,
) -> Result<Uuid, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO users.api_keys (
             user_id, key_name, key_hash, key_prefix, scopes, service, expires_at
         )
         VALUES ($1, $2, $3, $4, $5, $6::text::blueteam.service_name, $7)
         RETURNING key_id",
        key.user_id,
        key.name,
        key.hash,
        key.prefix,
        key.scopes,
        key.service.map(ServiceName::as_str),
        key.expires_at.map(Ts) as Option<Ts>
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(id)
}

/// Every key, the newest first.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<KeyRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               k.key_id, u.username, k.key_name, k.key_prefix, k.scopes,
               k.service::text AS service, k.is_active, k.expires_at AS "expires_at: Ts",
               k.last_used AS "last_used: Ts", k.usage_count, k.created_at AS "created_at: Ts"
           FROM users.api_keys k
           JOIN users.users u USING (user_id)
           ORDER BY k.created_at DESC, k.key_id DESC"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| KeyRow {
            key_id: r.key_id,
            username: r.username,
            name: r.key_name,
            prefix: r.key_prefix,
            scopes: r.scopes,
            service: r.service,
            is_active: r.is_active,
            expires_at: r.expires_at.map(|t| t.0),
            last_used: r.last_used.map(|t| t.0),
            usage_count: r.usage_count,
            created_at: r.created_at.0,
        })
        .collect())
}

/// Revokes a key permanently. Returns `false` when there is no such key in force.
pub async fn revoke(
    conn: &mut PgConnection,
    actor: &Actor,
    key_id: Uuid,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.api_keys SET is_active = false WHERE key_id = $1 AND is_active",
        key_id
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// Who bears the key with this hash: none when there is none, or it is revoked, or over, or its
/// owner is locked out. Looking up the hash of a random key tells an attacker nothing by its time:
/// what varies is the hash, which they cannot steer.
pub async fn authenticate(
    conn: &mut PgConnection,
    hash: &str,
) -> Result<Option<KeyInfo>, StoreError> {
    let row = sqlx::query_file!("src/keys/authenticate.sql", hash)
        .fetch_optional(conn)
        .await?;

    row.map(|r| {
        Ok(KeyInfo {
            key_id: r.key_id,
            user_id: r.user_id,
            tenant: TenantId(r.tenant_id),
            scopes: r.scopes,
            service: service_name(r.service)?,
            reserved: r.reserved.unwrap_or_default(),
            expires_at: r.expires_at.map(|t| t.0),
        })
    })
    .transpose()
}

/// The hash and the bearer of each key that [`authenticate`] would let in; at most `limit` of them.
pub async fn in_force(
    conn: &mut PgConnection,
    limit: u32,
) -> Result<Vec<(String, KeyInfo)>, StoreError> {
    let rows = sqlx::query_file!("src/keys/in_force.sql", i64::from(limit))
        .fetch_all(conn)
        .await?;

    rows.into_iter()
        .map(|r| {
            let info = KeyInfo {
                key_id: r.key_id,
                user_id: r.user_id,
                tenant: TenantId(r.tenant_id),
                scopes: r.scopes,
                service: service_name(r.service)?,
                reserved: r.reserved.unwrap_or_default(),
                expires_at: r.expires_at.map(|t| t.0),
            };
            Ok((r.key_hash, info))
        })
        .collect()
}

fn service_name(text: Option<String>) -> Result<Option<ServiceName>, StoreError> {
    text.map(|name| {
        name.parse()
            .map_err(|e| StoreError::corrupt("api_keys.service", e))
    })
    .transpose()
}

/// Adds uses that were counted in memory.
pub async fn used(conn: &mut PgConnection, key_id: Uuid, times: u32) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users.api_keys
         SET
             last_used = now(),
             usage_count = least(usage_count::bigint + $2, 2147483647)::integer
         WHERE key_id = $1",
        key_id,
        i64::from(times)
    )
    .execute(conn)
    .await?;

    Ok(())
}
