//! What a new installation needs, step by step.

use askama::Template;

use crate::frame::Frame;

/// A step.
#[derive(Clone, Debug)]
pub struct FirstStep {
    /// What it is.
    pub title: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// Whether it is done.
    pub is_done: bool,
    /// What is seen of it now.
    pub seen: String,
    /// What to write or to run, as it is.
    pub command: &'static str,
    /// What to do with that.
    pub how: &'static str,
    /// A page where it can be done, too: path and words.
    pub way: Option<(&'static str, &'static str)>,
}

/// The steps.
#[derive(Debug, Template)]
#[template(path = "first_steps.html")]
pub struct FirstStepsPage {
    /// What is around it.
    pub frame: Frame,
    /// The steps, in their order.
    pub steps: Vec<FirstStep>,
}

impl FirstStepsPage {
    fn done(&self) -> usize {
        self.steps.iter().filter(|step| step.is_done).count()
    }
}
