//! What people have chosen for themselves in the console.

use model::Actor;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::begin;

/// What a person has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// The zone of the times that they see; none: that of the business hours.
    pub time_zone: Option<String>,
    /// Whether single keys do something.
    pub keyboard_shortcuts: bool,
    /// The filter with which their list of alerts opens.
    pub alert_filter: Option<String>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            time_zone: None,
            keyboard_shortcuts: true,
            alert_filter: None,
        }
    }
}

/// What a person has chosen; what nobody has chosen is the default.
pub async fn of(conn: &mut PgConnection, user_id: Uuid) -> Result<Preferences, StoreError> {
    let chosen = sqlx::query_as!(
        Preferences,
        "SELECT time_zone, keyboard_shortcuts, alert_filter FROM users.preferences WHERE user_id = $1",
        user_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(chosen.unwrap_or_default())
}

/// Keeps what a person has chosen.
pub async fn save(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    chosen: &Preferences,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!(
        "INSERT INTO users.preferences (user_id, time_zone, keyboard_shortcuts, alert_filter)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id)
         DO UPDATE SET time_zone = $2, keyboard_shortcuts = $3, alert_filter = $4, updated_at = now()",
        user_id,
        chosen.time_zone,
        chosen.keyboard_shortcuts,
        chosen.alert_filter
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(())
}
