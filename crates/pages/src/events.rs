//! Events: a search, and what it found.

use askama::Template;

use crate::frame::{Frame, Pager};
use crate::words::When;

/// An event.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// When.
    pub at: When,
    /// What: category and action.
    pub what: String,
    /// `success`, `failure` or `denied`.
    pub result: String,
    /// Who: a name, or an id.
    pub user: String,
    /// From where.
    pub address: String,
    /// At what.
    pub target: String,
    /// Where it was logged.
    pub place: String,
    /// Whether CUI was touched.
    pub has_cui: bool,
}

/// What was asked, by field of the form.
#[derive(Clone, Debug, Default)]
pub struct EventQuestion {
    /// From when on: a time, or a length of time such as `24h`.
    pub since: String,
    /// Until when.
    pub until: String,
    /// A user.
    pub user: String,
    /// An address or a network.
    pub ip: String,
    /// A category.
    pub category: String,
    /// An action.
    pub action: String,
    /// A result.
    pub result: String,
    /// A service.
    pub service: String,
    /// A machine.
    pub host: String,
    /// Words.
    pub text: String,
}

impl EventQuestion {
    pub(crate) const CATEGORIES: [&'static str; 8] = [
        "", "auth", "access", "admin", "data", "ai", "system", "network",
    ];
    pub(crate) const RESULTS: [&'static str; 4] = ["", "success", "failure", "denied"];
}

/// A search.
#[derive(Debug, Template)]
#[template(path = "events.html")]
pub struct EventsPage {
    /// What is around it.
    pub frame: Frame,
    /// What was asked.
    pub question: EventQuestion,
    /// What is wrong with it.
    pub error: Option<String>,
    /// What was found; none before anything is asked.
    pub rows: Option<Vec<EventRow>>,
    /// Where the list goes on.
    pub pager: Pager,
    /// What else can be done with the search: path and words.
    pub more: Vec<(String, &'static str)>,
    /// What is said when nothing was found.
    pub empty: String,
}
