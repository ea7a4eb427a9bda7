//! Which clocks people are to be warned of.

use config::Config;
use model::{IncidentStatus, Severity, Span, Timestamp};
use respond::clocks::{Clock, Decision, Mark};
use store::{Before, PgConnection};

use super::Incident;
use crate::actor::Resource;
use crate::{AppError, Session};

/// Incidents that are read at once.
const AT_ONCE: u32 = 500;
/// Closed incidents are looked at for this long after their discovery: longer than any clock runs.
const CLOSED_FOR: Span = Span::days(400);

/// That a clock of an incident has come to a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Tells it from others, so that it is said once.
    pub key: String,
    /// How bad.
    pub severity: Severity,
    /// It in one line.
    pub line: String,
}

/// What people are to be warned of: the most pressing mark of each clock that runs.
pub async fn due(
    session: &mut Session,
    config: &Config,
    now: Timestamp,
) -> Result<Vec<Warning>, AppError> {
    let running = running(session.read(Resource::Incidents)?, config, now).await?;
    Ok(running.iter().flat_map(|one| of(one, now)).collect())
}

/// How many duties to report are overdue.
pub(crate) async fn overdue(
    conn: &mut PgConnection,
    config: &Config,
    now: Timestamp,
) -> Result<u64, AppError> {
    let running = running(conn, config, now).await?;
    let clocks = running.iter().flat_map(pressing);
    let is_over = |clock: &&Clock| clock.mark(now) == Some(Mark::Overdue);
    Ok(clocks.filter(is_over).count() as u64)
}

/// The clocks of an incident that people answer for. One that was closed before anyone had decided,
/// as was possible once, is over; one that is closed and must be reported is not.
fn pressing(incident: &Incident) -> impl Iterator<Item = &Clock> {
    let is_closed = incident.row.status == IncidentStatus::Closed;
    let clocks = incident.clocks.iter().filter(|clock| clock.runs());
    clocks.filter(move |clock| !is_closed || clock.decision == Decision::Yes)
}

/// The incidents whose clocks run.
async fn running(
    conn: &mut PgConnection,
    config: &Config,
    now: Timestamp,
) -> Result<Vec<Incident>, AppError> {
    let mut running = Vec::new();
    let mut before = None;
    // All of them, however many: who opens a thousand hides none.
    loop {
        let recent = before.is_none_or(|at: Before| at.at > now.minus(CLOSED_FOR));
        let found = store::incidents::page(conn, recent, before, AT_ONCE).await?;
        before = found
            .last()
            .filter(|_| found.len() == AT_ONCE as usize)
            .map(|last| Before {
                at: last.detected_at,
                id: last.incident_id.0,
            });
        let found = found.into_iter().map(|row| Incident::of(row, config));
        running.extend(found.filter(|incident| pressing(incident).next().is_some()));
        if before.is_none() {
            return Ok(running);
        }
    }
}

fn of(incident: &Incident, now: Timestamp) -> Vec<Warning> {
    pressing(incident)
        .filter_map(|clock| warning(incident, clock, now))
        .collect()
}

fn warning(incident: &Incident, clock: &Clock, now: Timestamp) -> Option<Warning> {
    let mark = clock.mark(now)?;
    let row = &incident.row;
    let hours = match mark {
        Mark::Left(hours) => hours.to_string(),
        Mark::Overdue => "over".to_owned(),
    };
    let closed = if row.status == IncidentStatus::Closed {
        ", closed"
    } else {
        ""
    };
    Some(Warning {
        // A clock that a person moves, by setting the discovery, warns again.
        key: format!(
            "{} {} {hours} {}",
            row.incident_id,
            clock.duty,
            clock.due_at.as_micros()
        ),
        severity: match mark {
            Mark::Left(13..) => Severity::High,
            Mark::Left(_) | Mark::Overdue => Severity::Critical,
        },
        line: format!(
            "{}: {} (due {}); incident {}{closed}: {}",
            clock.name,
            clock.in_words(now),
            super::minute(clock.due_at),
            row.incident_id,
            model::text::sanitize(&row.title)
        ),
    })
}
