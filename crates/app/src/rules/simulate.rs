//! What would happen if a rule fired now: which alert, which incident, who is notified. All of it
//! is done as it would be, and rolled back.

use std::collections::HashMap;

use anyhow::Context as _;
use config::Config;
use model::text::sanitize;
use model::time::Calendar;
use model::{
    Actor, Alert, AlertId, Channel, Clock as _, DetectionUpdate, Phase, SecurityEvent, SilencedBy,
    Span, SystemClock, Timestamp,
};
use notify::Silences;
use serde::Serialize;
use store::alerts::{Applied, Next};
use store::rules::RuleSetting;
use store::{PgConnection, StoreError};

use super::Selection;
use crate::alert_routing::AlertRouter;
use crate::{AppError, Session, rule_tests};

/// What would have happened.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The fixture that was run.
    pub case: String,
    /// How many events it has.
    pub events: usize,
    /// Whether it is now within business hours.
    pub business_hours: bool,
    /// Whether the rule may fire at all.
    pub rule_enabled: bool,
    /// What is set here otherwise than the rule's fixture takes for granted.
    pub set_here: Vec<String>,
    /// The alerts that would have been.
    pub alerts: Vec<Would>,
}

/// An alert that would have been.
#[derive(Debug, Serialize)]
pub struct Would {
    /// The alert.
    pub alert: Alert,
    /// Whether the incident of the alert would be a new one.
    pub new_incident: bool,
    /// The channels that would carry it.
    pub channels: Vec<Channel>,
    /// What would have silenced it.
    pub muted_by: Option<SilencedBy>,
}

/// Has the first fixture of a rule that must fire happen now, and keeps nothing of it.
pub async fn run(session: &mut Session, config: &Config, rule: &str) -> Result<Outcome, AppError> {
    let actor = session.actor().clone();
    let conn = session.read()?;
    let rule = crate::names::rule(config, rule)?;
    let rule = rule.as_str();
    let table = store::rules::settings(conn).await?;
    let case = rule_tests::all(config)?
        .into_iter()
        .find(|f| f.rules.iter().any(|id| id == rule))
        .ok_or_else(|| no_fixtures(rule))?
        .cases
        .into_iter()
        .find(|case| case.fires)
        .context("no fixture of it must fire")?;

    let now = SystemClock.now();
    let changes = simulated_changes(rule, &case.events, config, &table, now)?;
    let business_hours = Calendar::new(config.business_hours.clone())
        .map_err(anyhow::Error::from)?
        .period(now)
        .open;

    let routing = config
        .alerts
        .routing(&config.channels)
        .map_err(anyhow::Error::from)?;
    let silences = Silences::new(store::silences::ending_after(conn, now).await?);
    let router = AlertRouter {
        routing: &routing,
        silences: &silences,
        now,
        business_hours,
        stale_before: Timestamp::MIN,
    };

    let alerts = apply_and_roll_back(conn, &actor, &changes, &router).await?;

    Ok(Outcome {
        case: case.name,
        events: case.events.len(),
        business_hours,
        rule_enabled: table
            .iter()
            .all(|row| row.rule_id.as_str() != rule || row.enabled),
        set_here: set_here(rule, config),
        alerts,
    })
}

fn no_fixtures(rule: &str) -> AppError {
    AppError::not_found(format!(
        "`{}` is not a rule, or has no fixtures; `blueteam alerts rules test` shows those that have",
        sanitize(rule)
    ))
}

/// The parameters and times of day of the configuration that are not the defaults.
fn set_here(rule: &str, config: &Config) -> Vec<String> {
    let of_rule = config
        .rules
        .get(rule)
        .and_then(serde_json::Value::as_object);
    let mut set: Vec<String> = of_rule
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "enabled")
        .map(|(key, value)| format!("rules.{rule}.{key} = {value}"))
        .collect();

    if config.business_hours != Config::default().business_hours {
        set.push("[business_hours]".to_owned());
    }

    set
}

/// Returns what the engine, as it is configured, makes of the events.
fn simulated_changes(
    rule: &str,
    events: &[SecurityEvent<'static>],
    config: &Config,
    table: &[RuleSetting],
    now: Timestamp,
) -> Result<Vec<DetectionUpdate>, AppError> {
    let rules = [rule.to_owned()];
    let selection = Selection {
        rules: &rules,
        rules_dir: None,
    };

    let mut engine = selection.engine_with_table(config, table)?;
    let last = events
        .iter()
        .map(|event| event.timestamp)
        .max()
        .unwrap_or(now);
    let weeks = now
        .since(last)
        .as_micros()
        .div_euclid(Span::days(7).as_micros());

    for event in events {
        engine.push(&shift_weeks(event, weeks));
    }

    engine.finish();
    let mut changes = Vec::new();

    // Live, an alert is told when it opens.
    engine.drain(false, |change| {
        changes.push(DetectionUpdate {
            opened: true,
            phase: Phase::Opened,
            ..change
        });
    });

    Ok(changes)
}

/// The same event that many weeks later: what depends on the day of the week and the hour stays as
/// it was.
fn shift_weeks(event: &SecurityEvent<'static>, weeks: i64) -> SecurityEvent<'static> {
    SecurityEvent {
        timestamp: event.timestamp.plus(Span::days(7 * weeks)),
        ..event.clone()
    }
}

/// Applies the changes as detection does, and rolls everything back.
async fn apply_and_roll_back(
    conn: &mut PgConnection,
    actor: &Actor,
    changes: &[DetectionUpdate],
    router: &AlertRouter<'_>,
) -> Result<Vec<Would>, StoreError> {
    let mut tx = store::begin(conn, actor).await?;
    let mut channels_of: HashMap<AlertId, Vec<Channel>> = HashMap::new();
    let mut batch = store::alerts::apply(changes);
    let applied = loop {
        match batch.write_next(&mut tx).await? {
            Next::Written(mut part) => {
                for written in part.alerts.iter_mut().filter(|w| w.needs_route()) {
                    written.route = router.route(&written.alert);
                    let channels = written.route.channels.clone();
                    channels_of.insert(written.alert.alert_id, channels);
                }

                batch = part.enqueue(&mut tx).await?;
            }
            Next::Done(applied) => break applied,
        }
    };

    let mut would = Vec::new();
    for id in &applied.opened {
        if let Some(alert) = store::alerts::show(&mut tx, *id).await? {
            let channels = channels_of.remove(id).unwrap_or_default();
            would.push(would_be(alert, &applied, channels));
        }
    }

    tx.rollback().await?;
    Ok(would)
}

fn would_be(alert: Alert, applied: &Applied, channels: Vec<Channel>) -> Would {
    let muted_by = alert.muted_by;
    Would {
        new_incident: alert
            .incident_id
            .is_some_and(|incident| applied.incidents.contains(&incident)),
        channels: if muted_by.is_some() {
            Vec::new()
        } else {
            channels
        },
        muted_by,
        alert,
    }
}
