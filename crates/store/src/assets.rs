//! The assets that the assessment is about (32 CFR 170.19(c)).

use model::Actor;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::begin;

/// A row of `blueteam.assets`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Asset {
    pub name: String,
    pub category: String,
    pub owner: Option<String>,
    pub description: Option<String>,
    pub treatment: Option<String>,
}

/// All of them, by name.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<Asset>, StoreError> {
    let rows = sqlx::query_as!(
        Asset,
        "SELECT name, category, owner, description, treatment
         FROM blueteam.assets
         WHERE tenant_id = (SELECT blueteam.tenant_of_new())
         ORDER BY name"
    );
    Ok(rows.fetch_all(conn).await?)
}

/// Writes one; what was there under its name is replaced.
pub async fn save(conn: &mut PgConnection, actor: &Actor, a: &Asset) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "INSERT INTO blueteam.assets (name, category, owner, description, treatment)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, name) DO UPDATE
         SET
             category = excluded.category, owner = excluded.owner,
             description = excluded.description, treatment = excluded.treatment,
             updated_at = now()",
        a.name,
        a.category,
        a.owner,
        a.description,
        a.treatment
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}

/// Takes one out. False when there is none of that name.
pub async fn remove(
    conn: &mut PgConnection,
    actor: &Actor,
    name: &str,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "DELETE FROM blueteam.assets WHERE name = $1 AND tenant_id = blueteam.tenant_of_new()",
        name
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected() > 0)
}
