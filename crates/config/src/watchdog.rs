//! `[watchdog]`: the service that notices when blueteam is gone.

use model::Span;
use notify::http_post::{Heartbeat, Target};
use notify::tls::read_pem;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::check_lasting;
use crate::error::Problem;
use crate::secrets::Secrets;

/// A service that raises the alarm when pings stop. Its URL holds a token, so it is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watchdog {
    /// A file that holds the URL; empty: no pings are sent.
    pub url_file: String,
    /// How often it is pinged.
    pub interval: Span,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_file: String,
    /// The limit of one attempt.
    pub timeout: Span,
    /// How long the database may be unreachable before the contacts are notified.
    pub database_down_after: Span,
    /// How long events may wait unread or not be stored, or alerts not be written, before the
    /// contacts are notified.
    pub stuck_after: Span,
    /// A clock that jumps further than this, or differs further from the database's, is not
    /// believed: times are not judged until it is right again.
    pub clock_jump: Span,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            url_file: String::new(),
            interval: Span::mins(1),
            ca_file: String::new(),
            timeout: Span::secs(10),
            database_down_after: Span::mins(1),
            stuck_after: Span::mins(1),
            clock_jump: Span::hours(1),
        }
    }
}

impl Watchdog {
    /// Returns the outside service that is pinged, if one is configured.
    pub fn heartbeat(&self, secrets: &Secrets) -> anyhow::Result<Option<Heartbeat>> {
        let Some(url) = &secrets.watchdog_url else {
            return Ok(None);
        };
        let target = Target {
            url: SecretString::from(url.expose_secret()),
            ca_pem: read_pem(&self.ca_file).map_err(anyhow::Error::msg)?,
            timeout: self.timeout.to_std(),
        };

        Heartbeat::new("watchdog", &target)
            .map(Some)
            .map_err(anyhow::Error::msg)
    }

    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        check_lasting(problems, "watchdog.interval", self.interval);
        check_lasting(problems, "watchdog.timeout", self.timeout);
        check_lasting(
            problems,
            "watchdog.database_down_after",
            self.database_down_after,
        );
        check_lasting(problems, "watchdog.stuck_after", self.stuck_after);
        check_lasting(problems, "watchdog.clock_jump", self.clock_jump);
    }
}
