//! Monitors: what each measured last, and what it measured before.

use config::Config;
use model::text::sanitize;
use model::{Clock as _, Span, SystemClock, Timestamp};
use monitors::{ALL, Monitor, named};
use serde::{Serialize, Serializer};
use store::monitors::Monitored;
use uuid::Uuid;

use crate::actor::Resource;
use crate::{AppError, Session};

pub use store::monitors::Value;

/// The most values that a history is divided into.
pub const STEPS: i64 = 60;

/// A monitor as it is now.
#[derive(Debug, Serialize)]
pub struct Row {
    /// How it measures and shows its values.
    #[serde(skip)]
    pub monitor: &'static Monitor,
    /// Its name.
    pub name: &'static str,
    /// What it measures.
    pub what: &'static str,
    /// The unit of its values.
    pub unit: &'static str,
    /// What it says.
    pub state: State,
    /// What it measured last.
    pub value: Option<f64>,
    /// Above this it raises an alert.
    pub threshold: f64,
    /// Since when it is over its threshold.
    pub over_since: Option<Timestamp>,
    /// When it measured last.
    pub measured_at: Option<Timestamp>,
    /// What was seen, in words.
    pub detail: String,
    /// The rule of its alerts.
    pub rule_id: String,
    /// Its open alert.
    pub alert_id: Option<Uuid>,
}

/// What a monitor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has never measured.
    NeverMeasured,
    /// Its last measurement is too old.
    Stale,
    /// It measures nothing here.
    NotWatched,
    /// The value is over its threshold.
    Over,
    /// The value is below its threshold.
    Ok,
}

impl State {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverMeasured => "never measured",
            Self::Stale => "not measured lately",
            Self::NotWatched => "not watched",
            Self::Over => "OVER",
            Self::Ok => "ok",
        }
    }

    fn of(kept: Option<&Monitored>, config: &Config, now: Timestamp) -> Self {
        let every = config.monitors.interval.as_micros();
        let stale = Span::micros(every.saturating_mul(3)).max(Span::mins(1));
        match kept {
            None => Self::NeverMeasured,
            Some(m) if now.since(m.measured_at) > stale => Self::Stale,
            Some(m) if !m.watched => Self::NotWatched,
            Some(m) if m.over_since.is_some() => Self::Over,
            Some(_) => Self::Ok,
        }
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Row {
    fn new(monitor: &'static Monitor, kept: &[Monitored], config: &Config, now: Timestamp) -> Self {
        let kept = kept.iter().find(|m| m.name == monitor.name);
        let configured = config
            .monitors
            .thresholds
            .get(monitor.name)
            .copied()
            .unwrap_or(monitor.threshold);

        Self {
            monitor,
            name: monitor.name,
            what: monitor.what,
            unit: monitor.unit.trim_start(),
            state: State::of(kept, config, now),
            value: kept.and_then(|m| m.value),
            threshold: kept.map_or(configured, |m| m.threshold),
            over_since: kept.and_then(|m| m.over_since),
            measured_at: kept.map(|m| m.measured_at),
            detail: kept.map_or_else(
                || "the daemon has not measured it yet".to_owned(),
                |m| m.detail.clone(),
            ),
            rule_id: monitor.rule_id().to_string(),
            alert_id: kept.and_then(|m| m.alert_id),
        }
    }
}

/// Returns every monitor.
pub async fn list(session: &mut Session, config: &Config) -> Result<Vec<Row>, AppError> {
    let now = SystemClock.now();
    let kept = store::monitors::list(session.read(Resource::System)?).await?;
    let row = |monitor: &&'static Monitor| Row::new(monitor, &kept, config, now);
    Ok(ALL.iter().map(row).collect())
}

/// A monitor with its past.
#[derive(Debug)]
pub struct Details {
    /// As it is now.
    pub row: Row,
    /// The highest value of each step.
    pub history: Vec<Value>,
    /// How long a step is.
    pub step: Span,
}

/// Returns the monitor of this name with its values since a time.
pub async fn show(
    session: &mut Session,
    config: &Config,
    name: &str,
    since: Timestamp,
) -> Result<Details, AppError> {
    let monitor = named(name).ok_or_else(|| {
        AppError::not_found(format!(
            "there is no monitor `{}`; `blueteam monitors list` has them",
            sanitize(name)
        ))
    })?;

    let conn = session.read(Resource::System)?;
    let now = SystemClock.now();
    let step = Span::micros(now.since(since).as_micros() / STEPS);
    let kept = store::monitors::list(conn).await?;
    let history = store::monitors::history(conn, monitor.name, since, step).await?;

    Ok(Details {
        row: Row::new(monitor, &kept, config, now),
        history,
        step,
    })
}

/// What a monitor says, in a sentence without its end.
pub(crate) fn sentence(m: &Monitored) -> String {
    let Some(monitor) = named(&m.name) else {
        return sanitize(&m.name).into_owned();
    };
    match m.value {
        Some(value) => format!(
            "{}: {} (threshold: {}){}",
            monitor.what,
            monitor.show(value),
            monitor.number(m.threshold),
            if value <= m.threshold {
                ", clearing: within the threshold again, the alert closes when it stays so"
            } else {
                ""
            }
        ),
        None => format!("{}: {}", monitor.what, sanitize(&m.detail)),
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    #[test]
    fn a_monitor_that_is_within_its_threshold_again_is_clearing() {
        let mut monitored = Monitored {
            name: "database_access".to_owned(),
            watched: true,
            value: Some(2.0),
            threshold: 0.0,
            detail: String::new(),
            measured_at: Timestamp::from_secs(0),
            over_since: Some(Timestamp::from_secs(0)),
            last_over: None,
            calm_since: None,
            peak: None,
            times_over: 1,
            alert_id: None,
        };
        let says = sentence(&monitored);
        assert!(
            says.ends_with(": 2 in ten minutes (threshold: 0)"),
            "{says}"
        );
        monitored.value = Some(0.0);
        let says = sentence(&monitored);
        assert!(
            says.contains(": 0 in ten minutes (threshold: 0), clearing: "),
            "{says}"
        );
    }
}
