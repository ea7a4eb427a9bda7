//! What of the machine people should see on the page where it matters: certificates that end, a clock
//! that cannot be believed, events that wait for the database.

use std::sync::Arc;

use config::{Config, StateDir};
use model::{Clock as _, Span, SystemClock, Timestamp};

use crate::actor::{Action, Resource};
use crate::{AppError, Session, certificates, spools, status};

/// Where a warning matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The certificates that blueteam presents.
    Certificates,
    /// The clock.
    Clock,
    /// Events on their way into the database.
    Spool,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is about.
    pub about: About,
    /// Whether it cannot wait.
    pub is_urgent: bool,
    /// What it is, in a sentence.
    pub says: String,
}

/// How long before its end a certificate is urgent.
const URGENT: Span = Span::days(7);
/// What a spool holds for less than this is only passing through.
const PASSING: Span = Span::mins(1);

/// Returns what people should know; nothing where the actor's role may not see it.
pub async fn warnings(
    session: &Session,
    config: &Arc<Config>,
    state: &StateDir,
) -> Result<Vec<Warning>, AppError> {
    if session.require(Action::Read, Resource::System).is_err() {
        return Ok(Vec::new());
    }
    let (config, state) = (Arc::clone(config), state.clone());
    let looked = tokio::task::spawn_blocking(move || look(&config, &state, SystemClock.now()));
    Ok(looked.await.map_err(anyhow::Error::from)?)
}

fn look(config: &Config, state: &StateDir, now: Timestamp) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = certificates::expiries(config)
        .iter()
        .filter_map(|certificate| {
            let says = match &certificate.problem {
                Some(problem) => format!("{}: {problem}", certificate.file.display()),
                None => certificate.warning(now)?,
            };
            Some(Warning {
                about: About::Certificates,
                is_urgent: certificate.problem.is_some() || certificate.ends_within(URGENT, now),
                says: sentence(&says),
            })
        })
        .collect();

    if let Some(doubt) = status::clock_doubt(state) {
        warnings.push(Warning {
            about: About::Clock,
            is_urgent: true,
            says: sentence(&format!(
                "the clock cannot be believed since {}: {}",
                doubt.since,
                model::text::sanitize(&doubt.why)
            )),
        });
    }
    warnings.extend(spool_warnings(state, now));
    warnings
}

fn spool_warnings(state: &StateDir, now: Timestamp) -> Vec<Warning> {
    let spool = |says: String| Warning {
        about: About::Spool,
        is_urgent: true,
        says,
    };
    let mut warnings = Vec::new();
    let waits = |since: Option<Timestamp>| since.is_some_and(|at| now.since(at) > PASSING);
    if let Ok(found) = spools::accepted(state) {
        if found.waiting_bytes > 0 && waits(found.since) {
            let kib = found.waiting_bytes.div_ceil(1024);
            warnings.push(spool(format!(
                "{kib} KiB of events wait in the spool because the database does not take them."
            )));
        }
        if found.refused_full || found.conflicting_full {
            warnings.push(spool(
                "A part of the spool is full: further events of its kind are only counted."
                    .to_owned(),
            ));
        }
    }
    for held in spools::held_by_listeners(state).unwrap_or_default() {
        if held.waiting_bytes > 0 && waits(held.since) {
            warnings.push(spool(format!(
                "{} KiB of {} wait in its spool for the database.",
                held.waiting_bytes.div_ceil(1024),
                held.source
            )));
        }
    }
    warnings
}

/// A text as a sentence of its own.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}
