//! `blueteam backtest`: the rules over the stored events.

use std::process::ExitCode;

use detect::{User, Users};
use model::{Clock as _, SystemClock, Timestamp};

use super::analysis::{Printer, RuleArgs, bar};
use super::out;
use super::session::{Globals, with_database};

/// How many events pass between two looks at what closed.
const BATCH: u64 = 4096;

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
    let until = args.until.unwrap_or_else(|| SystemClock.now());
    if until <= args.since {
        out::usage!("--until must be later than --since");
    }

    with_database(globals, async |conn, loaded| {
        let table = store::rules::settings(conn).await?;
        let mut engine = args.rules.engine(&loaded.config, &table)?;
        let facts = store::users::all_facts(conn).await?;
        engine.set_users(Users::new(facts.into_iter().map(|f| {
            (
                f.user_id,
                User {
                    role: Some(f.role),
                    tenant: f.tenant_id,
                },
            )
        })));

        let total = store::history::estimate(conn, args.since, until).await?;
        let bar = bar(
            total,
            "{bar:40} {human_pos} of about {human_len} events  {per_sec}  {eta} left",
        );
        let mut printer = Printer::new(args.json, bar.clone());
        let mut seen = 0;
        let (events, set_aside) = store::history::stream(conn, args.since, until, |event| {
            engine.push(event);
            seen += 1;
            if seen % BATCH == 0 {
                bar.set_position(seen);
                engine.drain(true, |change| printer.show(&change));
            }
        })
        .await?;

        engine.finish();
        engine.drain(false, |change| printer.show(&change));
        let found = printer.finish()?;

        if !set_aside.is_empty() {
            out::note(format_args!(
                "warning: events that cannot be read were passed over: {}",
                set_aside.describe()
            ));
        }

        if !args.json {
            out::note(format_args!("{events} events, {found} detections"));
        }

        Ok(ExitCode::SUCCESS)
    })
}
