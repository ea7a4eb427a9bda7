//! Alerts without a router.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, helpers included"
)]

use model::{Alert, Channel, DetectionUpdate};
use sqlx::{Connection as _, PgConnection};
use store::alerts::{self, Applied, Batch, Next, Route};
use store::outbox::ChannelTraits;

/// The channels of tests, as far as the outbox tells them apart: people read `email`, `slack` and
/// `pagerduty`, and `pagerduty` keeps an alert open until it hears of its end.
pub fn channel_traits() -> ChannelTraits {
    ChannelTraits {
        limited: ["email", "slack", "pagerduty"].map(Channel::named).to_vec(),
        resolving: vec![Channel::named("pagerduty")],
    }
}

/// Writes changes with the notifications that `route` asks for, and commits.
pub async fn apply_alerts(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
    route: impl Fn(&Alert) -> Route,
) -> Applied {
    let mut tx = conn.begin().await.unwrap();
    alerts::take_turn(&mut tx).await.unwrap();
    let applied = write_alerts(&mut tx, alerts::apply(changes), route).await;
    tx.commit().await.unwrap();
    applied
}

/// Tries changes again that could not be written, and commits.
pub async fn retry_alerts(conn: &mut PgConnection, route: impl Fn(&Alert) -> Route) -> Applied {
    let mut tx = conn.begin().await.unwrap();
    alerts::take_turn(&mut tx).await.unwrap();
    let batch = alerts::retry_pending(&mut tx).await.unwrap();
    let applied = write_alerts(&mut tx, batch, route).await;
    tx.commit().await.unwrap();
    applied
}

async fn write_alerts(
    conn: &mut PgConnection,
    mut batch: Batch<'_>,
    route: impl Fn(&Alert) -> Route,
) -> Applied {
    loop {
        match batch.write_next(conn).await.unwrap() {
            Next::Written(mut part) => {
                for written in part.alerts.iter_mut().filter(|w| w.needs_route()) {
                    written.route = route(&written.alert);
                }
                batch = part.enqueue(conn, &channel_traits()).await.unwrap();
            }
            Next::Done(applied) => return applied,
        }
    }
}
