//! `blueteam alerts rules simulate`: what would happen if a rule fired now. All of it is done as it
//! would be, and taken back.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use app::alert_routing::AlertRouter;
use model::text::sanitize;
use model::time::Calendar;
use model::{
    Alert, AlertId, Change, Channel, Clock as _, MutedBy, Phase, SecurityEvent, Span, SystemClock,
    Timestamp,
};
use notify::Mutes;
use serde::Serialize;
use store::alerts::Next;
use store::rules::RuleSetting;
use store::{Connection as _, PgConnection};

use crate::cli::analysis::RuleArgs;
use crate::cli::out;
use crate::cli::session::{Globals, with_database};
use config::Config;

/// Show what would happen if a rule fired now: which alert, which incident, who is told. Nothing is
/// kept and nothing is sent.
///
/// The rule's first fixture that must fire goes through the engine as it is configured; alert,
/// incident and messages are written as the daemon writes them, and the transaction is taken back.
/// A rule that is switched off is simulated all the same.
///
/// Exit code: 0 it fires; 1 it does not (its parameters may be stricter than its fixture), or
/// failed; 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam alerts rules simulate brute_force")]
pub(super) struct Args {
    /// The rule
    rule: String,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// What would have happened.
#[derive(Debug, Serialize)]
struct Outcome {
    case: String,
    events: usize,
    business_hours: bool,
    rule_enabled: bool,
    /// What is set here otherwise than its fixture takes for granted.
    set_here: Vec<String>,
    alerts: Vec<Would>,
}

/// An alert that would have been.
#[derive(Debug, Serialize)]
struct Would {
    alert: Alert,
    /// Whether the incident of the alert would be a new one.
    new_incident: bool,
    channels: Vec<Channel>,
    muted_by: Option<MutedBy>,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let outcome = with_database(globals, async |conn, loaded| {
        simulate(&args.rule, conn, &loaded.config).await
    })?;
    if args.json {
        out::json(&outcome)?;
    } else {
        show(&outcome)?;
    }

    Ok(if outcome.alerts.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The same event that many weeks later: what goes by the day of the week and the hour stays as it
/// was.
fn later(event: &SecurityEvent<'static>, weeks: i64) -> SecurityEvent<'static> {
    SecurityEvent {
        timestamp: event.timestamp.plus(Span::days(7 * weeks)),
        ..event.clone()
    }
}

async fn simulate(rule: &str, conn: &mut PgConnection, config: &Config) -> anyhow::Result<Outcome> {
    let table = store::rules::settings(conn).await?;
    let fixtures = app::rule_tests::all(config)?
        .into_iter()
        .find(|f| f.rules.iter().any(|id| id == rule));
    let Some(fixtures) = fixtures else {
        bail!(
            "`{}` is no rule, or has no fixtures; `blueteam alerts rules test` shows those that \
                have",
            sanitize(rule)
        );
    };

    let case = fixtures
        .cases
        .into_iter()
        .find(|case| case.fires)
        .context("no fixture of it must fire")?;
    let now = SystemClock.now();
    let changes = changes(rule, &case.events, (config, &table), now)?;
    let business_hours = Calendar::new(config.business_hours.clone())?
        .period(now)
        .open;

    let alerts = apply_and_take_back(conn, config, &changes, (now, business_hours)).await?;
    let rule_enabled = table
        .iter()
        .all(|row| row.rule_id.as_str() != rule || row.enabled);
    let set_here = set_here(rule, config);

    Ok(Outcome {
        case: case.name,
        events: case.events.len(),
        business_hours,
        rule_enabled,
        set_here,
        alerts,
    })
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

/// What the engine says of the events, as it is configured.
fn changes(
    rule: &str,
    events: &[SecurityEvent<'static>],
    (config, table): (&Config, &[RuleSetting]),
    now: Timestamp,
) -> anyhow::Result<Vec<Change>> {
    let rules = RuleArgs {
        rules: vec![rule.to_owned()],
        rules_dir: None,
    };

    let mut engine = rules.engine(config, table)?;
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
        engine.push(&later(event, weeks));
    }

    engine.finish();
    let mut changes = Vec::new();

    // Live, an alert is told when it opens.
    engine.drain(false, |change| {
        changes.push(Change {
            opened: true,
            phase: Phase::Opened,
            ..change
        });
    });

    Ok(changes)
}

async fn apply_and_take_back(
    conn: &mut PgConnection,
    config: &Config,
    changes: &[Change],
    (now, open): (Timestamp, bool),
) -> anyhow::Result<Vec<Would>> {
    let routing = config.alerts.routing(&config.channels)?;
    let mutes = Mutes::new(store::mutes::ending_after(conn, now).await?);
    let router = AlertRouter {
        routing: &routing,
        silences: &mutes,
        now,
        business_hours: open,
        stale_before: Timestamp::MIN,
    };

    let mut tx = conn.begin().await.map_err(store::StoreError::from)?;
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
        let Some(alert) = store::alerts::show(&mut tx, *id).await? else {
            continue;
        };
        let channels = channels_of.remove(id);
        let muted_by = alert.muted_by;
        would.push(Would {
            new_incident: alert
                .incident_id
                .is_some_and(|incident| applied.incidents.contains(&incident)),
            channels: if muted_by.is_some() {
                Vec::new()
            } else {
                channels.unwrap_or_default()
            },
            muted_by,
            alert,
        });
    }

    tx.rollback().await.map_err(store::StoreError::from)?;
    Ok(would)
}

fn show(outcome: &Outcome) -> anyhow::Result<()> {
    let label =
        |name: &str, value: String| out::line(format_args!("{name:<10} {}", sanitize(&value)));
    label(
        "case",
        format!("{} ({} events)", outcome.case, outcome.events),
    )?;

    for would in &outcome.alerts {
        let a = &would.alert;
        label(
            "alert",
            format!("{} {}", a.severity.as_str().to_ascii_uppercase(), a.title),
        )?;
        label("about", format!("{} in {}", a.entity, a.source))?;

        label(
            "incident",
            match (a.incident_id, would.new_incident) {
                (None, _) => "none: its severity opens none".to_owned(),
                (Some(_), true) => "a new one".to_owned(),
                (Some(id), false) => format!("joins {id}, which is open"),
            },
        )?;

        let hours = if outcome.business_hours {
            "business hours"
        } else {
            "outside of business hours"
        };

        let told = match would.muted_by {
            Some(MutedBy::Mute(id)) => {
                format!("nobody: muted by {id} (`blueteam alerts silences list`)")
            }
            Some(MutedBy::Alert(id)) => {
                format!("nobody: the critical alert {id} about the same is open")
            }
            None if would.channels.is_empty() => {
                format!("nobody: no channel is configured for it ({hours})")
            }
            None => {
                let channels: Vec<&str> = would.channels.iter().map(|c| c.as_str()).collect();
                format!("by {} ({hours})", channels.join(", "))
            }
        };

        label("told", told)?;
    }

    if outcome.alerts.is_empty() {
        let set = outcome.set_here.join(", ");
        let why = if set.is_empty() {
            String::new()
        } else {
            format!(". Its fixture knows nothing of: {}", sanitize(&set))
        };

        out::line(format_args!(
            "it does not fire with the parameters that it has here; no alert{why}"
        ))?;
    }

    if !outcome.rule_enabled {
        out::line("the rule is switched off: as things are, none of this happens")?;
    }

    out::line("nothing was kept, and nobody was told")
}
