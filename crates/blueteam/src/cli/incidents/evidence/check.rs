//! `blueteam incidents verify` and `incidents export`.

use std::path::PathBuf;
use std::process::ExitCode;

use app::incident_evidence::{self as evidence, CANNOT_KNOW, ChainReport};
use model::text::sanitize;

use super::{found, keeping};
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Check the chain of evidence of an incident, or of all, with every file
///
/// Names each record that was changed, is missing, is out of order or was added outside of blueteam,
/// and each file of which a byte is not what was taken in.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents verify
  blueteam incidents verify 01a2 --json | jq -r '.[].problems[].problem'

Exit code: 0 all is as it was, 1 something is not, or failed; 2 wrong arguments.")]
pub(in crate::cli::incidents) struct VerifyArgs {
    /// The ID of the incident, or its first characters; without it, every incident
    incident: Option<String>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// Write the evidence of an incident to a signed ZIP, which is recorded
///
/// It has every record, every file and a manifest that `minisign` checks, and VERIFY.txt says how to
/// check all of it without blueteam. Samples of malware are in it encrypted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam incidents export 01a2 --output incident-01a2.zip
  unzip -q incident-01a2.zip -d case && cat case/VERIFY.txt

Exit code: 0 written; 1 failed, or written and something is not what was taken in; 2 wrong \
arguments.")]
pub(in crate::cli::incidents) struct PackageArgs {
    /// The ID of the incident, or its first characters
    incident: String,
    /// To this file, which must not exist
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(in crate::cli::incidents) fn verify(
    args: &VerifyArgs,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let reports = with_session(globals, None, async |session, _| {
        found(evidence::verify(session, &state, args.incident.as_deref()).await)
    })?;
    if args.json {
        out::json(&reports)?;
    } else {
        show_reports(&reports)?;
    }

    let is_whole = reports.iter().all(|report| report.problems.is_empty());
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show_reports(reports: &[ChainReport]) -> anyhow::Result<()> {
    if reports.is_empty() {
        return out::line("no evidence");
    }
    for report in reports {
        let state = match report.problems.len() {
            0 => "whole".to_owned(),
            1 => "1 thing is not what was recorded".to_owned(),
            count => format!("{count} things are not what was recorded"),
        };
        out::line(format_args!(
            "{}: {} records, {} items, last hash {}: {state}",
            report.incident_id, report.records, report.items, report.head
        ))?;
        for problem in &report.problems {
            out::line(format_args!("  {}", sanitize(&problem.problem)))?;
        }
        for unchecked in &report.unchecked {
            out::line(format_args!("  {}", sanitize(unchecked)))?;
        }
    }
    out::note(CANNOT_KNOW);
    Ok(())
}

pub(in crate::cli::incidents) fn export_package(
    args: &PackageArgs,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let on_behalf_of = args.on_behalf_of.as_deref();
    let written = with_session(globals, on_behalf_of, async |session, loaded| {
        let keeping = keeping(&state, loaded);
        found(evidence::export_package(session, keeping, &args.incident, &args.output).await)
    })?;
    let code = if written.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if args.json {
        out::json(&written)?;
        return Ok(code);
    }

    out::line(format_args!(
        "{}: {} records, {} files, last hash {}\nsigned by {}, fingerprint {}",
        args.output.display(),
        written.records,
        written.packed.files.len(),
        written.packed.head,
        written.packed.key.id,
        written.packed.key.fingerprint
    ))?;
    for problem in &written.problems {
        out::line(format_args!("  {}", sanitize(problem)))?;
    }
    out::note("VERIFY.txt in it says how to check it; give the fingerprint by another way");
    Ok(code)
}
