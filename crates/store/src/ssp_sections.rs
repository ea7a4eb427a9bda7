//! The sections of the system security plan (3.12.4).

use model::Actor;
use sqlx::PgConnection;

use crate::StoreError;
use crate::db::begin;

/// A section with its part of the system's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Number of its chapter.
    pub section: String,
    /// Title of its chapter.
    pub title: String,
    /// TOML.
    pub content: String,
}

/// The sections that were imported, in the order of the plan; none before an import.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<Section>, StoreError> {
    let rows = sqlx::query_as!(
        Section,
        "SELECT section, title, content
         FROM blueteam.ssp_sections
         WHERE format = 'toml'
         ORDER BY position, section"
    );
    Ok(rows.fetch_all(conn).await?)
}

/// Writes all sections. Returns how many are new or say something else than before.
pub async fn save(
    conn: &mut PgConnection,
    actor: &Actor,
    sections: &[Section],
) -> Result<u64, StoreError> {
    let column = |of: fn(&Section) -> &String| sections.iter().map(of).cloned().collect::<Vec<_>>();
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "INSERT INTO blueteam.ssp_sections AS s (
             section, title, content, position, updated_by, format
         )
         SELECT section, title, content, n::integer, $4, 'toml'
         FROM unnest(
             $1::text[], $2::text[], $3::text[]
         ) WITH ORDINALITY AS given (section, title, content, n)
         ON CONFLICT (section) WHERE format IS NOT NULL DO UPDATE
         SET
             title = excluded.title, content = excluded.content, position = excluded.position,
             updated_by = excluded.updated_by, updated_at = now()
         WHERE (s.title, s.content, s.position) IS DISTINCT FROM (
             excluded.title, excluded.content, excluded.position
         )",
        &column(|s| &s.section),
        &column(|s| &s.title),
        &column(|s| &s.content),
        actor.to_string(),
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected())
}
