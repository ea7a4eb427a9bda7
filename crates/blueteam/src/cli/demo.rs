//! `blueteam demo`: shows what the program does, on a state directory that is gone afterward.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args as _;
use model::{Clock as _, SystemClock};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use super::{Command, parsed};
use super::{alerts, analysis, incidents, out, report, serve};
use crate::demo::{self, Outcome, Served, Told};
use config::StateDir;
use scenario::{Activity, Plan};

pub(super) const COMMAND: Command = Command {
    name: "demo",
    arguments: |command| {
        let about = "Show what it does, on made-up activity and a throw-away state directory";
        Args::augment_args(command)
            .about(about)
            .long_about(None::<&str>)
    },
    // It must not use the state directory that the environment names for the daemon.
    run: |matches, globals| run(&parsed(matches), globals.given_state_dir),
};

/// Play a day of activity with attacks in it through a daemon on a throw-away state directory, and
/// show what is found.
///
/// The checks of compliance look at it too; a made-up person decides what they propose, so that
/// there is something for an assessor to read.
///
/// Exit code: 0 every attack was found, 1 one was not or the demonstration failed, 2 wrong
/// arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam demo\n  blueteam demo --serve\n  blueteam demo --keep\n  blueteam demo \
        --package cmmc.zip"
)]
struct Args {
    /// Keep the state directory, to look at it with the other commands; one that is named with
    /// --state-dir is kept as well
    #[arg(long)]
    keep: bool,
    /// Leave it running on this machine until Ctrl-C, with people of each role to sign in as: what they
    /// sign in with is made up now, and printed
    #[arg(long)]
    serve: bool,
    /// Write what an assessor would be given to this file, which must not exist: a .zip, or the
    /// report alone as .pdf, .html or .md
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
    /// Other people and other times
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

fn run(args: &Args, given: Option<&Path>) -> anyhow::Result<ExitCode> {
    // Another user's PostgreSQL must get through.
    let permissions = std::fs::Permissions::from_mode(0o711);
    // Dropped at the end of this function, however it ends; signals end it too.
    let temporary = if let Some(path) = given {
        make_empty(path, permissions)?;
        None
    } else {
        let mut dir = tempfile::Builder::new();
        let dir = dir
            .prefix("blueteam-demo-")
            .permissions(permissions)
            .disable_cleanup(args.keep);
        Some(dir.tempdir().context("cannot make a temporary directory")?)
    };
    let path = temporary.as_ref().map(tempfile::TempDir::path).or(given);
    let state = StateDir::resolve(path)?;
    let is_kept = args.keep || given.is_some();
    let loaded = std::sync::Arc::new(demo::configuration(&state));
    serve::start_logging(&loaded)?;

    let activity = Activity::make(&Plan::last_working_day(SystemClock.now(), args.seed));
    out::note(format_args!(
        "playing {} application events and {} lines of sshd with {} attacks in them",
        activity.events.len(),
        activity.ssh.len(),
        activity.expected.len()
    ));

    let bar = analysis::bar(activity.events.len() as u64, "{bar:40} {pos}/{len} events");
    let outcome = serve::runtime()?.block_on(async {
        let stop = CancellationToken::new();
        serve::stop_on_signals(&stop)?;
        let told = Told {
            progress: |sent| bar.set_position(sent),
            served: args.serve.then_some(|outcome: &Outcome, served: &Served| {
                bar.finish_and_clear();
                let shown = print_outcome(outcome, activity.expected.len());
                if let Err(error) = shown.and_then(|_| print_people(served)) {
                    out::note(format_args!("{error:#}"));
                }
            }),
        };
        Box::pin(demo::run(&loaded, &state, &activity, stop, told)).await
    });

    bar.finish_and_clear();
    if is_kept {
        out::note(format_args!(
            "the state directory is kept: {}",
            state.path().display()
        ));
    }

    let outcome = outcome?;
    let code = if args.serve {
        // It was shown while the demonstration ran.
        ExitCode::SUCCESS
    } else {
        print_outcome(&outcome, activity.expected.len())?
    };
    write_report(args, &outcome, &state, is_kept)?;

    Ok(code)
}

/// Says where the demonstration runs, and who may sign in there.
fn print_people(served: &Served) -> anyhow::Result<()> {
    let place = format!("http://localhost:{}/", served.listen.port());
    out::line(format_args!(
        "\nThe demonstration runs at {place} until Ctrl-C. Sign in as one of these people, who are made \
         up and gone with it; a recovery code takes the place of a code of an app, once:\n"
    ))?;
    for person in &served.people {
        out::line(format_args!(
            "  {:<4} {:<13} password {}   app {}",
            person.username,
            person.role,
            person.password.expose_secret(),
            person.totp_secret.expose_secret(),
        ))?;
        let codes: Vec<&str> = person.recovery_codes.iter().take(3).map(|c| &**c).collect();
        out::line(format_args!(
            "       {:<13} recovery codes {}",
            "",
            codes.join("  ")
        ))?;
    }
    Ok(())
}

/// Makes the directory that the demonstration is asked to use. It must not hold anything: what is
/// made up does not belong among what is not.
fn make_empty(path: &Path, permissions: std::fs::Permissions) -> anyhow::Result<()> {
    std::fs::create_dir_all(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))?;
    let mut entries = std::fs::read_dir(path)
        .with_context(|| format!("cannot read the directory {}", path.display()))?;
    if entries.next().is_some() {
        out::usage!("--state-dir: {} is not empty", path.display());
    }

    std::fs::set_permissions(path, permissions)
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

/// What an assessor would be given, or how to have it.
fn write_report(
    args: &Args,
    outcome: &Outcome,
    state: &StateDir,
    is_kept: bool,
) -> anyhow::Result<()> {
    let assessment = &outcome.assessment;
    let decided = assessment
        .controls
        .iter()
        .flat_map(|c| &c.objectives)
        .filter(|o| o.decision.is_some())
        .count();
    let points = assessment.known().claim().points();
    out::line(format_args!(
        "\nCompliance: {decided} of 320 objectives decided by what the checks saw, score {}, {} \
            pieces of evidence, {} plans of action",
        points.map_or_else(|| "none".to_owned(), |p| p.to_string()),
        assessment.evidence.len(),
        assessment.plans.len()
    ))?;

    if let Some(path) = &args.package {
        return report::give(assessment, state, Some(path));
    }

    if is_kept {
        let state = state.path().display();
        out::line(format_args!(
            "for an assessor: blueteam --state-dir {state} report assessor --output cmmc.zip"
        ))?;
    } else {
        out::note("with --package cmmc.zip it writes what an assessor would be given");
    }

    Ok(())
}

fn print_outcome(outcome: &Outcome, expected: usize) -> anyhow::Result<ExitCode> {
    out::line("Alerts\n")?;
    alerts::show_table(&outcome.alerts)?;
    out::line("\nIncidents\n")?;
    incidents::show_table(&outcome.incidents)?;

    let count = |sign: i64| {
        outcome
            .differences
            .values()
            .map(|n| (n * sign).max(0))
            .sum::<i64>()
    };

    let (missed, more) = (count(-1), count(1));
    out::line(format_args!(
        "\n{} of {expected} expected detections found, {more} that were not expected",
        expected as i64 - missed
    ))?;

    for (what, n) in &outcome.differences {
        let verb = if *n < 0 { "missed" } else { "not expected" };
        out::line(format_args!("  {verb}: {} {}", what.rule, what.entity))?;
    }

    Ok(if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
