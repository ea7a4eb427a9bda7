//! Numbers over days: alerts, response times, noise of rules, volume of events.

use model::{Span, Timestamp};
use store::{trends, upkeep};

use crate::actor::{Action, Resource};
use crate::{AppError, Session};

pub use store::trends::{AlertsOfDay, EventsOfDay, ResponseOfDay};
pub use store::upkeep::RuleRecord;

/// Alerts are shown over these days.
const ALERT_DAYS: i64 = 30;
/// Events are shown over these days.
const EVENT_DAYS: i64 = 14;

/// Numbers over days, as far as the actor's role may see them.
#[derive(Debug)]
pub struct Trends {
    /// Alerts by day and severity, over 30 days.
    pub alerts: Vec<AlertsOfDay>,
    /// How long it took until they were acknowledged, over 30 days.
    pub responses: Vec<ResponseOfDay>,
    /// Rules by what became of their alerts, over 30 days.
    pub rules: Vec<RuleRecord>,
    /// Events by day, over 14 days.
    pub events: Vec<EventsOfDay>,
}

/// Reads them; a day is one of the named zone.
pub async fn show(session: &mut Session, now: Timestamp, zone: &str) -> Result<Trends, AppError> {
    let sees_events = session.require(Action::Read, Resource::Events).is_ok();
    let conn = session.read(Resource::Alerts)?;
    let since = now.minus(Span::days(ALERT_DAYS));
    Ok(Trends {
        alerts: trends::alerts(conn, since, zone).await?,
        responses: trends::responses(conn, since, zone).await?,
        rules: upkeep::rules(conn, since).await?,
        events: if sees_events {
            trends::events(conn, now.minus(Span::days(EVENT_DAYS)), zone).await?
        } else {
            Vec::new()
        },
    })
}
