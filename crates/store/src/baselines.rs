//! What is normal for a tenant's user, kept across restarts.

use model::Source;
use serde_json::Value;
use sqlx::PgConnection;

use crate::StoreError;

/// One user's profile, in the engine's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// The source whose events it was learned from.
    pub source: Source,
    /// The user.
    pub user_key: String,
    /// What is normal for them.
    pub profile: Value,
}

/// Every profile of the tenant.
pub async fn load(conn: &mut PgConnection) -> Result<Vec<Baseline>, StoreError> {
    let rows = sqlx::query!(
        "SELECT source, user_key, profile
         FROM blueteam.user_baselines
         WHERE tenant_id = (SELECT blueteam.tenant_of_new())
         ORDER BY source, user_key"
    )
    .fetch_all(conn)
    .await?;

    // A profile that cannot be read is learned again; it must not keep the engine from starting.
    let readable = rows.into_iter().filter_map(|row| {
        let source = row.source.parse().ok()?;
        Some(Baseline {
            source,
            user_key: row.user_key,
            profile: row.profile,
        })
    });
    Ok(readable.collect())
}

/// Writes profiles in the caller's transaction; of two of one user the last counts.
pub async fn save(conn: &mut PgConnection, baselines: &[Baseline]) -> Result<(), StoreError> {
    if baselines.is_empty() {
        return Ok(());
    }

    let sources: Vec<String> = baselines.iter().map(|b| b.source.to_string()).collect();
    let users: Vec<String> = baselines.iter().map(|b| b.user_key.clone()).collect();
    let profiles: Vec<Value> = baselines.iter().map(|b| b.profile.clone()).collect();
    sqlx::query!(
        "INSERT INTO blueteam.user_baselines (source, user_key, profile)
         SELECT DISTINCT ON (b.source, b.user_key) b.source, b.user_key, b.profile
         FROM unnest(
             $1::text[], $2::text[], $3::jsonb[]
         ) WITH ORDINALITY AS b (source, user_key, profile, n)
         ORDER BY b.source, b.user_key, b.n DESC
         ON CONFLICT (tenant_id, source, user_key) DO UPDATE
         SET profile = excluded.profile, updated_at = now()",
        &sources,
        &users,
        &profiles
    )
    .execute(conn)
    .await?;

    Ok(())
}
