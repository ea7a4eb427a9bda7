//! Passkeys of people, and what people see of their second factors.

use model::{Actor, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Ts, begin};

/// A passkey in force.
#[derive(Clone, Debug)]
pub struct PasskeyRow {
    /// The factor.
    pub factor_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Its id towards browsers.
    pub credential_id: Vec<u8>,
    /// Its public key.
    pub public_key: Vec<u8>,
    /// What authenticators call its account.
    pub user_handle: Vec<u8>,
    /// Its counter and flags.
    pub state: Vec<u8>,
    /// How browsers reach it.
    pub transports: i16,
}

/// The passkeys in force of one account, or the one of an id towards browsers.
async fn find(
    conn: &mut PgConnection,
    user_id: Option<Uuid>,
    credential_id: Option<&[u8]>,
) -> Result<Vec<PasskeyRow>, StoreError> {
    let rows = sqlx::query_as!(
        PasskeyRow,
        r#"SELECT
               factor_id, user_id, credential_id AS "credential_id!", public_key AS "public_key!",
               user_handle AS "user_handle!", passkey_state AS "state!", transports AS "transports!"
           FROM users.mfa_factors
           WHERE kind = 'passkey' AND removed_at IS NULL
               AND (user_id = $1 OR credential_id = $2)
           ORDER BY created_at"#,
        user_id,
        credential_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The passkey of this id towards browsers, if it is in force.
pub async fn of_credential(
    conn: &mut PgConnection,
    credential_id: &[u8],
) -> Result<Option<PasskeyRow>, StoreError> {
    Ok(find(conn, None, Some(credential_id)).await?.pop())
}

/// The passkeys in force of an account, the oldest first.
pub async fn of_account(
    conn: &mut PgConnection,
    user_id: Uuid,
) -> Result<Vec<PasskeyRow>, StoreError> {
    find(conn, Some(user_id), None).await
}

/// A passkey to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewPasskey<'a> {
    /// Whose it is.
    pub user_id: Uuid,
    /// What its person calls it.
    pub name: &'a str,
    /// Its id towards browsers.
    pub credential_id: &'a [u8],
    /// Its public key.
    pub public_key: &'a [u8],
    /// What authenticators call its account.
    pub user_handle: &'a [u8],
    /// Its counter and flags.
    pub state: &'a [u8],
    /// Its counter.
    pub counter: i64,
    /// How browsers reach it.
    pub transports: i16,
}

/// Keeps a passkey; sessions of its account other than `session_id` end. Returns it as its person
/// sees it; none if a passkey of its id is or was registered.
pub async fn add(
    conn: &mut PgConnection,
    actor: &Actor,
    session_id: Uuid,
    passkey: &NewPasskey<'_>,
) -> Result<Option<FactorRow>, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO users.mfa_factors (
             user_id, kind, name, credential_id, public_key, user_handle, passkey_state, sign_count,
             transports
         )
         VALUES ($1, 'passkey', $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (credential_id) DO NOTHING
         RETURNING factor_id",
        passkey.user_id,
        passkey.name,
        passkey.credential_id,
        passkey.public_key,
        passkey.user_handle,
        passkey.state,
        passkey.counter,
        passkey.transports
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(id) = id else { return Ok(None) };
    end_other_sessions(&mut tx, passkey.user_id, session_id).await?;
    let row = factors(&mut tx, passkey.user_id).await?;
    tx.commit().await?;
    Ok(row.into_iter().find(|factor| factor.factor_id == id))
}

async fn end_other_sessions(
    conn: &mut PgConnection,
    user_id: Uuid,
    session_id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users.sessions
         SET ended_at = now(), end_reason = 'factor'
         WHERE user_id = $1 AND session_id <> $2 AND ended_at IS NULL",
        user_id,
        session_id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes the use of a passkey; false if it was used or removed since `before` was read.
pub async fn note_use(
    conn: &mut PgConnection,
    factor_id: Uuid,
    before: &[u8],
    after: &[u8],
    counter: i64,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE users.mfa_factors
         SET passkey_state = $3, sign_count = $4, last_used = now()
         WHERE factor_id = $1 AND passkey_state = $2 AND removed_at IS NULL",
        factor_id,
        before,
        after,
        counter
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A second factor as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FactorRow {
    /// The factor.
    pub factor_id: Uuid,
    /// `totp` or `passkey`.
    pub kind: String,
    /// What its person calls it.
    pub name: String,
    /// When it was set up.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
}

/// The second factors in force of an account, the oldest first.
pub async fn factors(conn: &mut PgConnection, user_id: Uuid) -> Result<Vec<FactorRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               factor_id, kind, name, created_at AS "created_at: Ts", last_used AS "last_used: Ts"
           FROM users.mfa_factors
           WHERE user_id = $1 AND removed_at IS NULL
           ORDER BY created_at, factor_id"#,
        user_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| FactorRow {
            factor_id: r.factor_id,
            kind: r.kind,
            name: r.name,
            created_at: r.created_at.0,
            last_used: r.last_used.map(|t| t.0),
        })
        .collect())
}

/// Renames a passkey of an account; false if it has none of this id.
pub async fn rename(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    factor_id: Uuid,
    name: &str,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.mfa_factors
         SET name = $3
         WHERE factor_id = $2 AND user_id = $1 AND kind = 'passkey' AND removed_at IS NULL",
        user_id,
        factor_id,
        name
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is removed, and other sessions of the account have ended.
    Done,
    /// The account has no passkey of this id.
    NoSuchPasskey,
    /// The account would be left without a second factor.
    LastFactor,
}

/// Removes a passkey of an account, unless it is the last of its second factors.
pub async fn remove(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    session_id: Uuid,
    factor_id: Uuid,
) -> Result<Removal, StoreError> {
    let mut tx = begin(conn, actor).await?;
    // All are locked, so that no two removals at once each leave the other's.
    let rows = sqlx::query!(
        "SELECT factor_id, kind
         FROM users.mfa_factors
         WHERE user_id = $1 AND removed_at IS NULL
         ORDER BY factor_id
         FOR UPDATE",
        user_id
    )
    .fetch_all(&mut *tx)
    .await?;
    let is_theirs = rows
        .iter()
        .any(|row| row.factor_id == factor_id && row.kind == "passkey");
    if !is_theirs {
        return Ok(Removal::NoSuchPasskey);
    }
    if rows.len() == 1 {
        return Ok(Removal::LastFactor);
    }

    sqlx::query!(
        "UPDATE users.mfa_factors SET removed_at = now() WHERE factor_id = $1",
        factor_id
    )
    .execute(&mut *tx)
    .await?;
    end_other_sessions(&mut tx, user_id, session_id).await?;
    tx.commit().await?;
    Ok(Removal::Done)
}
