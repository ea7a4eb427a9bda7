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
    let done = sqlx::query_file!(
        "src/ssp_sections/save.sql",
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
