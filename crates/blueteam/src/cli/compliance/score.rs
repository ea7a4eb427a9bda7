//! `blueteam compliance score`: the DoD score and the CMMC status that it allows.

use std::process::ExitCode;

use comfy_table::Cell;
use comply::Catalog;
use comply::cmmc::{CONDITIONAL_FROM, Status};
use comply::score::{MOST, Score};
use model::{Control, Timestamp};
use serde::Serialize;

use super::{controls, word};
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_database};

/// Show the score (DoD Assessment Methodology v1.2.1), what was deducted, and the CMMC status that it allows (32 CFR 170.21, 170.24).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam compliance score\n  blueteam compliance score --json\n\n\
                        Exit code: 0 a status can be had (conditional or final), 3 none can, 1 failed, 2 wrong arguments.")]
pub(super) struct Args {
    /// As a JSON object, with the fields that SPRS asks for
    #[arg(long)]
    json: bool,
}

/// What is submitted to SPRS for CMMC Level 2 (Self), as far as the findings tell it (32 CFR 170.16(a)(1)(i)).
#[derive(Debug, Serialize)]
struct Sprs {
    cmmc_level: &'static str,
    cmmc_status: String,
    score: Option<String>,
    poam_used: bool,
    standard: String,
    /// The last decision that it rests on.
    assessed_until: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    score: Score,
    threshold: i32,
    status: Status,
    sprs: Sprs,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let controls = with_database(globals, async |conn, _| controls(conn).await)?;
    let catalog = Catalog::r2();
    let score = Score::of(catalog, &controls);
    let status = Status::of(catalog, &controls, &score);
    let sprs = Sprs {
        cmmc_level: "Level 2 (Self)",
        cmmc_status: status.level.to_string(),
        score: score.points.map(|p| format!("{p} out of {MOST}")),
        poam_used: controls.iter().any(|c| c.planned),
        standard: catalog.name(),
        assessed_until: last_decision(&controls),
    };
    let code = if status.obstacles.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) };
    let shown = Shown { score, threshold: CONDITIONAL_FROM, status, sprs };
    if args.json {
        out::json(&shown)?;
        return Ok(code);
    }
    print(&shown, catalog)?;
    Ok(code)
}

fn last_decision(controls: &[Control]) -> Option<Timestamp> {
    let objectives = controls.iter().flat_map(|c| &c.objectives);
    objectives.filter_map(|o| o.decision.as_ref()).map(|d| d.at).max()
}

fn print(shown: &Shown, catalog: &Catalog) -> anyhow::Result<()> {
    let Shown { score, status, .. } = shown;
    let points = match score.points {
        Some(points) => format!("{points} of {MOST} ({CONDITIONAL_FROM} for a conditional status)"),
        None => "no score: 3.12.4 is not met, and without a system security plan there is none".to_owned(),
    };
    out::line(format_args!("score     {points}"))?;
    out::line(format_args!("status    {}", status.level))?;
    out::line(format_args!("counts    {} met or N/A, {} not met, {} open\n", score.met, score.not_met, score.open))?;
    for obstacle in &status.obstacles {
        out::line(format_args!("  - {obstacle}"))?;
    }
    if score.deductions.is_empty() {
        return Ok(());
    }
    let mut table = out::table(Look::stdout(), &["id", "points", "finding", "why", "requirement"]);
    for d in &score.deductions {
        let why = match (d.for_lack_of_plans, d.partial) {
            (true, _) => "not all is planned",
            (_, true) => "partial score",
            _ => "",
        };
        let title = catalog.get(&d.control_id).map_or("", |r| &r.title);
        table.add_row([
            Cell::new(&d.control_id),
            Cell::new(format!("-{}", d.points)),
            Cell::new(word(d.standing)),
            Cell::new(why),
            Cell::new(title),
        ]);
    }
    out::line("")?;
    out::print(table)
}
