//! `blueteam monitors`: what is measured, and what it was.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use comfy_table::Cell;
use model::text::sanitize;
use model::{Clock as _, Span, SystemClock, Timestamp};
use serde::Serialize;
use store::monitors::{Monitored, Value};

use super::out::{self, Look};
use super::session::{Globals, with_database};
use config::Config;
use monitors::{ALL, Monitor, named};

/// Numbers that are measured on a schedule and raise an alert above a threshold ([monitors] in the
/// configuration).
///
/// Exit code: 0 done, 1 failed (no such monitor), 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam monitors list
  blueteam monitors list --json | jq '.[] | select(.over_since)'
  blueteam monitors show storage --since 30d")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What each says now
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// One of them, with its past
    Show {
        /// The monitor
        name: String,
        /// From: a length of time ago (7d) or a time (2026-03-05T14:00:00Z)
        #[arg(long, value_parser = out::moment, default_value = "24h")]
        since: Timestamp,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Values that a past is shown in at most.
const STEPS: i64 = 60;

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List { json } => list(*json, globals),
        Action::Show { name, since, json } => show(name, *since, *json, globals),
    }
}

/// A monitor as it is.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    state: &'static str,
    value: Option<f64>,
    threshold: f64,
    over_since: Option<Timestamp>,
    measured_at: Option<Timestamp>,
    detail: String,
    rule_id: String,
    alert_id: Option<uuid::Uuid>,
}

impl Row {
    fn new(
        monitor: &'static Monitor,
        kept: Option<&Monitored>,
        config: &Config,
        now: Timestamp,
    ) -> Self {
        let stale =
            Span::micros(config.monitors.interval.as_micros().saturating_mul(3)).max(Span::mins(1));
        let state = match kept {
            None => "never measured",
            Some(m) if now.since(m.measured_at) > stale => "not measured lately",
            Some(m) if !m.watched => "not watched",
            Some(m) if m.over_since.is_some() => "OVER",
            Some(_) => "ok",
        };

        let configured = config
            .monitors
            .thresholds
            .get(monitor.name)
            .copied()
            .unwrap_or(monitor.threshold);
        Self {
            name: monitor.name,
            what: monitor.what,
            unit: monitor.unit.trim_start(),
            state,
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

/// What a monitor says, in a sentence without its end.
pub(super) fn says(m: &Monitored) -> String {
    let Some(monitor) = named(&m.name) else {
        return sanitize(&m.name).into_owned();
    };
    let limit = monitor.show(m.threshold);
    match m.value {
        Some(value) => format!(
            "{}: {}, allowed are {limit}",
            monitor.what,
            monitor.show(value)
        ),
        None => format!("{}: {}", monitor.what, sanitize(&m.detail)),
    }
}

fn list(json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    let rows = with_database(globals, async |conn, loaded| {
        let kept = store::monitors::list(conn).await?;
        let row = |monitor: &&'static Monitor| {
            Row::new(
                monitor,
                kept.iter().find(|m| m.name == monitor.name),
                &loaded.config,
                now,
            )
        };
        Ok(ALL.iter().map(row).collect::<Vec<_>>())
    })?;

    if json {
        out::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }

    let look = Look::stdout();
    let mut table = out::table(
        look,
        &[
            "monitor",
            "state",
            "now",
            "allowed",
            "over since",
            "measured",
            "what it saw",
        ],
    );

    for (r, monitor) in rows.iter().zip(ALL) {
        table.add_row([
            Cell::new(r.name),
            Cell::new(r.state),
            Cell::new(
                r.value
                    .map_or_else(|| "-".to_owned(), |value| monitor.show(value)),
            ),
            Cell::new(monitor.show(r.threshold)),
            Cell::new(out::maybe_time(r.over_since)),
            Cell::new(out::maybe_time(r.measured_at)),
            out::text(&r.detail),
        ]);
    }

    out::spare(look, &mut table, &[5]);
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}

fn show(
    name: &str,
    since: Timestamp,
    json: bool,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let monitor = named(name).with_context(|| {
        format!(
            "there is no monitor `{}`; `blueteam monitors list` has them",
            sanitize(name)
        )
    })?;

    let now = SystemClock.now();
    let step = Span::micros(now.since(since).as_micros() / STEPS);
    let (row, past) = with_database(globals, async |conn, loaded| {
        let kept = store::monitors::list(conn).await?;
        let past = store::monitors::history(conn, monitor.name, since, step).await?;
        let kept = kept.iter().find(|m| m.name == monitor.name);
        Ok((Row::new(monitor, kept, &loaded.config, now), past))
    })?;

    if json {
        out::json(&serde_json::json!({ "monitor": row, "history": past }))?;
        return Ok(ExitCode::SUCCESS);
    }

    let label = |name: &str, value: String| out::line(format_args!("{name:<10} {value}"));
    label("monitor", format!("{} ({})", row.name, row.what))?;
    label("state", row.state.to_owned())?;
    label(
        "now",
        row.value
            .map_or_else(|| "-".to_owned(), |value| monitor.show(value)),
    )?;

    label("allowed", monitor.show(row.threshold))?;
    label("over since", out::maybe_time(row.over_since))?;
    label("measured", out::maybe_time(row.measured_at))?;
    label("saw", sanitize(&row.detail).into_owned())?;
    label("rule", row.rule_id.clone())?;

    if let Some(id) = row.alert_id {
        label("alert", id.to_string())?;
    }

    let known: Vec<f64> = past.iter().filter_map(|v| v.value).collect();
    let Some(most) = known.iter().copied().reduce(f64::max) else {
        return label("past", "none".to_owned()).map(|()| ExitCode::SUCCESS);
    };
    let least = known.iter().copied().fold(most, f64::min);
    let over = past.iter().filter(|v| v.over).count();

    label(
        "past",
        format!(
            "since {}: {} to {}",
            out::time(since),
            monitor.show(least),
            monitor.show(most)
        ),
    )?;

    label("", spark(&past, (since, step), most.max(row.threshold)))?;
    label(
        "",
        format!(
            "each sign stands for {step}, the highest value in it; {over} of {} were over",
            past.len()
        ),
    )?;

    Ok(ExitCode::SUCCESS)
}

/// A line of the values: a space where there is none, and `!` where there is something worse than a
/// number.
fn spark(past: &[Value], (since, step): (Timestamp, Span), most: f64) -> String {
    const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut line = vec![' '; usize::try_from(STEPS).unwrap_or_default() + 1];
    for v in past {
        let at = v.at.since(since).as_micros() / step.as_micros().max(1);
        let Some(place) = usize::try_from(at).ok().and_then(|at| line.get_mut(at)) else {
            continue;
        };
        *place = v.value.map_or('!', |value| {
            // Between 0 and 7 by its definition.
            let height = (value / most.max(f64::MIN_POSITIVE) * 7.0)
                .round()
                .clamp(0.0, 7.0) as usize;
            SIGNS.get(height).copied().unwrap_or('█')
        });
    }

    line.into_iter().collect::<String>().trim_end().to_owned()
}
