//! `blueteam compliance import` and `export`: findings as a spreadsheet, and OSCAL documents.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use app::compliance::assessment;
use app::compliance::assessment_package::AssessmentData;
use app::compliance::import::{self, Changed, Document};
use model::{Clock as _, SystemClock};
use serde_json::json;

use super::ids::many;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// A sheet larger than this is not one that was exported.
const SHEET_MAX: u64 = 16 << 20;

/// Write all findings as CSV (RFC 4180), one row an objective; or everything as OSCAL 1.2.1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam compliance export > findings.csv
  blueteam compliance export --oscal workspace --system system.toml

The OSCAL documents lie as a trestle workspace wants them, and name each other by trestle:// \
hrefs.")]
pub(super) struct ExportArgs {
    /// To this file, which must not exist
    #[arg(long, value_name = "FILE", conflicts_with = "oscal")]
    output: Option<PathBuf>,
    /// As OSCAL documents below this folder: catalog, profile, component definition, plan,
    /// assessment plan and results, POA&M
    #[arg(long, value_name = "DIR")]
    oscal: Option<PathBuf>,
    /// The description of the system, for OSCAL [default: system.toml in the state directory]
    #[arg(long, value_name = "FILE", requires = "oscal")]
    system: Option<PathBuf>,
    /// With --oscal: the names of the files as a JSON array
    #[arg(long, requires = "oscal")]
    json: bool,
}

/// Read findings from a CSV file, or a system security plan or POA&M of OSCAL (.json).
///
/// A CSV file has the columns that `export` writes; all of it is read, or nothing when a row is
/// wrong. As with `assess`, 3.12.4 can be met only when an approved system security plan is among
/// its evidence. Needed are objective_id and finding, and a reason for each finding. You decide
/// what it says: your name stands behind what changes. An empty finding leaves an objective alone,
/// and so does one that is there already. Of an OSCAL plan, how requirements are implemented and
/// who answers for them is taken; of a POA&M, its items. Neither decides a finding.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance import findings.csv\n  blueteam \
        compliance import findings.csv --dry-run"
)]
pub(super) struct ImportArgs {
    /// The file; `-` is standard input
    file: PathBuf,
    /// Check it and say what would change
    #[arg(long)]
    dry_run: bool,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object: how much was, or would be, changed
    #[arg(long)]
    json: bool,
}

pub(super) fn export(args: &ExportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.oscal {
        return export_oscal(folder, args, globals);
    }
    let text = with_session(globals, None, async |session, _| {
        Ok(assessment::sheet(session).await?)
    })?;
    out::deliver(args.output.as_deref(), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes OSCAL documents below a folder; none of them may be there.
fn export_oscal(
    folder: &Path,
    args: &ExportArgs,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let data = with_session(globals, None, async |session, _| {
        let now = SystemClock.now();
        Ok(AssessmentData::read(session, &state, args.system.as_deref(), now).await?)
    })?;

    let mut written = Vec::new();
    for document in data.oscal()? {
        let path = folder.join(&document.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }

        out::new_file(&path, document.text.as_bytes())?;
        if !args.json {
            out::line(path.display())?;
        }

        written.push(path);
    }

    if args.json {
        out::json(&written)?;
    }

    if data.plans.is_empty() {
        out::note("no POA&M: there is no item, and OSCAL has no empty one");
    }

    Ok(ExitCode::SUCCESS)
}

pub(super) fn import(args: &ImportArgs, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let text = read_sheet(&args.file)?;
    let name = args.file.display().to_string();
    let document = Document {
        name: &name,
        text: &text,
        dry_run: args.dry_run,
    };

    let state = globals.state()?;
    let changed = with_session(globals, args.on_behalf_of.as_deref(), async |session, _| {
        Ok(import::import(session, &state, &document).await?)
    })?;

    show_changed(changed, args)?;
    Ok(ExitCode::SUCCESS)
}

fn show_changed(changed: Changed, args: &ImportArgs) -> anyhow::Result<()> {
    let dry_run = args.dry_run;
    if args.json {
        return out::json(&match changed {
            Changed::Sheet {
                findings,
                requirements,
            } => json!({ "dry_run": dry_run, "findings": findings, "requirements": requirements }),
            Changed::Plans(plans) => json!({ "dry_run": dry_run, "plans": plans }),
            Changed::Requirements(n) => json!({ "dry_run": dry_run, "requirements": n }),
        });
    }

    let requirements = |n| many(n, "requirement", "requirements");
    let what = match changed {
        Changed::Sheet {
            findings,
            requirements: n,
        } => format!(
            "{} and {}",
            many(findings, "finding", "findings"),
            requirements(n)
        ),
        Changed::Plans(plans) => many(plans, "plan of action", "plans of action"),
        Changed::Requirements(n) => requirements(n),
    };

    let verb = if dry_run { "would change" } else { "changed" };
    out::line(format_args!("{verb} {what}"))
}

fn read_sheet(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let source: Box<dyn std::io::Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        // A pipe is as good as a file; a folder is not.
        Box::new(
            std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?,
        )
    };

    source
        .take(SHEET_MAX + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if text.len() as u64 > SHEET_MAX {
        bail!("{} is larger than 16 MiB", path.display());
    }

    if text.contains(&0) {
        bail!("{} is not text: it holds NUL", path.display());
    }

    Ok(text)
}
