//! Accounts of people, as those see them who look after them: no hash and no secret is in reach.

use model::{Actor, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Ts, begin};

/// An account in a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are columns of the table"
)]
pub struct AccountRow {
    /// The account.
    pub user_id: Uuid,
    /// Its name, which it keeps.
    pub username: String,
    /// Where mail to its person goes.
    pub email: String,
    /// Its person's name.
    pub full_name: Option<String>,
    /// `user`, `manager`, `admin`, `system_admin` or `assessor`.
    pub role: String,
    /// Whether it may be used.
    pub is_active: bool,
    /// Whether it owns machines' keys, and nobody signs in as it.
    pub is_service: bool,
    /// Why it may not be used.
    pub disabled_reason: Option<String>,
    /// Until when it is given; without an end if none.
    pub expires_at: Option<Timestamp>,
    /// Whether it has a password.
    pub has_password: bool,
    /// Whether the next sign-in asks for a new password.
    pub must_change_password: bool,
    /// When the password was chosen.
    pub password_last_changed: Option<Timestamp>,
    /// Wrong attempts in a row.
    pub failed_attempts: i32,
    /// Until when it is locked; a time in the past locks nothing.
    pub locked_until: Option<Timestamp>,
    /// The latest sign-in.
    pub last_login: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its second factors in force: `totp`, `passkey`.
    pub factors: Vec<String>,
    /// Until when an enrollment link for it can be used.
    pub invited_until: Option<Timestamp>,
}

/// Which accounts a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// The one of this name or email, in any case.
    pub name: Option<&'a str>,
    /// Those that are locked now.
    pub locked: bool,
}

/// Accounts by name.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
) -> Result<Vec<AccountRow>, StoreError> {
    let rows = sqlx::query_file!("src/accounts/list.sql", filter.name, filter.locked)
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|r| AccountRow {
            user_id: r.user_id,
            username: r.username,
            email: r.email,
            full_name: r.full_name,
            role: r.role,
            is_active: r.is_active,
            is_service: r.is_service,
            disabled_reason: r.disabled_reason,
            expires_at: r.expires_at.map(|t| t.0),
            has_password: r.has_password,
            must_change_password: r.must_change_password,
            password_last_changed: r.password_last_changed.map(|t| t.0),
            failed_attempts: r.failed_attempts,
            locked_until: r.locked_until.map(|t| t.0),
            last_login: r.last_login.map(|t| t.0),
            created_at: r.created_at.0,
            factors: r.factors,
            invited_until: r.invited_until.map(|t| t.0),
        })
        .collect())
}

/// An account to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewAccount<'a> {
    /// Its name.
    pub username: &'a str,
    /// Where mail to its person goes.
    pub email: &'a str,
    /// Its person's name.
    pub full_name: Option<&'a str>,
    /// Its role.
    pub role: &'a str,
    /// Until when it is given.
    pub expires_at: Option<Timestamp>,
}

/// Makes an account without a password; returns its id.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    account: &NewAccount<'_>,
) -> Result<Uuid, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO users.users (username, email, full_name, role, expires_at, tenant_id)
         VALUES ($1, $2, $3, $4, $5, blueteam.tenant_of_new())
         RETURNING user_id",
        account.username,
        account.email,
        account.full_name,
        account.role,
        account.expires_at.map(Ts) as Option<Ts>
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(id)
}

/// Gives an account another role. Its sessions end.
pub async fn set_role(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    role: &str,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "UPDATE users.users SET role = $2 WHERE user_id = $1",
        user_id,
        role
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}

/// Puts an account out of use, for a reason: its sessions and links end, and its keys with them.
pub async fn disable(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    reason: &str,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "UPDATE users.users SET is_active = false, disabled_reason = $2 WHERE user_id = $1",
        user_id,
        reason
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}

/// Lets an account be used again.
pub async fn enable(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "UPDATE users.users SET is_active = true WHERE user_id = $1",
        user_id
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}

/// Ends the lock of an account, or of every one; returns the names of those that were locked.
pub async fn unlock(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Option<Uuid>,
) -> Result<Vec<String>, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let names = sqlx::query_scalar!(
        "WITH locked AS (
             SELECT user_id
             FROM users.users
             WHERE account_locked_until > now() AND (user_id = $1 OR $1 IS NULL)
             FOR UPDATE
         )
         UPDATE users.users u
         SET failed_login_attempts = 0, last_failed_login = NULL, account_locked_until = NULL
         FROM locked
         WHERE u.user_id = locked.user_id
         RETURNING u.username",
        user_id
    )
    .fetch_all(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(names)
}

/// Has an account choose a new password at its next sign-in, or every account of a person; returns
/// how many did not have to before.
pub async fn require_password_change(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Option<Uuid>,
) -> Result<u64, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.users
         SET must_change_password = true
         WHERE NOT is_service AND NOT must_change_password AND (user_id = $1 OR $1 IS NULL)",
        user_id
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected())
}

/// What an enrollment link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPurpose {
    /// A new account's first password and second factor.
    Enroll,
    /// New ones for a person who lost theirs.
    Recover,
}

impl LinkPurpose {
    /// As the table has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Recover => "recover",
        }
    }
}

/// Stores a link by the hash of its token; the account's other links end. Returns until when it can
/// be used.
pub async fn add_link(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    purpose: LinkPurpose,
    token_hash: &[u8],
) -> Result<Timestamp, StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "UPDATE users.enrollment_links
         SET revoked_at = now()
         WHERE user_id = $1 AND used_at IS NULL AND revoked_at IS NULL",
        user_id
    )
    .execute(&mut *tx)
    .await?;

    let until = sqlx::query_scalar!(
        r#"INSERT INTO users.enrollment_links (user_id, purpose, token_hash)
           VALUES ($1, $2, $3)
           RETURNING expires_at AS "until: Ts""#,
        user_id,
        purpose.as_str(),
        token_hash
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(until.0)
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SessionRow {
    /// The session.
    pub session_id: Uuid,
    /// Whose it is.
    pub username: String,
    /// How they signed in: `password`, `totp`, `recovery code`, `passkey`.
    pub factors: Vec<String>,
    /// From where.
    pub ip_address: Option<String>,
    /// With what.
    pub user_agent: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, to the minute or so.
    pub seen_at: Timestamp,
}

/// Sessions that have not ended, the newest first: of one account, or of all.
pub async fn sessions(
    conn: &mut PgConnection,
    user_id: Option<Uuid>,
) -> Result<Vec<SessionRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               s.session_id, u.username, s.factors, s.ip_address, s.user_agent,
               s.created_at AS "created_at: Ts", s.seen_at AS "seen_at: Ts"
           FROM users.sessions s
           JOIN users.users u USING (user_id)
           WHERE s.ended_at IS NULL AND (s.user_id = $1 OR $1 IS NULL)
           ORDER BY s.created_at DESC, s.session_id DESC"#,
        user_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| SessionRow {
            session_id: r.session_id,
            username: r.username,
            factors: r.factors,
            ip_address: r.ip_address,
            user_agent: r.user_agent,
            created_at: r.created_at.0,
            seen_at: r.seen_at.0,
        })
        .collect())
}

/// Which sessions are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Session(Uuid),
    /// All of an account.
    Account(Uuid),
    /// All.
    All,
}

/// Ends sessions; returns how many.
pub async fn revoke_sessions(
    conn: &mut PgConnection,
    actor: &Actor,
    which: Which,
) -> Result<u64, StoreError> {
    let (session_id, user_id) = match which {
        Which::Session(id) => (Some(id), None),
        Which::Account(id) => (None, Some(id)),
        Which::All => (None, None),
    };

    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.sessions
         SET ended_at = now(), end_reason = 'revoked'
         WHERE ended_at IS NULL
             AND (session_id = $1 OR $1 IS NULL)
             AND (user_id = $2 OR $2 IS NULL)",
        session_id,
        user_id
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected())
}
