//! Incidents: those under way, and everything about one.

use askama::Template;

use crate::alerts::{AlertRow, Fact};
use crate::edit::{Control, EditForm};
use crate::frame::{Frame, Pager};
use crate::words::{Level, Step, When};

/// A duty to report, and how it stands.
#[derive(Clone, Debug)]
pub struct Due {
    /// What people call it.
    pub name: String,
    /// Until when.
    pub at: When,
    /// How long that is, in words.
    pub left: String,
    /// Whether it is over.
    pub is_late: bool,
    /// Whether it still runs.
    pub runs: bool,
}

/// Something to do.
#[derive(Clone, Debug)]
pub struct Todo {
    /// Its number.
    pub number: u32,
    /// What to do.
    pub task: String,
    /// How far it is: `open`, `done`, `dropped`.
    pub state: String,
    /// What came of it, and who says so.
    pub outcome: String,
}

/// What an attack can be recognized by.
#[derive(Clone, Debug)]
pub struct Mark {
    /// What it is.
    pub kind: String,
    /// The address, name or hash.
    pub value: String,
    /// Who found it.
    pub found_by: String,
}

/// A form that is unfolded when it is needed.
#[derive(Clone, Debug)]
pub struct Folded {
    /// What it does.
    pub title: &'static str,
    /// Whether it is unfolded.
    pub is_open: bool,
    /// The form.
    pub form: EditForm,
}

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
    /// The account that leads it; empty for nobody.
    pub lead: String,
    /// Until when it must be reported: the clock that ends first.
    pub report_due: Option<Due>,
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
    /// The form that opens one, for those who may.
    pub create: Option<EditForm>,
    /// Whether it is unfolded.
    pub create_open: bool,
    /// Where the list goes on.
    pub pager: Pager,
}

/// Everything about an incident.
#[derive(Debug, Template)]
#[template(path = "incident.html")]
pub struct IncidentPage {
    /// What is around it.
    pub frame: Frame,
    /// The incident, as in the list.
    pub row: IncidentRow,
    /// What happened.
    pub story: String,
    /// Its clocks.
    pub clocks: Vec<Due>,
    /// What is proposed: words, and where to look.
    pub proposals: Vec<Fact>,
    /// What there is to know.
    pub facts: Vec<Fact>,
    /// The phases, and whether each is reached.
    pub phases: Vec<(&'static str, bool)>,
    /// The form for the next step, for those who may.
    pub next: Option<EditForm>,
    /// Whether tasks can be settled.
    pub may_write: bool,
    /// What is to be done and was.
    pub tasks: Vec<Todo>,
    /// The version that a change must name.
    pub version: String,
    /// Everything else that can be done.
    pub folded: Vec<Folded>,
    /// What happened, the newest first.
    pub timeline: Vec<Step>,
    /// What it can be recognized by.
    pub marks: Vec<Mark>,
    /// Its alerts.
    pub alerts: Vec<AlertRow>,
}
