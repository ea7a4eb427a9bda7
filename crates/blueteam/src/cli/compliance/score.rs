//! `blueteam compliance score`: the DoD score and the CMMC status that it allows.

use std::path::PathBuf;
use std::process::ExitCode;

use app::compliance::score;
use compliance::Catalog;
use compliance::claim::{Claim, Status};
use compliance::cmmc::{CONDITIONAL_FROM, Level2};
use compliance::score::Score;
use compliance::sprs::Submission;
use model::Scored;
use serde::Serialize;
use serde_json::json;

use super::grid::{Grid, paragraph};
use super::standing_word;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Show the score (DoD Assessment Methodology v1.2.1), what was deducted, and the CMMC status that
/// it allows (32 CFR 170.21, 170.24).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam compliance score\n  blueteam compliance score --sprs\n  \
                        blueteam compliance score --history --json\n\n\
                        Exit code: 0 a status can be had (conditional or final), 3 none can, or \
                        there is no score for lack of an approved system security plan (of \
                        --sprs: something is missing), 1 failed, 2 wrong arguments."
)]
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
struct Shown<'a> {
    /// None without an approved system security plan.
    points: Option<i32>,
    /// Why there is none.
    no_score: Option<String>,
    #[serde(flatten)]
    counts: &'a Score,
    threshold: i32,
    status: Status<'a>,
    /// None where there is nothing to submit.
    sprs: Option<Submission>,
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if args.history {
        let history = with_session(globals, None, async |session, _| {
            Ok(score::history(session).await?)
        })?;
        return print_history(&history, args.json);
    }

    let state = globals.state()?;
    let today = with_session(globals, None, async |session, _| {
        Ok(score::today(session, &state, args.system.as_deref()).await?)
    })?;
    if let Some(why) = &today.unreadable {
        out::note(why);
    }

    let (claim, sprs) = (today.claim, today.sprs);
    if args.sprs {
        return match sprs {
            Ok(sprs) => print_submission(&sprs, args.json),
            Err(why) => nothing_to_submit(&why, &claim, args.json),
        };
    }

    let code = if claim.level() == Level2::None {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    };

    if args.json {
        out::json(&Shown {
            points: claim.points(),
            no_score: claim.no_score(),
            counts: claim.counts(),
            threshold: CONDITIONAL_FROM,
            status: claim.status(),
            sprs: sprs.ok(),
        })?;

        return Ok(code);
    }

    print(&claim, Catalog::r2())?;
    Ok(code)
}

/// Nothing that SPRS could take, not even in part: a field that is filled in would be read as a
/// claim.
fn nothing_to_submit(why: &str, claim: &Claim, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        out::json(
            &json!({ "score": null, "cmmc_status": null, "no_score": why, "status": claim.status() }),
        )?;
    } else {
        out::line(format_args!(
            "nothing to submit to SPRS: {}",
            model::text::sanitize(why)
        ))?;
    }

    Ok(ExitCode::from(3))
}

/// The scores that were noted: when one changed, and one a day.
fn print_history(history: &[Scored], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        out::json(&history)?;
        return Ok(ExitCode::SUCCESS);
    }

    if history.is_empty() {
        out::line(
            "no score was noted yet; it is when a finding changes, and once a day while the \
                daemon runs",
        )?;
        return Ok(ExitCode::SUCCESS);
    }

    let mut table = Grid::new(&["at", "score", "met or N/A", "not met", "open"], &[]);
    for s in history {
        table.row([
            out::time(s.at).into(),
            s.points
                .map_or_else(|| "none".to_owned(), |p| p.to_string())
                .into(),
            s.met.into(),
            s.not_met.into(),
            s.open.into(),
        ]);
    }

    table.print()?;
    Ok(ExitCode::SUCCESS)
}

fn print_submission(sprs: &Submission, json: bool) -> anyhow::Result<ExitCode> {
    let code = if sprs.missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    };

    if json {
        out::json(sprs)?;
        return Ok(code);
    }

    for (what, value) in sprs.fields() {
        let value = value.unwrap_or_else(|| "-".to_owned());
        out::line(format_args!("{what:<24}{}", model::text::sanitize(&value)))?;
    }

    if !sprs.missing.is_empty() {
        out::line("\nmissing")?;
    }

    for missing in &sprs.missing {
        out::line(format_args!("  - {missing}"))?;
    }

    Ok(code)
}

/// The status, and how long it lasts.
fn status(claim: &Claim) -> String {
    let until = claim
        .until()
        .map_or_else(String::new, |until| format!(", until {}", out::time(until)));
    format!("{}{until}", claim.level())
}

fn print(claim: &Claim, catalog: &Catalog) -> anyhow::Result<()> {
    let counts = claim.counts();
    let threshold = claim.points().map_or_else(String::new, |_| {
        format!(" ({CONDITIONAL_FROM} for a conditional status)")
    });
    paragraph(
        "score",
        10,
        &model::text::sanitize(&format!("{}{threshold}", claim.score_text())),
    )?;

    paragraph("status", 10, &status(claim))?;
    paragraph(
        "counts",
        10,
        &format!(
            "{} met or N/A, {} not met, {} open",
            counts.met, counts.not_met, counts.open
        ),
    )?;

    for caution in claim.cautions() {
        paragraph("", 10, &caution.to_string())?;
    }

    out::line("")?;
    // The reasons for no score stand beside it already.
    for obstacle in claim.obstacles().iter().filter(|o| !o.withholds_score()) {
        paragraph("  -", 4, &model::text::sanitize(&obstacle.to_string()))?;
    }

    // A list of points would be added up to a score that there is not.
    if claim.points().is_none() || counts.deductions.is_empty() {
        return Ok(());
    }

    let mut table = Grid::new(&["id", "points", "finding", "why", "requirement"], &[3]);
    for d in &counts.deductions {
        let why = match (d.for_lack_of_plans, d.partial) {
            (true, _) => "not all is planned",
            (_, true) => "partial score",
            _ => "",
        };

        let title = catalog.get(&d.control_id).map_or("", |r| &r.title);
        table.row([
            (&d.control_id).into(),
            format!("-{}", d.points).into(),
            standing_word(d.standing).into(),
            why.into(),
            title.into(),
        ]);
    }

    out::line("")?;
    table.print()
}
