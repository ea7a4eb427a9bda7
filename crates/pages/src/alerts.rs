//! Alerts: the queue, and everything about one.

use askama::Template;

use crate::edit::{Control, EditForm};
use crate::frame::{Frame, Pager};
use crate::words::{Level, Step, When};

/// Which alerts a list shows, as its form and its address say it.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    /// `waiting`, `open` or `all`.
    pub show: String,
    /// At least this severity; empty for any.
    pub severity: String,
    /// Of this rule; empty for any.
    pub rule: String,
    /// Of this service; empty for any.
    pub service: String,
}

impl AlertFilter {
    /// The choices of what is shown: value and words.
    pub(crate) const SHOWN: [(&'static str, &'static str); 3] = [
        ("waiting", "not acknowledged"),
        ("open", "open"),
        ("all", "all"),
    ];
    /// The choices of a severity.
    pub(crate) const SEVERITIES: [(&'static str, &'static str); 4] = [
        ("", "any severity"),
        ("medium", "medium and above"),
        ("high", "high and above"),
        ("critical", "critical"),
    ];

    /// Whether it is as it is at first.
    pub(crate) fn is_default(&self) -> bool {
        self.show == "waiting"
            && self.severity.is_empty()
            && self.rule.is_empty()
            && self.service.is_empty()
    }
}

/// An alert in the queue.
#[derive(Clone, Debug)]
pub struct AlertRow {
    /// Its id.
    pub id: String,
    /// How bad.
    pub level: Level,
    /// What it says.
    pub title: String,
    /// What it is about, by name.
    pub entity: String,
    /// The machines.
    pub hosts: String,
    /// Where from.
    pub source: String,
    /// How many events.
    pub events: u64,
    /// When it was last seen.
    pub last_seen: When,
    /// When it was written.
    pub created: When,
    /// Who has seen it, and when.
    pub acknowledged: Option<(String, When)>,
    /// Why nobody was told.
    pub silenced: bool,
    /// Whether it is closed.
    pub is_closed: bool,
    /// Whether CUI was touched.
    pub has_cui: bool,
}

/// The queue.
#[derive(Debug, Template)]
#[template(path = "alerts.html")]
pub struct AlertsPage {
    /// What is around it.
    pub frame: Frame,
    /// Which alerts.
    pub filter: AlertFilter,
    /// The alerts.
    pub rows: Vec<AlertRow>,
    /// How many there are of each severity that nobody has acknowledged.
    pub waiting: Vec<(Level, u64)>,
    /// Where the list goes on.
    pub pager: Pager,
    /// Whether the reader may acknowledge.
    pub may_acknowledge: bool,
    /// The address of this list, to come back to.
    pub here: String,
    /// Whether the list opens like this for its reader.
    pub is_own: bool,
    /// Why there is no row: nothing happened, nothing matches, or nothing is connected.
    pub empty: String,
}

/// A name and what it is.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The name.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// Where more of it is: a path.
    pub link: Option<String>,
}

/// Who was told, by which channel, and how far that has come.
#[derive(Clone, Debug)]
pub struct Told {
    /// The channel.
    pub channel: String,
    /// How far.
    pub progress: &'static str,
}

/// Everything about an alert.
#[derive(Debug, Template)]
#[template(path = "alert.html")]
pub struct AlertPage {
    /// What is around it.
    pub frame: Frame,
    /// The alert, as in the queue.
    pub row: AlertRow,
    /// What happened, in a sentence or two.
    pub story: String,
    /// What there is to know.
    pub facts: Vec<Fact>,
    /// When it was first seen.
    pub first_seen: When,
    /// Who was told.
    pub told: Vec<Told>,
    /// Why nobody was.
    pub not_told: Option<String>,
    /// Its events, as far as they are kept.
    pub events: Vec<crate::EventRow>,
    /// The other alerts about the same.
    pub others: Vec<AlertRow>,
    /// Whether the reader may acknowledge.
    pub may_acknowledge: bool,
    /// When the reader acknowledged it, in microseconds, if they can still take that back.
    pub take_back: Option<String>,
    /// What people made of it, the newest first.
    pub verdicts: Vec<Step>,
    /// Where the reader says what it was, if they may.
    pub judge: Option<EditForm>,
    /// Whether the reader may open an incident about it: it has none.
    pub opens_incident: bool,
    /// Where alerts like this one are silenced, if the reader may.
    pub silence: Option<String>,
    /// The list to go back to.
    pub back: String,
}
