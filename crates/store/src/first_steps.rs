//! What a new installation has of what it needs.

use sqlx::PgConnection;

use crate::StoreError;

/// What there is already, as far as the database knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstSteps {
    /// System administrators who can sign in with both factors.
    pub administrators: i64,
    /// Sources that have ever sent anything.
    pub sources: i64,
    /// Whether a notification has ever been delivered.
    pub has_delivered: bool,
    /// Whether a description of the system was imported.
    pub has_description: bool,
}

/// Returns what there is already.
pub async fn show(conn: &mut PgConnection) -> Result<FirstSteps, StoreError> {
    Ok(sqlx::query_as!(
        FirstSteps,
        r#"SELECT
               (SELECT count(*)
                FROM users.users u
                WHERE u.role = 'system_admin' AND u.is_active
                  AND EXISTS (SELECT FROM users.mfa_factors f
                              WHERE f.user_id = u.user_id AND f.removed_at IS NULL)) AS "administrators!",
               (SELECT count(*) FROM blueteam.sources WHERE received > 0) AS "sources!",
               EXISTS (SELECT FROM blueteam.notifications WHERE state = 'delivered') AS "has_delivered!",
               EXISTS (SELECT FROM blueteam.ssp_sections) AS "has_description!""#
    )
    .fetch_one(conn)
    .await?)
}
