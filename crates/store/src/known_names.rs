//! The names of what the database has seen: to find what a person means who writes one.

use model::EntityKind;
use sqlx::PgConnection;

use crate::StoreError;

/// As many names are looked through for one that resembles a misspelled one.
const NAMES_MAX: i64 = 10_000;

/// Returns the values that alerts have for the user of this name: IDs in applications, and the name
/// itself where logs know the user by it.
pub async fn user_values(conn: &mut PgConnection, name: &str) -> Result<Vec<String>, StoreError> {
    let values = sqlx::query_file_scalar!("src/known_names/user_values.sql", name)
        .fetch_all(conn)
        .await?;
    Ok(values)
}

/// Returns names of users.
pub async fn users(conn: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let names = sqlx::query_file_scalar!("src/known_names/users.sql", NAMES_MAX)
        .fetch_all(conn)
        .await?;
    Ok(names)
}

/// Returns the entities of a kind that alerts have been about, the latest first.
pub async fn entities(
    conn: &mut PgConnection,
    kind: EntityKind,
) -> Result<Vec<String>, StoreError> {
    let values = sqlx::query_scalar!(
        r#"SELECT entity_value AS "value!"
           FROM blueteam.alert_history
           WHERE entity_type = $1 AND entity_value IS NOT NULL
           GROUP BY entity_value
           ORDER BY max(created_at) DESC
           LIMIT $2"#,
        kind.as_str(),
        NAMES_MAX
    )
    .fetch_all(conn)
    .await?;
    Ok(values)
}
