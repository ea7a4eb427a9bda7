//! The pages of the web console: view models in, HTML out. No SQL, no HTTP, no clock.
//!
//! Each page is a struct with a template. Whatever a template prints is escaped: nearly every page
//! shows text that the person being watched has chosen. A time is printed by [`When`] alone, so that
//! no page shows two time zones, and a severity by [`Level`], as word, shape and color.
//!
//! A page works without a script: its controls are links and forms. The script (`assets/console.js`)
//! adds keys, selection and a counter of what is new.

mod account;
mod alerts;
pub mod assets;
mod blocks;
mod chart;
mod compliance;
mod edit;
mod events;
mod first_steps;
mod form;
mod frame;
mod incidents;
mod plain;
mod sign_in;
mod sources;
mod today;
mod words;

pub use account::{AccountPage, FactorRow, SessionRow};
pub use alerts::{AlertFilter, AlertPage, AlertRow, AlertsPage, Fact, Told};
pub use askama::Template;
pub use blocks::{Back, Block, BlockPage, Grid};
pub use chart::{Bar, Chart, Series, TrendsPage};
pub use compliance::{CompliancePage, FamilyRow, Requirement, RequirementPage, ScoreCard};
pub use edit::{Button, Control, EditField, EditForm};
pub use events::{EventQuestion, EventRow, EventsPage};
pub use first_steps::{FirstStep, FirstStepsPage};
pub use form::{
    ConfirmPage, Field, FieldKind, Form, RecordPage, ResumePage, SecretPage, Section, WorkPage,
};
pub use frame::{Banner, Frame, MENU, MenuEntry, Notice, Pager, Undo, Viewer, Watermark};
pub use incidents::{Due, Folded, IncidentPage, IncidentRow, IncidentsPage, Mark, Todo};
pub use plain::{Cell, ListPage, MessagePage, Press};
pub use sign_in::{LockedPage, SignInPage};
pub use sources::{SourceRow, SourcesPage};
pub use today::{Duty, TodayPage};
pub use words::{Level, Step, When, Zone, count_of};

use std::fmt::Write as _;

/// Returns a page as HTML. Characters that turn the direction of text around, and control characters,
/// show as what they are: on a page for security nothing reads otherwise than it is.
pub fn render(page: &impl Template) -> Result<String, askama::Error> {
    let html = page.render()?;
    let is_hidden = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{061c}' | '\u{feff}')
    };
    if !html.contains(is_hidden) {
        return Ok(html);
    }

    let mut shown = String::with_capacity(html.len() + 64);
    for c in html.chars() {
        if is_hidden(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "[U+{:04X}]", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever is watched chooses names, agents and paths.
    #[test]
    fn hostile_text_is_shown_as_text() {
        let hostile = "<img src=x onerror=alert(1)>\u{202e}gnp.exe\0\"'&";
        let page = MessagePage::new(hostile, hostile, Some(("/", hostile)));
        let html = render(&page).unwrap();
        assert!(!html.contains("<img"), "{html}");
        assert!(
            html.contains("&#60;img src=x onerror=alert(1)&#62;[U+202E]gnp.exe[U+0000]"),
            "{html}"
        );
        assert!(!html.contains("\"'&"), "{html}");
    }
}
