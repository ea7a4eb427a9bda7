//! `blueteam compliance ssp`: the system security plan.

use std::path::PathBuf;
use std::process::ExitCode;

use app::compliance::assessment_package::AssessmentData;
use compliance::reports;
use model::{Clock as _, SystemClock};

use crate::cli::out;
use crate::cli::report::write;
use crate::cli::session::{Globals, with_session};

/// Write the system security plan (3.12.4), from the description of the system, the findings and
/// the evidence.
///
/// What is missing is listed at its beginning and on standard error; nothing is made up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance ssp --sample > system.toml
  blueteam compliance ssp --system system.toml --output ssp.pdf

Without --system, system.toml in the state directory is read, if it is there.
Exit code: 0 done, 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// The description of the system
    #[arg(long, value_name = "FILE")]
    system: Option<PathBuf>,
    /// To this file, which must not exist: .md, .html or .pdf [default: Markdown to standard
    /// output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a commented description to fill in, and nothing else
    #[arg(long)]
    sample: bool,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if args.sample {
        out::line(compliance::system::SAMPLE.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }

    let state = globals.state()?;
    let data = with_session(globals, None, async |session, _| {
        let now = SystemClock.now();
        Ok(AssessmentData::read(session, &state, args.system.as_deref(), now).await?)
    })?;
    write(&reports::ssp(&data.known()), args.output.as_deref())?;

    for warning in &data.system.warnings {
        out::note(format_args!("warning: system.toml: {warning}"));
    }
    let missing = data.system.missing();
    if !missing.is_empty() {
        out::note(format_args!(
            "missing in the description of the system:\n  {}",
            missing.join("\n  ")
        ));
    }

    Ok(ExitCode::SUCCESS)
}
