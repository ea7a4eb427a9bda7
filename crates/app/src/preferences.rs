//! What people have chosen for themselves in the console. Everybody chooses for themselves alone.

use jiff::tz::TimeZone;

use crate::sign_in::Person;
use crate::{AppError, Session};

pub use store::preferences::Preferences;

/// The longest filter, in bytes.
const FILTER_MAX: usize = 500;

/// What a person has chosen.
pub async fn of(session: &mut Session, person: &Person) -> Result<Preferences, AppError> {
    let (conn, _) = session.parts();
    Ok(store::preferences::of(conn, person.user_id).await?)
}

/// Keeps what a person has chosen.
pub async fn save(
    session: &mut Session,
    person: &Person,
    chosen: &Preferences,
) -> Result<(), AppError> {
    if let Some(zone) = &chosen.time_zone
        && TimeZone::get(zone).is_err()
    {
        return Err(AppError::invalid(format!(
            "`{}` is not a time zone such as America/New_York",
            model::text::sanitize(zone)
        )));
    }
    let filter = chosen.alert_filter.as_deref().unwrap_or_default();
    if filter.len() > FILTER_MAX || filter.chars().any(char::is_control) {
        return Err(AppError::invalid("the filter is too long"));
    }
    let (conn, actor) = session.parts();
    store::preferences::save(conn, actor, person.user_id, chosen).await?;
    Ok(())
}
