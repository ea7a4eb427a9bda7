//! Notifications: each message that was written for a channel, each attempt to deliver it, and what
//! the other side said.

use model::{Channel, Timestamp};
use serde::Serialize;
use store::{Before, PgConnection, deliveries};
use uuid::Uuid;

use crate::actor::{Action, Resource};
use crate::short_ids::pick;
use crate::{AppError, Session, alerts};

pub use store::deliveries::{Attempt, Entry};

/// Among so many, the newest, one is found by the beginning of its ID.
const LATEST: u32 = 10_000;

/// Which notifications to list; what is `None` matches all.
#[derive(Clone, Debug, Default)]
pub struct Filter<'a> {
    /// `pending`, `delivered` or `dead`.
    pub state: Option<&'a str>,
    /// Through this channel.
    pub channel: Option<Channel>,
    /// Of the alert whose ID begins like this.
    pub alert: Option<&'a str>,
    /// Written at or after this time.
    pub since: Option<Timestamp>,
    /// After this one in the list.
    pub before: Option<Before>,
}

/// Returns the newest notifications first, at most `limit`.
pub async fn list(
    session: &mut Session,
    filter: &Filter<'_>,
    limit: u32,
) -> Result<Vec<Entry>, AppError> {
    let conn = session.read(Resource::Alerts)?;
    let filter = stored_filter(conn, filter).await?;
    Ok(deliveries::list(conn, &filter, limit).await?)
}

/// Returns how many notifications match.
pub async fn count(session: &mut Session, filter: &Filter<'_>) -> Result<u64, AppError> {
    let conn = session.read(Resource::Alerts)?;
    let filter = stored_filter(conn, filter).await?;
    Ok(deliveries::count(conn, &filter).await?)
}

async fn stored_filter(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
) -> Result<deliveries::Filter, AppError> {
    let alert_id = match filter.alert {
        Some(prefix) => Some(alerts::find(conn, prefix).await?),
        None => None,
    };
    Ok(deliveries::Filter {
        state: filter.state.map(str::to_owned),
        channel: filter.channel,
        alert_id,
        since: filter.since,
        before: filter.before,
    })
}

/// A notification, and every attempt to deliver it.
#[derive(Debug, Serialize)]
pub struct History {
    /// The notification.
    pub delivery_id: Uuid,
    /// Its attempts, the first first.
    pub attempts: Vec<Attempt>,
}

/// Returns what became of the notification with this ID, or with this beginning of its ID.
pub async fn show(session: &mut Session, id: &str) -> Result<History, AppError> {
    let conn = session.read(Resource::Alerts)?;
    let delivery_id = if let Ok(id) = id.parse() {
        id
    } else {
        let all = deliveries::list(conn, &deliveries::Filter::default(), LATEST).await?;
        let entry = pick(
            all,
            id,
            |entry| entry.delivery_id,
            "message",
            "blueteam notifications list",
        )?;
        entry.delivery_id
    };

    Ok(History {
        delivery_id,
        attempts: deliveries::attempts(conn, delivery_id).await?,
    })
}

/// Retries notifications that were given up, from their first attempt on: those of `ids`, or all.
/// Returns how many.
pub async fn resend(session: &mut Session, ids: Option<&[Uuid]>) -> Result<u64, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Channels)?;
    let resent = deliveries::resend(conn, actor, ids).await?;
    let asked = ids.map_or(resent, |ids| ids.len() as u64);
    if resent < asked {
        let missing = asked - resent;
        return Err(AppError::conflict(format!(
            "{resent} are tried again; {missing} were not given up, or are not there (`blueteam \
                notifications list --state dead`)"
        )));
    }

    Ok(resent)
}
