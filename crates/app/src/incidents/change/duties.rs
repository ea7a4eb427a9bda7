//! Duties to report: what people decide about them, and what they reported.

use config::Config;
use model::Timestamp;

use super::{REMARK_MAX, change_one, hold, maybe, reason};
use crate::incidents::{Incident, minute};
use crate::{AppError, Session};

/// The longest number of a report, in characters.
const NUMBER_MAX: usize = 200;

/// Whether a duty applies, as a person decides.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The version of the incident that was seen.
    pub version: Option<u64>,
    /// The duty.
    pub duty: &'a str,
    /// Whether it applies.
    pub applies: bool,
    /// Why.
    pub reason: &'a str,
}

/// A report that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The duty that it fulfills.
    pub duty: &'a str,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// The number that came back.
    pub number: Option<&'a str>,
    /// What else is to be known of it.
    pub remark: Option<&'a str>,
}

/// The duty of this short name.
fn known_duty(config: &Config, duty: &str) -> Result<String, AppError> {
    let duties = config.incidents.duties();
    if duties.iter().any(|known| known.id == duty) {
        return Ok(duty.to_owned());
    }
    let known: Vec<&str> = duties.iter().map(|known| known.id.as_str()).collect();
    Err(AppError::invalid(format!(
        "there is no duty `{}`; known: {} ([incidents] clocks)",
        model::text::sanitize(duty),
        known.join(", ")
    )))
}

/// Decides whether a duty to report applies; also of a closed incident. The newest decision counts,
/// and none is lost.
pub async fn decide(
    session: &mut Session,
    config: &Config,
    id: &str,
    choice: &Choice<'_>,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let why = reason(choice.reason)?;
    let duty = known_duty(config, choice.duty)?;
    let (version, applies) = (choice.version, choice.applies);
    change_one(held, config, async |change, before| {
        Ok(change
            .decide(before.row.incident_id, version, &duty, applies, why)
            .await?)
    })
    .await
}

/// Records that a report was sent; the first one ends the clock, and the others follow up.
pub async fn reported(
    session: &mut Session,
    config: &Config,
    id: &str,
    told: &Told<'_>,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let duty = known_duty(config, told.duty)?;
    let number = maybe("--number", told.number, NUMBER_MAX)?;
    let remark = maybe("--remark", told.remark, REMARK_MAX)?;
    if told.sent_at < held.before.row.discovered_at {
        return Err(AppError::invalid(format!(
            "that is before the discovery, {}; {}",
            minute(held.before.row.discovered_at),
            held.before.standing()
        )));
    }
    change_one(held, config, async |change, before| {
        Ok(change
            .report(before.row.incident_id, &duty, told.sent_at, number, remark)
            .await?)
    })
    .await
}

/// Ends the hold of an incident: events that are kept for it alone go by their retention again.
pub async fn release(
    session: &mut Session,
    config: &Config,
    id: &str,
    why: &str,
) -> Result<Incident, AppError> {
    let held = hold(session, config, id).await?;
    let why = reason(why)?;
    change_one(held, config, async |change, before| {
        Ok(change.release(before.row.incident_id, why).await?)
    })
    .await
}
