//! What would happen if a rule fired now: which alert, which incident, who is notified. Nothing is
//! written.

use anyhow::Context as _;
use config::Config;
use model::text::sanitize;
use model::time::Calendar;
use model::{
    Alert, Channel, Clock as _, DetectionUpdate, Phase, SecurityEvent, SilencedBy, Span,
    SystemClock, Timestamp,
};
use notify::Silences;
use serde::Serialize;
use store::alerts::Preview;
use store::rules::RuleSetting;

use super::Selection;
use crate::actor::Resource;
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
    /// The settings of this installation that differ from the defaults that the fixture assumes.
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

/// Runs the first fixture on which a rule must fire as if it happened now, and writes nothing.
pub async fn run(session: &mut Session, config: &Config, rule: &str) -> Result<Outcome, AppError> {
    let conn = session.read(Resource::Rules)?;
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
        .context("the rule has no fixture on which it must fire")?;

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
        tenant: None,
        now,
        business_hours,
        stale_before: Timestamp::MIN,
    };

    let alerts = store::alerts::preview(conn, &changes)
        .await?
        .into_iter()
        .map(|preview| would_be(preview, &router))
        .collect();

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

    // Live, people are notified when an alert opens.
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

/// What an alert would be: where it would go, and what would keep it quiet.
fn would_be(preview: Preview, router: &AlertRouter<'_>) -> Would {
    let route = router.route(&preview.alert);
    let muted_by = route
        .muted_by
        .map(SilencedBy::Silence)
        .or(preview.alert.muted_by);

    Would {
        new_incident: preview.new_incident,
        channels: if muted_by.is_some() {
            Vec::new()
        } else {
            route.channels
        },
        muted_by,
        alert: Alert {
            muted_by,
            ..preview.alert
        },
    }
}
