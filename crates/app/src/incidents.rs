//! Incidents: what alerts opened, and how people move them on.

use model::{IncidentId, IncidentStatus};

use crate::actor::{Action, Resource};
use crate::short_ids::{pick, range};
use crate::{AppError, Session};
use store::{Before, PgConnection};

pub use store::incidents::{Incident, StatusChange};

/// The longest reason, in characters.
const REASON_MAX: usize = 4000;
/// Incidents whose IDs begin alike, of which one is enough to say that there are several.
const ALIKE: u32 = 2;

/// The newest incidents first, at most `limit`; closed ones only when asked for.
pub async fn list(
    session: &mut Session,
    closed_too: bool,
    limit: u32,
) -> Result<Vec<Incident>, AppError> {
    Ok(store::incidents::list(session.read(Resource::Incidents)?, closed_too, limit).await?)
}

/// How many incidents there are; closed ones only when asked for.
pub async fn count(session: &mut Session, closed_too: bool) -> Result<u64, AppError> {
    Ok(store::incidents::count(session.read(Resource::Incidents)?, closed_too).await?)
}

/// The newest incidents after `before`, at most `limit`.
pub async fn page(
    session: &mut Session,
    closed_too: bool,
    before: Option<Before>,
    limit: u32,
) -> Result<Vec<Incident>, AppError> {
    let conn = session.read(Resource::Incidents)?;
    Ok(store::incidents::page(conn, closed_too, before, limit).await?)
}

/// The incident with this ID, or with these first characters of it.
pub async fn show(session: &mut Session, id: &str) -> Result<Incident, AppError> {
    let conn = session.read(Resource::Incidents)?;
    find(conn, id).await
}

/// An incident that was moved on.
#[derive(Clone, Debug)]
pub struct Advanced {
    /// The incident, as it was before.
    pub before: Incident,
    /// Where it stands now.
    pub status: IncidentStatus,
}

/// Moves the incident with this ID, or with these first characters of it, on to a later phase.
/// Who did so, when and why is kept, and nothing moves it back.
pub async fn advance(
    session: &mut Session,
    id: &str,
    to: IncidentStatus,
    reason: &str,
) -> Result<Advanced, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Incidents)?;
    let reason = reason.trim();
    if !(3..=REASON_MAX).contains(&reason.chars().count()) {
        return Err(AppError::invalid(format!(
            "--reason: from 3 to {REASON_MAX} characters; it stays in the incident's history"
        )));
    }

    let before = find(conn, id).await?;
    if to <= before.status {
        return Err(AppError::conflict(format!(
            "the incident is {} already, and an incident moves on only",
            before.status
        )));
    }

    if !store::incidents::advance(conn, actor, before.incident_id, to, reason).await? {
        return Err(AppError::conflict("someone else has just moved it on"));
    }
    Ok(Advanced { before, status: to })
}

/// The changes of status that people made of the incident with this ID, the first one first.
pub async fn history(
    session: &mut Session,
    id: &str,
) -> Result<(IncidentId, Vec<StatusChange>), AppError> {
    let conn = session.read(Resource::Incidents)?;
    let incident = find(conn, id).await?;
    let changes = store::incidents::status_changes(conn, incident.incident_id).await?;
    Ok((incident.incident_id, changes))
}

async fn find(conn: &mut PgConnection, id: &str) -> Result<Incident, AppError> {
    let alike = match range(id) {
        Some(ids) => store::incidents::between(conn, ids, ALIKE).await?,
        None => Vec::new(),
    };
    pick(
        alike,
        id,
        |incident| incident.incident_id.0,
        "incident",
        "blueteam incidents list --all",
    )
}
