//! What waits for a person today, the oldest duty first.

use askama::Template;

use crate::frame::Frame;
use crate::words::{Level, When};

/// Something that waits.
#[derive(Clone, Debug)]
pub struct Duty {
    /// How pressing.
    pub level: Level,
    /// What kind it is: `alert`, `incident`, `source`, …
    pub kind: String,
    /// What it is.
    pub what: String,
    /// Why it matters, and what to do.
    pub why: String,
    /// Since when.
    pub since: When,
    /// Until when.
    pub due: Option<(When, bool)>,
    /// Where it is worked off.
    pub path: String,
    /// The words of the link there.
    pub action: String,
    /// The alert that can be acknowledged from here.
    pub acknowledges: Option<String>,
}

/// The day.
#[derive(Debug, Template)]
#[template(path = "today.html")]
pub struct TodayPage {
    /// What is around it.
    pub frame: Frame,
    /// What waits.
    pub duties: Vec<Duty>,
    /// Whether there is more than is shown.
    pub has_more: bool,
    /// Numbers of the day: what, how many, where.
    pub numbers: Vec<(&'static str, String, &'static str)>,
    /// How many of the five first steps are missing.
    pub steps_missing: usize,
    /// What an empty list means: nothing happened, or nothing is connected.
    pub empty: String,
}
