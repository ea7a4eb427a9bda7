//! Whose the events of an alert are: the services, tenants, accounts and machines that they name.

use model::{DetectionUpdate, EventKey};
use sqlx::PgConnection;
use uuid::Uuid;

use super::written::SERVICES_MAX;
use crate::StoreError;
use crate::db::Ts;

/// Whose the events are, as they say.
#[derive(Clone, Default)]
pub(super) struct Owners {
    pub(super) services: Vec<String>,
    /// The first two tenants: whether it is one is all that anybody asks. The nil UUID stands for
    /// an event without a tenant.
    pub(super) tenants: Vec<Uuid>,
    /// Those that failed logins tried.
    pub(super) accounts: Vec<String>,
    /// The machines that logged them.
    pub(super) hosts: Vec<String>,
}

/// The services, tenants, accounts and machines that the events name.
pub(super) async fn event_owners(
    conn: &mut PgConnection,
    events: &[EventKey],
) -> Result<Owners, StoreError> {
    let owners = owners_of(conn, [events]).await?;
    Ok(owners.into_iter().next().unwrap_or_default())
}

/// The same of the events of each change.
pub(super) async fn owners_of_changes(
    conn: &mut PgConnection,
    changes: &[DetectionUpdate],
) -> Result<Vec<Owners>, StoreError> {
    owners_of(conn, changes.iter().map(|change| change.events.as_slice())).await
}

/// The owners of each of the groups of events. Asked of the tables, so that windows need not
/// remember them; one look-up by the key for each event.
async fn owners_of<'e>(
    conn: &mut PgConnection,
    groups: impl IntoIterator<Item = &'e [EventKey]>,
) -> Result<Vec<Owners>, StoreError> {
    let (mut times, mut ids, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let mut owners = Vec::new();
    for (place, events) in groups.into_iter().enumerate() {
        owners.push(Owners::default());
        for event in events {
            times.push(Ts(event.timestamp));
            ids.push(event.event_id.0);
            places.push(i32::try_from(place).unwrap_or(i32::MAX));
        }
    }

    if times.is_empty() {
        return Ok(owners);
    }

    let rows = sqlx::query_file!(
        "src/alerts/event_owners.sql",
        &times as &[Ts],
        &ids,
        &places,
        i32::try_from(SERVICES_MAX).unwrap_or(i32::MAX),
    )
    .fetch_all(conn)
    .await?;

    for row in rows {
        let place = usize::try_from(row.place).unwrap_or(usize::MAX);
        if let Some(owner) = owners.get_mut(place) {
            *owner = Owners {
                services: row.services,
                tenants: row.tenants,
                accounts: row.accounts,
                hosts: row.hosts,
            };
        }
    }
    Ok(owners)
}
