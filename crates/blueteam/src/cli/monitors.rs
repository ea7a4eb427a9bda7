//! `blueteam monitors`: what is measured, and what it was.

use std::process::ExitCode;

use app::monitors::{self, Details, STEPS};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::Timestamp;
use model::text::sanitize;

use super::out::{self, Look};
use super::session::{Globals, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "monitors",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Numbers that are measured on a schedule and raise an alert above a threshold ([monitors] in the
/// configuration).
///
/// Exit code: 0 done, 1 failed (no such monitor), 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam monitors list
  blueteam monitors list --json | jq '.[] | select(.over_since)'
  blueteam monitors show storage --since 30d")]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What each says now
    #[command(after_help = "Examples:\n  blueteam monitors list")]
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// One of them, with its past
    #[command(after_help = "Examples:\n  blueteam monitors show storage --since 30d")]
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

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List { json } => list_monitors(*json, globals),
        Action::Show { name, since, json } => show_monitor(name, *since, *json, globals),
    }
}

fn list_monitors(json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let rows = with_session(globals, None, async |session, loaded| {
        Ok(monitors::list(session, &loaded.config).await?)
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

    for r in &rows {
        table.add_row([
            Cell::new(r.name),
            Cell::new(r.state.as_str()),
            Cell::new(
                r.value
                    .map_or_else(|| "-".to_owned(), |value| r.monitor.show(value)),
            ),
            Cell::new(r.monitor.show(r.threshold)),
            Cell::new(out::maybe_time(r.over_since)),
            Cell::new(out::maybe_time(r.measured_at)),
            out::text(&r.detail),
        ]);
    }

    out::spare(look, &mut table, &[5]);
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}

fn show_monitor(
    name: &str,
    since: Timestamp,
    json: bool,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let details = with_session(globals, None, async |session, loaded| {
        Ok(monitors::show(session, &loaded.config, name, since).await?)
    })?;

    if json {
        out::json(&serde_json::json!({
            "monitor": details.row,
            "history": details.history,
        }))?;
    } else {
        describe_monitor(&details)?;
        print_history(&details, since)?;
    }

    Ok(ExitCode::SUCCESS)
}

fn print_label(name: &str, value: impl std::fmt::Display) -> anyhow::Result<()> {
    out::line(format_args!("{name:<10} {value}"))
}

fn describe_monitor(details: &Details) -> anyhow::Result<()> {
    let row = &details.row;
    let monitor = row.monitor;
    print_label("monitor", format_args!("{} ({})", row.name, row.what))?;
    print_label("state", row.state.as_str())?;
    print_label(
        "now",
        row.value
            .map_or_else(|| "-".to_owned(), |value| monitor.show(value)),
    )?;

    print_label("allowed", monitor.show(row.threshold))?;
    print_label("over since", out::maybe_time(row.over_since))?;
    print_label("measured", out::maybe_time(row.measured_at))?;
    print_label("saw", sanitize(&row.detail))?;
    print_label("rule", &row.rule_id)?;

    match row.alert_id {
        Some(id) => print_label("alert", id),
        None => Ok(()),
    }
}

fn print_history(details: &Details, since: Timestamp) -> anyhow::Result<()> {
    let history = &details.history;
    let known: Vec<f64> = history.iter().filter_map(|v| v.value).collect();
    let Some(most) = known.iter().copied().reduce(f64::max) else {
        return print_label("past", "none");
    };
    let least = known.iter().copied().fold(most, f64::min);
    let over = history.iter().filter(|v| v.over).count();

    let monitor = details.row.monitor;
    print_label(
        "past",
        format_args!(
            "since {}: {} to {}",
            out::time(since),
            monitor.show(least),
            monitor.show(most)
        ),
    )?;

    print_label(
        "",
        spark_line(details, since, most.max(details.row.threshold)),
    )?;
    print_label(
        "",
        format_args!(
            "each sign stands for {}, the highest value in it; {over} of {} were over",
            details.step,
            history.len()
        ),
    )
}

/// A line of the values: a space where there is none, and `!` where there is something worse than a
/// number.
fn spark_line(details: &Details, since: Timestamp, most: f64) -> String {
    const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut line = vec![' '; usize::try_from(STEPS).unwrap_or_default() + 1];
    for v in &details.history {
        let at = v.at.since(since).as_micros() / details.step.as_micros().max(1);
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
