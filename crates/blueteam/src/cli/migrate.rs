//! `blueteam migrate`: schema and table of rules.

use std::process::ExitCode;

use app::database::Step;
use app::schema::{self, Backup};
use clap::Args as _;

use super::analysis::bar;
use super::out;
use super::session::{Globals, actor, block_on};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "migrate",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Bring the schema up to date, and write the rules (built in and those of `detection.rules_dir`)
/// and the requirements of NIST SP 800-171 into their tables.
///
/// Safe to run at any time and as often as you like: what is up to date is left alone, what an
/// operator set for a rule stays. The daemon does the same when it starts. A database that is older
/// than a day is changed only if the newest backup (monitors.backup_files) is not.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam migrate\n  blueteam migrate --without-backup\n  \
        DATABASE_URL=postgres://owner@db.example/app blueteam migrate"
)]
struct Args {
    /// Although there is no backup of the last day
    #[arg(long)]
    without_backup: bool,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (loaded, state) = (globals.load()?, globals.state()?);
    let actor = actor(None);
    let backup = if args.without_backup {
        Backup::NotNeeded
    } else {
        Backup::AsConfigured
    };
    let progress = bar(0, "{bar:40} migration {pos} of {len}: {msg}");
    let mut on_step = |step: Step<'_>| {
        progress.set_length(step.of as u64);
        progress.set_position(step.number as u64);
        progress.set_message(format!("{:04} {}", step.version, step.description));
    };
    let done = block_on(async {
        Ok(schema::migrate(&loaded, &state, &actor, backup, &mut on_step).await?)
    });
    progress.finish_and_clear();
    let done = done?;

    let (before, after) = (done.before, done.after);
    if before == after {
        out::line(format_args!("schema: up to date (version {after})"))?;
    } else {
        out::line(format_args!(
            "schema: brought from version {before} to {after}"
        ))?;
    }

    out::line(format_args!(
        "rules and monitors: {} known, {} written",
        done.rules, done.rules_written
    ))?;

    let catalog = compliance::Catalog::r2();
    out::line(format_args!(
        "{}: {} requirements, {} rows written",
        catalog.name(),
        catalog.requirements.len(),
        done.requirements_written
    ))?;

    Ok(ExitCode::SUCCESS)
}
