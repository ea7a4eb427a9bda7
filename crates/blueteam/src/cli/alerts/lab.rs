//! `blueteam alerts rules test` and `backtest`: whether a rule does what it is for, on its fixtures
//! and on what is stored.

use std::process::ExitCode;

use app::database::Database;
use app::rule_tests::{self, Tested};
use comfy_table::Cell;
use config::Loaded;
use model::Timestamp;
use model::text::sanitize;

use crate::cli::backtest;
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};

/// Run the fixtures of the rules, or of one: on these a rule must fire, on those it must not.
///
/// Built-in rules carry theirs, and run them with their default parameters. Those of a Sigma rule
/// are in the folder `tests` beside it, under its file's name: `x.yml` has `tests/x.ndjson`. What
/// came of it is recorded, where a database is reachable.
///
/// Exit code: 0 all as it must be; 1 a rule fires when it must not or is silent when it must, or
/// its fixtures cannot be read; 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam alerts rules test
  blueteam alerts rules test brute_force

A line of fixtures is a JSON object. {\"case\": \"…\", \"fires\": true} begins a case; the lines \
after it are its events, their fields named as \
the columns of audit_events, with `source`, `user_name` and `occurrences` for those of logs. \
\"times\": 6, \"every\": \"50s\" makes six of one, \
in which the letter n between braces stands for 0 to 5.")]
pub(super) struct TestArgs {
    /// The rule; without it, all of them
    rule: Option<String>,
    /// As a JSON array, with every case
    #[arg(long)]
    json: bool,
    /// Record nothing
    #[arg(long)]
    no_record: bool,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

/// Run one rule over the stored events and show what it would have found. Writes nothing; see
/// `blueteam backtest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam alerts rules backtest brute_force --since 30d")]
pub(super) struct BacktestArgs {
    /// The rule
    rule: String,
    /// From: a length of time ago (30d) or a time (2026-03-05T14:00:00Z)
    #[arg(long, value_parser = out::moment)]
    since: Timestamp,
    /// To; without it, now
    #[arg(long, value_parser = out::moment)]
    until: Option<Timestamp>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn backtest(args: &BacktestArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    backtest::run(
        &backtest::Args::of_rule(&args.rule, args.since, args.until, args.json),
        globals,
    )
}

pub(super) fn test(args: &TestArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let loaded = globals.load()?;
    let report = rule_tests::test(&loaded.config, args.rule.as_deref())?;
    let tested = report.tested;

    if args.json {
        out::json(&tested)?;
    } else {
        print_results(&tested, args.rule.is_some())?;
        for id in report.without_fixtures {
            out::line(format_args!("{}: has no fixtures", sanitize(&id)))?;
        }
    }

    if !args.no_record {
        match record_test(&tested, args.on_behalf_of.as_deref(), &loaded, globals) {
            Ok(true) => {}
            Ok(false) => out::note("not recorded: there is no database yet"),
            Err(cause) => out::note(format_args!("not recorded: {cause:#}")),
        }
    }

    Ok(if tested.iter().all(|t| t.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_results(tested: &[Tested], each: bool) -> anyhow::Result<()> {
    let look = Look::stdout();
    let mut table = out::table(look, &["rule", "must fire", "must not", "result"]);
    for t in tested {
        let kind = |fires: bool| t.cases.iter().filter(|case| case.fires == fires).count();
        let result = if t.ok { "ok" } else { "FAILED" };
        table.add_row([
            out::text(t.rule_id.as_str()),
            Cell::new(kind(true)),
            Cell::new(kind(false)),
            Cell::new(result),
        ]);
    }

    out::print(table)?;
    for t in tested {
        for case in t.cases.iter().filter(|case| each || !case.ok) {
            let must = if case.fires {
                "must fire"
            } else {
                "must not fire"
            };

            let did = match case.detections {
                0 => "did not".to_owned(),
                1 => "fired".to_owned(),
                n => format!("fired {n} times"),
            };

            let result = if case.ok { "ok" } else { "FAILED" };
            out::line(format_args!(
                "{result}: {}: {}: {must}, {did}",
                sanitize(t.rule_id.as_str()),
                sanitize(&case.case)
            ))?;
        }
    }

    Ok(())
}

/// Records what came of it. False when there is no database: a test of rules is no reason to make
/// one.
fn record_test(
    tested: &[Tested],
    given: Option<&str>,
    loaded: &Loaded,
    globals: Globals<'_>,
) -> anyhow::Result<bool> {
    if !Database::exists(loaded, &globals.state()?) {
        return Ok(false);
    }

    with_session(globals, given, async |session, _| {
        Ok(rule_tests::record(session, tested).await?)
    })?;
    Ok(true)
}
