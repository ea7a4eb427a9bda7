//! What of the compliance work is due or late.

use compliance::reminders::{self, Reminder};
use model::Timestamp;
use store::PgConnection;
use store::evidence::EvidenceFilter;

use crate::actor::Resource;
use crate::{AppError, Session};

/// What is due or late.
pub async fn due(session: &mut Session, now: Timestamp) -> Result<Vec<Reminder>, AppError> {
    read(session.read(Resource::Compliance)?, now).await
}

pub(super) async fn read(
    conn: &mut PgConnection,
    now: Timestamp,
) -> Result<Vec<Reminder>, AppError> {
    let controls = store::compliance::all(conn, now).await?;
    let filter = EvidenceFilter {
        latest: true,
        bare: true,
        ..EvidenceFilter::default()
    };

    let evidence = store::evidence::list(conn, &filter).await?;
    let plans = store::plans::list(conn).await?;
    let mut found = reminders::due(&controls, &evidence, &plans, now);
    found.extend(compliance::upkeep::reminders(&controls, &evidence, now));
    reminders::sort(&mut found);
    Ok(found)
}

/// An item as people read it, on one line.
pub fn line(reminder: &Reminder) -> String {
    let by = reminder.by.map_or_else(String::new, |at| {
        at.to_jiff().strftime(" %Y-%m-%d").to_string()
    });
    format!(
        "{}{by}  {}",
        if reminder.late { "LATE" } else { "due" },
        model::text::sanitize(&reminder.what)
    )
}
