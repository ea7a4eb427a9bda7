//! Alerts: what people do with them.

use model::{Actor, AlertId, Origin, Via};
use store::{PgConnection, StoreError};

use crate::ack_links::Link;
use crate::actor::{Denied, Permission, require};
use crate::database::Pool;

/// Why an alert was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AcknowledgeError {
    /// The actor may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Records that somebody has seen an alert. `false` when there is no such alert.
pub async fn acknowledge(
    conn: &mut PgConnection,
    actor: &Actor,
    alert_id: AlertId,
) -> Result<bool, AcknowledgeError> {
    require(actor, Permission::Acknowledge)?;
    Ok(store::alerts::ack(conn, actor, alert_id).await?)
}

/// The same for the holder of a signed link. `origin` is what their request says.
pub async fn acknowledge_by_link(
    pool: &Pool,
    link: &Link,
    origin: Origin,
) -> Result<bool, AcknowledgeError> {
    let actor = Actor {
        name: format!("{} (link in a mail)", link.who),
        via: Via::AckLink,
        tenant: None,
        origin,
    };

    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    acknowledge(&mut conn, &actor, link.alert_id).await
}
