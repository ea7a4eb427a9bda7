//! `blueteam compliance ssp`: the system security plan.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app::compliance::assessment_package::AssessmentData;
use app::compliance::description;
use compliance::reports;
use model::{Clock as _, SystemClock};

use super::ids::many;
use crate::cli::out;
use crate::cli::report::{note_ignored_file, write};
use crate::cli::session::{Globals, with_session};

/// Write the system security plan (3.12.4), from the description of the system, the findings and
/// the evidence.
///
/// What is missing is listed at its beginning and on standard error; nothing is made up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance ssp --sample > system.toml
  blueteam compliance ssp --import system.toml
  blueteam compliance ssp --output ssp.pdf
  blueteam compliance ssp --export --output system.toml

Without --system, the description that was imported counts; before the first import, system.toml in
the state directory, if it is there.
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
    #[arg(long, conflicts_with_all = ["system", "import", "export"])]
    sample: bool,
    /// Take a description over into the database: the sections of the plan, and the assets into the
    /// inventory
    #[arg(long, value_name = "FILE", conflicts_with_all = ["system", "output", "export"])]
    import: Option<PathBuf>,
    /// Write the description that counts, as system.toml has it
    #[arg(long, conflicts_with = "system")]
    export: bool,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME", requires = "import")]
    on_behalf_of: Option<String>,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if args.sample {
        out::line(compliance::system::SAMPLE.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }

    if let Some(file) = &args.import {
        return import(file, args.on_behalf_of.as_deref(), globals);
    }

    let state = globals.state()?;
    if args.export {
        let text = with_session(globals, None, async |session, _| {
            Ok(description::export(session, &state).await?)
        })?;
        out::deliver(args.output.as_deref(), text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }

    let data = with_session(globals, None, async |session, _| {
        let now = SystemClock.now();
        Ok(AssessmentData::read(session, &state, args.system.as_deref(), now).await?)
    })?;
    write(&reports::ssp(&data.known()), args.output.as_deref())?;
    note_ignored_file(&data);

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

fn import(
    file: &Path,
    on_behalf_of: Option<&str>,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let imported = with_session(globals, on_behalf_of, async |session, _| {
        Ok(description::import(session, &state, file).await?)
    })?;

    let sections = usize::try_from(imported.sections).unwrap_or(usize::MAX);
    out::line(format_args!(
        "changed {} and {}",
        many(sections, "section", "sections"),
        many(imported.assets, "asset", "assets")
    ))?;
    Ok(ExitCode::SUCCESS)
}
