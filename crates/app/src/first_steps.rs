//! The five things that a new installation needs, each looked at as it is now.

use std::sync::Arc;

use compliance::system::System;
use config::{Config, StateDir};
use model::Severity;
use model::time::BusinessHours;

use crate::actor::{Action, Resource};
use crate::compliance::description::system_description;
use crate::{AppError, Session};

/// Something that a new installation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Someone who can sign in and administer.
    Administrator,
    /// Something that sends events.
    Source,
    /// Someone whom alerts reach.
    Receiver,
    /// When people are expected to be at work.
    BusinessHours,
    /// What is protected, for the system security plan.
    Description,
}

/// How one of them stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub need: Need,
    /// Whether it is there.
    pub is_done: bool,
    /// What is seen of it.
    pub seen: String,
}

/// Returns the five, in the order in which they are best done.
pub async fn show(
    session: &mut Session,
    config: &Config,
    state: &StateDir,
) -> Result<Vec<Step>, AppError> {
    let found = store::first_steps::show(session.read(Resource::System)?).await?;
    let is_described = found.has_description || has_description_file(state).await?;
    let mut steps = vec![administrator(found.administrators), source(found.sources)];
    steps.push(receiver(config, found.has_delivered));
    steps.push(business_hours(&config.business_hours));
    steps.push(description(is_described));
    Ok(steps)
}

/// Whether the description is a file of the state directory that can be read.
async fn has_description_file(state: &StateDir) -> Result<bool, AppError> {
    let state = state.clone();
    let read = tokio::task::spawn_blocking(move || system_description(None, &state));
    let read = read.await.map_err(anyhow::Error::from)?;
    Ok(read.is_ok_and(|system| system != System::default()))
}

fn step(need: Need, is_done: bool, seen: impl Into<String>) -> Step {
    Step {
        need,
        is_done,
        seen: seen.into(),
    }
}

fn administrator(administrators: i64) -> Step {
    let seen = match administrators {
        0 => "Nobody can sign in as a system administrator yet.".to_owned(),
        1 => "One system administrator can sign in. A second one helps when the first loses their \
              phone."
            .to_owned(),
        number => format!("{number} system administrators can sign in."),
    };
    step(Need::Administrator, administrators > 0, seen)
}

fn source(sources: i64) -> Step {
    let seen = match sources {
        0 => "Nothing has sent an event yet, so nothing can be detected.".to_owned(),
        1 => "One source has sent events.".to_owned(),
        number => format!("{number} sources have sent events."),
    };
    step(Need::Source, sources > 0, seen)
}

fn receiver(config: &Config, has_delivered: bool) -> Step {
    let untold: Vec<&str> = config
        .untold()
        .into_iter()
        .filter(|severity| *severity >= Severity::High)
        .map(Severity::as_str)
        .collect();
    let seen = if !untold.is_empty() {
        format!(
            "No channel is configured for alerts of severity {}: nobody is notified of them.",
            untold.join(" and ")
        )
    } else if has_delivered {
        "A channel is configured, and notifications have been delivered.".to_owned()
    } else {
        "A channel is configured. Nothing has been sent through it yet: send a test.".to_owned()
    };
    step(Need::Receiver, untold.is_empty(), seen)
}

fn business_hours(hours: &BusinessHours) -> Step {
    let is_done = *hours != BusinessHours::default();
    let seen = format!(
        "{}{} to {} ({}), {} holidays.",
        if is_done { "" } else { "Still the default: " },
        hours.start.strftime("%H:%M"),
        hours.end.strftime("%H:%M"),
        hours.time_zone,
        hours.holidays.len()
    );
    step(Need::BusinessHours, is_done, seen)
}

fn description(is_done: bool) -> Step {
    let seen = if is_done {
        "The system is described; the system security plan is written from it."
    } else {
        "The system is not described yet, so there is no system security plan."
    };
    step(Need::Description, is_done, seen)
}

/// Returns how many of the five are missing; none where the actor's role may not see it.
pub async fn missing(
    session: &mut Session,
    config: &Arc<Config>,
    state: &StateDir,
) -> Result<Option<usize>, AppError> {
    if session.require(Action::Read, Resource::System).is_err() {
        return Ok(None);
    }
    let steps = show(session, config, state).await?;
    let missing = steps.iter().filter(|step| !step.is_done).count();
    Ok(Some(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_the_default_is_not_done() {
        let mut hours = BusinessHours::default();
        let default = business_hours(&hours);
        assert!(!default.is_done);
        assert_eq!(
            default.seen,
            "Still the default: 07:00 to 19:00 (UTC), 0 holidays."
        );
        "America/New_York".clone_into(&mut hours.time_zone);
        assert!(business_hours(&hours).is_done);

        assert!(!receiver(&Config::default(), true).is_done);
        assert!(!administrator(0).is_done && administrator(2).is_done);
        assert!(!source(0).is_done && source(1).is_done);
    }
}
