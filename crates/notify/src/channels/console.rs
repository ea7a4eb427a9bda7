//! Alerts as lines on the daemon's standard output, or any other writer.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use model::facts::Way;
use model::{Channel, Severity};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Audience, Definition, Outlet, Problems, Scheduled, Sending, Setup};
use crate::error::{Receipt, SendError, SetupError, chain};
use crate::notification::{Kind, Notification};
use crate::wording;

pub(super) const DEFINITION: Definition = Definition {
    channel: Channel::named("console"),
    audience: Audience::Machine,
    resolves: false,
    names_people: false,
    severities: &[Severity::Critical],
    scheduled: Scheduled::WhereConfigured,
    parallel_sends: Definition::PARALLEL_SENDS,
};

/// The limit of one attempt: a pipe that nobody reads must not hold up the other channels.
const PATIENCE: Duration = Duration::from_secs(5);

/// `[channels.console]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Section {
    /// Whether alerts are written there.
    pub enabled: bool,
    /// Whether they are in color.
    pub color: Switch,
}

/// Yes, no, or as the surroundings ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            enabled: true,
            color: Switch::Auto,
        }
    }
}

impl super::Section for Section {
    fn is_configured(&self) -> bool {
        self.enabled
    }

    fn check(&self, _: &mut Problems) {}

    fn ways(&self) -> Vec<Way> {
        Vec::new()
    }

    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError> {
        let color = match self.color {
            Switch::Auto => setup.color,
            Switch::Always => true,
            Switch::Never => false,
        };

        Ok(Box::new(Console::new(setup.take_stdout(), color, PATIENCE)))
    }
}

struct Console {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    color: bool,
    patience: Duration,
}

impl Console {
    fn new(writer: Box<dyn Write + Send>, color: bool, patience: Duration) -> Self {
        Self {
            writer: Arc::new(Mutex::new(writer)),
            color,
            patience,
        }
    }

    /// Writes on a thread that may block. The lock is taken first, so that a writer that hangs
    /// costs one thread, not one for each attempt.
    async fn write(&self, line: String) -> std::io::Result<()> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let work = move || {
            writer
                .write_all(line.as_bytes())
                .and_then(|()| writer.flush())
        };

        tokio::task::spawn_blocking(work)
            .await
            .map_err(std::io::Error::other)?
    }
}

impl Outlet for Console {
    fn send<'a>(&'a self, message: &'a Notification) -> Sending<'a> {
        Box::pin(async move {
            let advice = "check where its output goes";
            match timeout(self.patience, self.write(console_line(message, self.color))).await {
                Ok(Ok(())) => Ok(Receipt {
                    detail: "written".to_owned(),
                }),
                Ok(Err(error)) => Err(SendError::later(
                    format!("cannot write to the console: {}", chain(&error)),
                    advice,
                )),
                Err(_) => Err(SendError::later("the console took nothing in time", advice)),
            }
        })
    }
}

/// `ALERT CRITICAL  2026-03-05 14:12:31 UTC  Credential stuffing from 203.0.113.7
/// (credential_stuffing, 12 events) …`
fn console_line(message: &Notification, color: bool) -> String {
    let alert = message.content.as_alert();
    let word = match message.kind {
        Kind::Test => "TEST ",
        Kind::Digest => "DIGEST ",
        Kind::Heartbeat => "ALIVE ",
        Kind::Reminder => "REMINDER ",
        Kind::Opened => "ALERT",
        Kind::Escalated => "AGAIN",
        Kind::Resolved => "OVER ",
    };

    let severity = alert.severity.as_str().to_ascii_uppercase();
    let (on, off) = match (color, alert.severity) {
        (false, _) | (true, Severity::Info | Severity::Low) => ("", ""),
        (true, Severity::Critical) => ("\x1b[1;31m", "\x1b[0m"),
        (true, Severity::High) => ("\x1b[31m", "\x1b[0m"),
        (true, Severity::Medium) => ("\x1b[33m", "\x1b[0m"),
    };

    let cui = if alert.cui_involved { ", CUI" } else { "" };
    let incident = alert
        .incident_id
        .map(|id| format!("  incident {id}"))
        .unwrap_or_default();
    format!(
        "{on}{word} {severity:<8}{off}  {}  {}  ({}, {} events{cui})  alert {}{incident}\n",
        message.clock.seconds(alert.last_seen),
        wording::field(&alert.title),
        wording::field(alert.rule_id.as_str()),
        alert.event_count,
        alert.alert_id,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;
    use proptest::prelude::*;

    #[test]
    fn says_it_in_one_line() {
        insta::assert_snapshot!(console_line(&samples::message(), false).trim_end());
    }

    /// Hangs until the other end of the channel is dropped.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_pipe_that_nobody_reads_holds_nobody_up() {
        let (release, stuck) = std::sync::mpsc::channel();
        let writer = Box::new(Stuck(stuck));

        let console = Console::new(writer, false, Duration::from_millis(50));
        for _ in 0..3 {
            assert!(
                console
                    .send(&samples::message())
                    .await
                    .unwrap_err()
                    .is_temporary()
            );
        }

        drop(release);
    }

    #[tokio::test]
    async fn writes_a_line_and_says_when_it_cannot() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Box::new(file.reopen().unwrap());

        Console::new(writer, true, PATIENCE)
            .send(&samples::message())
            .await
            .unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, console_line(&samples::message(), true));
        assert!(text.starts_with("\x1b[1;31mALERT CRITICAL\x1b[0m"));

        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let writer = Box::new(full);

        assert!(
            Console::new(writer, false, PATIENCE)
                .send(&samples::message())
                .await
                .unwrap_err()
                .is_temporary()
        );
    }

    proptest! {
        #[test]
        fn an_attacker_cannot_drive_the_terminal(text: String) {
            let line = console_line(&samples::hostile(&text), false);
            prop_assert!(line.ends_with('\n'));
            prop_assert!(!line.trim_end_matches('\n').chars().any(char::is_control));
        }
    }
}
