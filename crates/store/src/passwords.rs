//! The policies that passwords must meet, one for each tenant and one for all others.

use model::Actor;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::begin;

/// A row of `users.password_policies`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are columns of the table"
)]
pub struct PolicyRow {
    /// `nist-63b-4`, `document` or `custom`.
    pub profile: String,
    /// The fewest characters of a password that is the only factor.
    pub min_length: i32,
    /// The fewest where there is a second factor.
    pub mfa_min_length: i32,
    /// Whether it must have an upper-case letter.
    pub require_uppercase: bool,
    /// Whether it must have a lower-case letter.
    pub require_lowercase: bool,
    /// Whether it must have a digit.
    pub require_numbers: bool,
    /// Whether it must have another character.
    pub require_special_chars: bool,
    /// After how many days it must be changed; 0: never.
    pub max_age_days: i32,
    /// How many former passwords are not taken again.
    pub history_count: i32,
    /// How many characters must differ from the password before (3.5.7).
    pub min_changed_characters: i32,
    /// Whether common passwords are refused.
    pub use_blocklist: bool,
    /// How many wrong attempts in a row lock the account (3.1.8).
    pub max_failed_attempts: i32,
    /// For how many minutes.
    pub lockout_duration_minutes: i32,
    /// After how many days without a sign-in an account is disabled (3.5.6).
    pub idle_disable_days: i32,
}

/// The policy that counts for the accounts of a tenant.
pub async fn policy(
    conn: &mut PgConnection,
    tenant: Option<Uuid>,
) -> Result<PolicyRow, StoreError> {
    let row = sqlx::query_as!(
        PolicyRow,
        r#"SELECT
               profile AS "profile!", min_length AS "min_length!",
               mfa_min_length AS "mfa_min_length!", require_uppercase AS "require_uppercase!",
               require_lowercase AS "require_lowercase!", require_numbers AS "require_numbers!",
               require_special_chars AS "require_special_chars!", max_age_days AS "max_age_days!",
               history_count AS "history_count!",
               min_changed_characters AS "min_changed_characters!",
               use_blocklist AS "use_blocklist!", max_failed_attempts AS "max_failed_attempts!",
               lockout_duration_minutes AS "lockout_duration_minutes!",
               idle_disable_days AS "idle_disable_days!"
           FROM users.policy_of($1)
           WHERE min_length IS NOT NULL"#,
        tenant
    )
    .fetch_optional(conn)
    .await?;
    row.ok_or_else(|| StoreError::Missing("users.password_policies", "policy in force".to_owned()))
}

/// Writes the policy of the accounts of no tenant.
pub async fn set_policy(
    conn: &mut PgConnection,
    actor: &Actor,
    policy: &PolicyRow,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query_file!(
        "src/passwords/set_policy.sql",
        policy.profile,
        policy.min_length,
        policy.mfa_min_length,
        policy.require_uppercase,
        policy.require_lowercase,
        policy.require_numbers,
        policy.require_special_chars,
        policy.max_age_days,
        policy.history_count,
        policy.min_changed_characters,
        policy.use_blocklist,
        policy.max_failed_attempts,
        policy.lockout_duration_minutes,
        policy.idle_disable_days
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}
