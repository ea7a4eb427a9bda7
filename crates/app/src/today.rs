//! What waits for a person today.

use store::duties::{self, Place};

pub use store::duties::{COUNTED_MAX, Waiting};
pub use store::overview::AlertCount;

use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// The most that is listed: whoever has more works off these first, and the page stays light.
const LISTED_MAX: u32 = 50;

/// The day.
#[derive(Debug)]
pub struct Today {
    /// What waits: first what has a legal clock, by that, then by severity and age.
    pub waiting: Vec<Waiting>,
    /// Whether there is more than is listed.
    pub has_more: bool,
}

/// Returns what waits, as far as the actor's role may see it.
pub async fn show(session: &mut Session) -> Result<Today, AppError> {
    let places: Vec<Place> = [
        (Place::Alerts, Resource::Alerts),
        (Place::Incidents, Resource::Incidents),
        (Place::Sources, Resource::Sources),
        (Place::Plans, Resource::Poam),
        (Place::Evidence, Resource::Evidence),
        (Place::Silences, Resource::Silences),
        (Place::Accounts, Resource::Users),
        (Place::Advisories, Resource::Compliance),
    ]
    .into_iter()
    .filter(|(_, resource)| session.require(Action::Read, *resource).is_ok())
    .map(|(place, _)| place)
    .collect();

    let (conn, _) = session.parts();
    let mut waiting = duties::list(conn, &places, LISTED_MAX + 1).await?;
    let has_more = waiting.len() > LISTED_MAX as usize;
    waiting.truncate(LISTED_MAX as usize);
    Ok(Today { waiting, has_more })
}

/// Returns how many alerts nobody has acknowledged, by severity, the worst first.
pub async fn unacknowledged(session: &mut Session) -> Result<Vec<AlertCount>, AppError> {
    Ok(store::overview::alerts(session.read(Resource::Alerts)?).await?)
}

/// Returns whether any source has ever sent anything: an empty list of alerts means one thing where
/// events come in, and another where nothing is connected.
pub async fn is_connected(session: &mut Session) -> Result<bool, AppError> {
    let (conn, _) = session.parts();
    Ok(duties::has_sources(conn).await?)
}
