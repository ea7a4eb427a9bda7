//! Incidents: what alerts or people opened, until when it must be reported, and everything that
//! belongs to it.

mod case;
mod change;
mod playbooks;
mod warnings;

use config::Config;
use model::{IncidentId, IncidentStatus, Timestamp};
use respond::clocks::{self, Known};
use respond::measures::{Measures, Reached, measures};
use serde::{Deserialize, Serialize};

use crate::actor::Resource;
use crate::short_ids::{pick, range};
use crate::{AppError, Session};
use store::{Before, PgConnection};

pub use case::{
    Case, Happened, HappenedKind, Indicator, case, hold_in_words, in_words, report, stix, worksheet,
};
pub use change::{
    Choice, Edit, Merged, NewIncident, Settle, Told, assign, create, decide, drop_observable, link,
    merge, observe, release, reported, settle, split, task, undo_merge, unlink, update, write,
};
pub use playbooks::plan_new;
pub use respond::clocks::{Clock, DFARS, Decision, Duty};
pub use store::incidents::{
    Decided, Entry, EntryKind, Hold, Link, Merge, ObservableKind, Report, StatusChange, Task,
    TaskState,
};
pub(crate) use warnings::overdue;
pub use warnings::{Warning, due};

/// Incidents whose IDs begin alike, of which one is enough to say that there are several.
const ALIKE: u32 = 2;

/// An incident with its clocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its row.
    #[serde(flatten)]
    pub row: store::incidents::Incident,
    /// Until when it must be reported, the clock that ends first first.
    pub clocks: Vec<Clock>,
}

impl Incident {
    /// An incident with the clocks of these duties.
    pub(crate) fn of(row: store::incidents::Incident, config: &Config) -> Self {
        let known = Known {
            discovered_at: row.discovered_at,
            cui_involved: row.cui_involved,
            decided: &row.decided,
            sent: &row.sent,
        };
        // The clock of what is part of another incident runs there.
        let clocks = match row.merged_into {
            Some(_) => Vec::new(),
            None => clocks::clocks(&config.incidents.duties(), &known),
        };
        Self { row, clocks }
    }

    /// The clock that is the most pressing: of those that run the one that ends first.
    pub fn pressing(&self) -> Option<&Clock> {
        self.clocks.iter().find(|clock| clock.runs())
    }

    /// How long it took.
    pub fn measures(&self) -> Measures {
        let row = &self.row;
        measures(&Reached {
            first_event_at: row.first_event_at,
            detected_at: row.detected_at,
            contained_at: row.contained_at,
            eradicated_at: row.eradicated_at,
            recovered_at: row.recovered_at,
        })
    }

    /// Where it stands, in the words of a refusal.
    pub(crate) fn standing(&self) -> String {
        let row = &self.row;
        let since = match (row.status, row.closed_at) {
            (IncidentStatus::Closed, Some(at)) => format!(" since {}", minute(at)),
            _ => String::new(),
        };
        format!(
            "the incident is {}{since} (version {})",
            row.status, row.version
        )
    }
}

fn minute(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// The newest incidents first, at most `limit`; closed ones only when asked for.
pub async fn list(
    session: &mut Session,
    config: &Config,
    closed_too: bool,
    limit: u32,
) -> Result<Vec<Incident>, AppError> {
    page(session, config, closed_too, None, limit).await
}

/// How many incidents there are; closed ones only when asked for.
pub async fn count(session: &mut Session, closed_too: bool) -> Result<u64, AppError> {
    Ok(store::incidents::count(session.read(Resource::Incidents)?, closed_too).await?)
}

/// The newest incidents after `before`, at most `limit`.
pub async fn page(
    session: &mut Session,
    config: &Config,
    closed_too: bool,
    before: Option<Before>,
    limit: u32,
) -> Result<Vec<Incident>, AppError> {
    let conn = session.read(Resource::Incidents)?;
    let rows = store::incidents::page(conn, closed_too, before, limit).await?;
    let rows = rows.into_iter();
    Ok(rows.map(|row| Incident::of(row, config)).collect())
}

/// The incident with this ID, or with these first characters of it.
pub async fn show(session: &mut Session, config: &Config, id: &str) -> Result<Incident, AppError> {
    let conn = session.read(Resource::Incidents)?;
    Ok(Incident::of(find(conn, id).await?, config))
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

/// The accounts that may lead an incident, by name.
pub async fn leads(session: &mut Session) -> Result<Vec<String>, AppError> {
    Ok(store::incidents::leads(session.read(Resource::Incidents)?).await?)
}

pub(crate) async fn find(
    conn: &mut PgConnection,
    id: &str,
) -> Result<store::incidents::Incident, AppError> {
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
