//! Incidents: those under way, and everything about one.

use askama::Template;

use crate::alerts::{AlertRow, Fact};
use crate::frame::{Frame, Pager};
use crate::words::{Level, When};

/// An incident in the list.
#[derive(Clone, Debug)]
pub struct IncidentRow {
    /// Its id.
    pub id: String,
    /// How bad.
    pub level: Level,
    /// What it says.
    pub title: String,
    /// What it is about.
    pub entity: String,
    /// Its phase.
    pub status: String,
    /// When it was noticed.
    pub detected: When,
    /// How many alerts it has.
    pub alerts: u64,
    /// Until when it must be reported (DFARS 252.204-7012), and whether that is over.
    pub report_due: Option<(When, bool)>,
    /// Whether CUI was touched.
    pub has_cui: bool,
}

/// The incidents.
#[derive(Debug, Template)]
#[template(path = "incidents.html")]
pub struct IncidentsPage {
    /// What is around it.
    pub frame: Frame,
    /// The incidents.
    pub rows: Vec<IncidentRow>,
    /// Whether closed ones are among them.
    pub all: bool,
    /// Where the list goes on.
    pub pager: Pager,
}

/// A step of an incident.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: When,
    /// From which phase to which.
    pub what: String,
    /// Who.
    pub who: String,
    /// Why.
    pub reason: String,
}

/// Everything about an incident.
#[derive(Debug, Template)]
#[template(path = "incident.html")]
pub struct IncidentPage {
    /// What is around it.
    pub frame: Frame,
    /// The incident, as in the list.
    pub row: IncidentRow,
    /// What there is to know.
    pub facts: Vec<Fact>,
    /// The phases, and whether each is reached.
    pub phases: Vec<(&'static str, bool)>,
    /// The phases to which it can move: value and words.
    pub next: Vec<String>,
    /// The version that a change must name.
    pub version: String,
    /// What was typed, when it could not be kept.
    pub typed: String,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Its alerts.
    pub alerts: Vec<AlertRow>,
    /// Whether the reader may move it on.
    pub may_write: bool,
}
