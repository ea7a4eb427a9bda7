//! `blueteam compliance score`: the DoD score and the CMMC status that it allows.

use std::path::PathBuf;
use std::process::ExitCode;

use comply::Catalog;
use comply::cmmc::{CONDITIONAL_FROM, Status};
use comply::score::{MOST, Score};
use comply::sprs::Submission;
use model::Scored;
use serde::Serialize;

use super::grid::{Grid, paragraph};
use super::{controls, word};
use crate::cli::out;
use crate::cli::session::{Globals, with_database};
use crate::dossier;

/// Show the score (DoD Assessment Methodology v1.2.1), what was deducted, and the CMMC status that it allows (32 CFR 170.21, 170.24).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam compliance score\n  blueteam compliance score --sprs\n  \
                        blueteam compliance score --history --json\n\n\
                        Exit code: 0 a status can be had (conditional or final), 3 none can (of --sprs: something is missing), 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// What SPRS asks for, and what of it is missing
    #[arg(long, conflicts_with = "history")]
    sprs: bool,
    /// The scores that were noted, the oldest first
    #[arg(long)]
    history: bool,
    /// The description of the system, for SPRS [default: system.toml in the state directory]
    #[arg(long, value_name = "FILE")]
    system: Option<PathBuf>,
    /// As JSON; the score itself with the fields that SPRS asks for
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    score: Score,
    threshold: i32,
    status: Status,
    sprs: Submission,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    // The points need no description of the system; what SPRS is told does.
    let system = match dossier::system(args.system.as_deref(), &globals.state()?) {
        Err(error) if args.system.is_none() && !args.sprs => {
            out::note(format_args!("what SPRS is told is incomplete: {error:#}"));
            comply::system::System::default()
        }
        read => read?,
    };
    let (controls, plans, history) = with_database(globals, async |conn, _| {
        Ok((controls(conn).await?, store::plans::list(conn).await?, store::scores::all(conn).await?))
    })?;
    if args.history {
        return past(&history, args.json);
    }
    let catalog = Catalog::r2();
    let score = Score::of(catalog, &controls);
    let status = Status::of(catalog, &controls, &score);
    let sprs = Submission::of(catalog, &system, &controls, &plans);
    if args.sprs {
        return submission(&sprs, args.json);
    }
    let code = if status.obstacles.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) };
    let shown = Shown { score, threshold: CONDITIONAL_FROM, status, sprs };
    if args.json {
        out::json(&shown)?;
        return Ok(code);
    }
    print(&shown, catalog)?;
    Ok(code)
}

/// The scores that were noted: when one changed, and one a day.
fn past(history: &[Scored], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        out::json(&history)?;
        return Ok(ExitCode::SUCCESS);
    }
    if history.is_empty() {
        out::line("no score was noted yet; it is when a finding changes, and once a day while the daemon runs")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Grid::new(&["at", "score", "met or N/A", "not met", "open"], &[]);
    for s in history {
        table.row([
            out::time(s.at).into(),
            s.points.map_or_else(|| "none".to_owned(), |p| p.to_string()).into(),
            s.met.into(),
            s.not_met.into(),
            s.open.into(),
        ]);
    }
    table.print()?;
    Ok(ExitCode::SUCCESS)
}

fn submission(sprs: &Submission, json: bool) -> anyhow::Result<ExitCode> {
    let code = if sprs.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) };
    if json {
        out::json(sprs)?;
        return Ok(code);
    }
    for (what, value) in sprs.fields() {
        let value = value.unwrap_or_else(|| "-".to_owned());
        out::line(format_args!("{what:<24}{}", notify::plain::neutral(&value)))?;
    }
    if !sprs.missing.is_empty() {
        out::line("\nmissing")?;
    }
    for missing in &sprs.missing {
        out::line(format_args!("  - {missing}"))?;
    }
    Ok(code)
}

fn print(shown: &Shown, catalog: &Catalog) -> anyhow::Result<()> {
    let Shown { score, status, .. } = shown;
    let points = match score.points {
        Some(points) => format!("{points} of {MOST} ({CONDITIONAL_FROM} for a conditional status)"),
        None => "no score: 3.12.4 is not met, and without a system security plan there is none".to_owned(),
    };
    paragraph("score", 10, &points)?;
    paragraph("status", 10, &status.level.to_string())?;
    paragraph("counts", 10, &format!("{} met or N/A, {} not met, {} open", score.met, score.not_met, score.open))?;
    out::line("")?;
    for obstacle in &status.obstacles {
        paragraph("  -", 4, &obstacle.to_string())?;
    }
    if score.deductions.is_empty() {
        return Ok(());
    }
    let mut table = Grid::new(&["id", "points", "finding", "why", "requirement"], &[3]);
    for d in &score.deductions {
        let why = match (d.for_lack_of_plans, d.partial) {
            (true, _) => "not all is planned",
            (_, true) => "partial score",
            _ => "",
        };
        let title = catalog.get(&d.control_id).map_or("", |r| &r.title);
        table.row([
            (&d.control_id).into(),
            format!("-{}", d.points).into(),
            word(d.standing).into(),
            why.into(),
            title.into(),
        ]);
    }
    out::line("")?;
    table.print()
}
