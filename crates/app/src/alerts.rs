//! Alerts: what people do with them.

use model::AlertId;
use store::StoreError;

use crate::database::Pool;

/// Records that somebody has seen an alert. `false` when there is no such alert.
pub async fn acknowledge(pool: &Pool, actor: &str, alert_id: AlertId) -> Result<bool, StoreError> {
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    store::alerts::ack(&mut conn, actor, alert_id).await
}
