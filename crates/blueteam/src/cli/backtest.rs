//! `blueteam backtest`: the rules over the stored events.

use std::process::ExitCode;

use app::rules::backtest::{self, Backtest, Step};
use clap::Args as _;
use model::Timestamp;

use super::analysis::{Printer, RuleArgs, bar};
use super::out;
use super::session::{Globals, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "backtest",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Run the detection rules over the stored events and show what they would have found. Writes
/// nothing.
///
/// Learns who is normal from the beginning of the range alone: choose it longer than what you look
/// for. Output as of `replay`: one JSON object a line with --json or into a pipe, readable lines on
/// a terminal.
///
/// Exit code: 0 done, whether or not something was found; 1 failed; 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam backtest --since 30d
  blueteam backtest --since 14d --rules brute_force,credential_stuffing --json
  blueteam backtest --since 2026-03-01T00:00:00Z --until 2026-03-08T00:00:00Z --rules-dir \
  ./new-rules")]
pub(super) struct Args {
    /// From: a length of time ago (30d) or a time (2026-03-05T14:00:00Z)
    #[arg(long, value_parser = out::moment)]
    since: Timestamp,
    /// To; without it, now
    #[arg(long, value_parser = out::moment)]
    until: Option<Timestamp>,
    #[command(flatten)]
    rules: RuleArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Of one rule.
    pub(super) fn of_rule(
        rule: &str,
        since: Timestamp,
        until: Option<Timestamp>,
        json: bool,
    ) -> Self {
        Self {
            since,
            until,
            rules: RuleArgs {
                rules: vec![rule.to_owned()],
                rules_dir: None,
            },
            json,
        }
    }
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let backtest = Backtest::new(args.rules.selection(), args.since, args.until)?;
    let bar = bar(
        0,
        "{bar:40} {human_pos} of about {human_len} events  {per_sec}  {eta} left",
    );
    let mut printer = Printer::new(args.json, bar.clone());

    let summary = with_session(globals, None, async |session, loaded| {
        let each = |step: Step<'_>| match step {
            Step::Estimated(events) => bar.set_length(events),
            Step::Read(events) => bar.set_position(events),
            Step::Found(change) => printer.show(change),
        };
        Ok(backtest::run(session, &loaded.config, &backtest, each).await?)
    })?;
    let found = printer.finish()?;

    if let Some(skipped) = summary.skipped {
        out::note(format_args!(
            "warning: events that cannot be read were skipped: {skipped}"
        ));
    }

    if !args.json {
        out::note(format_args!(
            "{} events, {found} detections",
            summary.events
        ));
    }

    Ok(ExitCode::SUCCESS)
}
