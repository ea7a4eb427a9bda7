//! Alerts as lines on the daemon's standard output, or any other writer.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use model::Severity;

use super::{Outlet, Sending};
use crate::error::{Receipt, SendError, SetupError, chain};
use crate::message::{Kind, Message};
use crate::words;

/// Where the lines go.
pub struct Settings {
    /// The writer; locked for one line at a time.
    pub writer: Box<dyn Write + Send>,
    /// Whether it shows colours.
    pub colour: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("colour", &self.colour).finish_non_exhaustive()
    }
}

struct Console {
    writer: Mutex<Box<dyn Write + Send>>,
    colour: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the list")]
pub(super) fn open(settings: &mut super::Settings) -> Result<Option<Box<dyn Outlet>>, SetupError> {
    Ok(settings
        .console
        .take()
        .map(|s| -> Box<dyn Outlet> { Box::new(Console { writer: Mutex::new(s.writer), colour: s.colour }) }))
}

impl Outlet for Console {
    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        Box::pin(async move {
            let line = line(message, self.colour);
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.write_all(line.as_bytes()).and_then(|()| writer.flush()).map_err(|error| {
                SendError::later(
                    format!("cannot write to the console: {}", chain(&error)),
                    "check where its output goes",
                )
            })?;
            Ok(Receipt { detail: "written".to_owned() })
        })
    }
}

/// `ALERT CRITICAL  2026-03-05 14:12:31 UTC  Credential stuffing from 203.0.113.7  (credential_stuffing, 12 events) …`
fn line(message: &Message, colour: bool) -> String {
    let alert = &message.alert;
    let word = match message.kind {
        Kind::Test => "TEST ",
        Kind::Opened => "ALERT",
    };
    let severity = alert.severity.as_str().to_ascii_uppercase();
    let (on, off) = match (colour, alert.severity) {
        (false, _) | (true, Severity::Info | Severity::Low) => ("", ""),
        (true, Severity::Critical) => ("\x1b[1;31m", "\x1b[0m"),
        (true, Severity::High) => ("\x1b[31m", "\x1b[0m"),
        (true, Severity::Medium) => ("\x1b[33m", "\x1b[0m"),
    };
    let cui = if alert.cui_involved { ", CUI" } else { "" };
    let incident = alert.incident_id.map(|id| format!("  incident {id}")).unwrap_or_default();
    format!(
        "{on}{word} {severity:<8}{off}  {}  {}  ({}, {} events{cui})  alert {}{incident}\n",
        words::time(alert.last_seen),
        words::field(&alert.title),
        words::field(alert.rule_id.as_str()),
        alert.event_count,
        alert.alert_id,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::samples;
    use proptest::prelude::*;

    #[test]
    fn says_it_in_one_line() {
        insta::assert_snapshot!(line(&samples::message(), false).trim_end());
    }

    proptest! {
        #[test]
        fn an_attacker_cannot_drive_the_terminal(text: String) {
            let line = line(&samples::hostile(&text), false);
            prop_assert!(line.ends_with('\n'));
            prop_assert!(!line.trim_end_matches('\n').chars().any(char::is_control));
        }
    }
}
