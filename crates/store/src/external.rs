//! People whose accounts are kept by an OpenID Connect provider or a directory: who they are there.

use model::{Actor, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Ts, begin};

/// By what a person is known elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// An OpenID Connect provider.
    Oidc,
    /// A directory.
    Ldap,
}

impl Method {
    /// Returns its name in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::Ldap => "ldap",
        }
    }
}

/// Who a person is to a provider or a directory.
#[derive(Clone, Copy, Debug)]
pub struct ExternalId<'a> {
    /// By what they are known.
    pub method: Method,
    /// The provider's issuer, or the directory's base.
    pub issuer: &'a str,
    /// What identifies them there.
    pub subject: &'a str,
}

/// Somebody whom a provider or a directory vouches for.
#[derive(Clone, Copy, Debug)]
pub struct Vouched<'a> {
    /// Who it is there.
    pub id: ExternalId<'a>,
    /// The name of an account to make, if there is none yet.
    pub username: Option<&'a str>,
    /// Its mail address.
    pub email: Option<&'a str>,
    /// Its person's name.
    pub full_name: Option<&'a str>,
    /// The role that their groups give.
    pub role: &'a str,
}

/// What became of somebody whom a provider or a directory vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// The account is there, with the role of their groups.
    Found(Uuid),
    /// The account was made.
    Created(Uuid),
    /// It is the last system administrator, who stays one.
    RoleKept(Uuid),
    /// The name belongs to an account that is not linked to them.
    Taken,
    /// The account is disabled, past its end, or a service's.
    Unusable(Uuid),
}

/// Finds or makes the account of somebody whom a provider or a directory vouches for, and gives it
/// the role of their groups. Whoever may not put things right has no password of their own then.
pub async fn enter(
    conn: &mut PgConnection,
    actor: &Actor,
    vouched: &Vouched<'_>,
) -> Result<Entered, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let row = sqlx::query!(
        r#"SELECT account_id, outcome AS "outcome!"
           FROM users.enter_external($1, $2, $3, $4, $5, $6, $7)"#,
        vouched.id.method.as_str(),
        vouched.id.issuer,
        vouched.id.subject,
        vouched.username,
        vouched.email,
        vouched.full_name,
        vouched.role
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(match (row.outcome.as_str(), row.account_id) {
        ("found", Some(id)) => Entered::Found(id),
        ("created", Some(id)) => Entered::Created(id),
        ("role kept", Some(id)) => Entered::RoleKept(id),
        ("unusable", Some(id)) => Entered::Unusable(id),
        _ => Entered::Taken,
    })
}

/// A person's identity elsewhere, in a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct IdentityRow {
    /// The identity.
    pub identity_id: Uuid,
    /// `oidc` or `ldap`.
    pub method: String,
    /// The provider's issuer, or the directory's base.
    pub issuer: String,
    /// What identifies the person there.
    pub subject: String,
    /// When it was linked.
    pub created_at: Timestamp,
    /// When it last let them in.
    pub last_used: Option<Timestamp>,
}

/// The identities of an account that count.
pub async fn identities(
    conn: &mut PgConnection,
    user_id: Uuid,
) -> Result<Vec<IdentityRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT
               identity_id, method, issuer, subject, created_at AS "created_at: Ts",
               last_used AS "last_used: Ts"
           FROM users.external_identities
           WHERE user_id = $1 AND removed_at IS NULL
           ORDER BY created_at"#,
        user_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| IdentityRow {
            identity_id: r.identity_id,
            method: r.method,
            issuer: r.issuer,
            subject: r.subject,
            created_at: r.created_at.0,
            last_used: r.last_used.map(|t| t.0),
        })
        .collect())
}

/// Links an account to a person elsewhere; false if another account is linked to them.
pub async fn link(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    id: ExternalId<'_>,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "INSERT INTO users.external_identities (user_id, method, issuer, subject)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
        user_id,
        id.method.as_str(),
        id.issuer,
        id.subject
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the links of an account; returns how many there were.
pub async fn unlink(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
) -> Result<u64, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.external_identities
         SET removed_at = now()
         WHERE user_id = $1 AND removed_at IS NULL",
        user_id
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected())
}

/// An account that is linked to somebody in a directory.
#[derive(Clone, Debug)]
pub struct LinkedRow {
    /// The account.
    pub user_id: Uuid,
    /// Its name.
    pub username: String,
    /// Its role.
    pub role: String,
    /// Whether it may be used.
    pub is_active: bool,
    /// What identifies the person there.
    pub subject: String,
}

/// The accounts that are linked to people of `issuer`.
pub async fn linked(
    conn: &mut PgConnection,
    method: Method,
    issuer: &str,
) -> Result<Vec<LinkedRow>, StoreError> {
    Ok(sqlx::query_as!(
        LinkedRow,
        "SELECT u.user_id, u.username, u.role, u.is_active, i.subject
         FROM users.external_identities i
         JOIN users.users u USING (user_id)
         WHERE i.method = $1 AND i.issuer = $2 AND i.removed_at IS NULL
         ORDER BY u.username",
        method.as_str(),
        issuer
    )
    .fetch_all(conn)
    .await?)
}

/// What became of an account that follows a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It was changed.
    Done,
    /// It is the last system administrator's, which stays.
    Kept,
    /// There was nothing to change.
    Nothing,
}

impl Followed {
    fn of(outcome: &str) -> Self {
        match outcome {
            "done" => Self::Done,
            "kept" => Self::Kept,
            _ => Self::Nothing,
        }
    }
}

/// Disables the account of somebody who has left the directory: its sessions and links end.
pub async fn leave(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    reason: &str,
) -> Result<Followed, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let outcome = sqlx::query_scalar!(
        r#"SELECT users.leave_directory($1, $2) AS "outcome!""#,
        user_id,
        reason
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(Followed::of(&outcome))
}

/// Gives the account of somebody in the directory the role of their groups.
pub async fn follow_role(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    role: &str,
) -> Result<Followed, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let outcome = sqlx::query_scalar!(
        r#"SELECT users.follow_directory($1, $2) AS "outcome!""#,
        user_id,
        role
    )
    .fetch_one(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(Followed::of(&outcome))
}
