//! From detections to alerts and their notifications, in one transaction.

use model::{Alert, DetectionUpdate, TenantName, Timestamp};
use notify::{Routing, Silences};
use store::alerts::{Applied, Batch, Next, Route};
use store::{PgConnection, StoreError};

use crate::channels;

/// Decides where alerts are notified.
#[derive(Clone, Copy, Debug)]
pub struct AlertRouter<'a> {
    /// Which alert takes which channel.
    pub routing: &'a Routing,
    /// The silences in force.
    pub silences: &'a Silences,
    /// Whose alerts they are, by the tenant's name; none: `default`'s.
    pub tenant: Option<&'a TenantName>,
    /// The present.
    pub now: Timestamp,
    /// Whether it is business time.
    pub business_hours: bool,
    /// Alerts that were last seen before this time are stored without a notification: they come
    /// from the past of a log or a database.
    pub stale_before: Timestamp,
}

impl AlertRouter<'_> {
    /// The channels of an alert, or the silence that covers it.
    pub fn route(&self, alert: &Alert) -> Route {
        if alert.last_seen < self.stale_before {
            return Route::default();
        }

        Route {
            channels: match self.tenant {
                Some(tenant) => self.routing.channels_of(tenant, alert, self.business_hours),
                None => self.routing.channels(alert, self.business_hours),
            },
            muted_by: self.silences.covering(alert, self.now),
            most: self.routing.most(alert),
        }
    }

    /// Writes the alerts of changes, their incidents and their notifications. Must run in a
    /// transaction, after [`store::alerts::take_turn`].
    pub async fn apply(
        &self,
        conn: &mut PgConnection,
        changes: &[DetectionUpdate],
    ) -> Result<Applied, StoreError> {
        self.write(conn, store::alerts::apply(changes)).await
    }

    /// The same for changes that could not be written before and are due again.
    pub async fn retry_pending(&self, conn: &mut PgConnection) -> Result<Applied, StoreError> {
        let batch = store::alerts::retry_pending(conn).await?;
        self.write(conn, batch).await
    }

    async fn write(
        &self,
        conn: &mut PgConnection,
        mut batch: Batch<'_>,
    ) -> Result<Applied, StoreError> {
        let traits = channels::traits();
        loop {
            match batch.write_next(conn).await? {
                Next::Written(mut part) => {
                    for written in part.alerts.iter_mut().filter(|w| w.needs_route()) {
                        written.route = self.route(&written.alert);
                    }
                    batch = part.enqueue(conn, &traits).await?;
                }
                Next::Done(applied) => return Ok(applied),
            }
        }
    }
}
