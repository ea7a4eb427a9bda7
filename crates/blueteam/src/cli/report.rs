//! `blueteam report`: reports for others.

mod executive;
mod posture;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app::compliance::assessment_package::AssessmentData;
use app::compliance::evidence_store::EvidenceStore;
use clap::{Args as _, Subcommand};
use compliance::document::Document;
use compliance::reports;
use config::StateDir;
use indicatif::{ProgressBar, ProgressStyle};
use model::{Clock as _, SystemClock};

use super::out;
use super::session::{Globals, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "report",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Reports for others.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Posture(posture::Args),
    Executive(executive::Args),
    Assessor(AssessorArgs),
}

/// Write what a CMMC assessor works from: result, findings by requirement, evidence with hashes,
/// plans, samples of events and alerts.
///
/// As a .zip it is the whole package: the report, the plan, the sheets, all evidence, the lists of
/// hashes, and how to check them without this program.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam report assessor --output cmmc.zip
  blueteam report assessor --output cmmc-report.md
  blueteam report assessor --system system.toml --output cmmc-report.pdf

Run `blueteam compliance evidence` first, so that the checks have looked.
Exit code: 0 done, 1 failed, or written with a piece of evidence that was tampered with (a .zip is
not written then), 2 wrong arguments.")]
struct AssessorArgs {
    /// The description of the system [default: system.toml in the state directory]
    #[arg(long, value_name = "FILE")]
    system: Option<PathBuf>,
    /// To this file, which must not exist: .md, .html, .pdf or .zip [default: Markdown to standard
    /// output]; only you may read it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Posture(args) => posture::run(args, globals),
        Action::Executive(args) => executive::run(args, globals),
        Action::Assessor(args) => write_assessor(args, globals),
    }
}

fn write_assessor(args: &AssessorArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let data = with_session(globals, None, async |session, _| {
        let now = SystemClock.now();
        Ok(AssessmentData::read(session, &state, args.system.as_deref(), now).await?)
    })?;
    give(&data, &state, args.output.as_deref())?;

    let mut code = ExitCode::SUCCESS;
    for piece in data.tampered() {
        out::note(format_args!(
            "evidence {} ({}) is not what was taken in, and is marked where it is cited; \
                `blueteam compliance evidence verify` says how",
            piece.evidence_id,
            model::text::sanitize(&piece.artifact())
        ));
        code = ExitCode::FAILURE;
    }

    Ok(code)
}

/// Says that a file which looks like the description of the system does not count.
pub(super) fn note_ignored_file(data: &AssessmentData) {
    if data.ignored_file {
        out::note(
            "system.toml in the state directory says something else than the description that was \
                imported, which counts; `blueteam compliance ssp --import` takes it over",
        );
    }
}

/// Writes the report, or the whole package when the file is a .zip, and says what of the system is
/// not described.
pub(super) fn give(
    data: &AssessmentData,
    state: &StateDir,
    output: Option<&Path>,
) -> anyhow::Result<()> {
    if let Some(path) = output.filter(|path| file_extension(path) == "zip") {
        write_package(data, state, path)?;
    } else {
        write(&reports::assessor(&data.known()), output)?;
    }

    note_ignored_file(data);
    let missing = data.system.missing();
    if !missing.is_empty() {
        out::note(format_args!(
            "{} missing in the description of the system; `blueteam compliance ssp` lists them",
            if missing.len() == 1 {
                "1 thing is".to_owned()
            } else {
                format!("{} things are", missing.len())
            }
        ));
    }

    Ok(())
}

fn write_package(data: &AssessmentData, state: &StateDir, path: &Path) -> anyhow::Result<()> {
    // Drawn on a terminal only, which indicatif sees to.
    let bar = ProgressBar::new(data.evidence.iter().filter_map(|e| e.size_bytes).sum());
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {bytes}/{total_bytes} of evidence {wide_msg}",
    )?);

    let sum = data.package(&EvidenceStore::new(state.path()), path, &|octets| {
        bar.inc(octets);
        if bar.position() >= bar.length().unwrap_or(u64::MAX) {
            bar.set_message("then the reports");
        }
    });

    bar.finish_and_clear();
    let sum = sum?;
    out::line(format_args!(
        "{}\nSHA256SUMS in it has the hash {sum}: give that to the assessor by another way",
        path.display()
    ))
}

fn file_extension(path: &Path) -> String {
    path.extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// Writes a document in the form that the file's ending says; without a file, as Markdown to
/// standard output.
pub(super) fn write(doc: &Document, output: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = output else {
        return out::deliver(None, doc.markdown().as_bytes());
    };
    let text = match file_extension(path).as_str() {
        "md" => doc.markdown().into_bytes(),
        "html" => doc.html().into_bytes(),
        "pdf" => pdf::render(doc)?,
        other => out::usage!(
            "--output: `.{other}` is not a form that this can be written in; .md, .html and .pdf \
                are"
        ),
    };

    out::new_file(path, &text)
}
