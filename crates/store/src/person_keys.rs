//! API keys of people. The store sees the SHA-256 of a secret and its first characters, never the
//! secret.

use model::{Actor, Span, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Ts, begin};

/// A key to be stored.
#[derive(Clone, Copy)]
pub struct NewPersonKey<'a> {
    /// Its owner.
    pub user_id: Uuid,
    /// What uses it.
    pub name: &'a str,
    /// What it may do.
    pub scopes: &'a [String],
    /// When it ends.
    pub expires_at: Timestamp,
    /// Its secret.
    pub secret: NewSecret<'a>,
}

/// A secret to be stored.
#[derive(Clone, Copy)]
pub struct NewSecret<'a> {
    /// SHA-256 of it.
    pub hash: &'a [u8],
    /// Its first characters.
    pub prefix: &'a str,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonKeyRow {
    /// The key.
    pub key_id: Uuid,
    /// Its owner.
    pub username: String,
    /// What uses it.
    pub name: String,
    /// The first characters of its secret.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Whether it was not revoked.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its secret was last replaced.
    pub rotated_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute or so.
    pub last_used: Option<Timestamp>,
    /// How often it was used.
    pub usage_count: i64,
    /// Until when a secret counts that was replaced.
    pub former_until: Option<Timestamp>,
}

/// Whose key a secret belongs to.
#[derive(Clone, Debug)]
pub struct PersonKeyFacts {
    /// The key.
    pub key_id: Uuid,
    /// Its owner.
    pub user_id: Uuid,
    /// Their name.
    pub username: String,
    /// Their person's name.
    pub full_name: Option<String>,
    /// Their role.
    pub role: String,
    /// Their tenant.
    pub tenant_id: Option<Uuid>,
    /// What the key may do.
    pub scopes: Vec<String>,
}

/// Stores a key; returns its id.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    key: &NewPersonKey<'_>,
) -> Result<Uuid, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO users.person_keys (user_id, key_name, scopes, expires_at)
         VALUES ($1, $2, $3, $4)
         RETURNING key_id",
        key.user_id,
        key.name,
        key.scopes,
        Ts(key.expires_at) as Ts
    )
    .fetch_one(&mut *tx)
    .await?;
    insert_secret(&mut tx, id, &key.secret).await?;

    tx.commit().await?;
    Ok(id)
}

async fn insert_secret(
    conn: &mut PgConnection,
    key_id: Uuid,
    secret: &NewSecret<'_>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO users.person_key_secrets (key_id, token_hash, key_prefix) VALUES ($1, $2, $3)",
        key_id,
        secret.hash,
        secret.prefix
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Every key, the newest first.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<PersonKeyRow>, StoreError> {
    let rows = sqlx::query_file!("src/person_keys/list.sql")
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|r| PersonKeyRow {
            key_id: r.key_id,
            username: r.username,
            name: r.key_name,
            prefix: r.key_prefix,
            scopes: r.scopes,
            is_active: r.is_active,
            created_at: r.created_at.0,
            rotated_at: r.rotated_at.map(|t| t.0),
            expires_at: r.expires_at.0,
            last_used: r.last_used.map(|t| t.0),
            usage_count: r.usage_count,
            former_until: r.former_until.map(|t| t.0),
        })
        .collect())
}

/// What takes the place of a key's secret.
#[derive(Clone, Copy)]
pub struct Rotation<'a> {
    /// The new one.
    pub secret: NewSecret<'a>,
    /// When the key ends.
    pub expires_at: Timestamp,
    /// How much longer the old one counts; a day at most.
    pub grace: Span,
}

/// Gives a key another secret and another end. False if there is no such key in force.
pub async fn rotate(
    conn: &mut PgConnection,
    actor: &Actor,
    key_id: Uuid,
    rotation: &Rotation<'_>,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    // Of two that rotate at once the second waits here.
    let done = sqlx::query!(
        "UPDATE users.person_keys
         SET expires_at = $2
         WHERE key_id = $1 AND revoked_at IS NULL AND expires_at > now()",
        key_id,
        Ts(rotation.expires_at) as Ts
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }

    sqlx::query!(
        "UPDATE users.person_key_secrets
         SET valid_until = least(valid_until, now() + make_interval(secs => $2))
         WHERE key_id = $1 AND (valid_until IS NULL OR valid_until > now())",
        key_id,
        rotation.grace.to_std().as_secs_f64()
    )
    .execute(&mut *tx)
    .await?;
    insert_secret(&mut tx, key_id, &rotation.secret).await?;

    tx.commit().await?;
    Ok(true)
}

/// Revokes a key permanently. Returns `false` when there is no such key in force.
pub async fn revoke(
    conn: &mut PgConnection,
    actor: &Actor,
    key_id: Uuid,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.person_keys SET revoked_at = now() WHERE key_id = $1 AND revoked_at IS NULL",
        key_id
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// Whose key the secret with this hash belongs to: none when there is none, it or its key is over
/// or revoked, or its owner may not be let in now.
pub async fn authenticate(
    conn: &mut PgConnection,
    hash: &[u8],
) -> Result<Option<PersonKeyFacts>, StoreError> {
    let row = sqlx::query_file!("src/person_keys/authenticate.sql", hash)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|r| PersonKeyFacts {
        key_id: r.key_id,
        user_id: r.user_id,
        username: r.username,
        full_name: r.full_name,
        role: r.role,
        tenant_id: r.tenant_id,
        scopes: r.scopes,
    }))
}

/// Adds uses that were counted in memory.
pub async fn used(conn: &mut PgConnection, key_id: Uuid, times: u32) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users.person_keys
         SET last_used = now(), usage_count = usage_count + $2
         WHERE key_id = $1 AND revoked_at IS NULL",
        key_id,
        i64::from(times)
    )
    .execute(conn)
    .await?;
    Ok(())
}
